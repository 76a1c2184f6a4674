//! The tree of a point, for reading.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rustic_core::repofile::{BlobType, SnapshotFile};
use rustic_core::{BlobId, DataId, Id, IndexedFullStatus, Repository};

use super::ahead::Ahead;
use super::format::parent::{self, Known};
use super::view::{Decode, Decoded, Lens, Stored, View, are_same};
use super::{Metadata, Node, NodeType, explain, format};
use crate::timeline::Point;

/// How many pieces are read at the same time: enough to hide the latency of an object store.
pub(super) const READERS: usize = 8;

/// The tree of a point. Cheap to clone; holds the store's index in memory.
///
/// What it gives is **hostile**: names may be `..`, contain `/`, or stand twice in a directory.
#[derive(Clone)]
pub struct SavedTree {
    repository: Arc<Repository<IndexedFullStatus>>,
    point: Point,
    root: Node,
    roots: Vec<PathBuf>,
    /// What it is looked at through; `None`: as it is stored.
    lens: Option<Lens>,
}

/// A node with its path inside the snapshot: `/etc/hosts`. The path's last name is the node's, unchecked.
#[derive(Debug, Clone)]
pub struct SavedNode {
    /// Where it is in the tree.
    pub path: PathBuf,
    /// What it is.
    pub node: Node,
}

/// Takes a piece of content: the index of its file, its offset there in bytes, and the bytes.
pub type Write<'w> = dyn Fn(usize, u64, &[u8]) -> Result<()> + Sync + 'w;

/// A piece with the places it belongs to: index of the file, offset in bytes.
type Wanted = (DataId, Vec<(usize, u64)>);

impl std::fmt::Debug for SavedTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SavedTree").field("point", &self.point).finish_non_exhaustive()
    }
}

impl SavedTree {
    pub(super) fn load(repository: Repository<IndexedFullStatus>, point: Point) -> Result<Self> {
        Self::of(Arc::new(repository), point)
    }

    /// The tree of another point of the same store, without reading the index once more.
    pub fn beside(&self, point: &Point) -> Result<Self> {
        Self::of(Arc::clone(&self.repository), point.clone())
    }

    fn of(repository: Arc<Repository<IndexedFullStatus>>, point: Point) -> Result<Self> {
        let mut snapshots: Vec<SnapshotFile> = repository
            .get_snapshots(&[&point.id])
            .map_err(|error| explain(*error))
            .with_context(|| format!("read snapshot {}", point.short_id()))?;
        let snapshot = snapshots.pop().with_context(|| format!("snapshot {} is not there", point.short_id()))?;
        let mut root =
            Node::new_node(OsStr::new(""), NodeType::Dir, Metadata { mode: Some(0o755), ..Metadata::default() });
        root.subtree = Some(snapshot.tree);
        let roots = snapshot.paths.iter().map(PathBuf::from).collect();
        Ok(Self { repository, point, root, roots, lens: None })
    }

    /// The same point, as a view shows it.
    #[must_use]
    pub fn seen_as(&self, view: Arc<dyn View>) -> Self {
        let lens = Lens::new(view);
        let mut root = self.root.clone();
        root.subtree = Some(lens.id(0));
        Self { root, roots: vec![PathBuf::from("/")], lens: Some(lens), ..self.clone() }
    }

    /// The point it belongs to.
    pub fn point(&self) -> &Point {
        &self.point
    }

    /// The paths that were backed up, as restic shows them.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The node at `path`; `/` is a directory node without a name. `None` if there is none. Links are not followed.
    pub fn find(&self, path: &Path) -> Result<Option<Node>> {
        let mut node = self.root.clone();
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    match self.children(&node)?.into_iter().find(|child| *child.name() == *name) {
                        Some(child) => node = child,
                        None => return Ok(None),
                    }
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// What is in a directory node, in the stored order; empty for other nodes.
    pub fn children(&self, directory: &Node) -> Result<Vec<Node>> {
        if let Some(lens) = &self.lens {
            return lens.children(directory);
        }
        match directory.subtree {
            Some(id) if directory.is_dir() => {
                let tree = self.repository.get_tree(&id).map_err(|error| explain(*error));
                Ok(tree.with_context(|| format!("read the saved directory `{}`", directory.name))?.nodes)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What is in a saved directory as it is compared with what a source has now: in less time and memory than [`SavedTree::children`].
    pub fn known(&self, tree: &format::BlobId) -> Result<Vec<Known>> {
        let blob = BlobId::from(Id::from(*tree));
        let read = self.repository.get_blob_cached(&blob, BlobType::Tree).map_err(|error| explain(*error));
        parent::parse(&read.with_context(|| format!("read tree {blob}"))?)
    }

    /// The tree of the root; a view has none.
    pub fn root_tree(&self) -> Option<format::BlobId> {
        self.root.subtree.filter(|_| self.lens.is_none()).map(|tree| format::BlobId::from(*tree))
    }

    /// Everything from `path` downwards, `path` itself first, parents before children, directories in stored order.
    ///
    /// A directory that cannot be read from the store is an error in its place; the walk goes on behind it.
    ///
    /// # Errors
    ///
    /// When there is nothing at `path`.
    pub fn walk(&self, path: &Path) -> Result<Box<dyn Iterator<Item = Result<SavedNode>> + Send>> {
        let node = self.find(path)?.with_context(|| format!("there is no {} in this point", path.display()))?;
        let start = SavedNode { path: path.to_path_buf(), node };
        Ok(Box::new(Walk { tree: self.clone(), stack: vec![vec![start].into_iter()] }))
    }

    /// Whether the size in a node is that of its content, unless something is damaged. What a device says of its files it may have said a moment too early.
    pub fn has_exact_sizes(&self) -> bool {
        self.lens.is_none()
    }

    /// The sizes in bytes of the pieces a file's content comes in, in order; their sum is its real size.
    pub fn piece_sizes(&self, file: &Node) -> Result<Vec<u64>> {
        let sizes = self.stored_sizes(file)?;
        Ok(self.decoder_of(file, &sizes)?.map_or(sizes, |decoder| vec![decoder.size()]))
    }

    /// The pieces that a file is stored in, in order, each with its size in bytes: as stored, whatever a view shows.
    pub fn pieces(&self, file: &Node) -> Result<Vec<(format::BlobId, u64)>> {
        pieces(file).iter().map(|id| Ok((format::BlobId::from(**id), self.piece_size(id)?))).collect()
    }

    fn stored_sizes(&self, file: &Node) -> Result<Vec<u64>> {
        pieces(file).iter().map(|id| self.piece_size(id)).collect()
    }

    /// What the stored bytes of a file have to go through; `None`: nothing.
    fn decoder(&self, file: &Node) -> Result<Option<Box<dyn Decode>>> {
        if self.lens.is_none() { Ok(None) } else { self.decoder_of(file, &self.stored_sizes(file)?) }
    }

    fn decoder_of(&self, file: &Node, sizes: &[u64]) -> Result<Option<Box<dyn Decode>>> {
        self.lens.as_ref().map_or(Ok(None), |lens| lens.decoder(file, &Content { tree: self, file, sizes }))
    }

    fn piece_size(&self, id: &DataId) -> Result<u64> {
        let entry = self.repository.get_index_entry(id).map_err(|error| explain(*error))?;
        Ok(u64::from(entry.data_length()))
    }

    /// Reads the content of one file in order, some of it ahead; every piece was checked against its id.
    pub fn read(&self, file: &Node) -> Result<Box<dyn Iterator<Item = Result<Bytes>> + Send + '_>> {
        let pieces = self.read_ahead(pieces(file).iter().map(|id| format::BlobId::from(**id)).collect());
        Ok(match self.decoder(file)? {
            Some(decoder) => Box::new(Decoded { pieces, decoder, is_over: false }),
            None => Box::new(pieces),
        })
    }

    /// Reads what is stored in these pieces, in order, some of them ahead; every piece was checked against its id.
    pub fn read_ahead(&self, blobs: Vec<format::BlobId>) -> Ahead {
        Ahead::new(self.clone(), blobs)
    }

    /// Reads one piece, and checks it against its id.
    pub(super) fn stored(&self, blob: &format::BlobId) -> Result<Bytes> {
        self.piece(&DataId::from(Id::from(*blob)))
    }

    /// Whether two files with other blobs have the same content all the same: what is enciphered anew is stored anew. Reads both, where they have to be deciphered.
    pub fn shows_same(&self, file: &Node, other: &Self, other_file: &Node) -> Result<bool> {
        let is_plain = self.decoder(file)?.is_none() && other.decoder(other_file)?.is_none();
        if is_plain || self.piece_sizes(file)? != other.piece_sizes(other_file)? {
            return Ok(false);
        }
        are_same(self.read(file)?, other.read(other_file)?)
    }

    fn piece(&self, id: &DataId) -> Result<Bytes> {
        let blob = BlobId::from(*id);
        let read = self.repository.get_blob_cached(&blob, BlobType::Data).map_err(|error| explain(*error));
        let bytes = read.with_context(|| format!("read piece {id}"))?;
        // The cipher's authentication says the bytes are ours, not that they are the ones this id names.
        ensure!(
            format::BlobId::of(&bytes) == format::BlobId::from(**id),
            "piece {id} has other content than its id says"
        );
        Ok(bytes)
    }

    /// Reads the content of many files in the order that suits the store, several pieces at a time.
    ///
    /// Each piece is checked against its id and given to `write` with the index of the file in `files`, and its offset in bytes. `write` is called
    /// from several threads, pieces in any order. The first error of `write` or of the store ends it.
    pub fn read_many(&self, files: &[&Node], write: &Write<'_>) -> Result<()> {
        let (mut plain, mut decoded) = (Vec::new(), Vec::new());
        for (index, file) in files.iter().enumerate() {
            if self.decoder(file)?.is_some() { decoded.push((index, *file)) } else { plain.push((index, *file)) }
        }
        in_parallel(&self.in_store_order(&plain)?, |(id, places)| {
            let bytes = self.piece(id)?;
            places.iter().try_for_each(|&(file, offset)| write(file, offset, &bytes))
        })?;
        // What has to go through a decoder has to come in order.
        decoded.sort_by_cached_key(|(_, file)| self.place(file));
        in_parallel(&decoded, |(index, file)| {
            let mut offset = 0;
            for piece in self.read(file)? {
                let piece = piece?;
                write(*index, offset, &piece)?;
                offset += piece.len() as u64;
            }
            Ok(())
        })
    }

    /// Where the content of a file begins in the store: its pack, and the offset there.
    fn place(&self, file: &Node) -> Option<impl Ord + use<>> {
        let entry = self.repository.get_index_entry(pieces(file).first()?).ok()?;
        Some((entry.pack, entry.location.offset))
    }

    /// Every different piece of the files with the places it belongs to, sorted by pack and offset.
    fn in_store_order(&self, files: &[(usize, &Node)]) -> Result<Vec<Wanted>> {
        let mut places: HashMap<DataId, Vec<(usize, u64)>> = HashMap::new();
        for (index, file) in files {
            let mut offset = 0;
            for id in pieces(file) {
                places.entry(*id).or_default().push((*index, offset));
                offset += self.piece_size(id)?;
            }
        }
        let mut wanted = Vec::with_capacity(places.len());
        for (id, places) in places {
            let entry = self.repository.get_index_entry(&id).map_err(|error| explain(*error))?;
            wanted.push(((entry.pack, entry.location.offset), id, places));
        }
        wanted.sort_unstable_by_key(|(place, ..)| *place);
        Ok(wanted.into_iter().map(|(_, id, places)| (id, places)).collect())
    }
}

/// Does several of these at a time, begun in their order. The first error ends it.
fn in_parallel<J: Sync>(jobs: &[J], work: impl Fn(&J) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..READERS.min(jobs.len()) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    if let Err(error) = work(job) {
                        stop.store(true, Ordering::Relaxed);
                        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn pieces(file: &Node) -> &[DataId] {
    file.content.as_deref().unwrap_or_default()
}

/// The content of a file in the store.
struct Content<'t> {
    tree: &'t SavedTree,
    file: &'t Node,
    sizes: &'t [u64],
}

impl Stored for Content<'_> {
    fn size(&self) -> u64 {
        self.sizes.iter().copied().fold(0, u64::saturating_add)
    }

    fn last(&self, bytes: usize) -> Result<Vec<u8>> {
        let mut last = Vec::new();
        for piece in pieces(self.file).iter().rev() {
            if last.len() >= bytes {
                break;
            }
            last.splice(..0, self.tree.piece(piece)?);
        }
        Ok(last.split_off(last.len().saturating_sub(bytes)))
    }
}

struct Walk {
    tree: SavedTree,
    /// What is left of each directory on the way down.
    stack: Vec<std::vec::IntoIter<SavedNode>>,
}

impl Iterator for Walk {
    type Item = Result<SavedNode>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = loop {
            match self.stack.last_mut()?.next() {
                Some(found) => break found,
                None => {
                    self.stack.pop();
                }
            }
        };
        if found.node.is_dir() {
            match self.tree.children(&found.node) {
                Ok(children) => {
                    // Pushed as bytes: `Path::join` would let a name that begins with `/` replace the whole path.
                    let path = |node: &Node| {
                        let mut path = found.path.clone().into_os_string();
                        if path.as_encoded_bytes() != b"/" {
                            path.push("/");
                        }
                        path.push(node.name());
                        PathBuf::from(path)
                    };
                    let below: Vec<SavedNode> =
                        children.into_iter().map(|node| SavedNode { path: path(&node), node }).collect();
                    self.stack.push(below.into_iter());
                }
                Err(error) => {
                    return Some(Err(error.context(format!("read {}", found.path.display()))));
                }
            }
        }
        Some(Ok(found))
    }
}
