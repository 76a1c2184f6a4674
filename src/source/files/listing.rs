//! The names in a directory, in byte order.
//!
//! All of them in one piece of memory: a directory may have millions, and most trees consist of little else.

use std::cmp::Ordering;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, RawDir};

/// What the kernel writes entries into, many at a time; to be used for one directory after the other.
#[derive(Debug)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(1 << 16))
    }
}

/// The names, without `.` and `..`.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Each name with the zero byte that ends it.
    bytes: Vec<u8>,
    names: Vec<Name>,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    begin: u32,
    /// Without the zero byte.
    length: u16,
    kind: FileType,
}

impl Listing {
    /// Reads an open directory, from where its descriptor stands, and the error that ended that early.
    pub(super) fn read(directory: &OwnedFd, buffer: &mut Buffer) -> (Self, Option<io::Error>) {
        let mut listing = Self::default();
        let mut failed = None;
        let mut entries = RawDir::new(directory, buffer.0.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let added = entry.map_err(io::Error::from).and_then(|entry| {
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") { Ok(()) } else { listing.add(name, entry.file_type()) }
            });
            if let Err(error) = added {
                failed = Some(error);
                break;
            }
        }
        let Self { bytes, names } = &mut listing;
        names.sort_unstable_by(|a, b| text(bytes, *a).cmp(text(bytes, *b)));
        (listing, failed)
    }

    fn add(&mut self, name: &CStr, kind: FileType) -> io::Result<()> {
        let too_large = |_| io::Error::other("it has more names than can be held");
        let begin = u32::try_from(self.bytes.len()).map_err(too_large)?;
        let length = u16::try_from(name.count_bytes()).map_err(too_large)?;
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.names.push(Name { begin, length, kind });
        Ok(())
    }

    /// The name at this place, and its type if the file system told it.
    pub(super) fn get(&self, index: usize) -> Option<(&CStr, FileType)> {
        let name = *self.names.get(index)?;
        let begin = name.begin as usize;
        let with_zero = &self.bytes[begin..=begin + usize::from(name.length)];
        Some((CStr::from_bytes_with_nul(with_zero).ok()?, name.kind))
    }

    /// The place of a name.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.names.binary_search_by(|other| self.compare(*other, name)).ok()
    }

    /// Leaves out every name but this one.
    pub(super) fn retain(&mut self, name: &[u8]) {
        let found = self.find(name).map(|index| self.names[index]);
        self.names.clear();
        self.names.extend(found);
    }

    fn compare(&self, name: Name, other: &[u8]) -> Ordering {
        text(&self.bytes, name).cmp(other)
    }
}

fn text(bytes: &[u8], name: Name) -> &[u8] {
    &bytes[name.begin as usize..][..usize::from(name.length)]
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    fn names(listing: &Listing) -> Vec<&[u8]> {
        (0..).map_while(|index| listing.get(index)).map(|(name, _)| name.to_bytes()).collect()
    }

    #[test]
    fn names_are_in_byte_order_however_many_there_are() {
        let directory = tempfile::tempdir().unwrap();
        // More than the kernel writes at once.
        let mut expected: Vec<_> = (0..5000).map(|number| format!("{number}-{}", "x".repeat(200))).collect();
        expected.extend(["B", "a", "ä", "-", "a b", "a.b"].map(ToOwned::to_owned));
        for name in &expected {
            fs::write(directory.path().join(name), "").unwrap();
        }
        expected.sort();
        let opened = File::open(directory.path()).unwrap().into();
        let (mut listing, failed) = Listing::read(&opened, &mut Buffer::new());
        assert!(failed.is_none());
        assert_eq!(names(&listing), expected.iter().map(|name| name.as_bytes()).collect::<Vec<_>>());

        assert_eq!(listing.find("a b".as_bytes()), expected.binary_search(&"a b".to_owned()).ok());
        assert_eq!(listing.find(b"a bc"), None);
        listing.retain(b"a.b");
        assert_eq!(names(&listing), [b"a.b"]);
        listing.retain(b"B");
        assert!(names(&listing).is_empty());
    }

    #[test]
    fn something_that_is_no_directory_is_an_error() {
        let (listing, failed) = Listing::read(&tempfile::tempfile().unwrap().into(), &mut Buffer::new());
        assert!(failed.is_some());
        assert!(names(&listing).is_empty());
    }
}
