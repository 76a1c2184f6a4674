//! A source that is made up: its entries come from a function, and so does how it ends.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use rustic_core::jiff::Timestamp;

use crate::source::{Content, Entries, Entry, Problem, Tree};
use crate::store::format::BlobId;
use crate::store::{Metadata, NodeType, node};

/// What a source gives.
pub(super) type Given = Result<Entry, Problem>;

/// Gives the entries, each time anew.
type Give = Box<dyn Fn() -> Entries + Send + Sync>;

/// The source.
pub(super) struct Made {
    give: Give,
    breaks_off: bool,
}

impl Made {
    /// A source whose entries this function gives.
    pub(super) fn of<I>(give: impl Fn() -> I + Send + Sync + 'static) -> Box<Self>
    where
        I: Iterator<Item = Given> + Send + 'static,
    {
        Box::new(Self { give: Box::new(move || Box::new(give())), breaks_off: false })
    }

    /// A source with these files at their paths, and with the directories above them.
    pub(super) fn files(files: &Files) -> Box<Self> {
        let files = files.clone();
        Self::of(move || files.entries().into_iter())
    }

    /// The same, but in the end it says that it was not whole.
    pub(super) fn broken_off(mut self: Box<Self>) -> Box<Self> {
        self.breaks_off = true;
        self
    }
}

impl Tree for Made {
    fn entries(&self) -> Entries {
        (self.give)()
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn finish(self: Box<Self>) -> Result<()> {
        if self.breaks_off {
            bail!("the connection was lost");
        }
        Ok(())
    }
}

/// Files by path, each with the second of its last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files(pub(super) BTreeMap<PathBuf, (Vec<u8>, i64)>);

impl Files {
    pub(super) fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>, second: i64) -> Self {
        self.0.insert(path.into(), (content.into(), second));
        self
    }

    fn entries(&self) -> Vec<Given> {
        let mut entries: BTreeMap<PathBuf, Entry> = BTreeMap::new();
        for (path, (content, second)) in &self.0 {
            for above in path.ancestors().skip(1).filter(|above| above.file_name().is_some()) {
                entries.entry(above.to_path_buf()).or_insert_with(|| directory(above));
            }
            entries.insert(path.clone(), file_at(path, content.clone(), *second));
        }
        // By components, as the order of `Path` is: what is in a directory comes right behind it.
        entries.into_values().map(Ok).collect()
    }

    /// What a point of it must give back, as hashes.
    pub(super) fn content(&self) -> BTreeMap<PathBuf, BlobId> {
        self.0.iter().map(|(path, (content, _))| (path.clone(), BlobId::of(content))).collect()
    }
}

fn metadata(second: i64) -> Metadata {
    let time = Timestamp::new(second, 0).ok();
    Metadata { mode: Some(0o644), mtime: time, atime: time, ctime: time, inode: 7, links: 1, ..Metadata::default() }
}

fn name(path: &Path) -> &std::ffi::OsStr {
    path.file_name().unwrap_or_default()
}

/// A directory.
pub(super) fn directory(path: impl AsRef<Path>) -> Entry {
    let path = path.as_ref();
    let mode = Some(1 << 31 | 0o755);
    let node = node::named(name(path), NodeType::Dir, Metadata { mode, ..metadata(0) });
    Entry { path: path.to_path_buf(), node, content: None }
}

/// A file that was changed at this second.
pub(super) fn file_at(path: impl AsRef<Path>, content: impl Into<Vec<u8>>, second: i64) -> Entry {
    let content = content.into();
    let size = content.len() as u64;
    read_by(path, size, second, move || Ok(Box::new(Cursor::new(content))))
}

/// A file.
pub(super) fn file(path: impl AsRef<Path>, content: impl Into<Vec<u8>>) -> Entry {
    file_at(path, content, 0)
}

/// A file with this size that is opened so.
pub(super) fn read_by(
    path: impl AsRef<Path>,
    size: u64,
    second: i64,
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static,
) -> Entry {
    with_content(path, size, second, Some(Content::new(open)))
}

/// A file with this size and content.
pub(super) fn with_content(path: impl AsRef<Path>, size: u64, second: i64, content: Option<Content>) -> Entry {
    let path = path.as_ref();
    let node = node::named(name(path), NodeType::File, Metadata { size, ..metadata(second) });
    Entry { path: path.to_path_buf(), node, content }
}

/// Gives some bytes, and then this error, or breaks off.
pub(super) struct Failing {
    pub(super) bytes: Cursor<Vec<u8>>,
    pub(super) error: Option<io::ErrorKind>,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.bytes.read(buffer)?, self.error) {
            (0, Some(kind)) => Err(kind.into()),
            (0, None) => panic!("on purpose"),
            (read, _) => Ok(read),
        }
    }
}

/// Gives bytes on and on, and counts them.
pub(super) struct Long {
    pub(super) state: u64,
    /// How many bytes there are.
    pub(super) length: u64,
    pub(super) given: Arc<AtomicU64>,
}

impl Read for Long {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given.fetch_add(buffer.len() as u64, Ordering::Relaxed) >= self.length {
            return Ok(0);
        }
        fill(&mut self.state, buffer);
        Ok(buffer.len())
    }
}

/// Fills with bytes that do not compress (splitmix64).
fn fill(state: &mut u64, buffer: &mut [u8]) {
    for bytes in buffer.chunks_mut(8) {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = *state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (word ^ (word >> 31)).to_le_bytes();
        bytes.copy_from_slice(&word[..bytes.len()]);
    }
}

/// Bytes that do not compress, other ones for each seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill(&mut seed.wrapping_mul(0x1234_5678_9abc_def1), &mut bytes);
    bytes
}
