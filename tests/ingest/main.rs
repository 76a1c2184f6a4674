//! What the ingest engine writes, over random edits and in turn with others: restic finds it whole, it comes back as it was, and every id is
//! that of the bytes it names, cut and written as the test itself does it from the source.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastcdc::v2020::{FastCDC, Normalization};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustic_core::repofile::{BlobType, SnapshotFile};
use rustic_core::{ConfigOptions, IndexedFullStatus, Repository};
use serde_json::Value;
use sha2::{Digest, Sha256};

mod edits;
#[path = "../support/mod.rs"]
mod support;

use edits::{Edit, below, bytes, edits};
use support::env::TestEnv;
use support::fault::finish_ok;
use support::{rustic, tree};

const CONFIG: &str = "[files.x]\npaths = [\"{root}/source\"]\n";

/// A variable that tells restic to write device numbers for hard links alone.
const HARD_LINKS_ONLY: [&str; 2] = ["RESTIC_FEATURES", "device-id-for-hardlinks=true"];

/// What tells whether a file, link or device was changed: type, size, inode, and both times.
type Seen = BTreeMap<PathBuf, (u32, u64, u64, [i64; 4])>;

fn look(source: &Path) -> Seen {
    let seen = below(source).into_iter().filter_map(|path| {
        let stat = path.symlink_metadata().unwrap();
        let times = [stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()];
        (!stat.is_dir()).then(|| (path, (stat.mode() & 0o170_000, stat.size(), stat.ino(), times)))
    });
    seen.collect()
}

/// Saves, and looks that the counts are those that the states of the source say, before and now. Returns the point's id.
fn save_and_count(env: &TestEnv, before: &Seen, now: &Seen) -> String {
    let item = env.run(["backup", "--json"]).code(0).line("item");
    let new = now.keys().filter(|path| !before.contains_key(*path)).count();
    let unmodified = now.iter().filter(|(path, seen)| before.get(*path) == Some(seen)).count();
    let expected = [new, now.len() - new - unmodified, unmodified];
    let found = ["files_new", "files_changed", "files_unmodified"].map(|key| item[key].as_u64().unwrap() as usize);
    assert_eq!(found, expected, "{item}");
    item["snapshot"].as_str().unwrap().to_owned()
}

/// restic and holdall bring this point back as the source is, and restic finds nothing wrong.
fn is_whole(env: &TestEnv, snapshot: &str) {
    is_whole_in(env, snapshot, "");
}

fn is_whole_in(env: &TestEnv, snapshot: &str, part: &str) {
    env.restic(["check", "--read-data"]).code(0).stdout_has("no errors were found");
    comes_back(env, snapshot, &env.source(), part);
}

/// `part` of the source is compared.
fn comes_back(env: &TestEnv, snapshot: &str, source: &Path, part: &str) {
    tree::assert_same(&source.join(part), &env.restored_by_restic(snapshot).join(part));
    let target = env.path(format!("by-us-{snapshot}"));
    env.run(["restore", &format!("files.x@{snapshot}"), "--to", target.to_str().unwrap()]).code(0);
    let restored = target.join(env.source().strip_prefix("/").unwrap());
    tree::assert_same(&source.join(part), &restored.join(part));
    fs::remove_dir_all(target).unwrap();
}

/// The inside of a repository.
struct Inside {
    repository: Repository<IndexedFullStatus>,
    secret: u64,
}

impl Inside {
    fn open(env: &TestEnv) -> Self {
        let config = env.restic(["cat", "config"]).code(0).json();
        let secret = u64::from_str_radix(config["chunker_polynomial"].as_str().unwrap(), 16).unwrap();
        Self { repository: rustic::open(env).to_indexed().unwrap(), secret }
    }

    /// The content of a blob, which is what its id says.
    fn blob(&self, kind: BlobType, id: &str) -> Vec<u8> {
        let content = self.repository.cat_blob(kind, id).unwrap();
        assert_eq!(hash(&content), id);
        content.to_vec()
    }

    fn nodes(&self, tree: &str) -> Vec<Value> {
        let json: Value = serde_json::from_slice(&self.blob(BlobType::Tree, tree)).unwrap();
        json["nodes"].as_array().unwrap().clone()
    }

    /// The tree in which a snapshot has this directory.
    fn tree_of(&self, snapshot: &str, directory: &Path) -> String {
        let snapshots: Vec<SnapshotFile> = self.repository.get_snapshots(&[snapshot]).unwrap();
        let root = snapshots[0].tree.to_hex().as_str().to_owned();
        directory.strip_prefix("/").unwrap().iter().fold(root, |tree, name| {
            let node = self.nodes(&tree).into_iter().find(|node| node["name"] == *name.to_str().unwrap()).unwrap();
            node["subtree"].as_str().unwrap().to_owned()
        })
    }

    /// The saved directory holds what the real one holds, and files are cut where a cutter of the test's own cuts them.
    fn is_as_recomputed(&self, tree: &str, directory: &Path) {
        let nodes = self.nodes(tree);
        let name = |node: &Value| node["name"].as_str().unwrap().to_owned();
        let mut real: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        real.sort();
        assert_eq!(nodes.iter().map(name).collect::<Vec<_>>(), real, "{directory:?}");
        for node in &nodes {
            let path = directory.join(name(node));
            match node["type"].as_str().unwrap() {
                "dir" => self.is_as_recomputed(node["subtree"].as_str().unwrap(), &path),
                "file" => {
                    let content = fs::read(&path).unwrap();
                    let pieces: Vec<&str> =
                        node["content"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
                    assert_eq!(pieces, self.cut(&content), "{path:?}");
                    let stored: Vec<u8> = pieces.iter().flat_map(|id| self.blob(BlobType::Data, id)).collect();
                    assert!(stored == content, "{path:?}");
                }
                _ => assert!(node["content"].is_null()),
            }
        }
    }

    /// The ids of the pieces of a file.
    fn cut(&self, content: &[u8]) -> Vec<String> {
        let (min, average, max) = (512 << 10, 1 << 20, 8 << 20);
        let cutter = FastCDC::with_level_and_seed(content, min, average, max, Normalization::Level1, self.secret);
        cutter.map(|piece| hash(&content[piece.offset..piece.offset + piece.length])).collect()
    }

    /// Two saved directories are the same; in what way depends on the version of restic that wrote the second.
    fn is_written_as_by_restic(&self, ours: &str, by_restic: &str, has_all_devices: bool) {
        if !has_all_devices {
            assert_eq!(ours, by_restic);
            return;
        }
        let [ours, by_restic] = [ours, by_restic].map(|tree| self.nodes(tree));
        assert_eq!(ours.len(), by_restic.len());
        for (ours, by_restic) in ours.iter().zip(&by_restic) {
            // As text: the order of the fields counts as well.
            let [our_text, restic_text] = [ours, by_restic].map(|node| {
                let mut node = node.clone();
                for key in ["device_id", "subtree"] {
                    node.as_object_mut().unwrap().shift_remove(key);
                }
                node.to_string()
            });
            assert_eq!(our_text, restic_text);
            if ours["type"] == "dir" {
                let subtree = |node: &Value| node["subtree"].as_str().unwrap().to_owned();
                self.is_written_as_by_restic(&subtree(ours), &subtree(by_restic), has_all_devices);
            }
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether restic writes the number of the device for every node. Since 0.17 it can be told ([`HARD_LINKS_ONLY`]) to write it for
/// hard links alone, as we do: it may be another one after each start of the machine.
fn writes_all_devices(env: &TestEnv) -> bool {
    let version = env.restic(["version"]).code(0).stdout;
    let minor = version.split_whitespace().nth(1).and_then(|version| version.split('.').nth(1)).unwrap();
    minor.parse::<u32>().unwrap() < 17
}

/// Several rounds of edits, each saved and looked at from all sides.
fn survives(rounds: &[Vec<Edit>]) {
    let [name, value] = HARD_LINKS_ONLY;
    let env = TestEnv::with_store_and(CONFIG).file("first", "x").variable(name, value);
    let source = env.source();
    let mut before = Seen::new();
    let mut snapshot = String::new();
    for edits in rounds {
        edits.iter().for_each(|edit| edit.apply(&source));
        let now = look(&source);
        snapshot = save_and_count(&env, &before, &now);
        is_whole(&env, &snapshot);
        let inside = Inside::open(&env);
        inside.is_as_recomputed(&inside.tree_of(&snapshot, &source), &source);
        before = now;
    }
    let arguments = ["backup", "--json", "--parent", &snapshot, source.to_str().unwrap()];
    let lines = env.restic(arguments).code(0).json_lines();
    let summary = lines.iter().find(|line| line["message_type"] == "summary").unwrap();
    // restic counts no links.
    let files = before.values().filter(|(kind, ..)| *kind == 0o100_000).count();
    let counts = ["files_unmodified", "files_new", "files_changed", "data_blobs"].map(|key| summary[key].as_u64());
    assert_eq!(counts, [Some(files as u64), Some(0), Some(0), Some(0)], "{summary}");
    let inside = Inside::open(&env);
    let by_restic = summary["snapshot_id"].as_str().unwrap();
    let [ours, by_restic] = [&snapshot, by_restic].map(|snapshot| inside.tree_of(snapshot, &source));
    inside.is_written_as_by_restic(&ours, &by_restic, writes_all_devices(&env));
}

/// Does this with so many random cases, the same ones each time.
fn for_cases<S: Strategy>(seed: u8, cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let run = TestRunner::new_with_rng(config, random).run(strategy, |value| {
        test(value);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn random_edits_come_back_with_the_ids_that_they_must_have() {
    for_cases(1, 1, &prop::collection::vec(edits(), 4), |rounds| survives(&rounds));
}

#[test]
fn other_random_edits_come_back_with_the_ids_that_they_must_have() {
    for_cases(2, 1, &prop::collection::vec(edits(), 4), |rounds| survives(&rounds));
}

/// Who saves.
#[derive(Debug, Clone, Copy)]
enum Hand {
    Holdall,
    Restic,
    Rustic,
}

impl Hand {
    /// Makes the repository.
    fn init(self, env: &TestEnv) {
        env.configure(CONFIG);
        match self {
            Self::Holdall => env.onboard_store(),
            Self::Restic => drop(env.restic(["init"]).code(0)),
            Self::Rustic => rustic::init(env, &ConfigOptions::default()),
        }
        env.run(["check"]).code(0);
    }

    /// Saves the source as a point of `files.x`, and returns its id.
    fn backup(self, env: &TestEnv) -> String {
        let tags = "holdall,item=files.x";
        match self {
            Self::Holdall => {
                env.run(["backup", "--json"]).code(0).line("item")["snapshot"].as_str().unwrap().to_owned()
            }
            Self::Restic => {
                let source = env.source();
                let arguments = ["backup", "--json", "--tag", tags, source.to_str().unwrap()];
                let lines = env.restic(arguments).code(0).json_lines();
                let short = lines.last().unwrap()["snapshot_id"].as_str().unwrap().to_owned();
                let found = env.restic(["snapshots", "--json", &short]).code(0).json();
                found[0]["id"].as_str().unwrap().to_owned()
            }
            Self::Rustic => rustic::backup(env, tags).id.to_hex().as_str().to_owned(),
        }
    }
}

/// Each hand saves in its turn what was changed since, in a repository that the first one made.
fn take_turns(hands: [Hand; 3]) {
    // Not in the source itself: rustic does not save the times of the path that it is told to save.
    let env = TestEnv::new().file("all/small", "x").file("all/deep/er/small", "y");
    hands[0].init(&env);
    let copy = |turn: usize| env.path(format!("source in turn {turn}"));
    let mut points = Vec::new();
    for (turn, hand) in hands.into_iter().enumerate() {
        env.write("all/large", bytes(turn as u64, 3_000_000));
        env.write(format!("all/of turn {turn}/file"), format!("{hand:?}"));
        points.push(hand.backup(&env));
        is_whole_in(&env, &points[turn], "all");
        finish_ok(Command::new("cp").arg("--archive").arg(env.source()).arg(copy(turn)));
    }
    // What was read and saved by others is not read again.
    let now = look(&env.source());
    save_and_count(&env, &now, &now);
    // Those who came after have left the points of those before as they were.
    comes_back(&env, &points[0], &copy(0), "all");
    comes_back(&env, &points[1], &copy(1), "all");
}

#[test]
fn holdall_restic_and_rustic_take_turns() {
    take_turns([Hand::Holdall, Hand::Restic, Hand::Rustic]);
}

#[test]
fn holdall_rustic_and_restic_take_turns() {
    take_turns([Hand::Holdall, Hand::Rustic, Hand::Restic]);
}

#[test]
fn restic_holdall_and_rustic_take_turns() {
    take_turns([Hand::Restic, Hand::Holdall, Hand::Rustic]);
}

#[test]
fn restic_rustic_and_holdall_take_turns() {
    take_turns([Hand::Restic, Hand::Rustic, Hand::Holdall]);
}

#[test]
fn rustic_holdall_and_restic_take_turns() {
    take_turns([Hand::Rustic, Hand::Holdall, Hand::Restic]);
}

#[test]
fn rustic_restic_and_holdall_take_turns() {
    take_turns([Hand::Rustic, Hand::Restic, Hand::Holdall]);
}

/// Saves a file that compresses well into the repository that `init` makes; how many of its blobs are compressed, and the bytes of all packs.
fn compressed(init: impl FnOnce(&TestEnv)) -> (usize, u64) {
    let env = TestEnv::new().file("text", "it compresses well, does it not? ".repeat(50_000));
    env.configure(CONFIG);
    init(&env);
    let snapshot = env.run(["backup", "--json"]).code(0).line("item")["snapshot"].as_str().unwrap().to_owned();
    is_whole(&env, &snapshot);
    let packs: Vec<_> = rustic::indexes(&env).into_iter().flat_map(|file| file.packs).collect();
    let size = packs.iter().map(|pack| u64::from(pack.pack_size())).sum();
    let blobs = packs.iter().flat_map(|pack| &pack.blobs);
    (blobs.filter(|blob| blob.location.uncompressed_length.is_some()).count(), size)
}

/// Makes a repository with this compression, as `rustic config` sets it.
fn with_compression(level: i32) -> impl FnOnce(&TestEnv) {
    move |env| rustic::init(env, &ConfigOptions::default().set_compression(level))
}

#[test]
fn nothing_is_compressed_in_a_repository_of_version_1_or_where_it_is_switched_off() {
    let version_1 = compressed(|env| drop(env.restic(["init", "--repository-version", "1"]).code(0)));
    let switched_off = compressed(with_compression(0));
    for (blobs, size) in [version_1, switched_off] {
        assert_eq!(blobs, 0);
        assert!(size > 1_600_000, "{size}");
    }
}

#[test]
fn blobs_are_compressed_at_the_level_that_the_repository_asks_for() {
    let [fast, best] = [-7, 22].map(|level| compressed(with_compression(level)));
    assert!(fast.0 > 2 && best.0 > 2, "{fast:?} {best:?}");
    assert!(best.1 < fast.1 && fast.1 < 100_000, "{fast:?} {best:?}");
}
