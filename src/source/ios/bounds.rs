//! Property lists of whoever may be hostile.
//!
//! The crate that reads them refuses a list that contains itself, but neither one that is nested a million times, which exhausts the stack when it is let go of,
//! nor one of a few hundred bytes whose objects name each other over and over and that is larger than any memory once it is read. So a list is looked at first.
//! The binary form is described in Apple's `CFBinaryPList.c`.

use anyhow::{Context, Result, anyhow, ensure};
use plist::Value;

/// How deep a list may be nested. Those of devices are four or five deep.
const MOST_DEPTH: u32 = 64;

/// How many times its own length a list may be once its objects are written out wherever they are named.
const MOST_GROWTH: u64 = 16;

/// What it may be in any case, in bytes.
const ALWAYS: u64 = 1 << 20;

/// Reads a property list, binary or XML.
///
/// # Errors
///
/// When it is none, or one that [`check`] refuses.
pub(super) fn parse(bytes: &[u8]) -> Result<Value> {
    check(bytes)?;
    // What the library says of it tells nobody anything, and looks like an error of the connection.
    plist::from_bytes(bytes).map_err(|_| anyhow!("what came is no property list"))
}

/// Makes sure that a property list can be read within bounds.
///
/// # Errors
///
/// When it is nested too deep, grows too large, or names what is not there.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(b"bplist") {
        let binary = Binary::new(bytes).context("understand a binary property list")?;
        let mut known = vec![None; binary.count];
        let whole = binary.measure(binary.root, 0, &mut known)?;
        let most = (bytes.len() as u64).saturating_mul(MOST_GROWTH).max(ALWAYS);
        ensure!(
            whole.size <= most,
            "a property list of {} bytes would be larger than {most} bytes in memory",
            bytes.len()
        );
        Ok(())
    } else {
        check_xml(bytes)
    }
}

/// What an object comes to, with all that it names.
#[derive(Clone, Copy)]
struct Measure {
    /// In bytes, about.
    size: u64,
    /// How deep it is.
    height: u32,
}

struct Binary<'b> {
    bytes: &'b [u8],
    offset_size: usize,
    reference_size: usize,
    count: usize,
    root: usize,
    table: usize,
}

impl<'b> Binary<'b> {
    fn new(bytes: &'b [u8]) -> Option<Self> {
        let trailer = bytes.get(bytes.len().checked_sub(32)?..)?;
        let (offset_size, reference_size) = (usize::from(*trailer.get(6)?), usize::from(*trailer.get(7)?));
        let word = |at: usize| usize::try_from(u64::from_be_bytes(trailer.get(at..at + 8)?.try_into().ok()?)).ok();
        let (count, root, table) = (word(8)?, word(16)?, word(24)?);
        let is_right = (1..=8).contains(&offset_size)
            && (1..=8).contains(&reference_size)
            && table.checked_add(count.checked_mul(offset_size)?)? <= bytes.len();
        is_right.then_some(Self { bytes, offset_size, reference_size, count, root, table })
    }

    fn int(&self, at: usize, size: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        bytes.iter().try_fold(0_usize, |sum, byte| Some(sum.checked_mul(256)? | usize::from(*byte)))
    }

    /// The kind of an object, how many things are in it, and where they begin.
    fn header(&self, object: usize) -> Option<(u8, usize, usize)> {
        let at = self.int(self.table + object * self.offset_size, self.offset_size)?;
        let marker = *self.bytes.get(at)?;
        let (kind, low) = (marker >> 4, usize::from(marker & 0xf));
        if low != 0xf || !matches!(kind, 4 | 5 | 6 | 0xa | 0xc | 0xd) {
            return Some((kind, low, at + 1));
        }
        let size = 1 << (self.bytes.get(at + 1)? & 3);
        Some((kind, self.int(at + 2, size)?, at + 2 + size))
    }

    fn measure(&self, object: usize, depth: u32, known: &mut [Option<Measure>]) -> Result<Measure> {
        ensure!(depth < MOST_DEPTH, "a property list is nested more than {MOST_DEPTH} times");
        let slot = known.get(object).context("a property list names what is not in it")?;
        if let Some(known) = slot {
            return Ok(*known);
        }
        let (kind, length, at) = self.header(object).context("a property list names what is not in it")?;
        let children = match kind {
            0xa | 0xc => length,
            0xd => length.saturating_mul(2),
            _ => 0,
        };
        let size = if children > 0 { 16 } else { 16 + if matches!(kind, 4..=6) { length as u64 } else { 8 } };
        let mut sum = Measure { size, height: 1 };
        let fits = children <= self.bytes.len() / self.reference_size;
        ensure!(fits, "a property list names more than there is room for in it");
        for child in 0..children {
            let child = self.int(at + child * self.reference_size, self.reference_size);
            let child = self.measure(child.context("a property list is cut short")?, depth + 1, known)?;
            sum.size = sum.size.saturating_add(child.size);
            sum.height = sum.height.max(child.height + 1);
            ensure!(sum.height <= MOST_DEPTH, "a property list is nested more than {MOST_DEPTH} times");
        }
        known[object] = Some(sum);
        Ok(sum)
    }
}

/// XML names nothing twice; only its depth matters. What could hide a tag from us is not in what devices write.
fn check_xml(bytes: &[u8]) -> Result<()> {
    let mut depth = 0_u32;
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        let tag = &rest[at..];
        let hides = [&b"<!--"[..], b"<![CDATA[", b"<!ENTITY"].iter().any(|start| tag.starts_with(start));
        ensure!(!hides, "a property list has more in it than values");
        let end = tag.iter().position(|&byte| byte == b'>').ok_or_else(|| anyhow!("a property list is cut short"))?;
        let is_open = !tag[..end].ends_with(b"/") && !tag.starts_with(b"<?") && !tag.starts_with(b"<!");
        if tag.starts_with(b"</") {
            depth = depth.saturating_sub(1);
        } else if is_open {
            depth += 1;
            ensure!(depth <= MOST_DEPTH, "a property list is nested more than {MOST_DEPTH} times");
        }
        rest = &tag[end..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use plist::Dictionary;

    use super::*;

    /// A binary list of these objects; the first is the root.
    fn binary(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"bplist00".to_vec();
        let mut offsets = Vec::new();
        for object in objects {
            offsets.push(bytes.len() as u16);
            bytes.extend(object);
        }
        let table = bytes.len() as u64;
        offsets.iter().for_each(|offset| bytes.extend(offset.to_be_bytes()));
        bytes.extend([0, 0, 0, 0, 0, 0, 2, 1]);
        [objects.len() as u64, 0, table].iter().for_each(|word| bytes.extend(word.to_be_bytes()));
        bytes
    }

    #[test]
    fn what_devices_send_passes() {
        let listing = Dictionary::from_iter((0..1000).map(|at| {
            let file =
                Dictionary::from_iter([("DLFileType", Value::from("DLFileTypeRegular")), ("DLFileSize", 5.into())]);
            (format!("{at:040}"), Value::Dictionary(file))
        }));
        let value = Value::Array(vec!["DLMessage".into(), Value::Dictionary(listing), Value::Data(vec![7; 70_000])]);
        for is_binary in [true, false] {
            let mut bytes = Vec::new();
            if is_binary { value.to_writer_binary(&mut bytes) } else { value.to_writer_xml(&mut bytes) }.unwrap();
            assert_eq!(parse(&bytes).unwrap(), value);
        }
    }

    #[test]
    fn objects_that_name_each_other_over_and_over_are_refused() {
        // Each array names the next one fourteen times.
        let mut objects: Vec<Vec<u8>> = (1..=20).map(|next| [vec![0xae], vec![next; 14]].concat()).collect();
        objects.push(vec![0x10, 5]);
        let error = check(&binary(&objects)).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let mut objects: Vec<Vec<u8>> = (1..=100).map(|next| vec![0xa1, next]).collect();
        objects.push(vec![0x10, 5]);
        let error = check(&binary(&objects)).unwrap_err();
        assert!(error.to_string().contains("nested"), "{error}");
        let itself = binary(&[vec![0xa1, 0]]);
        assert!(check(&itself).is_err());
        let xml = format!("<plist>{}", "<array>".repeat(100_000));
        assert!(check(xml.as_bytes()).unwrap_err().to_string().contains("nested"));
    }

    #[test]
    fn rubbish_is_refused_without_a_panic() {
        let good = binary(&[vec![0xa2, 1, 2], vec![0x10, 5], vec![0x51, b'a']]);
        assert!(check(&good).is_ok());
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = parse(&bad);
            }
            let _ = parse(&good[..at]);
        }
    }
}
