//! The tree of a point, for reading.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bytes::Bytes;

use super::Node;
use crate::timeline::Point;

/// The tree of a point. Cheap to clone; holds the store's index in memory.
///
/// What it gives is **hostile**: names may be `..`, contain `/`, or stand twice in a directory.
#[derive(Debug, Clone)]
pub struct SavedTree {
    point: Point,
}

/// A node with its path inside the snapshot: `/etc/hosts`. The path's last name is the node's, unchecked.
#[derive(Debug, Clone)]
pub struct SavedNode {
    /// Where it is in the tree.
    pub path: PathBuf,
    /// What it is.
    pub node: Node,
}

impl SavedTree {
    /// The point it belongs to.
    pub fn point(&self) -> &Point {
        &self.point
    }

    /// The paths that were backed up, as restic shows them.
    pub fn roots(&self) -> &[PathBuf] {
        &[]
    }

    /// The node at `path`; `/` is a directory node without a name. `None` if there is none. Links are not followed.
    pub fn find(&self, _path: &Path) -> Result<Option<Node>> {
        anyhow::bail!("not built yet")
    }

    /// What is in a directory node, in the stored order; empty for other nodes.
    pub fn children(&self, _directory: &Node) -> Result<Vec<Node>> {
        anyhow::bail!("not built yet")
    }

    /// Everything from `path` downwards, `path` itself first, parents before children, directories in stored order.
    pub fn walk(&self, _path: &Path) -> Result<Box<dyn Iterator<Item = Result<SavedNode>> + Send + '_>> {
        anyhow::bail!("not built yet")
    }

    /// The sizes in bytes of the pieces a file's content is stored in, in order; their sum is its real size.
    pub fn piece_sizes(&self, _file: &Node) -> Result<Vec<u64>> {
        anyhow::bail!("not built yet")
    }

    /// Reads the content of one file in order; every piece was checked against its id.
    pub fn read(&self, _file: &Node) -> Result<Box<dyn Iterator<Item = Result<Bytes>> + Send + '_>> {
        anyhow::bail!("not built yet")
    }

    /// Reads the content of many files in the order that suits the store, several packs at a time.
    ///
    /// Each piece is checked against its id and given to `write` with the index of the file in `files`, and its offset in bytes. `write` is called
    /// from several threads, pieces in any order. The first error of `write` or of the store ends it.
    pub fn read_many(&self, _files: &[&Node], _write: &(dyn Fn(usize, u64, &[u8]) -> Result<()> + Sync)) -> Result<()> {
        anyhow::bail!("not built yet")
    }
}
