//! Machines over SSH, real ones: how they are reached and what lets us in, what goes wrong on the way, and what is run around a backup.
//!
//! What is in a snapshot, and how it comes back, is not the matter here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod breaks;
mod commands;
mod host_keys;
mod hosts;
mod jump;
mod login;
mod onboard;
mod shells;
#[path = "../support/mod.rs"]
mod support;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::daemon::Daemon;
use support::env::TestEnv;
use support::outcome::Outcome;
use support::sshd::{KeyType, Sshd};
use support::tree;

/// What the tests log in with where it is no key.
const PASSWORD: &str = "fixture password";

/// The beginning of a table `[ssh.box]`: this server and its key, but nothing that lets in.
fn pinned(server: &Sshd) -> String {
    let Sshd { host, port, user, .. } = server;
    let key = server.fingerprint(KeyType::Ed25519);
    format!("[ssh.box]\nhost = \"{host}\"\nport = {port}\nuser = \"{user}\"\nhost-key = \"{key}\"\n")
}

/// The same with the key that opens it.
fn with_key(server: &Sshd) -> String {
    format!("{}key-file = \"{}\"\n", pinned(server), server.key_file().display())
}

/// The directory `source` of the environment is what is backed up.
const SOURCE: &str = "paths = [\"{root}/source\"]\n";

/// An environment with an empty store. To make one takes a while, and there are many tests: they get copies.
fn with_store() -> TestEnv {
    static FILES: LazyLock<Vec<(PathBuf, Option<Vec<u8>>)>> = LazyLock::new(|| {
        let env = TestEnv::new();
        env.onboard_store();
        let (mut all, mut left) = (vec![(PathBuf::new(), None)], vec![PathBuf::new()]);
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(env.store().join(&directory)).unwrap().flatten() {
                let path = directory.join(entry.file_name());
                if entry.path().is_dir() {
                    left.push(path.clone());
                    all.push((path, None));
                } else {
                    all.push((path, Some(fs::read(entry.path()).unwrap())));
                }
            }
        }
        all
    });
    let env = TestEnv::new();
    for (path, content) in FILES.iter() {
        let path = env.store().join(path);
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::create_dir_all(path).unwrap(),
        }
    }
    env.configure("");
    env
}

/// The same with this configuration beyond the store.
fn with_store_and(rest: &str) -> TestEnv {
    let env = with_store();
    env.configure(rest);
    env
}

/// An environment whose source is reached as `table` says.
fn env(table: &str) -> TestEnv {
    with_store_and(&format!("{table}{SOURCE}"))
}

/// What `holdall check` finds of the source.
struct Checked {
    is_ok: bool,
    detail: String,
    hint: String,
}

impl Checked {
    #[track_caller]
    fn ready(&self) {
        assert!(self.is_ok && self.detail == "ready", "{} {}", self.detail, self.hint);
    }

    /// It failed, and these texts are in what it says.
    #[track_caller]
    fn fails(self, details: &[&str]) -> Self {
        assert!(!self.is_ok, "{}", self.detail);
        for text in details {
            assert!(self.detail.contains(text), "no {text:?} in: {}", self.detail);
        }
        self
    }

    #[track_caller]
    fn hints(self, text: &str) -> Self {
        assert!(self.hint.contains(text), "no {text:?} in: {}", self.hint);
        self
    }
}

#[track_caller]
fn check(env: &TestEnv) -> Checked {
    let rows = env.run(["check", "--json"]).code_among(&[0, 1]).json();
    let row = rows.as_array().unwrap().iter().find(|row| row["what"] == "ssh.box").unwrap().clone();
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Checked { is_ok: row["ok"] == true, detail: text("detail"), hint: text("hint") }
}

fn backup(env: &TestEnv) -> Outcome {
    env.run(["backup", "--json"])
}

/// A backup that fails, for a reason in which all of these are said; it leaves no point. Gives its line.
#[track_caller]
fn fails(env: &TestEnv, reasons: &[&str]) -> Value {
    let before = points(env);
    let outcome = backup(env).code(1);
    let item = outcome.line("item");
    failed(&item, reasons);
    assert_eq!(points(env), before, "a failed backup has left a point");
    item
}

#[track_caller]
fn failed(item: &Value, reasons: &[&str]) {
    assert_eq!(item["outcome"], "failed", "{item}");
    for reason in reasons {
        assert!(item["error"].as_str().unwrap().contains(reason), "no {reason:?} in: {item}");
    }
}

/// The ids of all points: the names of what is in the store, for which it need not be opened.
fn points(env: &TestEnv) -> Vec<String> {
    let snapshots = fs::read_dir(env.store().join("snapshots")).unwrap();
    let mut names: Vec<String> = snapshots.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Backs up without a complaint, and the point is what the source is.
#[track_caller]
fn saves(env: &TestEnv) {
    let outcome = backup(env).code(0);
    let item = outcome.line("item");
    assert_eq!((&item["outcome"], &item["problems"]), (&Value::from("saved"), &serde_json::json!([])), "{item}");
    let restored = env.path("restored");
    drop(fs::remove_dir_all(&restored));
    env.run(["restore", "ssh.box", "--to", restored.to_str().unwrap()]).code(0);
    tree::assert_same(&env.source(), &restored.join(env.source().strip_prefix("/").unwrap()));
}

/// A backup that has begun and goes on while the test does something to it.
fn start_backup(env: &TestEnv) -> Daemon {
    env.start(["backup", "--json"])
}

/// The line of the item in what a backup has written that was started.
#[track_caller]
fn item_of(daemon: &Daemon) -> Value {
    let log = daemon.log();
    let item = log.lines().find(|line| line.starts_with("{\"type\":\"item\""));
    serde_json::from_str(item.unwrap_or_else(|| panic!("no item in {log}"))).unwrap()
}

/// Waits until it is so; a test that waits in vain fails.
#[track_caller]
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come to pass");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The programs of this name that run in connections of the server.
fn running(server: &Sshd, name: &str) -> usize {
    let is_named =
        |process: i32| fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    server.sessions().into_iter().filter(|process| is_named(process.as_raw_nonzero().get())).count()
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
