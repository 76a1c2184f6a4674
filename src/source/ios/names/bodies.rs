//! Where the contents of a backup's files are in the store: which blobs each of them has, found when they are asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::chain;
use crate::source::ios::manifest::FileId;
use crate::store::SavedTree;
use crate::store::format::BlobId;

/// The blobs of each file whose id begins with one byte.
type Folder = Result<HashMap<FileId, Box<[BlobId]>>, String>;

/// The 256 folders with the contents.
pub(super) struct Bodies {
    saved: SavedTree,
    /// The tree of each folder; a backup need not have all.
    trees: HashMap<u8, BlobId>,
    read: Mutex<HashMap<u8, Arc<Folder>>>,
}

impl Bodies {
    /// `folders` are the names and trees in the folder of the backup.
    pub(super) fn new(saved: SavedTree, folders: impl Iterator<Item = (Vec<u8>, BlobId)>) -> Self {
        let trees = folders.filter_map(|(name, tree)| {
            let name = std::str::from_utf8(&name).ok().filter(|name| name.len() == 2)?;
            Some((u8::from_str_radix(name, 16).ok()?, tree))
        });
        Self { saved, trees: trees.collect(), read: Mutex::default() }
    }

    /// The blobs of a file.
    pub(super) fn find(&self, id: &FileId) -> Found {
        let folder = self.folder(id.0[0]);
        match &*folder {
            Err(why) => Found::Unreadable(why.clone()),
            Ok(folder) => folder.get(id).map_or(Found::Missing, |blobs| Found::Here(blobs.to_vec())),
        }
    }

    fn folder(&self, number: u8) -> Arc<Folder> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(read.entry(number).or_insert_with(|| Arc::new(self.read_folder(number))))
    }

    fn read_folder(&self, number: u8) -> Folder {
        let Some(tree) = self.trees.get(&number) else { return Ok(HashMap::new()) };
        let known = self.saved.known(tree).map_err(|error| {
            let why = format!("the folder {number:02x} of the backup cannot be read: {}", chain(&error));
            // Told once; it is said again of each file whose content is wanted.
            tracing::error!("{why}");
            why
        })?;
        let blobs = known.into_iter().filter_map(|known| {
            let id = FileId::parse(std::str::from_utf8(known.name()).ok()?)?;
            Some((id, known.content()?.into()))
        });
        Ok(blobs.collect())
    }
}

/// What is known of the content of a file.
#[derive(Debug)]
pub(super) enum Found {
    Here(Vec<BlobId>),
    /// It is not in the backup.
    Missing,
    /// The store cannot tell.
    Unreadable(String),
}
