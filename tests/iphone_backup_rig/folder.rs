//! What lies in the folder that a client has stored a backup in.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::iphone::backup::{Files, file_id};

/// The folder of one phone.
pub fn in_folder(folder: &Path, udid: &str) -> PathBuf {
    folder.join(udid)
}

/// All files below a folder, by their paths in it.
pub fn stored(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, below: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, all);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                all.insert(name, fs::read(path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

/// Where the body of a file lies in the folder of its phone.
pub fn place(domain: &str, path: &str) -> String {
    let id: String = file_id(domain, path).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}/{id}", &id[..2])
}

/// Asserts that a folder holds the bodies of all these files in plain text, and nothing else but what is always there.
#[track_caller]
pub fn holds_everything(root: &Path, files: &Files) {
    let mut stored = stored(root);
    stored.remove("Info.plist");
    for name in ["Status.plist", "Manifest.plist", "Manifest.db"] {
        assert!(stored.remove(name).is_some(), "{name}");
    }
    let contents =
        files.iter().filter_map(|(domain, path, entry)| Some((place(domain, path), entry.content()?.bytes())));
    let expected: BTreeMap<String, Vec<u8>> = contents.collect();
    assert!(stored.keys().eq(expected.keys()), "{:?} {:?}", stored.keys(), expected.keys());
    for (name, bytes) in &expected {
        assert!(stored[name] == *bytes, "{name}");
    }
}
