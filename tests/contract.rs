//! What every driver must keep, asserted of each in the same words. A new driver adds one line to `drivers`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;
#[path = "contract/timelines.rs"]
mod timelines;

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use holdall::config::{
    Connect, DockerConfig, EngineConfig, FilesConfig, Hold, HoldConfig, IosConfig, LeaveOut, NameGlob, ReadFrom,
    SourceCommon, SshConfig, SshHostKey, SshLogin,
};
use holdall::monitor::Silent;
use holdall::source::docker::Docker;
use holdall::source::files::Files;
use holdall::source::ios::Ios;
use holdall::source::ssh::Ssh;
use holdall::source::{Content, Entry, Item, OpenOptions, Readiness, Source, Tree};
use support::dockerd::Dockerd;
use support::iphone::backup::{self, file_id};
use support::iphone::{Phone, Settings, Trust};
use support::sshd::{KeyType, Sshd};

/// A driver over a tree that `TREE` describes, with whatever it needs kept alive.
struct Fixture {
    kind: &'static str,
    source: Box<dyn Source>,
    /// Where the tree is inside the snapshot.
    root: PathBuf,
    /// Where a file of the tree is below that, if not under its own path.
    place: Option<fn(&str) -> PathBuf>,
    _world: Box<dyn Any>,
}

/// Every file of the tree with its content.
const TREE: [(&str, &str); 6] = [
    ("a/deep/er/file", "deep"),
    ("a/empty", ""),
    ("a.txt", "after the directory a, which is shorter"),
    ("b\nnewline", "odd name"),
    ("z/1", "one"),
    ("z/10", "ten"),
];

fn drivers() -> Vec<Fixture> {
    let machines = [Sshd::builder(), Sshd::builder().only_programs(PLAIN), Sshd::builder().sftp_only()];
    let volumes = [ReadFrom::Direct, ReadFrom::Api].map(docker);
    [files(), ios()].into_iter().chain(machines.map(|machine| ssh(machine.start()))).chain(volumes).collect()
}

/// Makes the tree of `TREE` below a directory, in one of its own.
fn grow(world: &Path) -> PathBuf {
    let root = world.join("tree");
    plant(&root);
    root
}

/// Makes the tree of `TREE` in a directory.
fn plant(root: &Path) {
    for (path, content) in TREE {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    symlink("../outside", root.join("z/link")).unwrap();
}

fn common() -> SourceCommon {
    SourceCommon { name: "test".into(), every: None, max_age: None, allow_empty: false }
}

fn files() -> Fixture {
    let world = tempfile::tempdir().unwrap();
    let root = grow(world.path());
    let config = FilesConfig { common: common(), paths: vec![root.clone()], leave_out: LeaveOut::default() };
    let source = Box::new(Files::new(&config, &[]).unwrap());
    Fixture { kind: "files", source, root, place: None, _world: Box::new(world) }
}

/// What a machine has that lacks GNU's find and tar: the same programs, but tar.
const PLAIN: &[&str] = &["sh", "find", "xargs", "stat", "readlink", "cat", "id", "uname", "dd", "ls"];

fn ssh(server: Sshd) -> Fixture {
    // Where every user of the server may look.
    let world = tempfile::tempdir().unwrap();
    fs::set_permissions(world.path(), Permissions::from_mode(0o755)).unwrap();
    let root = grow(world.path());
    let login = SshLogin {
        host: "127.0.0.1".into(),
        port: server.port,
        user: server.user.clone(),
        host_key: SshHostKey::Fingerprint(server.fingerprint(KeyType::Ed25519)),
        key_file: Some(server.key_file()),
        passphrase: None,
        agent: false,
        password: None,
        jump: None,
        connect_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(60),
    };
    let config = SshConfig {
        common: common(),
        login,
        sudo: false,
        optional: false,
        paths: vec![root.clone()],
        leave_out: LeaveOut::default(),
        before: Vec::new(),
        after: Vec::new(),
        dumps: Vec::new(),
    };
    let source = Box::new(Ssh::new(&config).unwrap());
    Fixture { kind: "ssh", source, root, place: None, _world: Box::new((world, server)) }
}

fn docker(read: ReadFrom) -> Fixture {
    let engine = Dockerd::start();
    engine.docker(["volume", "create", "data"]);
    plant(&engine.volume("data"));
    let name = |text: &str| NameGlob { text: text.to_owned(), glob: None };
    let config = DockerConfig {
        common: common(),
        engine: EngineConfig { host: Some(engine.host()), tls: None },
        volumes: vec![name("data")],
        containers: Vec::new(),
        images: Vec::new(),
        exclude: Vec::new(),
        hold: HoldConfig { hold: Hold::None, stop_timeout: None, start_timeout: Duration::ZERO, honors_offen: false },
        read,
        dumps: Vec::new(),
    };
    Fixture {
        kind: "docker",
        source: Box::new(Docker::new(&config, &[])),
        root: "/data".into(),
        place: None,
        _world: Box::new(engine),
    }
}

/// A phone whose files are those of `TREE`, reached without a muxer.
fn ios() -> Fixture {
    let mut files = backup::Files::default();
    for (path, content) in TREE {
        files.add(DOMAIN, path, content.as_bytes().to_vec());
    }
    let start = backup::Start { files, ..backup::Start::default() };
    let phone = Phone::start(Settings { wifi: true, backup: start, ..Settings::default() });
    phone.set(|state| state.trust = Trust::Accepted);
    let world = tempfile::tempdir().unwrap();
    let pair = Command::new("idevicepair").arg("pair").env("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd()).output().unwrap();
    assert!(pair.status.success(), "{pair:?}");
    let record = format!("{}.plist", phone.udid());
    fs::copy(phone.muxer().records().join(&record), world.path().join(&record)).unwrap();
    fs::set_permissions(world.path().join(&record), Permissions::from_mode(0o600)).unwrap();
    let address = phone.lockdown().unwrap();
    let config = IosConfig {
        common: common(),
        udid: phone.udid().to_owned(),
        connect: Connect::Network,
        address: Some((address.ip().to_string(), address.port())),
        credentials: Some(world.path().to_path_buf()),
        encryption_password: None,
        staging: Some(world.path().join("staging")),
        idle_timeout: Duration::from_secs(60),
    };
    Fixture {
        kind: "ios",
        source: Box::new(Ios::new(&config, Path::new("config.toml"))),
        root: Path::new("/").join(phone.udid()),
        place: Some(hashed),
        _world: Box::new((world, phone)),
    }
}

const DOMAIN: &str = "HomeDomain";

/// Where a backup of a phone has the content of a file.
fn hashed(path: &str) -> PathBuf {
    let id: String = file_id(DOMAIN, path).iter().map(|byte| format!("{byte:02x}")).collect();
    Path::new(&id[..2]).join(&id)
}

impl Fixture {
    /// Where a file of the tree is inside the snapshot.
    fn place(&self, path: &str) -> PathBuf {
        self.root.join(self.place.map_or_else(|| path.into(), |place| place(path)))
    }

    /// The entries of the tree that was grown: a driver may say something about it beside.
    fn grown(&self) -> Vec<Entry> {
        self.entries().into_iter().filter(|entry| entry.path.starts_with(&self.root)).collect()
    }

    fn item(&self) -> Item {
        self.source.items().unwrap().into_iter().next().unwrap()
    }

    fn tree(&self) -> Box<dyn Tree> {
        self.source.open(&self.item(), &OpenOptions::default(), &Silent).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        self.tree().entries().map(|entry| entry.unwrap()).collect()
    }
}

fn text(entry: Entry) -> (PathBuf, Vec<u8>) {
    let mut text = Vec::new();
    let Some(Content::Read(opener) | Content::Unsized(opener)) = entry.content else {
        panic!("{} has nothing to read", entry.path.display())
    };
    opener.open().unwrap().read_to_end(&mut text).unwrap();
    (entry.path, text)
}

#[test]
fn ready_source_says_so_and_names_its_items_after_itself() {
    for fixture in drivers() {
        assert_eq!(fixture.source.preflight().unwrap(), Readiness::Ready, "{}", fixture.kind);
        for item in fixture.source.items().unwrap() {
            assert_eq!(item.source, format!("{}.test", fixture.kind));
            assert!(item.id == item.source || item.id.starts_with(&format!("{}/", item.source)), "{}", item.id);
            assert!(item.paths.iter().all(|path| path.is_absolute()), "{:?}", item.paths);
        }
    }
}

#[test]
fn parents_come_first_and_names_of_a_directory_in_byte_order() {
    for fixture in drivers() {
        let mut directories: HashSet<PathBuf> = HashSet::from(["/".into()]);
        let mut last: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for entry in fixture.entries() {
            let parent = entry.path.parent().unwrap().to_path_buf();
            assert!(directories.contains(&parent), "{}: {} before its parent", fixture.kind, entry.path.display());
            let name = PathBuf::from(entry.path.file_name().unwrap());
            assert_eq!(entry.node.name(), name.as_os_str(), "{}", fixture.kind);
            if let Some(before) = last.insert(parent, name.clone()) {
                assert!(before.as_os_str() < name.as_os_str(), "{}: {name:?} after {before:?}", fixture.kind);
            }
            if entry.node.is_dir() {
                directories.insert(entry.path);
            }
        }
    }
}

#[test]
fn entries_of_one_directory_are_not_interrupted_by_those_of_another() {
    for fixture in drivers() {
        let mut open: Vec<PathBuf> = Vec::new();
        let mut closed: HashSet<PathBuf> = HashSet::new();
        for entry in fixture.entries() {
            while open.last().is_some_and(|directory| !entry.path.starts_with(directory)) {
                closed.extend(open.pop());
            }
            assert!(
                !closed.iter().any(|path| entry.path.starts_with(path)),
                "{}: {}",
                fixture.kind,
                entry.path.display()
            );
            if entry.node.is_dir() {
                open.push(entry.path);
            }
        }
    }
}

#[test]
fn paths_are_plain_and_lead_to_the_root_of_the_item_or_below_it() {
    for fixture in drivers() {
        for entry in fixture.grown() {
            let related = entry.path.starts_with(&fixture.root) || fixture.root.starts_with(&entry.path);
            assert!(related && entry.path.is_absolute(), "{}: {}", fixture.kind, entry.path.display());
        }
    }
}

#[test]
fn contents_open_in_any_order_and_on_other_threads() {
    for fixture in drivers() {
        let tree = fixture.tree();
        let grown = |entry: &Entry| entry.node.is_file() && entry.path.starts_with(&fixture.root);
        let mut files: Vec<Entry> = tree.entries().map(|entry| entry.unwrap()).filter(grown).collect();
        files.reverse();
        let threads: Vec<_> = files.into_iter().map(|entry| std::thread::spawn(|| text(entry))).collect();
        let mut read: BTreeMap<PathBuf, Vec<u8>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let expected: BTreeMap<PathBuf, Vec<u8>> =
            TREE.iter().map(|(path, text)| (fixture.place(path), text.as_bytes().to_vec())).collect();
        // A phone's backup has files of its own beside them.
        read.retain(|path, _| fixture.place.is_none() || expected.contains_key(path));
        assert_eq!(read, expected, "{}", fixture.kind);
    }
}

#[test]
fn content_and_listed_size_agree_and_only_files_have_content() {
    for fixture in drivers() {
        let tree = fixture.tree();
        for entry in tree.entries().map(|entry| entry.unwrap()) {
            assert_eq!(entry.content.is_some(), entry.node.is_file(), "{}: {}", fixture.kind, entry.path.display());
            let listed = entry.node.meta.size;
            let read = if entry.node.is_file() { text(entry).1.len() as u64 } else { 0 };
            assert_eq!(read, listed, "{}", fixture.kind);
        }
    }
}

#[test]
fn size_that_is_told_is_right() {
    for fixture in drivers() {
        let files = fixture.entries().into_iter().filter(|entry| entry.node.is_file());
        let expected: u64 = files.map(|entry| entry.node.meta.size).sum();
        assert!(expected >= TREE.iter().map(|(_, text)| text.len() as u64).sum(), "{}", fixture.kind);
        if let Some(size) = fixture.tree().size() {
            assert_eq!(size, expected, "{}", fixture.kind);
        }
    }
}

#[test]
fn links_are_given_as_links() {
    // In a phone's backup links are in its list of files, and nowhere else.
    for fixture in drivers().into_iter().filter(|fixture| fixture.place.is_none()) {
        let link = fixture.root.join("z/link");
        let entry = fixture.entries().into_iter().find(|entry| entry.path == link).unwrap();
        assert!(entry.node.is_symlink(), "{}", fixture.kind);
        assert_eq!(entry.node.node_type.to_link(), Path::new("../outside"));
    }
}

#[test]
fn two_looks_at_the_same_tree_give_the_same() {
    for fixture in drivers() {
        let tree = fixture.tree();
        let look =
            || tree.entries().map(|entry| entry.map(|entry| (entry.path, entry.node)).unwrap()).collect::<Vec<_>>();
        assert_eq!(look(), look(), "{}", fixture.kind);
        tree.finish().unwrap();
    }
}

#[test]
fn tree_that_is_dropped_half_read_can_be_opened_again() {
    for fixture in drivers() {
        let tree = fixture.tree();
        let first = tree.entries().next().unwrap().unwrap();
        drop(tree);
        assert_eq!(fixture.entries()[0].path, first.path, "{}", fixture.kind);
    }
}
