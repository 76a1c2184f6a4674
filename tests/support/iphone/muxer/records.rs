//! The pairing records of a muxer, and the name of its machine.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Where records are kept, one file a device.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
    buid: String,
}

impl Records {
    pub(super) fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        Self { folder: folder.to_path_buf(), buid: Uuid::new_v4().to_string().to_uppercase() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `SystemBUID`.
    pub(super) fn buid(&self) -> &str {
        &self.buid
    }

    pub(super) fn read(&self, udid: &str) -> Option<Vec<u8>> {
        fs::read(self.file(udid)?).ok()
    }

    pub(super) fn save(&self, udid: &str, record: &[u8]) -> bool {
        self.file(udid).is_some_and(|file| fs::write(file, record).is_ok())
    }

    pub(super) fn delete(&self, udid: &str) -> bool {
        self.file(udid).is_some_and(|file| fs::remove_file(file).is_ok())
    }

    fn file(&self, udid: &str) -> Option<PathBuf> {
        let is_plain = !udid.is_empty() && udid.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        is_plain.then(|| self.folder.join(format!("{udid}.plist")))
    }
}
