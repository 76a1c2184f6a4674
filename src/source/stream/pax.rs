//! The records of pax before a member: what its plain header cannot hold.

use std::io;

use super::blocks::malformed;
use super::sparse::Segment;
use crate::archive::acl;

/// What the extended attributes of one entry may have together, in bytes. Those of 64 members wait in memory.
const XATTRS: usize = 1 << 20;

/// What the records of a member say.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    /// How many bytes of data follow the header.
    pub(super) stored: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) sparse: SparseRecords,
    xattrs: Vec<(String, Vec<u8>)>,
    acls: Vec<(&'static str, Vec<u8>)>,
    selinux: Option<Vec<u8>>,
    complaint: Option<String>,
}

/// What they say of a sparse file, in one of the three ways that there are.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    /// Its whole size.
    pub(super) real: Option<u64>,
    /// Where its data is; `None`: not said here.
    pub(super) map: Option<Vec<Segment>>,
    /// A segment of which only the offset was said.
    offset: Option<u64>,
}

impl Extended {
    /// Adds the records of an extended header.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(|| malformed("a record of pax is not well-formed"))?;
            self.take(key, value)?;
            bytes = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" | b"GNU.sparse.name" => self.path = Some(value.to_vec()),
            b"linkpath" => self.target = Some(value.to_vec()),
            b"size" => self.stored = Some(number(value)?),
            b"uid" => self.uid = Some(u32::try_from(number(value)?).unwrap_or(u32::MAX)),
            b"gid" => self.gid = Some(u32::try_from(number(value)?).unwrap_or(u32::MAX)),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| malformed("a time is none"))?),
            b"SCHILY.acl.access" => self.acls.push((acl::ACCESS, value.to_vec())),
            b"SCHILY.acl.default" => self.acls.push((acl::DEFAULT, value.to_vec())),
            b"RHT.security.selinux" => self.selinux = Some(value.to_vec()),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.take_xattr(name, value);
                } else if let Some(what) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.take(what, value)?;
                }
            }
        }
        Ok(())
    }

    fn take_xattr(&mut self, name: &[u8], value: &[u8]) {
        match String::from_utf8(decode(name)) {
            Ok(name) => self.xattrs.push((name, value.to_vec())),
            Err(_) => self.complaint = Some("an extended attribute has a name that is not UTF-8".to_owned()),
        }
    }

    /// The extended attributes by name, and why they are not all there.
    pub(super) fn into_xattrs(mut self) -> (Vec<(String, Vec<u8>)>, Option<String>) {
        // A tar of today sends ACLs twice: as attributes, with numbers, and as text, with names that mean nothing here.
        for (name, text) in std::mem::take(&mut self.acls) {
            if self.has(name) {
                continue;
            }
            match acl::binary(&text) {
                // Beside the ACL for what is made in it, tar says of a directory what its mode says; the kernel has no such attribute.
                Ok(value) if name == acl::ACCESS && acl::is_mode(&value) => {}
                Ok(value) => self.xattrs.push((name.to_owned(), value)),
                Err(why) => self.complaint = Some(format!("its ACL: {why}")),
            }
        }
        if let Some(mut label) = self.selinux.take()
            && !self.has("security.selinux")
        {
            // As the kernel gives it.
            label.push(0);
            self.xattrs.push(("security.selinux".to_owned(), label));
        }
        self.xattrs.sort();
        // Only one that lies says one twice.
        self.xattrs.dedup_by(|second, first| second.0 == first.0);
        if self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > XATTRS {
            return (Vec::new(), Some(format!("its extended attributes have more than {XATTRS} bytes")));
        }
        (self.xattrs, self.complaint)
    }

    fn has(&self, name: &str) -> bool {
        self.xattrs.iter().any(|(other, _)| other == name)
    }
}

impl SparseRecords {
    fn take(&mut self, what: &[u8], value: &[u8]) -> io::Result<()> {
        match what {
            b"major" => self.major = Some(number(value)?),
            b"minor" => self.minor = Some(number(value)?),
            b"size" | b"realsize" => self.real = Some(number(value)?),
            // How many there are is seen; but a file that is one hole has none.
            b"numblocks" => self.map = Some(self.map.take().unwrap_or_default()),
            b"offset" => self.offset = Some(number(value)?),
            b"numbytes" => {
                let Some(offset) = self.offset.take() else { return Err(malformed("a segment has no offset")) };
                self.map.get_or_insert_default().push(Segment { offset, length: number(value)? });
            }
            b"map" => {
                let mut numbers = value.split(|&byte| byte == b',').filter(|text| !text.is_empty());
                let mut map = Vec::new();
                while let Some(offset) = numbers.next() {
                    let Some(length) = numbers.next() else { return Err(malformed("a segment has no length")) };
                    map.push(Segment { offset: number(offset)?, length: number(length)? });
                }
                self.map = Some(map);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A time as a decimal fraction of seconds since 1970, of which the nanoseconds count.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
    // -1.25 is 0.75 after -2.
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

/// The first record, as key and value, and what is behind it. Its length counts: there are newlines in values.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(number(&bytes[..blank]).ok()?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let inside = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = inside.iter().position(|&byte| byte == b'=')?;
    Some((&inside[..equals], &inside[equals + 1..], rest))
}

/// A decimal number, and nothing else.
pub(super) fn number(text: &[u8]) -> io::Result<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("a number is none"))
}

/// The name of an attribute without the two escapes that GNU tar knows: `%3D` for an equals sign, `%25` for a percent sign.
fn decode(mut name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    while let Some((&first, rest)) = name.split_first() {
        let (byte, behind) = match (name.strip_prefix(b"%3D"), name.strip_prefix(b"%25")) {
            (Some(behind), _) => (b'=', behind),
            (_, Some(behind)) => (b'%', behind),
            _ => (first, rest),
        };
        decoded.push(byte);
        name = behind;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(key: &str, value: &[u8]) -> Vec<u8> {
        let inside = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let length = (1..).find(|length: &usize| *length == inside.len() + length.to_string().len()).unwrap();
        [length.to_string().as_bytes(), &inside].concat()
    }

    fn extended(records: &[(&str, &[u8])]) -> Extended {
        let mut extended = Extended::default();
        let bytes: Vec<u8> = records.iter().flat_map(|(key, value)| written(key, value)).collect();
        extended.add(&bytes).unwrap();
        extended
    }

    #[test]
    fn values_may_hold_anything_and_come_by_name() {
        let (xattrs, complaint) = extended(&[
            ("SCHILY.xattr.user.z", b"a=b\n12 path=/x\n"),
            ("SCHILY.xattr.user.a%3Db%253D", b"\0\xff\n"),
            ("path", b"/with\nnewline"),
        ])
        .into_xattrs();
        let expected = [("user.a=b%3D", &b"\0\xff\n"[..]), ("user.z", b"a=b\n12 path=/x\n")];
        assert_eq!(xattrs, expected.map(|(name, value)| (name.to_owned(), value.to_vec())));
        assert_eq!(complaint, None);
    }

    #[test]
    fn times_are_exact_also_before_1970() {
        let times = [
            ("0", (0, 0)),
            ("1700000000.000000001", (1_700_000_000, 1)),
            ("12.5", (12, 500_000_000)),
            ("1.1234567891", (1, 123_456_789)),
            ("-1.25", (-2, 750_000_000)),
            ("-3", (-3, 0)),
            ("-0.5", (-1, 500_000_000)),
        ];
        for (text, expected) in times {
            assert_eq!(time(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "x", "1.-5", "1.+5", "1.5x", "99999999999999999999"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn acl_is_taken_once_and_as_the_kernel_has_it_if_it_is_there() {
        let records: [(&str, &[u8]); 3] = [
            ("SCHILY.acl.access", b"user::rw-\nuser:somebody:r--\ngroup::r--\nmask::r--\nother::---\n"),
            ("SCHILY.xattr.system.posix_acl_access", b"binary"),
            ("RHT.security.selinux", b"label"),
        ];
        let (xattrs, complaint) = extended(&records).into_xattrs();
        let expected = [("security.selinux", &b"label\0"[..]), ("system.posix_acl_access", b"binary")];
        assert_eq!(xattrs, expected.map(|(name, value)| (name.to_owned(), value.to_vec())));
        assert_eq!(complaint, None);
        let (xattrs, complaint) = extended(&records[..1]).into_xattrs();
        assert_eq!(xattrs, []);
        assert!(complaint.unwrap().contains("somebody"));
    }

    #[test]
    fn attributes_that_fill_the_memory_are_left_out_and_told() {
        let value = vec![1; XATTRS];
        let (xattrs, complaint) = extended(&[("SCHILY.xattr.user.a", &value)]).into_xattrs();
        assert_eq!(xattrs, []);
        assert!(complaint.is_some());
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let texts = [
            "5 a=b\n",
            "7 a=b\n",
            "6 ab\n",
            "a=b\n",
            "6 a=b",
            "0 a=b\n",
            "99999999999999999999999 a=b\n",
            "1 \n",
            "+6 a=b\n",
        ];
        for text in texts {
            assert!(Extended::default().add(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Extended::default().add(b"6 a=b\n").is_ok());
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number(b"012").unwrap(), 12);
        assert_eq!(number(b"18446744073709551615").unwrap(), u64::MAX);
        for text in [&b""[..], b"-1", b"+1", b"1 ", b"18446744073709551616", b"0x1", b"\xff"] {
            assert!(number(text).is_err(), "{text:?}");
        }
    }
}
