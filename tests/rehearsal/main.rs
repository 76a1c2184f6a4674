//! `verify --restore`: files of the newest points are restored for a moment and compared, and what is damaged is named.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::env::TestEnv;
use support::fault::{Fault, Gate, Tmpfs, finish_ok};

/// A store with a point of eight files of different sizes, and of an empty one.
fn saved() -> TestEnv {
    let env = TestEnv::with_store_and(
        "[files.home]\npaths = [\"{root}/source\"]\n[files.other]\npaths = [\"{root}/other\"]\n",
    );
    fs::create_dir(env.path("other")).unwrap();
    fs::write(env.path("other/only"), "one").unwrap();
    for number in 1..=8 {
        env.write(format!("folder/file-{number}"), noise(number, number * 40_000));
    }
    env.write("empty", "");
    env.run(["backup"]).code(0);
    env
}

/// Bytes that do not get smaller, the same for the same seed.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn tried(outcome: &Value) -> Vec<String> {
    let items = outcome["restored"]["items"].as_array().unwrap();
    let tried = items.iter().flat_map(|item| item["tried"].as_array().unwrap());
    tried.map(|tried| tried["path"].as_str().unwrap().to_owned()).collect()
}

/// Nothing is left in the cache of what was restored.
#[track_caller]
fn nothing_is_left(directory: &Path) {
    let names: Vec<OsString> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_str().unwrap().contains("rehearsal")), "{names:?}");
}

/// Changes a byte in the middle of the largest pack, in which contents are.
fn damage(store: &Path) {
    let packs =
        fs::read_dir(store.join("data")).unwrap().flat_map(|entry| fs::read_dir(entry.unwrap().path()).unwrap());
    let pack: PathBuf =
        packs.map(|entry| entry.unwrap().path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&pack, bytes).unwrap();
}

#[test]
fn files_of_the_newest_points_come_back_as_they_were() {
    let env = saved();
    let outcome = env.run(["verify", "--restore", "--json"]).code(0).json();
    assert_eq!(outcome["ok"], true);
    let items = outcome["restored"]["items"].as_array().unwrap();
    let shown: Vec<_> =
        items.iter().map(|item| (item["item"].as_str().unwrap(), item["files"].as_u64().unwrap())).collect();
    // The empty file has nothing that could be tried.
    assert_eq!(shown, [("files.home", 8), ("files.other", 1)]);
    assert_eq!(tried(&outcome).len(), 6);
    nothing_is_left(&env.path("cache"));
    // Under cron what is well is not worth a mail.
    let quiet = env.run(["verify", "--restore", "--quiet"]).code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let told = env.run(["verify", "--restore=100", "-v"]).code(0);
    let told = told.stdout_has(": 8 of 8 files came back as they were (1.37 MiB)").stdout_has("/other/only  3 B");
    told.stderr_has("files are chosen with --seed ")
        .stderr_has("; restored 9 files of 2 items (1.37 MiB), which came back as they were");
}

#[test]
fn same_seed_tries_the_same_files_and_selectors_limit_them() {
    let env = saved();
    let with = |seed: &str| env.run(["verify", "files.home", "--restore=3", "--json", "--seed", seed]).code(0).json();
    let first = with("7");
    assert_eq!(tried(&first), tried(&with("7")));
    assert_eq!((tried(&first).len(), &first["restored"]["seed"]), (3, &7.into()));
    assert!((8..20).any(|seed| tried(&with(&seed.to_string())) != tried(&first)));
    env.run(["verify", "--restore", "files.hom"]).code(2).stderr_has("Did you mean `files.home`?");
    env.run(["verify", "files.home"]).code(2).stderr_has("--restore");
    env.run(["verify", "--restore=0"]).code(2);
}

#[test]
fn damaged_file_is_named_and_the_others_are_tried_all_the_same() {
    let env = saved();
    damage(&env.store());
    let told = env.run(["verify", "--restore=100"]).code(1);
    let faults: Vec<&str> = told.stdout.lines().filter(|line| line.starts_with("not restored: files.home@")).collect();
    assert_eq!(faults.len(), 1, "{}", told.stdout);
    assert!(
        faults[0].contains("/source/folder/file-") && faults[0].contains("it could not be restored: "),
        "{}",
        faults[0]
    );
    let told =
        told.stdout_has(": 7 of 8 files came back as they were").stdout_has(": 1 of 1 files came back as they were");
    told.stderr_has("1 thing did not come back as in the store")
        .stderr_has("hint: The same files again: holdall verify --restore=100 --seed ");
    let outcome = env.run(["verify", "--restore=100", "--json"]).code(1).json();
    let items = outcome["restored"]["items"].as_array().unwrap();
    assert_eq!((&outcome["ok"], &items[0]["ok"], &items[1]["ok"]), (&false.into(), &false.into(), &true.into()));
    nothing_is_left(&env.path("cache"));
}

#[test]
fn room_is_asked_for_before_anything_is_restored() {
    let env = saved();
    let scratch = env.path("scratch");
    let small = Tmpfs::mount(&scratch, "33m");
    let with = |items: &str| {
        env.run([
            "verify".as_ref(),
            "--restore=100".as_ref(),
            items.as_ref(),
            "--scratch".as_ref(),
            scratch.as_os_str(),
        ])
    };
    with("files.home").code(0).stdout_has(": 8 of 8 files");
    // 100 KiB are left beside what stays free.
    small.resize("32868k");
    with("files.*")
        .code(0)
        .stdout_has(": 2 of 8 files")
        .stderr_has("6 of the 8 files of files.home are larger than what is free");
    small.resize("1m");
    with("files.home")
        .code(1)
        .stderr_has("no file of files.home fits into ")
        .stderr_has("hint: Make room there, or name a directory on a larger disk with --scratch DIR.");
    nothing_is_left(&scratch);
}

#[test]
fn scratch_folder_goes_when_the_run_is_stopped() {
    let env = saved();
    let gate = Gate::new(&env);
    // Reading the pack with the contents of the largest file is the last that is done before they are written.
    let packs =
        fs::read_dir(env.store().join("data")).unwrap().flat_map(|entry| fs::read_dir(entry.unwrap().path()).unwrap());
    let pack = packs.map(|entry| entry.unwrap().path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let fault = Fault::new(&env).before_read(1, &pack, &gate.command());
    let mut run = fault.start(["verify", "--restore"]);
    let waiting = gate.reached();
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.wait(std::time::Duration::from_secs(120)).code(), Some(143));
    drop(waiting);
    nothing_is_left(&env.path("cache"));
}

#[test]
fn what_a_kill_left_goes_with_the_next_run() {
    let env = saved();
    let left = env.path("cache/holdall-rehearsal-killed/0");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("secret"), "x").unwrap();
    env.run(["verify", "--restore"]).code(0);
    nothing_is_left(&env.path("cache"));
}

/// Files as only root can make them.
fn of_others() -> TestEnv {
    let env = saved();
    for (name, mode) in [("set-id", 0o4755), ("closed", 0o000), ("theirs", 0o640)] {
        env.write(name, noise(9, 5000));
        let file = env.source().join(name);
        chown(&file, Some(4321), Some(4321)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
    finish_ok(Command::new("setfattr").args(["-n", "user.mark", "-v", "1"]).arg(env.source().join("theirs")));
    env.run(["backup"]).code(0);
    env
}

#[test]
fn metadata_counts_as_far_as_the_process_may_set_it() {
    let env = of_others();
    env.run(["verify", "--restore=100"]).code(0).stdout_has(": 11 of 11 files");
    // Root with nothing of root's, as the unit has it.
    let env = env.within(["setpriv", "--bounding-set=-all", "--inh-caps=-all"].map(OsString::from).to_vec());
    env.run(["verify", "--restore=100"]).code(0).stdout_has(": 11 of 11 files");
    nothing_is_left(&env.path("cache"));
    // Somebody else, to whom the store belongs.
    finish_ok(Command::new("chown").args(["-R", "65534:65534"]).arg(env.root()));
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let env = env.within(nobody.map(OsString::from).to_vec());
    env.run(["verify", "--restore=100"]).code(0).stdout_has(": 11 of 11 files");
    nothing_is_left(&env.path("cache"));
}
