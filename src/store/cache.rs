//! The cache of a repository: disposable, and believed only as far as it is right.
//!
//! rustic_core keeps indexes, snapshots and packs of trees there and believes what it finds if its length is right. After a loss
//! of power that may be zero bytes, and then each run would take the store for damaged. The name of every file is the SHA-256 of
//! its content: what does not fit goes, and is fetched again when it is needed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustic_core::{FileType, Id};

use super::format::BlobId;

/// Removes from the cache of a repository what is not what its name says.
///
/// Without a word of what cannot be read or removed: rustic_core passes it over, or says so.
pub(super) fn drop_damaged(cache: &Path, kinds: &[FileType]) {
    for kind in kinds {
        drop_below(&cache.join(kind.dirname()));
    }
}

/// Where rustic_core looks for a file in the cache of a repository.
pub(super) fn path(cache: &Path, kind: FileType, id: &Id) -> PathBuf {
    let hex = id.to_hex();
    cache.join(kind.dirname()).join(&hex.as_str()[..2]).join(hex.as_str())
}

/// Keeps a file that goes into the store, so that it need not be fetched when it is wanted again.
///
/// Without a word of what cannot be written: it will be fetched.
pub(super) fn put(cache: &Path, kind: FileType, id: &Id, content: &[u8]) {
    let path = path(cache, kind, id);
    let Some(directory) = path.parent() else { return };
    let written = fs::create_dir_all(directory)
        .and_then(|()| tempfile::NamedTempFile::new_in(directory))
        .and_then(|mut file| file.write_all(content).map(|()| file))
        .and_then(|file| file.persist(&path).map_err(|error| error.error));
    if let Err(error) = written {
        tracing::debug!("cannot keep {} in the cache: {error}", path.display());
    }
}

fn drop_below(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            drop_below(&path);
        } else if fs::read(&path).is_ok_and(|content| entry.file_name() != *BlobId::of(&content).to_string()) {
            tracing::debug!("removing {} from the cache: it is damaged", path.display());
            drop(fs::remove_file(&path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_what_its_name_says_goes() {
        let cache = tempfile::tempdir().unwrap();
        let directory = cache.path().join("index/e3");
        fs::create_dir_all(&directory).unwrap();
        let of_nothing = directory.join("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let wrong = directory.join("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856");
        fs::write(&of_nothing, "").unwrap();
        fs::write(&wrong, "").unwrap();
        drop_damaged(cache.path(), &[FileType::Index, FileType::Pack]);
        assert!(of_nothing.exists() && !wrong.exists());
    }
}
