//! Reads binary property lists in place, object by object: a phone with 100,000 files reads as many.

/// A binary property list.
pub struct Archived<'a> {
    bytes: &'a [u8],
    table: usize,
    offset_size: usize,
    number_size: usize,
    count: usize,
    root: usize,
}

/// One object of it.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// A number.
    Integer(i64),
    /// A text in ASCII.
    Ascii(&'a [u8]),
    /// A text in UTF-16.
    Wide(&'a [u8]),
    /// Bytes.
    Data(&'a [u8]),
    /// A reference of a keyed archive.
    Uid(usize),
    /// The numbers of objects, as they are written.
    Array(&'a [u8]),
    /// The numbers of keys, then those of values, as they are written.
    Dictionary(&'a [u8]),
}

impl<'a> Archived<'a> {
    /// Looks at its end. `None`: it is none.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.len().checked_sub(32)?;
        let long = |at: usize| usize::try_from(number(bytes.get(end + at..end + at + 8)?)).ok();
        let (offset_size, number_size) = (usize::from(bytes[end + 6]), usize::from(bytes[end + 7]));
        let known = bytes.starts_with(b"bplist00") && (1..=8).contains(&offset_size) && (1..=8).contains(&number_size);
        let archived = Self { bytes, table: long(24)?, offset_size, number_size, count: long(8)?, root: long(16)? };
        known.then_some(archived)
    }

    /// The object that holds all the others.
    pub fn root(&self) -> Option<Object<'a>> {
        self.object(self.root)
    }

    /// The object of this number.
    pub fn object(&self, at: usize) -> Option<Object<'a>> {
        let entry = self.table.checked_add(at.checked_mul(self.offset_size)?)?;
        let entry = self.bytes.get(entry..entry.checked_add(self.offset_size)?).filter(|_| at < self.count)?;
        let rest = self.bytes.get(usize::try_from(number(entry)).ok()?..)?;
        let (&mark, rest) = rest.split_first()?;
        let low = usize::from(mark & 15);
        match mark >> 4 {
            1 if low < 4 => Some(Object::Integer(number(rest.get(..1 << low)?).cast_signed())),
            8 => Some(Object::Uid(usize::try_from(number(rest.get(..=low)?)).ok()?)),
            kind @ (4 | 5 | 6 | 10 | 13) => {
                let (length, rest) = if low < 15 { (low, rest) } else { length(rest)? };
                let bytes = |each: usize| rest.get(..length.checked_mul(each)?);
                Some(match kind {
                    4 => Object::Data(bytes(1)?),
                    5 => Object::Ascii(bytes(1)?),
                    6 => Object::Wide(bytes(2)?),
                    10 => Object::Array(bytes(self.number_size)?),
                    _ => Object::Dictionary(bytes(2 * self.number_size)?),
                })
            }
            _ => None,
        }
    }

    /// What a dictionary has under this name.
    pub fn get(&self, dictionary: Object<'a>, name: &str) -> Option<Object<'a>> {
        let Object::Dictionary(numbers) = dictionary else { return None };
        let (keys, values) = numbers.split_at(numbers.len() / 2);
        let mut pairs = keys.chunks_exact(self.number_size).zip(values.chunks_exact(self.number_size));
        let object = |at: &[u8]| self.object(usize::try_from(number(at)).ok()?);
        let is_it = |key: &[u8]| matches!(object(key), Some(Object::Ascii(text)) if text == name.as_bytes());
        pairs.find(|(key, _)| is_it(key)).and_then(|(_, value)| object(value))
    }

    /// The item of an array at this place.
    pub fn item(&self, array: Object<'a>, at: usize) -> Option<Object<'a>> {
        let Object::Array(numbers) = array else { return None };
        self.object(usize::try_from(number(numbers.chunks_exact(self.number_size).nth(at)?)).ok()?)
    }
}

impl Object<'_> {
    /// The number that it is.
    pub fn integer(self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(number) } else { None }
    }

    /// The bytes that it is.
    pub fn data(&self) -> Option<&[u8]> {
        if let Self::Data(bytes) = self { Some(bytes) } else { None }
    }

    /// The text that it is.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Ascii(text) => String::from_utf8(text.to_vec()).ok(),
            Self::Wide(text) => {
                let units: Vec<u16> = text.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
                String::from_utf16(&units).ok()
            }
            _ => None,
        }
    }
}

/// A number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A length that stands as an object of its own, and what comes behind it.
fn length(rest: &[u8]) -> Option<(usize, &[u8])> {
    let (&mark, rest) = rest.split_first()?;
    let (bytes, rest) = rest.split_at_checked(1 << (mark & 3)).filter(|_| mark >> 4 == 1)?;
    Some((usize::try_from(number(bytes)).ok()?, rest))
}
