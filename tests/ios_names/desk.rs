//! A store with points of a device, each made of a folder that `make.py` wrote.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use holdall::config::{FilesConfig, LeaveOut, SourceCommon, StoreConfig};
use holdall::monitor::Silent;
use holdall::secret::Secret;
use holdall::source::files::Files;
use holdall::source::{Entries, Item, OpenOptions, Source, Tree};
use holdall::store::{SaveOptions, Store};
use serde_json::{Value, json};

use crate::support::env::TestEnv;

pub(crate) const UDID: &str = "00008110-000000000000001E";

/// The password of the encrypted backups.
pub(crate) const PASSWORD: &str = "käse and bread";

pub(crate) struct Desk {
    pub(crate) env: TestEnv,
    store: Store,
    made: RefCell<i64>,
}

impl Desk {
    /// A configuration without any source: points need none.
    pub(crate) fn new() -> Self {
        Self::configured("")
    }

    pub(crate) fn configured(rest: &str) -> Self {
        let env = TestEnv::with_store_and(rest);
        env.write_secret("backup.password", PASSWORD);
        env.write_secret("wrong.password", "wrong");
        let config = StoreConfig {
            repository: env.store().to_str().unwrap().to_owned(),
            password: Secret::file(env.password_file()),
            options: Default::default(),
            secret_options: Default::default(),
        };
        let store = Store::open(&config, Arc::new(Silent)).unwrap();
        Self { env, store, made: RefCell::default() }
    }

    /// Makes a folder as specified and saves it as a point of `ios.phone`, a minute after the one before. Returns the folder.
    pub(crate) fn point(&self, specification: &Value) -> PathBuf {
        let folder = self.folder(specification);
        self.save(&folder);
        folder
    }

    /// Makes a folder as specified.
    pub(crate) fn folder(&self, specification: &Value) -> PathBuf {
        *self.made.borrow_mut() += 1;
        let folder = self.env.path(format!("folder-{}/{UDID}", self.made.borrow()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ios_names/make.py");
        let mut command = self.env.command("python3");
        let mut python = command.arg(script).arg(&folder).stdin(Stdio::piped()).spawn().unwrap();
        python.stdin.take().unwrap().write_all(specification.to_string().as_bytes()).unwrap();
        assert!(python.wait().unwrap().success());
        folder
    }

    /// Saves a folder as a point of `ios.phone`.
    pub(crate) fn save(&self, folder: &Path) {
        let above = folder.parent().unwrap().to_path_buf();
        let common = SourceCommon { name: "folder".into(), every: None, max_age: None, allow_empty: false };
        let config = FilesConfig { common, paths: vec![above.clone()], leave_out: LeaveOut::default() };
        let source = Files::new(&config, &[]).unwrap();
        let tree = source.open(&source.items().unwrap()[0], &OpenOptions::default(), &Silent).unwrap();
        let paths = vec![Path::new("/").join(folder.file_name().unwrap())];
        let item = Item { id: "ios.phone".into(), source: "ios.phone".into(), paths };
        let time = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(*self.made.borrow());
        let options = SaveOptions { time, ..SaveOptions::default() };
        let saved = self.store.save(&item, Box::new(Lifted { tree, above }), &options, &Silent).unwrap();
        assert_eq!(saved.problems, []);
    }

    /// A path of the environment as an argument.
    pub(crate) fn at(&self, name: &str) -> String {
        self.env.path(name).to_str().unwrap().to_owned()
    }

    /// Nothing is left in the temporary directory, and nothing but what belongs there in the cache.
    pub(crate) fn assert_nothing_left(&self) {
        let names = |directory: &str| -> Vec<String> {
            let entries = fs::read_dir(self.env.path(directory)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        assert_eq!(names("tmp"), [""; 0]);
        assert!(!names("cache").iter().any(|name| name.starts_with("manifest")), "{:?}", names("cache"));
    }
}

/// A tree whose root is a directory further down.
struct Lifted {
    tree: Box<dyn Tree>,
    above: PathBuf,
}

impl Tree for Lifted {
    fn entries(&self) -> Entries {
        let above = self.above.clone();
        Box::new(self.tree.entries().filter_map(move |entry| match entry {
            Ok(mut entry) => {
                let path = entry.path.strip_prefix(&above).ok().filter(|path| path.parent().is_some())?;
                entry.path = Path::new("/").join(path);
                Some(Ok(entry))
            }
            problem => Some(problem),
        }))
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.tree.finish()
    }
}

/// A file of a specification.
pub(crate) fn file(domain: &str, path: &str, text: &str) -> Value {
    json!({"domain": domain, "path": path, "text": text})
}

/// A directory of a specification, for its owner only.
pub(crate) fn directory(domain: &str, path: &str) -> Value {
    json!({"domain": domain, "path": path, "kind": "directory", "mode": 0o700})
}

/// A link of a specification.
pub(crate) fn link(domain: &str, path: &str, target: &str) -> Value {
    json!({"domain": domain, "path": path, "kind": "link", "target": target, "mode": 0o755})
}

/// The same, with another value under one key.
pub(crate) fn with(mut file: Value, key: &str, value: impl Into<Value>) -> Value {
    file[key] = value.into();
    file
}

/// What a small phone has.
pub(crate) fn small() -> Vec<Value> {
    vec![
        directory("CameraRollDomain", ""),
        directory("CameraRollDomain", "Media"),
        directory("CameraRollDomain", "Media/DCIM"),
        with(file("CameraRollDomain", "Media/DCIM/IMG_0001.JPG", "first photo"), "mode", 0o600),
        file("CameraRollDomain", "Media/DCIM/Größe ✓.JPG", "second photo"),
        link("CameraRollDomain", "Media/latest", "DCIM/IMG_0001.JPG"),
        directory("HomeDomain", ""),
        file("HomeDomain", "Library/empty", ""),
        with(file("HomeDomain", "Library/notes.txt", &"many blocks of text, ".repeat(300_000)), "mtime", 1_600_000_000),
    ]
}
