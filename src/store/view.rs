//! Another way to see a saved tree: other names over the same blobs, deciphered on the way where that is needed.
//!
//! What a [`View`] shows are nodes like those of a tree, so that whoever reads trees reads views, too. They carry a number where a stored node has the id of its
//! tree; a mark drawn at random keeps the numbers of different views apart, and from real ids.

use std::ffi::OsString;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use rustic_core::repofile::Node;
use rustic_core::{Id, TreeId};

use super::format::BlobId;
use super::{Metadata, NodeType, node};

/// Shows the tree of a point as something else than what is stored.
pub trait View: Send + Sync {
    /// What is in the directory of this number, sorted by name; 0 is the root. The names are as **hostile** as those of a stored tree.
    fn children(&self, directory: u64) -> Result<Vec<Seen>>;

    /// What becomes of the stored content of the file of this number; `None`: it is shown as it is.
    ///
    /// # Errors
    ///
    /// When the content cannot be read at all.
    fn decoder(&self, file: u64, stored: &dyn Stored) -> Result<Option<Box<dyn Decode>>>;
}

/// One entry of a [`View`].
#[derive(Debug)]
pub struct Seen {
    /// Its name, unchecked.
    pub name: OsString,
    /// What it is.
    pub node_type: NodeType,
    /// Mode, times, size.
    pub meta: Metadata,
    /// What the view knows it by: directories and files are numbered apart.
    pub number: u64,
    /// The blobs of a file.
    pub content: Option<Vec<BlobId>>,
}

/// The stored content of a file, for whoever has to know how long it is before it is read.
pub trait Stored {
    /// How many bytes it has.
    fn size(&self) -> u64;

    /// The last bytes of it, fewer only when it has fewer.
    ///
    /// # Errors
    ///
    /// When they cannot be read from the store.
    fn last(&self, bytes: usize) -> Result<Vec<u8>>;
}

/// Makes of the stored content of one file what is shown of it, from its beginning to its end.
pub trait Decode: Send {
    /// How many bytes it will be.
    fn size(&self) -> u64;

    /// Takes the next stored bytes, and gives what they make.
    fn decode(&mut self, stored: &[u8]) -> Result<Vec<u8>>;

    /// The stored content has ended.
    ///
    /// # Errors
    ///
    /// When it should not have, yet.
    fn finish(&mut self) -> Result<()>;
}

/// A view in use.
#[derive(Clone)]
pub(super) struct Lens {
    view: Arc<dyn View>,
    mark: u128,
}

impl Lens {
    pub(super) fn new(view: Arc<dyn View>) -> Self {
        Self { view, mark: rand::random() }
    }

    /// What stands in a node for the directory or file of this number.
    pub(super) fn id(&self, number: u64) -> TreeId {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&self.mark.to_be_bytes());
        id[16..24].copy_from_slice(&number.to_be_bytes());
        TreeId::from(Id::new(id))
    }

    fn number(&self, node: &Node) -> Option<u64> {
        let BlobId(id) = BlobId::from(*node.subtree?);
        let (mark, rest) = id.split_first_chunk::<16>()?;
        let number = rest.first_chunk::<8>()?;
        (*mark == self.mark.to_be_bytes()).then(|| u64::from_be_bytes(*number))
    }

    pub(super) fn children(&self, directory: &Node) -> Result<Vec<Node>> {
        let Some(number) = self.number(directory).filter(|_| directory.is_dir()) else { return Ok(Vec::new()) };
        let children = self.view.children(number)?.into_iter();
        let seen = |seen: Seen| {
            let mut node = node::named(&seen.name, seen.node_type, seen.meta);
            node.subtree = Some(self.id(seen.number));
            node.content = seen.content.map(|blobs| blobs.into_iter().map(|blob| Id::from(blob).into()).collect());
            node
        };
        Ok(children.map(seen).collect())
    }

    pub(super) fn decoder(&self, file: &Node, stored: &dyn Stored) -> Result<Option<Box<dyn Decode>>> {
        self.number(file).map_or(Ok(None), |number| self.view.decoder(number, stored))
    }
}

/// The pieces of a content, decoded.
pub(super) struct Decoded<I> {
    pub(super) pieces: I,
    pub(super) decoder: Box<dyn Decode>,
    /// Whether the last piece has come.
    pub(super) is_over: bool,
}

impl<I: Iterator<Item = Result<Bytes>>> Iterator for Decoded<I> {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let piece = match self.pieces.next() {
            Some(piece) => piece.and_then(|piece| self.decoder.decode(&piece)).map(Bytes::from),
            None => {
                self.is_over = true;
                return self.decoder.finish().err().map(Err);
            }
        };
        self.is_over = piece.is_err();
        Some(piece)
    }
}

/// Whether two contents are the same, however they are cut into pieces.
pub(super) fn are_same(
    mut a: impl Iterator<Item = Result<Bytes>>,
    mut b: impl Iterator<Item = Result<Bytes>>,
) -> Result<bool> {
    let (mut left, mut right) = (Bytes::new(), Bytes::new());
    loop {
        for (piece, pieces) in [(&mut left, &mut a as &mut dyn Iterator<Item = _>), (&mut right, &mut b)] {
            while piece.is_empty() {
                match pieces.next() {
                    Some(next) => *piece = next?,
                    None => break,
                }
            }
        }
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left.split_to(length) != right.split_to(length) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_compared_across_their_pieces() {
        let same = |a: &[&'static str], b: &[&'static str]| {
            let pieces = |pieces: &[&'static str]| {
                let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
                pieces.into_iter()
            };
            are_same(pieces(a), pieces(b)).unwrap()
        };
        assert!(same(&["ab", "", "c"], &["a", "bc", ""]));
        assert!(same(&[], &[""]));
        for (a, b) in [(&["ab"][..], &["abc"][..]), (&["abc"], &["ab"]), (&["abc"], &["abd"]), (&[], &["a"])] {
            assert!(!same(a, b), "{a:?} {b:?}");
        }
    }
}
