//! Restores a tree out of a real store over a real server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::config::{FilesConfig, SourceCommon, StoreConfig};
use crate::extract::Watch;
use crate::monitor::Silent;
use crate::secret::Secret;
use crate::source::Source;
use crate::source::files::Files;
use crate::source::ssh::only_sftp::testing::Server;
use crate::store::{SaveOptions, Store};
use crate::timeline::Timeline;

/// A tree, and a point that it was saved as.
struct Lab {
    directory: TempDir,
    saved: SavedTree,
    server: Server,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join("source").join(name);
        fs::create_dir_all(at("dir/deep")).unwrap();
        let long: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for (name, content) in [("dir/deep/-new\nline", &b"x"[..]), ("empty", b""), ("long", &long), ("program", b"#!")]
        {
            fs::write(at(name), content).unwrap();
        }
        fs::hard_link(at("program"), at("second name")).unwrap();
        symlink("/nowhere/'\n", at("link")).unwrap();
        fs::set_permissions(at("program"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(at("dir"), fs::Permissions::from_mode(0o1500)).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for name in ["dir/deep", "dir/deep/-new\nline", "program"] {
            fs::File::open(at(name)).unwrap().set_modified(old).unwrap();
        }
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(at("long"), Some(1234), Some(4321)).unwrap();
        }
        let saved = save(directory.path());
        Self { directory, saved, server: Server::start() }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("target")
    }

    fn restore(&self, options: &RestoreOptions) -> Result<Extracted> {
        restore(&self.server.sftp, &self.saved, &self.target(), options, &Silent)
    }

    /// Where the tree is in the target.
    fn restored(&self) -> PathBuf {
        below_target(&self.target(), &self.directory.path().join("source"))
    }
}

fn below_target(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

fn save(directory: &Path) -> SavedTree {
    let config = StoreConfig {
        repository: directory.join("store").display().to_string(),
        password: Secret::literal("x"),
        options: BTreeMap::new(),
        secret_options: BTreeMap::new(),
    };
    let store = Store::init(&config, Arc::new(Silent)).unwrap();
    let files = FilesConfig {
        common: SourceCommon { name: "x".into(), every: None, max_age: None, allow_empty: false },
        paths: vec![directory.join("source")],
        leave_out: crate::config::LeaveOut::default(),
    };
    let files = Files::new(&files, &[]).unwrap();
    let item = files.items().unwrap().remove(0);
    let tree = files.open(&item, &crate::source::OpenOptions::default(), &Silent).unwrap();
    store.save(&item, tree, &SaveOptions::default(), &Silent).unwrap();
    store.tree(&store.points().unwrap()[0]).unwrap()
}

/// Everything below a directory: mode, owner, time in seconds, and content or target.
fn everything(root: &Path) -> BTreeMap<PathBuf, (u32, u32, u32, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let found = path.symlink_metadata().unwrap();
        let content = if found.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if found.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else {
            fs::read(&path).unwrap()
        };
        // The time of a link is the one at which it was made.
        let time = if found.is_symlink() { 0 } else { found.mtime() };
        let name = path.strip_prefix(root).unwrap().to_path_buf();
        all.insert(name, (found.mode(), found.uid(), found.gid(), time, content));
    }
    all
}

#[test]
fn tree_comes_back_and_what_is_right_already_is_left() {
    let lab = Lab::new();
    let done = lab.restore(&RestoreOptions { verify: true, ..RestoreOptions::default() }).unwrap();
    assert!(everything(&lab.restored()) == everything(&lab.directory.path().join("source")));
    assert_eq!((done.files, done.others, done.unchanged, done.unrestored), (5, 1, 0, 0), "{:?}", done.problems);
    assert_eq!(done.bytes, 3_000_005);
    let warned: Vec<_> = done.problems.iter().map(|problem| problem.path.file_name().unwrap()).collect();
    assert_eq!(warned, ["second name"]);

    // A second time only what was changed since.
    fs::write(lab.restored().join("empty"), "not").unwrap();
    fs::set_permissions(lab.restored().join("long"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(lab.restored().join("link")).unwrap();
    symlink("elsewhere", lab.restored().join("link")).unwrap();
    fs::write(lab.restored().join("own"), "kept").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let watcher = Arc::clone(&told);
    let watch = Watch::new(move |action| {
        let name = action.path.file_name().unwrap().to_string_lossy().into_owned();
        watcher.lock().unwrap().push(format!("{}{name}", action.change.letter()));
        Ok(())
    });
    let options = RestoreOptions { overwrite: true, watch: Some(watch), ..RestoreOptions::default() };
    assert!(lab.restore(&RestoreOptions { overwrite: false, ..options.clone() }).is_err());
    let done = lab.restore(&options).unwrap();
    assert_eq!((done.files, done.unchanged, done.unrestored), (1, 4, 0), "{:?}", done.problems);
    let told: Vec<String> = told.lock().unwrap().iter().filter(|told| !told.ends_with("source")).cloned().collect();
    assert_eq!(told, ["Mempty", "Mlink", "Ulong"]);
    fs::remove_file(lab.restored().join("own")).unwrap();
    let (mut now, mut before) = (everything(&lab.restored()), everything(&lab.directory.path().join("source")));
    // Its time changed with the file that was removed from it.
    assert!(now.remove(Path::new("")).is_some() && before.remove(Path::new("")).is_some());
    assert!(now == before);
}

#[test]
fn dry_run_changes_nothing_and_a_part_is_restored_alone() {
    let lab = Lab::new();
    let done = lab.restore(&RestoreOptions { dry_run: true, ..RestoreOptions::default() }).unwrap();
    assert_eq!((done.files, done.bytes), (5, 3_000_005));
    assert!(!lab.target().exists());
    let path = Some(lab.directory.path().join("source/dir"));
    lab.restore(&RestoreOptions { path, ..RestoreOptions::default() }).unwrap();
    let names: Vec<PathBuf> = everything(&lab.restored()).into_keys().collect();
    assert_eq!(names, ["", "dir", "dir/deep", "dir/deep/-new\nline"].map(PathBuf::from));
}

#[test]
fn link_in_the_target_is_replaced_and_never_followed() {
    let lab = Lab::new();
    let outside = lab.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("long"), "mine").unwrap();
    fs::create_dir_all(lab.restored()).unwrap();
    symlink(&outside, lab.restored().join("dir")).unwrap();
    symlink(outside.join("long"), lab.restored().join("long")).unwrap();
    let done = lab.restore(&RestoreOptions { overwrite: true, ..RestoreOptions::default() }).unwrap();
    assert_eq!(done.unrestored, 0, "{:?}", done.problems);
    assert!(everything(&lab.restored()) == everything(&lab.directory.path().join("source")));
    assert_eq!(everything(&outside).len(), 2);
    assert_eq!(fs::read(outside.join("long")).unwrap(), b"mine");
}

#[test]
fn directory_in_the_place_of_a_file_is_kept_and_told() {
    let lab = Lab::new();
    fs::create_dir_all(lab.restored().join("empty")).unwrap();
    let done = lab.restore(&RestoreOptions { overwrite: true, ..RestoreOptions::default() }).unwrap();
    assert_eq!((done.unrestored, done.files), (1, 4));
    assert!(lab.restored().join("empty").is_dir());
}
