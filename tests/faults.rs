//! Bad input and faults: every one ends with its exit code, says what and why, and leaves no point that looks better than it is.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::env::TestEnv;
use support::fault::{Fault, Gate, Tmpfs};
use support::http::{Answer, Server};
use support::outcome::Outcome;
use support::tree;

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";
/// A user whose name nobody asks for but through a file of his.
const NOBODY_ELSE: u32 = 54_321;

/// Enough noise that it neither compresses nor deduplicates.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn points(env: &TestEnv) -> Vec<Value> {
    env.run(["list", "--json"]).code(0).json().as_array().unwrap().clone()
}

/// The run made a point, but an incomplete one, and says so of exactly this path everywhere.
#[track_caller]
fn is_incomplete_for(env: &TestEnv, run: &Outcome, path: &str, error: &str) {
    let item = run.clone().code(3).line("item");
    let path = env.source().join(path).display().to_string();
    assert_eq!(item["outcome"], "incomplete", "{item}");
    assert_eq!(item["problems"], json!([{"path": path, "error": error}]), "{item}");
    assert_eq!(
        (run.line("summary")["outcome"].as_str(), run.line("summary")["exit_code"].as_i64()),
        (Some("incomplete"), Some(3))
    );
    let newest = points(env).pop().unwrap();
    assert_eq!((&newest["point"], &newest["complete"]), (&item["snapshot"], &Value::Bool(false)));
    let tagged = env.restic(["snapshots", "--json", "--tag", "incomplete"]).code(0).json();
    assert!(tagged.as_array().unwrap().iter().any(|snapshot| snapshot["id"] == item["snapshot"]), "{tagged}");
    env.restic(["check", "--read-data"]).code(0);
}

/// The run made a complete point and warns of exactly this path.
#[track_caller]
fn is_saved_with_warning_for(env: &TestEnv, run: &Outcome, path: &str, error: &str) {
    is_saved_with_warnings_for(env, run, &[path], error);
}

/// The run made a complete point and warns of exactly these paths.
#[track_caller]
fn is_saved_with_warnings_for(env: &TestEnv, run: &Outcome, paths: &[&str], error: &str) {
    let item = run.clone().code(0).line("item");
    assert_eq!(item["outcome"], "saved", "{item}");
    let problem = |path: &&str| json!({"path": env.source().join(path).display().to_string(), "error": error});
    assert_eq!(item["problems"], paths.iter().map(problem).collect::<Value>(), "{item}");
    assert_eq!(points(env).pop().unwrap()["complete"], true);
    env.restic(["check", "--read-data"]).code(0);
}

/// The run failed, made no point, and says why.
#[track_caller]
fn failed_with(env: &TestEnv, run: &Outcome, error: &str) {
    let before = points(env).len();
    let item = run.clone().code(1).line("item");
    assert_eq!((&item["outcome"], &item["snapshot"]), (&"failed".into(), &Value::Null), "{item}");
    assert!(item["error"].as_str().unwrap().contains(error), "{item}");
    assert!(item["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{item}");
    assert_eq!(points(env).len(), before);
}

#[test]
fn wrong_password_is_exit_code_12() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    env.write_secret("store.password", "wrong");
    for command in ["backup", "list", "status", "check", "verify", "prune"] {
        let run = env.run([command]).code(12);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("does not open with this password"), "{command}: {said}");
        assert!(said.contains("hint: Check") && said.contains("store.password"), "{command}: {said}");
    }
}

#[test]
fn place_without_a_store_is_exit_code_10() {
    let env = TestEnv::new().file("file", "x");
    env.configure(HOME);
    let no_store = |env: &TestEnv| {
        for command in ["backup", "list", "verify"] {
            let run = env.run([command]).code(10);
            run.stderr_has("there is no repository at").stderr_has("hint: Set it up with `holdall onboard store`");
        }
    };
    no_store(&env);
    assert!(!env.store().exists(), "a store that is not there is not made");
    fs::create_dir(env.store()).unwrap();
    no_store(&env);
    assert_eq!(fs::read_dir(env.store()).unwrap().count(), 0);
}

#[test]
fn configuration_without_a_store_is_exit_code_10() {
    let env = TestEnv::new();
    env.config(HOME);
    env.run(["backup"])
        .code(10)
        .stderr_has("has no [store]")
        .stderr_has("hint: Set one up with `holdall onboard store`");
}

#[test]
fn store_in_use_is_exit_code_11_and_can_be_waited_for() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    let gate = Gate::new(&env);
    let mut first = Fault::new(&env).before_read(1, env.source().join("file"), &gate.command()).start(["backup"]);
    let held = gate.reached();

    for arguments in [&["backup"][..], &["prune"], &["verify"]] {
        let refused = env.run(arguments).code(11).stderr_has("is in use by another run (holdall, process ");
        refused.stderr_has("hint: Wait for it to end, or give `--lock-wait 1h`");
    }
    // Reading and trying need no lock.
    for arguments in [&["list"][..], &["status"], &["check"], &["backup", "--dry-run"], &["prune", "--dry-run"]] {
        env.run(arguments).code(0);
    }
    env.run(["backup", "--lock-wait", "1s"]).code(11);

    let mut waiting = env.start(["backup", "--lock-wait", "10min"]);
    let log = || fs::read_to_string(env.path("holdall.log")).unwrap();
    waiting.wait_until(|| log().contains("waiting for another run (holdall, process "));
    drop(held);
    assert!(first.wait(Duration::from_secs(120)).success(), "{}", first.log());
    assert!(waiting.wait(Duration::from_secs(120)).success(), "{}", waiting.log());
    assert_eq!(points(&env).len(), 2);
}

#[test]
fn unknown_key_is_exit_code_2_with_its_line() {
    let env = TestEnv::with_store_and("[files.home]\npaths = [\"/etc\"]\nevry = \"1h\"\n");
    env.run(["backup"]).code(2).stderr_has("line 7: ").stderr_has("evry").stderr_has("every");
}

#[test]
fn unknown_name_is_exit_code_2_with_a_near_one() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    for command in ["backup", "list", "status", "prune", "check"] {
        env.run([command, "files.hoem"]).code(2).stderr_has("files.hoem").stderr_has("files.home");
    }
    assert!(points(&env).is_empty());
}

#[test]
fn unreadable_file_makes_the_point_incomplete_and_is_named_everywhere() {
    let server = Server::start(vec![Answer::Status(200, Vec::new())]);
    let ping = format!("[notify.healthchecks]\nurl = \"{}\"\n", server.url("/check"));
    let env = TestEnv::with_store_and(&format!("{ping}{HOME}")).file("b", "read").unreadable("a/secret");
    let run = env.run(["backup", "--json"]);
    is_incomplete_for(&env, &run, "a/secret", "Permission denied (os error 13)");
    let secret = env.source().join("a/secret").display().to_string();
    let line = format!("    {secret}: Permission denied (os error 13)\n");
    env.run(["backup"]).code(3).stderr_has(&line).stderr_has("incomplete: 1 incomplete, in ");
    env.run(["backup", "-q"]).code(3).stderr_has(&secret).stdout_lacks("a");
    let requests = server.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/check/start", "/check/3", "/check/start", "/check/3", "/check/start", "/check/3"]);
    assert!(requests[1].body.starts_with("incomplete: 1 incomplete, in "), "{}", requests[1].body);
    assert!(requests[1].body.contains(&line), "{}", requests[1].body);
    // What can be read is there.
    assert_eq!(fs::read(env.restored_by_restic("latest").join("b")).unwrap(), b"read");
}

#[test]
fn unreadable_directory_makes_the_point_incomplete() {
    let env = TestEnv::with_store_and(HOME).file("a/x", "x").file("b", "read").without_override();
    fs::set_permissions(env.source().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
    let run = env.run(["backup", "--json"]);
    is_incomplete_for(&env, &run, "a", "Permission denied (os error 13)");
}

#[test]
fn name_cannot_control_the_terminal_of_whoever_reads_the_report() {
    let env = TestEnv::with_store_and(HOME).file("b", "read").unreadable("a\n\x1b[2Jok: all saved");
    env.run(["backup"]).code(3).stderr_has("a\\n\\u{1b}[2Jok: all saved: Permission denied").stderr_lacks("\x1b");
}

#[test]
fn incomplete_point_is_followed_by_a_complete_one_when_all_can_be_read() {
    let env = TestEnv::with_store_and(HOME).file("b", "read").unreadable("a");
    env.run(["backup"]).code(3);
    fs::set_permissions(env.source().join("a"), fs::Permissions::from_mode(0o644)).unwrap();
    let item = env.run(["backup", "--json"]).code(0).line("item");
    let files = ["files_new", "files_changed", "files_unmodified"].map(|key| item[key].as_u64().unwrap());
    assert_eq!((item["outcome"].as_str(), files), (Some("saved"), [1, 0, 1]), "{item}");
    assert_eq!(
        points(&env).iter().map(|point| point["complete"].as_bool().unwrap()).collect::<Vec<_>>(),
        [false, true]
    );
    tree::assert_same(&env.source(), &env.restored_by_restic("latest"));
}

#[test]
fn error_in_the_middle_of_a_file_makes_the_point_incomplete() {
    let env = TestEnv::with_store_and(HOME).file("a", noise(3 << 20, 1)).file("b", "read");
    let run = Fault::new(&env).failing("read", env.source().join("a"), "EIO:when=2+").run(["backup", "--json"]);
    is_incomplete_for(&env, &run, "a", "Input/output error (os error 5)");
    let restored = env.restored_by_restic("latest");
    assert!(!restored.join("a").exists(), "half of a file is not a file");
    assert_eq!(fs::read(restored.join("b")).unwrap(), b"read");
}

#[test]
fn error_in_the_middle_of_a_directory_makes_the_point_incomplete() {
    let env = TestEnv::with_store_and(HOME).file("a/x", "x").file("b", "read");
    // The first call gives the names, the second says that there are no more.
    let run = Fault::new(&env).failing("getdents64", env.source().join("a"), "EIO:when=2+").run(["backup", "--json"]);
    is_incomplete_for(&env, &run, "a", "Input/output error (os error 5)");
    assert_eq!(fs::read(env.restored_by_restic("latest").join("a/x")).unwrap(), b"x");
}

#[test]
fn entry_that_cannot_be_looked_at_makes_the_point_incomplete() {
    let env = TestEnv::with_store_and(HOME).file("odd-name", "x").file("b", "read");
    let run = Fault::new(&env).failing("newfstatat", "odd-name", "EIO").run(["backup", "--json"]);
    is_incomplete_for(&env, &run, "odd-name", "Input/output error (os error 5)");
}

#[test]
fn missing_path_fails_and_makes_no_point() {
    let env = TestEnv::with_store_and("[files.home]\npaths = [\"{root}/source\", \"{root}/not-mounted\"]\n");
    env.write("file", "x");
    let run = env.run(["backup", "--json"]);
    failed_with(&env, &run, "not-mounted: No such file or directory");
    assert_eq!(points(&env), Vec::<Value>::new());
    env.run(["backup"]).code(1).stderr_has("hint: Is something not mounted?");
    env.run(["check"]).code(1).stdout_has("FAILED  files.home").stdout_has("hint: Is something not mounted?");
}

#[test]
fn failed_source_does_not_keep_the_others_from_being_saved() {
    let env =
        TestEnv::with_store_and("[files.gone]\npaths = [\"{root}/gone\"]\n[files.home]\npaths = [\"{root}/source\"]\n");
    env.write("file", "x");
    let run = env.run(["backup", "--json"]).code(1);
    assert_eq!(
        run.line("summary")["items"],
        json!({"saved": 1, "incomplete": 0, "away": 0, "not_due": 0, "failed": 1})
    );
    assert_eq!(points(&env)[0]["item"], "files.home");
}

#[test]
fn source_that_is_empty_and_was_not_fails_unless_that_is_allowed() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    env.run(["backup"]).code(0);
    fs::remove_file(env.source().join("file")).unwrap();
    let run = env.run(["backup", "--json"]);
    failed_with(&env, &run, "nothing is there, but the newest point has files");
    assert_eq!(points(&env).len(), 1);
    env.run(["backup"]).code(1).stderr_has("hint: Is something not mounted?").stderr_has("`allow-empty = true`");

    env.configure(&format!("{HOME}allow-empty = true\n"));
    env.run(["backup"]).code(0);
    assert_eq!(points(&env).iter().map(|point| point["files"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 0]);
    // Empty as before is nothing new.
    env.configure(HOME);
    env.run(["backup"]).code(0);
}

#[test]
fn source_of_which_nothing_can_be_read_fails_with_the_reason() {
    let env = TestEnv::with_store_and(HOME).file("file", "x").without_override();
    env.run(["backup"]).code(0);
    fs::set_permissions(env.source(), fs::Permissions::from_mode(0o000)).unwrap();
    let run = env.run(["backup", "--json"]);
    failed_with(&env, &run, &format!("{}: Permission denied", env.source().display()));
    assert_eq!(points(&env).len(), 1);
}

#[test]
fn file_that_grows_while_it_is_read_is_saved_as_it_was_read() {
    let env = TestEnv::with_store_and(HOME).file("log", "first line\n");
    let log = env.source().join("log");
    let grow = format!("echo second line >> '{}'", log.display());
    let run = Fault::new(&env).before_read(1, &log, &grow).run(["backup", "--json"]);
    is_saved_with_warning_for(&env, &run, "log", "grew while it was backed up, from 11 to 23 bytes; saved as read");
    assert_eq!(fs::read_to_string(env.restored_by_restic("latest").join("log")).unwrap(), "first line\nsecond line\n");
}

#[test]
fn file_that_shrinks_while_it_is_read_is_saved_as_it_was_read() {
    let content = noise(3 << 20, 2);
    let env = TestEnv::with_store_and(HOME).file("data", &content);
    let data = env.source().join("data");
    let shrink = format!("truncate --size 1000 '{}'", data.display());
    let run = Fault::new(&env).before_read(1, &data, &shrink).run(["backup", "--json"]);
    let warning = "shrank while it was backed up, from 3145728 to 1000 bytes; saved as read";
    is_saved_with_warning_for(&env, &run, "data", warning);
    assert_eq!(fs::read(env.restored_by_restic("latest").join("data")).unwrap(), &content[..1000]);
    env.restic(["check", "--read-data"]).code(0);
    env.run(["backup"]).code(0);
    tree::assert_same(&env.source(), &env.restored_by_restic("latest"));
}

#[test]
fn open_file_that_is_deleted_while_it_is_read_is_saved_whole() {
    let content = noise(3 << 20, 3);
    let env = TestEnv::with_store_and(HOME).file("data", &content);
    let data = env.source().join("data");
    let run = Fault::new(&env).before_read(2, &data, &format!("rm '{}'", data.display())).run(["backup", "--json"]);
    let item = run.code(0).line("item");
    assert_eq!((&item["outcome"], &item["problems"]), (&"saved".into(), &json!([])), "{item}");
    assert_eq!(fs::read(env.restored_by_restic("latest").join("data")).unwrap(), content);
}

/// A source in which a shell command runs when `a` is looked at; `{}` in it is the source.
fn changed_at_a(env: &TestEnv, command: &str) -> Outcome {
    assert!(rustix::process::geteuid().is_root(), "this test makes owners: run it as root");
    chown(env.source().join("a"), Some(NOBODY_ELSE), None).unwrap();
    let command = command.replace("{}", env.source().to_str().unwrap());
    Fault::new(env).at_first_of(NOBODY_ELSE, &command).run(["backup", "--json"])
}

#[test]
fn what_vanishes_after_it_was_listed_is_a_warning() {
    // The walk goes ahead: it has listed `c` when `a` is looked at.
    let vanished: [(_, &[&str]); 3] = [("rm '{}/b'", &["b"]), ("rm -r '{}/c'", &["c", "c/x"]), ("rm '{}/a'", &["a"])];
    for (command, paths) in vanished {
        let env = TestEnv::with_store_and(HOME).file("a", "a").file("b", "b").file("c/x", "x").file("d", "d");
        let run = changed_at_a(&env, command);
        is_saved_with_warnings_for(&env, &run, paths, "vanished before it was read");
    }
}

#[test]
fn file_that_vanishes_before_it_is_opened_is_a_warning() {
    let env = TestEnv::with_store_and(HOME).file("odd-name", "x").file("b", "read");
    let run = Fault::new(&env).failing("openat", "odd-name", "ENOENT").run(["backup", "--json"]);
    is_saved_with_warning_for(&env, &run, "odd-name", "vanished before it was read");
    assert!(!env.restored_by_restic("latest").join("odd-name").exists());
}

#[test]
fn file_that_is_replaced_before_it_is_opened_is_not_taken_for_the_other() {
    let replaced = [
        "mv '{}/../other' '{}/a'",
        "rm '{}/a' && ln -s /etc/passwd '{}/a'",
        "rm '{}/a' && mkfifo '{}/a'",
        "rm '{}/a' && mkdir '{}/a'",
    ];
    for command in replaced {
        let env = TestEnv::with_store_and(HOME).file("a", "a");
        fs::write(env.path("other"), "other").unwrap();
        let run = changed_at_a(&env, command);
        is_incomplete_for(&env, &run, "a", "was replaced while it was being backed up");
        assert!(!env.restored_by_restic("latest").join("a").exists(), "{command}");
        env.run(["backup"]).code(0);
    }
}

#[test]
fn full_store_fails_the_run_and_leaves_what_it_had() {
    let env = TestEnv::new().file("small", "x");
    let disk = Tmpfs::mount(&env.path("disk"), "6m");
    fs::create_dir(env.path("disk/store")).unwrap();
    std::os::unix::fs::symlink("disk/store", env.store()).unwrap();
    env.onboard_store();
    env.configure(HOME);
    env.run(["backup"]).code(0);
    let first = env.path("first");
    fs::create_dir(&first).unwrap();
    support::fault::finish_ok(std::process::Command::new("cp").arg("-a").arg(env.source()).arg(&first));

    env.write("large", noise(20 << 20, 4));
    let run = env.run(["backup", "--json"]).code(1);
    let item = run.line("item");
    assert_eq!((&item["outcome"], &item["snapshot"]), (&"failed".into(), &Value::Null), "{item}");
    assert!(item["error"].as_str().unwrap().contains("No space left on device"), "{item}");
    env.run(["backup"]).code(1).stderr_has("No space left on device").stderr_has("hint: ");
    assert_eq!(points(&env).len(), 1);
    // A full disk has no room for restic's lock.
    env.restic(["check", "--no-lock", "--read-data"]).code(0);
    env.run(["verify", "--read-data"]).code(0);
    let target = env.path("target");
    env.restic(["restore", "latest", "--no-lock", "--target", target.to_str().unwrap()]).code(0);
    tree::assert_same(&first.join("source"), &target.join(env.source().strip_prefix("/").unwrap()));

    disk.resize("64m");
    env.run(["backup"]).code(0);
    env.restic(["check", "--read-data"]).code(0);
    tree::assert_same(&env.source(), &env.restored_by_restic("latest"));
}

/// The packs of the store, the largest last.
fn packs(env: &TestEnv) -> Vec<PathBuf> {
    let directories = fs::read_dir(env.store().join("data")).unwrap().map(|entry| entry.unwrap().path());
    let mut packs: Vec<PathBuf> =
        directories.flat_map(|directory| fs::read_dir(directory).unwrap()).map(|entry| entry.unwrap().path()).collect();
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    packs
}

/// A pack as reports name it: by the first digits of its file name.
fn name_of(pack: &Path) -> &str {
    &pack.file_name().unwrap().to_str().unwrap()[..8]
}

#[test]
fn flipped_byte_in_a_pack_is_found_by_reading_and_its_pack_is_named() {
    let env = TestEnv::with_store_and(HOME).file("large", noise(1 << 20, 5));
    env.run(["backup"]).code(0);
    env.run(["verify", "--read-data"])
        .code(0)
        .stderr_has("ok: everything the points need is there and reads back right");
    for pack in packs(&env) {
        let whole = fs::read(&pack).unwrap();
        for position in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x40;
            fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&pack, &damaged).unwrap();
            let name = name_of(&pack);
            let verified = env.run(["verify", "--read-data"]).code(1).stdout_has("damaged: ").stdout_has(name);
            verified.stderr_has("error: the store is damaged in ").stderr_has("hint: Keep the store as it is.");
            let document = env.run(["verify", "--read-data", "--json"]).code(1).json();
            assert_eq!(document["ok"], false);
            assert!(document["errors"].to_string().contains(name), "{document}");
        }
        fs::write(&pack, &whole).unwrap();
    }
    env.run(["verify", "--read-data"]).code(0);
}

#[test]
fn missing_pack_is_found_without_reading() {
    let env = TestEnv::with_store_and(HOME).file("large", noise(1 << 20, 6));
    env.run(["backup"]).code(0);
    let pack = packs(&env).pop().unwrap();
    fs::remove_file(&pack).unwrap();
    let verified = env.run(["verify"]).code(1).stdout_has("damaged: ");
    verified.stdout_has(name_of(&pack)).stderr_has("hint: Keep the store as it is.");
}

#[test]
fn truncated_pack_is_found_without_reading() {
    let env = TestEnv::with_store_and(HOME).file("large", noise(1 << 20, 7));
    env.run(["backup"]).code(0);
    for pack in packs(&env) {
        let whole = fs::read(&pack).unwrap();
        fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&pack, &whole[..whole.len() / 2]).unwrap();
        env.run(["verify"]).code(1).stdout_has("damaged: ").stdout_has(name_of(&pack));
        fs::write(&pack, &whole).unwrap();
    }
    env.run(["verify"]).code(0);
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Flips a bit of the last byte.
fn damage(file: &Path) {
    let mut content = fs::read(file).unwrap();
    if let Some(byte) = content.last_mut() {
        *byte ^= 0x40;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(file, content).unwrap();
    }
}

#[test]
fn damaged_cache_is_not_taken_for_a_damaged_store() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    env.run(["backup"]).code(0);
    let cached = files_below(&env.path("cache"));
    assert!(cached.iter().any(|file| file.components().any(|part| part.as_os_str() == "index")), "{cached:?}");
    cached
        .iter()
        .filter(|file| !file.components().any(|part| part.as_os_str() == "snapshots"))
        .for_each(|file| damage(file));
    env.run(["verify", "--read-data"]).code(0);
    // What was kept beside the store is disposable, and is fetched again where it is damaged.
    env.run(["ls", "files.home"]).code(0).stderr_lacks("error");
    env.run(["backup"]).code(0);
}

#[test]
fn nothing_is_freed_while_a_snapshot_cannot_be_read() {
    let env = TestEnv::with_store_and(&format!("{HOME}[[retention]]\npolicy = \"1\"\n"));
    for seed in [1, 2] {
        env.write("large", noise(1 << 20, seed));
        env.run(["backup"]).code(0);
    }
    let packs_before = packs(&env);
    let first = points(&env)[0]["point"].as_str().unwrap().to_owned();
    let whole = fs::read(env.store().join("snapshots").join(&first)).unwrap();
    damage(&env.store().join("snapshots").join(&first));
    fs::remove_dir_all(env.path("cache")).unwrap();
    env.run(["prune", "--keep-delete", "0s"]).code(1).stderr_has(&first[..8]);
    env.run(["verify"]).code(1);
    assert_eq!(packs(&env), packs_before);
    // The damaged one was kept beside the store when it was read, and does not hide the one that is whole again.
    fs::write(env.store().join("snapshots").join(&first), whole).unwrap();
    assert_eq!(points(&env).len(), 2);
    env.run(["verify", "--read-data"]).code(0);
}

#[test]
fn damaged_trees_are_reported_by_whatever_meets_them() {
    let env = TestEnv::with_store_and(HOME).file("a/x", "x").file("large", noise(1 << 20, 8));
    env.run(["backup"]).code(0);
    let trees = packs(&env).remove(0);
    let whole = fs::read(&trees).unwrap();
    let says = format!("{} in the store is damaged", name_of(&trees));
    // Cut short, and with one bit changed.
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &flipped] {
        fs::set_permissions(&trees, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&trees, damaged).unwrap();
        let without_cache = |arguments: &[&str]| {
            fs::remove_dir_all(env.path("cache")).unwrap();
            env.run(arguments)
        };
        let item = without_cache(&["backup", "--json"]).code(3).line("item");
        let problem = &item["problems"][0];
        assert_eq!(problem["path"].as_str(), env.store().to_str(), "{item}");
        assert!(problem["error"].as_str().unwrap().contains(&says), "{item}");
        without_cache(&["ls", "-R", "files.home@latest~1"]).code(3).stderr_has(&says);
        without_cache(&["prune"]).code(1).stderr_has(&says).stderr_has("hint: Run `holdall verify --read-data`.");
        without_cache(&["verify"]).code(1).stdout_has(name_of(&trees));
        fs::write(&trees, &whole).unwrap();
        env.run(["verify", "--read-data"]).code(0);
        fs::remove_file(env.store().join("snapshots").join(item["snapshot"].as_str().unwrap())).unwrap();
    }
}
