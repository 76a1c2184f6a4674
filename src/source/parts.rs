//! A tree that is put together from several: texts, directories of this machine, archives, and what commands print.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::{Content, Entries, Entry, Problem};
use crate::store::{Metadata, Node, NodeType, node};

/// A part of a tree.
pub(crate) trait Part: Send + Sync {
    /// What there is, first of all at `at`, then below it, in the order of a tree.
    fn entries(&self, at: &Path) -> Entries;

    /// The sum of the sizes of its files in bytes, when it can be told.
    fn size(&self) -> Option<u64>;

    /// Whether it is nothing of the source itself, but a text about it.
    fn is_text(&self) -> bool {
        false
    }
}

/// Several parts, each at its place in the snapshot. No place is below another one.
#[derive(Default)]
pub(crate) struct Parts(BTreeMap<PathBuf, std::sync::Arc<dyn Part>>);

impl Parts {
    /// Puts a part at an absolute path of plain names.
    pub(crate) fn put(&mut self, at: impl Into<PathBuf>, part: impl Part + 'static) {
        self.0.insert(at.into(), std::sync::Arc::new(part));
    }

    /// All entries, with the directories above the parts.
    pub(crate) fn entries(&self) -> Entries {
        let mut last = PathBuf::from("/");
        let parts = self.0.clone();
        Box::new(parts.into_iter().flat_map(move |(at, part)| {
            let above = above(&at, &last);
            last.clone_from(&at);
            let entries = part.entries(&at);
            above.into_iter().map(Ok).chain(entries)
        }))
    }

    /// How many of the parts are texts about the others.
    pub(crate) fn texts(&self) -> u64 {
        self.0.values().filter(|part| part.is_text()).count() as u64
    }

    /// The sum of the sizes of all files in bytes, when all parts can tell theirs.
    pub(crate) fn size(&self) -> Option<u64> {
        self.0.values().map(|part| part.size()).try_fold(0, |sum: u64, size| Some(sum.saturating_add(size?)))
    }
}

/// The directories above `at` that are not above `last`, which came before it.
fn above(at: &Path, last: &Path) -> Vec<Entry> {
    let mut above: Vec<&Path> =
        at.ancestors().skip(1).filter(|path| path.file_name().is_some() && !last.starts_with(path)).collect();
    above.reverse();
    above.into_iter().map(directory).collect()
}

/// A directory that is nowhere but in the snapshot.
fn directory(path: &Path) -> Entry {
    let name = path.file_name().unwrap_or_default();
    Entry { path: path.to_path_buf(), node: made_up(name, NodeType::Dir, 0o040_755, 0), content: None }
}

/// The node of something that is nowhere but in the snapshot. It has no time of its status, so that it is never taken for unchanged.
fn made_up(name: &OsStr, node_type: NodeType, mode: u32, size: u64) -> Node {
    let epoch = node::timestamp(0, 0);
    let meta = Metadata {
        mode: Some(node::mode_to_node(mode)),
        mtime: epoch,
        atime: epoch,
        uid: Some(0),
        gid: Some(0),
        size,
        ..Metadata::default()
    };
    node::named(name, node_type, meta)
}

/// A file of this text, which nobody but root may read.
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Text {
    /// What an engine says of something, as people can read it.
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
        text.push(b'\n');
        Self(text)
    }
}

impl Part for Text {
    fn entries(&self, at: &Path) -> Entries {
        let text = self.0.clone();
        let node = made_up(at.file_name().unwrap_or_default(), NodeType::File, 0o100_600, text.len() as u64);
        // Not of a known size: one that is as long as before has neither a time nor an inode to tell that it is another one.
        let content = Content::unsized_stream(move || Ok(Box::new(Cursor::new(text))));
        Box::new(std::iter::once(Ok(Entry { path: at.to_path_buf(), node, content: Some(content) })))
    }

    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// A file whose content `open` gives; how much it is shows at its end.
pub(crate) struct Output<F>(pub(crate) F);

impl<F: Fn() -> Content + Send + Sync> Part for Output<F> {
    fn entries(&self, at: &Path) -> Entries {
        let node = made_up(at.file_name().unwrap_or_default(), NodeType::File, 0o100_600, 0);
        Box::new(std::iter::once(Ok(Entry { path: at.to_path_buf(), node, content: Some((self.0)()) })))
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

/// Nothing but a reason why there is nothing.
pub(crate) struct Missing(pub(crate) Problem);

impl Part for Missing {
    fn entries(&self, _at: &Path) -> Entries {
        Box::new(std::iter::once(Err(self.0.clone())))
    }

    fn size(&self) -> Option<u64> {
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_above_the_parts_come_once_and_before_them() {
        let mut parts = Parts::default();
        for at in ["/volumes/b/data", "/container.json", "/volumes/a/volume.json", "/volumes/b.c/data", "/volumes/b/x"]
        {
            parts.put(at, Text(b"four".to_vec()));
        }
        let paths: Vec<String> = parts.entries().map(|entry| entry.unwrap().path.display().to_string()).collect();
        assert_eq!(
            paths,
            [
                "/container.json",
                "/volumes",
                "/volumes/a",
                "/volumes/a/volume.json",
                "/volumes/b",
                "/volumes/b/data",
                "/volumes/b/x",
                "/volumes/b.c",
                "/volumes/b.c/data",
            ]
        );
        assert_eq!(parts.size(), Some(20));
    }
}
