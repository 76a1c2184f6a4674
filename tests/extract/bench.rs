//! A store to restore from, and what the tests look at afterwards.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use holdall::config::{FilesConfig, LeaveOut, SourceCommon, StoreConfig};
use holdall::extract::{Extracted, Layout, RestoreOptions, extract};
use holdall::monitor::Silent;
use holdall::secret::Secret;
use holdall::source::files::Files;
use holdall::source::{OpenOptions, Severity, Source};
use holdall::store::{SaveOptions, SavedTree, Store};
use holdall::timeline::{Point, Timeline};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse";

/// A directory with an empty store in `repository`, and room beside it.
pub(crate) struct Bench {
    place: TempDir,
    pub(crate) config: StoreConfig,
    /// Kept open: each opening stretches the password anew, which takes most of a test.
    pub(crate) store: Store,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let password = place.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let config = StoreConfig {
            repository: place.path().join("repository").to_str().unwrap().to_owned(),
            password: Secret::file(password),
            options: Default::default(),
            secret_options: Default::default(),
        };
        let store = Store::init(&config, Arc::new(Silent)).unwrap();
        Self { place, config, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Backs up a directory as `files.test`.
    pub(crate) fn back_up(&self, directory: &Path) -> SavedTree {
        let source = files(directory);
        let item = source.items().unwrap().remove(0);
        let tree = source.open(&item, &OpenOptions::default(), &Silent).unwrap();
        let store = &self.store;
        // Each point a minute after the one before it.
        let count = i64::try_from(store.points().unwrap().len()).unwrap();
        let time = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(count);
        let options = SaveOptions { time, ..SaveOptions::default() };
        let saved = store.save(&item, tree, &options, &Silent).unwrap();
        assert_eq!(saved.problems, []);
        let points = store.points().unwrap();
        store.tree(points.iter().find(|point| point.id == saved.snapshot).unwrap()).unwrap()
    }

    /// The point that was made last.
    pub(crate) fn newest(&self) -> Point {
        self.store.points().unwrap().pop().unwrap()
    }

    /// Flips the bits of one byte in the middle of the largest pack.
    pub(crate) fn damage_largest_pack(&self) {
        let mut packs = Vec::new();
        find_files(&self.path("repository/data"), &mut packs);
        let largest = packs.into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
        let length = fs::metadata(&largest).unwrap().len();
        fs::set_permissions(&largest, fs::Permissions::from_mode(0o600)).unwrap();
        let pack = File::options().read(true).write(true).open(&largest).unwrap();
        let mut byte = [0];
        pack.read_exact_at(&mut byte, length / 2).unwrap();
        pack.write_all_at(&[!byte[0]], length / 2).unwrap();
    }
}

/// Bytes that no compression makes fewer.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn find_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { find_files(&path, found) } else { found.push(path) }
    }
}

pub(crate) fn files(directory: &Path) -> Files {
    let common = SourceCommon { name: "test".into(), every: None, max_age: None, allow_empty: false };
    let config = FilesConfig { common, paths: vec![directory.to_path_buf()], leave_out: LeaveOut::default() };
    Files::new(&config, &[]).unwrap()
}

pub(crate) fn restore(saved: &SavedTree, target: &Path, options: &RestoreOptions) -> Extracted {
    extract(saved, target, Layout::WholePath, options, &Silent).unwrap()
}

/// Restores the content of `directory` into `target`.
pub(crate) fn restore_below(saved: &SavedTree, directory: &Path, target: &Path, options: &RestoreOptions) -> Extracted {
    let options = RestoreOptions { path: Some(directory.to_path_buf()), ..options.clone() };
    extract(saved, target, Layout::Contents, &options, &Silent).unwrap()
}

pub(crate) fn overwriting() -> RestoreOptions {
    RestoreOptions { overwrite: true, ..RestoreOptions::default() }
}

/// Every path below a directory, sorted.
pub(crate) fn everything(below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut ahead = vec![below.to_path_buf()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path().strip_prefix(below).unwrap().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                ahead.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn unread(extracted: &Extracted) -> Vec<&Path> {
    let unread = extracted.problems.iter().filter(|problem| problem.severity == Severity::Unread);
    unread.map(|problem| problem.path.as_path()).collect()
}

/// A file system that is mounted until it is dropped. Needs root, as the machines have on which these tests run.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Self {
        let status = run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]);
        assert!(status, "mount a tmpfs");
        Self(at.to_path_buf())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}
