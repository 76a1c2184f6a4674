//! The objects of a binary property list, each read when it is asked for.
//!
//! `Manifest.db` has one for each of its hundred thousand files, of which a few numbers are wanted. So nothing is made of the rest, and no reference is followed by
//! itself: there is nothing to bound, other than where a list is read as a whole ([`super::bounds`]). The format is that of `CFBinaryPList.c`
//! (github.com/apple-oss-distributions/CF).

use std::borrow::Cow;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: &[u8] = b"bplist00";
const TRAILER: usize = 32;

/// A binary property list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Objects<'a> {
    bytes: &'a [u8],
    /// Where each object begins, as integers of `offset_size` bytes.
    offsets: &'a [u8],
    offset_size: usize,
    ref_size: usize,
    root: u64,
}

/// One object. Those inside of it are only named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Object<'a> {
    Integer(i128),
    Bool(bool),
    Data(&'a [u8]),
    Text(Cow<'a, str>),
    /// What an archive of `NSKeyedArchiver` names an object of its own by.
    Uid(u64),
    Array(List<'a>),
    Dictionary {
        keys: List<'a>,
        values: List<'a>,
    },
    /// A number with a fraction, a date, a set.
    Other,
}

/// References to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl List<'_> {
    /// The object that stands at this place.
    pub(super) fn get(&self, index: usize) -> Option<u64> {
        let start = index.checked_mul(self.size)?;
        self.bytes.get(start..start.checked_add(self.size)?).map(number)
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        self.bytes.chunks_exact(self.size).map(number)
    }
}

/// The number in up to eight bytes, the largest part first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl<'a> Objects<'a> {
    /// Reads the table of objects.
    ///
    /// # Errors
    ///
    /// When this is no binary property list, or its table is not inside of it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(bytes.starts_with(MAGIC), "it is no binary property list");
        let end = bytes.len().checked_sub(TRAILER).filter(|end| *end >= MAGIC.len()).context("it is cut short")?;
        let trailer = &bytes[end..];
        let (offset_size, ref_size) = (usize::from(trailer[6]), usize::from(trailer[7]));
        ensure!((1..=8).contains(&offset_size) && (1..=8).contains(&ref_size), "its trailer is damaged");
        let [count, root, table] = [8, 16, 24].map(|at| number(&trailer[at..at + 8]));
        let offsets = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(offset_size))
            .zip(usize::try_from(table).ok())
            .and_then(|(length, start)| bytes[..end].get(start..start.checked_add(length)?))
            .context("its table of objects is not inside of it")?;
        Ok(Self { bytes: &bytes[..end], offsets, offset_size, ref_size, root })
    }

    /// The outermost object.
    pub(super) fn root(&self) -> Result<Object<'a>> {
        self.get(self.root)
    }

    /// The object of this number.
    pub(super) fn get(&self, index: u64) -> Result<Object<'a>> {
        self.read(index).with_context(|| format!("read object {index} of a property list"))
    }

    fn read(&self, index: u64) -> Result<Object<'a>> {
        let offsets = List { bytes: self.offsets, size: self.offset_size };
        let start = usize::try_from(index).ok().and_then(|index| offsets.get(index)).context("there is none")?;
        let rest = usize::try_from(start).ok().and_then(|start| self.bytes.get(start..)).context("it is outside")?;
        let (marker, rest) = rest.split_first().context("it is outside")?;
        let low = usize::from(marker & 0x0F);
        let take = |rest: &'a [u8], length: usize| rest.get(..length).context("it is cut short");
        Ok(match marker >> 4 {
            0x0 if low == 8 || low == 9 => Object::Bool(low == 9),
            0x1 if low <= 4 => Object::Integer(integer(take(rest, 1 << low)?)),
            0x8 if low < 8 => Object::Uid(number(take(rest, low + 1)?)),
            kind @ (0x4 | 0x5 | 0x6 | 0xA | 0xD) => {
                let (length, rest) = length(low, rest)?;
                let sized = |size: usize| length.checked_mul(size).context("it is cut short");
                let list = |bytes: &'a [u8]| List { bytes, size: self.ref_size };
                match kind {
                    0x4 => Object::Data(take(rest, length)?),
                    0x5 => Object::Text(String::from_utf8_lossy(take(rest, length)?)),
                    0x6 => Object::Text(utf16(take(rest, sized(2)?)?)?.into()),
                    0xA => Object::Array(list(take(rest, sized(self.ref_size)?)?)),
                    _ => {
                        let (keys, values) = take(rest, sized(2 * self.ref_size)?)?.split_at(length * self.ref_size);
                        Object::Dictionary { keys: list(keys), values: list(values) }
                    }
                }
            }
            _ => Object::Other,
        })
    }

    /// What a dictionary has under a key; `None` when it has none, or `dictionary` is no dictionary.
    pub(super) fn value(&self, dictionary: &Object<'a>, key: &str) -> Result<Option<Object<'a>>> {
        let Object::Dictionary { keys, values } = dictionary else { return Ok(None) };
        for (index, name) in keys.iter().enumerate() {
            if matches!(self.get(name)?, Object::Text(name) if name == key) {
                let value = values.get(index).context("a key of a property list has no value")?;
                return self.get(value).map(Some);
            }
        }
        Ok(None)
    }
}

/// The length of an object: in its marker, or in an integer behind it.
fn length(low: usize, rest: &[u8]) -> Result<(usize, &[u8])> {
    if low < 0x0F {
        return Ok((low, rest));
    }
    let (marker, rest) = rest.split_first().context("it is cut short")?;
    let size = 1_usize << (marker & 0x0F).min(4);
    ensure!(marker >> 4 == 1 && size <= 8, "its length is no number");
    let (length, rest) = rest.split_at_checked(size).context("it is cut short")?;
    Ok((usize::try_from(number(length))?, rest))
}

/// Integers of one, two and four bytes have no sign; longer ones do.
fn integer(bytes: &[u8]) -> i128 {
    match <[u8; 16]>::try_from(bytes) {
        Ok(long) => i128::from_be_bytes(long),
        Err(_) if bytes.len() == 8 => i128::from(number(bytes).cast_signed()),
        Err(_) => i128::from(number(bytes)),
    }
}

fn utf16(bytes: &[u8]) -> Result<String> {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    match char::decode_utf16(units).collect() {
        Ok(text) => Ok(text),
        Err(_) => bail!("a text is not UTF-16"),
    }
}

#[cfg(test)]
mod tests {
    use plist::{Dictionary, Uid, Value};

    use super::*;

    fn binary(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.to_writer_binary(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_kind_of_object_is_read_as_it_was_written() {
        let long = "x".repeat(300);
        let entries = [
            ("small", Value::from(200_u64), Object::Integer(200)),
            ("negative", Value::from(-5), Object::Integer(-5)),
            ("large", Value::from(u64::MAX), Object::Integer(u64::MAX.into())),
            ("yes", Value::from(true), Object::Bool(true)),
            ("text", Value::from(long.as_str()), Object::Text(long.as_str().into())),
            ("umlaut", Value::from("Fotos für \u{1f600}"), Object::Text("Fotos für \u{1f600}".into())),
            ("data", Value::Data(vec![0, 255]), Object::Data(&[0, 255])),
            ("uid", Value::Uid(Uid::new(70_000)), Object::Uid(70_000)),
            ("real", Value::from(1.5), Object::Other),
        ];
        let dictionary: Dictionary = entries.iter().map(|(key, value, _)| ((*key).to_owned(), value.clone())).collect();
        let bytes = binary(&Value::Dictionary(dictionary));
        let objects = Objects::parse(&bytes).unwrap();
        let root = objects.root().unwrap();
        for (key, _, expected) in entries {
            assert_eq!(objects.value(&root, key).unwrap(), Some(expected), "{key}");
        }
        assert_eq!(objects.value(&root, "none").unwrap(), None);
    }

    #[test]
    fn elements_of_an_array_are_named_in_their_order() {
        let bytes = binary(&Value::Array(vec!["a".into(), 7.into()]));
        let objects = Objects::parse(&bytes).unwrap();
        let Object::Array(list) = objects.root().unwrap() else { panic!("no array") };
        let element = |index| list.get(index).map(|object| objects.get(object).unwrap());
        assert_eq!(
            [element(0), element(1), element(2)],
            [Some(Object::Text("a".into())), Some(Object::Integer(7)), None]
        );
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let nested = Value::Array(vec![Value::Data(vec![1; 40]), "text".into(), Value::Dictionary(Dictionary::new())]);
        let bytes = binary(&nested);
        let look = |bytes: &[u8]| {
            let Ok(objects) = Objects::parse(bytes) else { return };
            for index in 0..20 {
                if let Ok(object) = objects.get(index) {
                    let _ = objects.value(&object, "text");
                }
            }
        };
        for place in 0..bytes.len() {
            look(&bytes[..place]);
            for value in [0, 1, 0x4F, 0x5F, 0xAF, 0xDF, 0x13, 0x1F, 0x7F, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                look(&damaged);
            }
        }
    }
}
