//! A backup as a tree for the store: the folder as Finder and iTunes have it, `/UDID/ab/ab12…`.
//!
//! What was there in the point before, and what came and is in the store already, is named by its pieces and not read. Modes are always the same, and times are those of
//! arrival, so that a folder in which nothing happened is the same tree.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::manifest::FileId;
use super::overlay::{Overlay, Stowed};
use super::place::NAMED;
use crate::source::{Content, Entries, Entry, Problem, Tree};
use crate::store::{Metadata, NodeType, node};

const DIRECTORY: u32 = 0o040_700;
const FILE: u32 = 0o100_600;

/// A finished backup.
#[derive(Debug)]
pub(super) struct Backup {
    folder: Arc<Overlay>,
    ids: Arc<[FileId]>,
    problems: Vec<Problem>,
}

impl Backup {
    /// The backup in this folder; the problems are what is missing of it.
    pub(super) fn new(folder: Overlay, problems: Vec<Problem>) -> Self {
        let ids = folder.ids().into();
        Self { folder: Arc::new(folder), ids, problems }
    }
}

impl Tree for Backup {
    fn entries(&self) -> Entries {
        let top = Path::new("/").join(self.folder.udid());
        let newest = |stowed: Option<&Stowed>| stowed.map_or(0, |stowed| stowed.modified);
        let above = directory(top.clone(), newest(self.folder.named("Status.plist")));
        let (folder, ids, below) = (Arc::clone(&self.folder), Arc::clone(&self.ids), top.clone());
        let hashed = (0..=u8::MAX).flat_map(move |byte| hashed(&folder, &ids, &below, byte));
        let (folder, problems) = (Arc::clone(&self.folder), self.problems.clone());
        let named = NAMED.into_iter().filter_map(move |name| Some(file(top.join(name), folder.named(name)?)));
        // Digits come before capital letters, and those before small ones: folders whose names begin with a letter come last.
        let mut folders = hashed.peekable();
        let mut named = named.peekable();
        let is_before = |one: &Entry, other: &Entry| one.path.as_os_str() < other.path.as_os_str();
        let merged = std::iter::from_fn(move || match (folders.peek(), named.peek()) {
            (Some(folder), Some(name)) if is_before(name, folder) => named.next(),
            (Some(_), _) => folders.next(),
            (None, _) => named.next(),
        });
        Box::new(std::iter::once(above).chain(merged).map(Ok).chain(problems.into_iter().map(Err)))
    }

    fn size(&self) -> Option<u64> {
        let bodies = self.ids.iter().filter_map(|id| self.folder.body(id));
        let named = NAMED.iter().filter_map(|name| self.folder.named(name));
        Some(bodies.chain(named).map(Stowed::size).fold(0, u64::saturating_add))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// The folder of the contents whose names begin with a byte, and what is in it; nothing when it is empty.
fn hashed(folder: &Arc<Overlay>, ids: &Arc<[FileId]>, top: &Path, byte: u8) -> impl Iterator<Item = Entry> + use<> {
    let begin = ids.partition_point(|id| id.0[0] < byte);
    let end = ids.partition_point(|id| id.0[0] <= byte);
    let path = top.join(format!("{byte:02x}"));
    let bodies = ids[begin..end].iter().filter_map(|id| folder.body(id));
    let newest = bodies.map(|stowed| stowed.modified).max().unwrap_or(0);
    let above = (begin < end).then(|| directory(path.clone(), newest));
    let (folder, ids) = (Arc::clone(folder), Arc::clone(ids));
    let files = (begin..end).filter_map(move |at| Some(file(path.join(ids[at].to_string()), folder.body(&ids[at])?)));
    above.into_iter().chain(files)
}

fn directory(path: PathBuf, modified: i64) -> Entry {
    entry(path, NodeType::Dir, DIRECTORY, 0, modified, None)
}

fn file(path: PathBuf, stowed: &Stowed) -> Entry {
    let content = match (stowed.blobs(), stowed.staged()) {
        (Some(blobs), _) => Content::Stored(blobs.to_vec()),
        (None, Some(staged)) => {
            let staged = Arc::clone(staged);
            Content::new(move || Ok(Box::new(staged.open()?)))
        }
        (None, None) => Content::Stored(Vec::new()),
    };
    entry(path, NodeType::File, FILE, stowed.size(), stowed.modified, Some(content))
}

fn entry(path: PathBuf, kind: NodeType, mode: u32, size: u64, modified: i64, content: Option<Content>) -> Entry {
    let time = node::timestamp(modified.div_euclid(1_000_000_000), modified.rem_euclid(1_000_000_000));
    let meta = Metadata {
        mode: Some(node::mode_to_node(mode)),
        mtime: time,
        atime: time,
        ctime: time,
        uid: Some(0),
        gid: Some(0),
        size,
        ..Metadata::default()
    };
    let name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    Entry { node: node::named(&name, kind, meta), path, content }
}
