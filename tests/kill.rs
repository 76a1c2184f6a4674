//! A run that is ended from outside: by SIGINT, SIGTERM, SIGKILL at any moment, and by another run beside it.
//!
//! SIGKILL comes at calls that change something on disk, chosen at random among all of a run's: what is on disk between two such calls is
//! the same. A write it hits is cut in half.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]
#![expect(clippy::print_stdout, reason = "a failure is told with the seed and the moment")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use support::daemon::Daemon;
use support::env::TestEnv;
use support::fault::{Fault, Gate, finish_ok};
use support::http::{Answer, Request, Server};
use support::tree;

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";
const MOMENTS: usize = 20;
const SOON: Duration = Duration::from_secs(120);

/// Random numbers that can be had again: the seed is printed, and shown when the test fails.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        println!("seed {seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, most: u64) -> u64 {
        1 + self.next() % most
    }

    /// One of so many calls, every other time one of the last 40: there index and snapshot are written, and old files go.
    fn call(&mut self, moment: usize, calls: u64) -> u64 {
        let at = if moment.is_multiple_of(2) { self.up_to(calls) } else { calls - self.up_to(calls.min(40)) + 1 };
        println!("moment {moment}: call {at} of {calls}");
        at
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next() as u8).take(size).collect()
    }
}

fn point_ids(env: &TestEnv) -> Vec<String> {
    let points = env.run(["list", "--json"]).code(0).json();
    points.as_array().unwrap().iter().map(|point| point["point"].as_str().unwrap().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    finish_ok(Command::new("cp").arg("--archive").arg(from).arg(to));
}

/// How many calls of this run change something in the environment.
fn changes_of(env: &TestEnv, arguments: &[&str]) -> u64 {
    let counter = env.path("counter");
    Fault::new(env).count_changes(env.root(), &counter).run(arguments).code(0);
    fs::read_to_string(counter).unwrap().parse().unwrap()
}

#[test]
fn backup_killed_at_any_moment_leaves_the_store_whole() {
    let mut random = Random::new();
    let env = TestEnv::with_store_and(HOME);
    for file in 0..20 {
        env.write(format!("{file}/small"), random.bytes(1000));
    }
    env.run(["backup"]).code(0);
    let first = point_ids(&env).remove(0);
    let first_tree = env.path("first");
    copy(&env.source(), &first_tree);

    env.write("large", random.bytes(6 << 20));
    let changes = changes_of(&env, &["backup"]);
    let mut before = point_ids(&env);
    let mut killed = 0;
    for moment in 0..MOMENTS {
        // Something new to save each time, so that each run does all of its work.
        env.write("large", random.bytes(6 << 20));
        env.write(format!("{}/small", moment % 20), random.bytes(1000));
        let at = random.call(moment, changes);
        let run = Fault::new(&env).kill_at_change(at, env.root()).run(["backup"]);
        killed += usize::from(run.was_killed());
        // As after a restic that was killed: its lock is stale, and restic wants to be told so.
        env.restic(["unlock"]).code(0);
        env.restic(["check"]).code(0);
        tree::assert_same(&first_tree, &env.restored_by_restic(&first));
        // It goes on as if nothing had been.
        let next = env.run(["backup", "--json"]).code(0).line("item");
        let after = point_ids(&env);
        assert_eq!(after[..before.len()], before);
        assert_eq!(after.last().unwrap(), next["snapshot"].as_str().unwrap());
        if let [between, _] = &after[before.len()..] {
            // It was killed after its point was written: then that is whole.
            tree::assert_same(&env.source(), &env.restored_by_restic(between));
        }
        before = after;
    }
    assert!(killed > MOMENTS / 2, "{killed}");
    env.restic(["check", "--read-data"]).code(0);
    env.run(["verify", "--read-data"]).code(0);
    tree::assert_same(&first_tree, &env.restored_by_restic(&first));
    tree::assert_same(&env.source(), &env.restored_by_restic("latest"));
}

#[test]
fn prune_killed_at_any_moment_leaves_the_store_whole() {
    const PRUNE: [&str; 5] = ["prune", "--keep-delete", "0s", "--max-repack", "unlimited"];
    let mut random = Random::new();
    let env = TestEnv::with_store_and(&format!("{HOME}[[retention]]\npolicy = \"2\"\n"));
    // Each point shares files with the others, so that packs are used in part and must be rewritten.
    for point in 0..4 {
        for file in 0..6 {
            if file % 4 >= point || point == 0 {
                env.write(format!("{file}"), random.bytes(300_000));
            }
        }
        env.write(format!("only-in-{point}"), random.bytes(100_000));
        env.run(["backup"]).code(0);
        copy(&env.source(), &env.path(format!("tree-{point}")));
    }
    let points = point_ids(&env);
    let stored = env.path("stored");
    copy(&env.store(), &stored);
    let restore_kept = |env: &TestEnv, kept: usize| {
        tree::assert_same(&env.path(format!("tree-{kept}")), &env.restored_by_restic(&points[kept]));
    };

    let counted = env.path("counter");
    let whole = Fault::new(&env).count_changes(env.root(), &counted).run(PRUNE).code(0);
    whole.stderr_has("removed 2 points, kept 2; ").stderr_has("rewrote ");
    let changes: u64 = fs::read_to_string(counted).unwrap().parse().unwrap();
    let mut killed = 0;
    for moment in 0..MOMENTS {
        copy(&stored, &env.store());
        let at = random.call(moment, changes);
        killed += usize::from(Fault::new(&env).kill_at_change(at, env.root()).run(PRUNE).was_killed());
        env.restic(["unlock"]).code(0);
        env.restic(["check"]).code(0);
        restore_kept(&env, 2 + moment % 2);
        env.run(PRUNE).code(0);
        env.restic(["check", "--read-data"]).code(0);
        assert_eq!(point_ids(&env), points[2..]);
    }
    assert!(killed > MOMENTS / 2, "{killed}");
    env.run(["backup"]).code(0);
    env.run(["verify", "--read-data"]).code(0);
    restore_kept(&env, 2);
    restore_kept(&env, 3);
}

#[test]
fn leftovers_of_killed_runs_disturb_nobody() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    env.run(["backup"]).code(0);
    for directory in ["data/00", "index", "snapshots", "keys", "locks"] {
        fs::create_dir_all(env.store().join(directory)).unwrap();
        fs::write(env.store().join(directory).join(format!("{}-tmp-", "0".repeat(64))), "half").unwrap();
    }
    env.restic(["check", "--read-data"]).code(0);
    env.restic(["snapshots"]).code(0);
    env.run(["backup"]).code(0);
    env.run(["prune"]).code(0);
    env.run(["verify", "--read-data"]).code(0);
    assert_eq!(point_ids(&env).len(), 2);
}

/// Starts a backup that has read half of a file, and gives what holds it there.
fn held_in_the_middle(env: &TestEnv) -> (Daemon, fs::File) {
    let gate = Gate::new(env);
    let run = Fault::new(env).before_read(2, env.source().join("large"), &gate.command()).start(["backup"]);
    let held = gate.reached();
    (run, held)
}

fn paths(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

#[test]
fn backup_ended_by_a_signal_tells_the_monitor_and_makes_no_point() {
    for (signal, code, name) in [(Signal::INT, 130, "SIGINT"), (Signal::TERM, 143, "SIGTERM")] {
        let server = Server::start(vec![Answer::Status(200, Vec::new())]);
        let ping = format!("[notify.healthchecks]\nurl = \"{}\"\n", server.url("/check"));
        let env = TestEnv::with_store_and(&format!("{ping}{HOME}")).file("small", "x");
        env.write("large", Random(1).bytes(6 << 20));
        let (mut run, held) = held_in_the_middle(&env);
        run.signal(signal);
        assert_eq!(run.wait(SOON).code(), Some(code), "{}", run.log());
        assert!(run.log().contains(&format!("stopping on {name}")), "{}", run.log());
        drop(held);
        let requests = server.requests();
        assert_eq!(paths(&requests), ["/check/start".to_owned(), format!("/check/{code}")]);
        assert!(requests[1].body.contains(name), "{}", requests[1].body);
        assert_eq!(requests[0].query_value("rid"), requests[1].query_value("rid"));

        assert!(point_ids(&env).is_empty());
        env.restic(["check", "--read-data"]).code(0);
        env.configure(HOME);
        env.run(["backup"]).code(0);
        env.restic(["check", "--read-data"]).code(0);
        tree::assert_same(&env.source(), &env.restored_by_restic("latest"));
    }
}

#[test]
fn run_of_another_store_and_source_is_not_disturbed() {
    let env = TestEnv::with_store_and(HOME);
    env.write("large", Random(2).bytes(6 << 20));
    let (mut run, held) = held_in_the_middle(&env);

    let other = env.path("other.toml");
    let text = format!(
        "[store]\nrepository = \"{root}/other-store\"\npassword-file = \"{root}/store.password\"\n[files.other]\npaths = [\"{root}/home\"]\n",
        root = env.root().display()
    );
    fs::write(&other, text).unwrap();
    let other = other.to_str().unwrap();
    env.run(["onboard", "store", "--config", other]).code(0);
    fs::write(env.path("home/file"), "x").unwrap();
    env.run(["backup", "--config", other]).code(0);
    assert!(run.is_running());
    drop(held);
    assert!(run.wait(SOON).success(), "{}", run.log());
    assert_eq!(point_ids(&env).len(), 1);
    env.restic_at(env.path("other-store"), ["check", "--read-data"]).code(0);
    env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn same_source_is_not_read_by_two_runs_into_different_stores() {
    let env = TestEnv::with_store_and(HOME);
    env.write("large", Random(3).bytes(6 << 20));
    let (mut run, held) = held_in_the_middle(&env);
    let other = env.path("other.toml");
    let text = fs::read_to_string(env.config_file()).unwrap().replace("/store\"", "/other-store\"");
    fs::write(&other, text).unwrap();
    let other = other.to_str().unwrap();
    env.run(["onboard", "store", "--config", other]).code(0);
    env.run(["backup", "--config", other]).code(11).stderr_has("files.home is in use by another run");
    drop(held);
    assert!(run.wait(SOON).success(), "{}", run.log());
    env.run(["backup", "--config", other]).code(0);
}
