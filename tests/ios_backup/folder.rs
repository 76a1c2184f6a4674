//! A backup as a folder, however it came to be one, and what must be in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Rig;
use super::support::iphone::backup::file_id;

/// The files below a directory, by their paths, with their contents.
pub fn read(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

impl Rig {
    /// What restic brings back of a point.
    pub fn restored(&self, snapshot: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let target = self.env.path(format!("restored-{snapshot}"));
        drop(fs::remove_dir_all(&target));
        self.env.restic(["restore", snapshot, "--target", target.to_str().unwrap()]).code(0);
        read(&target.join(self.phone.udid()))
    }

    /// Nothing of a session is on the disk any more.
    pub fn assert_nothing_is_left(&self) {
        let staging = self.env.path("cache/staging/ios.phone");
        assert!(!staging.exists(), "{:?}", fs::read_dir(&staging).map(|entries| entries.count()));
    }

    /// A point holds everything that is on the phone, and nothing else.
    pub fn assert_holds_the_phone(&self, snapshot: &str) {
        let mut files = self.restored(snapshot);
        for name in ["Info.plist", "Manifest.db", "Manifest.plist", "Status.plist"] {
            assert!(files.remove(Path::new(name)).is_some(), "no {name}");
        }
        for (domain, path, entry) in self.phone.backup.files().iter() {
            let Some(content) = entry.content() else { continue };
            let id = file_id(domain, path).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let body = files.remove(&Path::new(&id[..2]).join(&id));
            assert_eq!(body.as_deref(), Some(&*content.bytes()), "{domain} {path}");
        }
        assert_eq!(files.keys().collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }
}
