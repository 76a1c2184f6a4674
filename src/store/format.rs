//! Restic's repository format (version 2) as bytes: trees, pack headers, index files.
//!
//! Pure functions from values to bytes and back, without I/O and without cipher; what is read is taken as hostile. Restic names a
//! directory by the hash of its JSON, so what is written here is what restic itself writes, to the byte: the same directory has
//! the same id whoever saves it. The facts are from restic's `doc/design.rst`, from what restic 0.14 and 0.18 write
//! (`tests/format.rs`), and from Go's `encoding/json`. Public, so that the fuzz targets of `fuzz/` reach it.

use std::fmt;

use rustic_core::Id;
use sha2::{Digest, Sha256};

pub mod cursor;
pub mod index;
mod moment;
pub mod pack;
pub mod parent;
mod printable;
mod text;
pub mod tree;

/// What names a blob or a file of the repository: the SHA-256 of its (plain) bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(pub [u8; 32]);

impl BlobId {
    /// The id of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The id that is written as these 64 hexadecimal digits, of either case.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
        let mut id = [0; 32];
        if pairs.len() != id.len() {
            return None;
        }
        let mut seen = 0;
        for (byte, [high, low]) in id.iter_mut().zip(pairs) {
            let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
            seen |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        (seen <= 0xf).then_some(Self(id))
    }

    /// The 64 digits, in lower case.
    fn hex(&self) -> [u8; 64] {
        let mut hex = [0; 64];
        let (pairs, _) = hex.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = PAIRS[usize::from(byte)];
        }
        hex
    }

    /// Appends the 64 digits.
    pub fn write_hex(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hex());
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BlobId> for Id {
    fn from(id: BlobId) -> Self {
        Self::new(id.0)
    }
}

impl From<Id> for BlobId {
    fn from(id: Id) -> Self {
        // rustic_core gives the bytes of an id as digits only; those of an id are always 64.
        Self::from_hex(id.to_hex().as_str()).unwrap_or(Self([0; 32]))
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Each byte as two hexadecimal digits.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
};

/// What each hexadecimal digit stands for; 255 for what is none.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        let digit = DIGITS[value as usize];
        nibbles[digit as usize] = value;
        nibbles[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    nibbles
};

/// Appends a number in decimal.
fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[begin..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_sha256_and_is_shown_as_hex() {
        let id = BlobId::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(id.to_string(), hex);
        assert_eq!(format!("{id:?}"), hex);
        let mut out = Vec::new();
        id.write_hex(&mut out);
        assert_eq!(out, hex.as_bytes());
        assert_eq!(BlobId::from_hex(hex), Some(id));
        assert_eq!(BlobId::from_hex(&hex.to_uppercase()), Some(id));
        assert_eq!(Id::from(id).to_hex().as_str(), hex);
    }

    #[test]
    fn what_is_not_64_hex_digits_is_no_id() {
        let hex = BlobId::of(b"").to_string();
        for wrong in ["", &hex[1..], &hex[2..], &format!("{hex}00"), &hex.replace('e', "g"), &"é".repeat(32)] {
            assert_eq!(BlobId::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 4_294_967_295, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
