//! restic's locks: restic keeps out of the way of holdall, and holdall of restic, on every kind of server that both know.
//!
//! restic is the judge: it lists and reads our locks, refuses what they forbid, and removes those of runs that are no more.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::daemon::Daemon;
use support::env::{TestEnv, finish};
use support::fault::{Fault, Gate};
use support::outcome::Outcome;
use support::rclone::{self, RcloneRest, RcloneWebdav};
use support::seaweed::{self, SeaweedFs};
use support::sshd::Sshd;

const SOON: Duration = Duration::from_secs(120);
/// restic's until 0.16, and since.
const LOCKED: [i32; 2] = [1, 11];

/// A store, as holdall and restic spell it.
struct Shared {
    env: TestEnv,
    restic: String,
}

impl Shared {
    fn new(env: TestEnv, holdall: &str, restic: &str, options: &str) -> Self {
        env.config(&format!(
            "[store]\nrepository = \"{holdall}\"\npassword-file = \"{{root}}/store.password\"\n[store.options]\n{options}\n\
             [files.home]\npaths = [\"{{root}}/source\"]\n[[retention]]\npolicy = \"1\"\n"
        ));
        env.run(["onboard", "store"]).code(0);
        env.write("large", noise(6 << 20));
        env.run(["backup"]).code(0);
        let shared = Self { env, restic: restic.to_owned() };
        assert!(shared.locks().is_empty());
        shared
    }

    fn local() -> Self {
        let env = TestEnv::new();
        let store = env.store().to_str().unwrap().to_owned();
        Self::new(env, &store, &store, "")
    }

    fn restic<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.env.restic_at(&self.restic, arguments)
    }

    /// What restic reads in the locks that are there.
    fn locks(&self) -> Vec<Value> {
        let ids = self.restic(["--no-lock", "list", "locks"]).code(0).stdout;
        let read = |id| self.restic(["--no-lock", "cat", "lock", id]).code(0).json();
        ids.lines().map(read).collect()
    }

    /// The one lock that is there.
    #[track_caller]
    fn lock(&self) -> Value {
        let mut locks = self.locks();
        assert_eq!(locks.len(), 1, "{locks:?}");
        locks.remove(0)
    }

    /// holdall as on another machine: nothing but the store is shared.
    fn elsewhere(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.env.holdall(arguments);
        let runtime = self.env.path("run-elsewhere");
        fs::create_dir_all(&runtime).unwrap();
        command.env("RUNTIME_DIRECTORY", runtime);
        finish(command)
    }

    /// A backup of holdall's that has read half of a file, and what holds it there.
    fn held_backup(&self) -> (Daemon, fs::File) {
        self.env.write("large", noise(6 << 20));
        drop(fs::remove_file(self.env.path("gate")));
        let gate = Gate::new(&self.env);
        let large = self.env.source().join("large");
        let run = Fault::new(&self.env).before_read(2, large, &gate.command()).start(["backup"]);
        let held = gate.reached();
        (run, held)
    }

    /// A check of restic's, which holds an exclusive lock and takes its time.
    fn slow_check(&self) -> Daemon {
        let mut command = self.env.command("restic");
        command.args(["--no-cache", "--limit-download", "10", "check", "--read-data", "--password-file"]);
        command.arg(self.env.password_file()).arg("--repo").arg(&self.restic);
        let mut check = Daemon::start(command, &self.env.path("restic.log"));
        check.wait_until(|| !self.locks().is_empty());
        check
    }
}

/// Content that neither repeats nor compresses, another each time.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[track_caller]
fn is_refused_by_restic(outcome: Outcome, pid: &Value) {
    outcome.code_among(&LOCKED).stderr_has("already locked").stderr_has(&format!("PID {pid} on "));
}

/// Both at work, in each other's way as the rules have it.
fn both_keep_the_rules(shared: &Shared) {
    restic_keeps_out_of_the_way(shared);
    holdall_keeps_out_of_the_way(shared);
    assert!(shared.locks().is_empty());
    shared.env.run(["prune"]).code(0);
    assert!(shared.locks().is_empty());
    shared.restic(["check"]).code(0);
}

/// restic beside a backup of holdall's.
fn restic_keeps_out_of_the_way(shared: &Shared) {
    let (mut run, held) = shared.held_backup();
    let lock = shared.lock();
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!((&lock["exclusive"], lock["hostname"].as_str()), (&false.into(), Some(hostname.trim())), "{lock}");
    let process = format!("/proc/{}/comm", lock["pid"]);
    assert_eq!(fs::read_to_string(process).unwrap().trim(), "holdall");
    for command in [&["prune"][..], &["forget", "--keep-last", "1", "--prune"]] {
        is_refused_by_restic(shared.restic(command), &lock["pid"]);
    }
    shared.restic(["backup".as_ref(), shared.env.config_file().as_os_str()]).code(0);
    let named = format!("process {}, last heard of at ", lock["pid"]);
    shared.elsewhere(&["prune"]).code(11).stderr_has("the store is in use by ").stderr_has(&named).stderr_has("hint: ");
    // It asks whether the process lives, by a signal; it does, and goes on.
    shared.restic(["unlock"]).code(0);
    assert_eq!(shared.lock(), lock);
    drop(held);
    assert!(run.wait(SOON).success(), "{}", run.log());
    assert!(shared.locks().is_empty());
}

/// holdall beside restic, which holds the store for itself.
fn holdall_keeps_out_of_the_way(shared: &Shared) {
    let mut check = shared.slow_check();
    let lock = shared.lock();
    assert_eq!(lock["exclusive"], true, "{lock}");
    let named = format!("process {}, last heard of at ", lock["pid"]);
    for command in [&["backup"][..], &["prune"], &["verify"]] {
        shared.env.run(command).code(11).stderr_has("the store is locked by ").stderr_has(&named);
    }
    shared.env.run(["list"]).code(0).stdout_has("files.home");
    let target = shared.env.path("restored beside restic");
    shared.env.run(["restore", "files.home", "--to", target.to_str().unwrap()]).code(0);
    assert!(check.is_running(), "{}", check.log());
    let mut waiting = shared.env.start(["--lock-wait", "5min", "backup"]);
    let log = shared.env.path("holdall.log");
    waiting.wait_until(|| fs::read_to_string(&log).unwrap().contains("waiting for it to end"));
    // Asked to end, it would first read on at its leisure.
    check.kill();
    assert!(waiting.wait(SOON).success(), "{}", waiting.log());
}

#[test]
fn rules_are_kept_on_this_machine() {
    both_keep_the_rules(&Shared::local());
}

#[test]
fn rules_are_kept_on_s3() {
    let server = SeaweedFs::start();
    let env = TestEnv::new()
        .variable("AWS_ACCESS_KEY_ID", seaweed::ACCESS_KEY_ID)
        .variable("AWS_SECRET_ACCESS_KEY", seaweed::SECRET_ACCESS_KEY);
    let repository = server.repository("nas/holdall");
    both_keep_the_rules(&Shared::new(env, &repository, &repository, ""));
}

#[test]
fn rules_are_kept_on_a_rest_server() {
    let server = RcloneRest::start();
    let env = TestEnv::new();
    env.write_secret("rest.password", rclone::PASSWORD);
    let options = format!("username = \"{}\"\npassword-file = \"{{root}}/rest.password\"", rclone::USER);
    let repository = server.repository_without_password("nas/holdall");
    both_keep_the_rules(&Shared::new(env, &repository, &server.repository("nas/holdall"), &options));
}

#[test]
fn rules_are_kept_on_an_sftp_server() {
    let server = Sshd::start();
    let env = TestEnv::new().path_first(server.client_path());
    let repository = server.repository("holdall");
    both_keep_the_rules(&Shared::new(env, &repository, &repository, ""));
}

#[test]
fn rules_are_kept_on_a_webdav_server() {
    let server = RcloneWebdav::start();
    let env = TestEnv::new();
    env.write_secret("webdav.password", rclone::PASSWORD);
    let options = format!("username = \"{}\"\npassword-file = \"{{root}}/webdav.password\"", rclone::USER);
    // restic has no WebDAV: it sits at the server itself.
    let restic = server.directory("nas/holdall").to_str().unwrap().to_owned();
    let shared = Shared::new(env, &server.repository("nas/holdall"), &restic, &options);
    // Not the other way round: this server does not look at its disk for changes that others make.
    restic_keeps_out_of_the_way(&shared);
}

#[test]
fn lock_goes_when_a_signal_ends_the_run() {
    let shared = Shared::local();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (mut run, held) = shared.held_backup();
        assert_eq!(shared.locks().len(), 1);
        run.signal(signal);
        assert_eq!(run.wait(SOON).code(), Some(code), "{}", run.log());
        assert!(shared.locks().is_empty());
        drop(held);
    }
    shared.restic(["check"]).code(0);
}

#[test]
fn lock_of_a_killed_backup_is_stale_to_both() {
    let shared = Shared::local();
    let killed = || {
        let (mut run, held) = shared.held_backup();
        run.kill();
        drop(held);
        shared.lock()
    };
    let lock = killed();
    // restic itself never passes over a stale lock; it has a command for it.
    is_refused_by_restic(shared.restic(["prune"]), &lock["pid"]);
    shared.restic(["unlock"]).code(0);
    assert!(shared.locks().is_empty());
    shared.restic(["prune"]).code(0);

    let lock = killed();
    let gone = format!("removed the stale lock of {}@", lock["username"].as_str().unwrap());
    shared.env.run(["-v", "prune"]).code(0).stderr_has(&gone).stderr_has(&format!("process {}", lock["pid"]));
    assert!(shared.locks().is_empty());
    shared.restic(["check", "--read-data"]).code(0);
}

#[test]
fn lock_of_a_killed_restic_is_removed_on_the_way() {
    let shared = Shared::local();
    let mut check = shared.slow_check();
    shared.env.run(["backup"]).code(11);
    check.kill();
    assert_eq!(shared.locks().len(), 1);
    shared.env.run(["backup"]).code(0);
    assert!(shared.locks().is_empty());
}

#[test]
fn pruning_after_a_backup_is_left_for_later_when_others_are_at_work() {
    let shared = Shared::local();
    let (mut run, held) = shared.held_backup();
    let text = fs::read_to_string(shared.env.config_file()).unwrap().replace("files.home", "files.other");
    let other = shared.env.path("other.toml");
    fs::write(&other, text).unwrap();
    let backup = ["backup", "--prune", "--config", other.to_str().unwrap()];
    shared.elsewhere(&backup).code(0).stderr_has("not pruned this time: the store is in use by ");
    drop(held);
    assert!(run.wait(SOON).success(), "{}", run.log());
    shared.elsewhere(&backup).code(0).stderr_has("removed 1 point");
    assert!(shared.locks().is_empty());
}

#[test]
fn dry_runs_and_reading_write_no_lock() {
    let shared = Shared::local();
    let locks = shared.env.store().join("locks");
    let changed = || fs::metadata(&locks).unwrap().modified().unwrap();
    let before = changed();
    let target = shared.env.path("target");
    for command in [
        &["backup", "--dry-run"][..],
        &["prune", "--dry-run"],
        &["list"],
        &["status"],
        &["check"],
        &["ls", "files.home"],
        &["restore", "files.home", "--to", target.to_str().unwrap()],
    ] {
        shared.env.run(command).code(0);
    }
    assert_eq!(changed(), before);
    // Not due: nothing to hold the store for.
    let text = fs::read_to_string(shared.env.config_file()).unwrap();
    fs::write(shared.env.config_file(), text.replace("[files.home]\n", "[files.home]\nevery = \"1d\"\n")).unwrap();
    shared.env.run(["backup"]).code(0);
    assert_eq!(changed(), before);
    shared.env.run(["backup", "--force"]).code(0);
    assert!(changed() > before);
}

#[test]
fn store_that_cannot_take_a_lock_is_not_written_but_verified() {
    let shared = Shared::local();
    let locks = shared.env.store().join("locks");
    fs::remove_dir(&locks).unwrap();
    // Not even root can write below a file.
    fs::write(&locks, "").unwrap();
    shared.env.run(["backup"]).code(1).stderr_has("look for locks in the store: Listing the locks in ");
    shared.env.run(["prune"]).code(1);
    shared.env.run(["verify"]).code(0).stderr_has("going on without a lock");
    shared.env.run(["list"]).code(0).stdout_has("files.home");
}

#[test]
fn safety_point_of_a_restore_in_place_waits_for_nobody_else_to_prune() {
    let shared = Shared::local();
    let mut check = shared.slow_check();
    shared.env.write("large", "changed");
    let restore = ["restore", "files.home", "--in-place", "--yes"];
    shared.env.run(restore).code(11).stderr_has("the store is locked by ").stderr_has("nothing was changed");
    assert_eq!(fs::read(shared.env.source().join("large")).unwrap(), b"changed");
    shared.env.run(restore.into_iter().chain(["--no-safety"])).code(0);
    check.kill();
    shared.restic(["unlock"]).code(0);
    shared.env.run(restore).code(0);
    assert!(shared.locks().is_empty());
}

#[test]
fn closed_terminal_ends_a_backup_and_a_question_does_not() {
    let shared = Shared::local();
    let (mut run, held) = shared.held_backup();
    run.signal(Signal::HUP);
    thread::sleep(Duration::from_secs(1));
    assert!(run.is_running(), "{}", run.log());
    drop(held);
    assert!(run.wait(SOON).success(), "{}", run.log());

    // In a terminal of its own, which goes with the program that made it.
    shared.env.write("large", noise(6 << 20));
    fs::remove_file(shared.env.path("gate")).unwrap();
    let gate = Gate::new(&shared.env);
    let large = shared.env.source().join("large");
    let inside = Fault::new(&shared.env).before_read(2, large, &gate.command());
    let mut terminal = inside.start_in_terminal(["backup"]);
    let held = gate.reached();
    let pid = shared.lock()["pid"].to_string();
    terminal.kill();
    wait_until(|| !Path::new("/proc").join(&pid).exists());
    assert!(shared.locks().is_empty());
    drop(held);
}

#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON);
        thread::sleep(Duration::from_millis(50));
    }
}
