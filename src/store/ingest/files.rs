//! The files of the repository, and the copies of some of them in the cache: read from the one or the other, written to both.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use rustic_core::{FileType, Id, ReadBackend, WriteBackend};

use crate::store::gate::Gate;
use crate::store::{Store, cache, explain};

/// The store's files, with the cache if there is one.
pub(super) struct Files {
    gate: Arc<Gate>,
    cache: Option<PathBuf>,
}

impl Files {
    pub(super) fn of(store: &Store) -> Self {
        Self { gate: Arc::clone(&store.gate), cache: store.cache.clone() }
    }

    /// The files of a kind that are in the store.
    pub(super) fn list(&self, kind: FileType) -> Result<Vec<Id>> {
        self.gate.list(kind).map_err(|error| explain(*error))
    }

    /// A file: from the cache if it is there and `is_right`, else from the store, and then the cache has it too.
    pub(super) fn read(&self, kind: FileType, id: &Id, is_right: impl FnOnce(&[u8]) -> bool) -> Result<Bytes> {
        let cached = self.cache.as_ref().and_then(|cache| fs::read(cache::path(cache, kind, id)).ok());
        if let Some(content) = cached
            && is_right(&content)
        {
            return Ok(content.into());
        }
        let content = self.gate.read_full(kind, id).map_err(|error| explain(*error))?;
        self.put(kind, id, &content);
        Ok(content)
    }

    /// Writes a file into the store, and a copy of it into the cache when it `is_cached`.
    pub(super) fn write(&self, kind: FileType, id: &Id, content: Bytes, is_cached: bool) -> Result<()> {
        // First, since the store lets go of the content before it is done with it. What the store then does not take nobody will ask the cache for.
        if is_cached {
            self.put(kind, id, &content);
        }
        self.gate.write_bytes(kind, id, is_cached, content.into()).map_err(|error| explain(*error))
    }

    fn put(&self, kind: FileType, id: &Id, content: &[u8]) {
        if let Some(cache) = &self.cache {
            cache::put(cache, kind, id, content);
        }
    }
}
