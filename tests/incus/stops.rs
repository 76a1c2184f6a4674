//! Instances that are stopped for their snapshot, and come back whatever happens.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{Asked, backup};
use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;

const SOON: Duration = Duration::from_secs(60);

fn with(rest: &str) -> Bench {
    Bench::without_store(&format!(
        "{rest}\n[[incus.lab.project]]\nname = \"default\"\ninstances = [{{ name = \"*\", stop = true }}]\nvolumes = [{{ name = \"*\" }}]\n"
    ))
}

fn mark(bench: &Bench, name: &str) -> Value {
    bench.source.instance(name)["config"]["user.holdall.stopped"].clone()
}

/// A container that does not end when it is asked to.
fn deaf(bench: &Bench, name: &str) {
    bench.source.create(name, &[]);
    bench.source.incus(["start", name]);
    let init = "#!/bin/sh\ntrap 'echo asked >/asked' PWR TERM INT\nwhile :; do sleep 1; done\n";
    bench.source.exec(name, &format!("cat >/sbin/init <<'E'\n{init}E\nchmod 755 /sbin/init"));
    bench.source.incus(["restart", "--force", name]);
}

fn was_asked(bench: &Bench, name: &str) -> bool {
    bench.source.dir().join("containers").join(name).join("rootfs/asked").exists()
}

#[test]
fn instance_is_stopped_with_its_volume_and_started_again() {
    let bench = with("");
    bench.source.volume(LOCAL, "v1", "true");
    bench.source.launch("c1", &[]);
    bench.source.incus(["config", "device", "add", "c1", "data", "disk", "pool=local", "source=v1", "path=/data"]);
    // What it writes when it ends is in both snapshots.
    let init =
        "#!/bin/sh\ntrap 'echo end >/data/end; echo end >/end; exit 0' PWR\nwhile :; do sleep 1000 & wait $!; done\n";
    bench.source.exec("c1", &format!("cat >/sbin/init <<'E'\n{init}E\nchmod 755 /sbin/init"));
    bench.source.incus(["restart", "--force", "c1"]);
    bench.source.create("idle", &[]);
    let started = bench.source.instance("c1")["last_used_at"].clone();
    backup(&bench);
    assert_eq!(bench.source.instance("c1")["status"], "Running");
    assert_ne!(bench.source.instance("c1")["last_used_at"], started);
    assert_eq!(bench.source.instance("idle")["status"], "Stopped");
    assert_eq!(mark(&bench, "c1"), Value::Null);
    assert_eq!(bench.target.read_volume(LOCAL, "v1", "end"), "end\n");
    assert_eq!(bench.target.read_instance("c1", "end"), "end\n");
    assert_eq!(bench.target.instance("c1")["config"]["user.holdall.stopped"], Value::Null);
}

#[test]
fn instance_that_does_not_stop_fails_and_goes_on() {
    let bench = with("stop-timeout = \"2s\"");
    deaf(&bench, "c1");
    let outcome = bench.run(["backup"]).code(1);
    outcome.stderr_has("stop c1").stderr_has("`stop-timeout` says how long it may take");
    assert_eq!(bench.source.instance("c1")["status"], "Running");
    assert!(bench.source.points("c1").is_empty() && !bench.target.has("c1"));
}

#[test]
fn run_that_is_told_to_end_while_an_instance_stops_starts_it_again() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let bench = with("stop-timeout = \"5s\"");
        deaf(&bench, "c1");
        let mut run = bench.env.start(["backup"]);
        run.wait_until(|| was_asked(&bench, "c1"));
        run.signal(signal);
        assert_eq!(run.wait(SOON).code(), Some(code), "{}", run.log());
        assert_eq!(bench.source.instance("c1")["status"], "Running", "{}", run.log());
    }
}

#[test]
fn what_a_killed_run_has_left_stopped_is_started_by_the_next_one() {
    let bench = with("");
    bench.source.launch("c1", &[]);
    bench.source.launch("c2", &[]);
    for name in ["c1", "c2"] {
        let one = bench.source.instance(name);
        let generation = one["config"]["volatile.uuid.generation"].as_str().unwrap();
        let mark = format!("{generation} {}", one["last_used_at"].as_str().unwrap());
        bench.source.incus(["config", "set", name, &format!("user.holdall.stopped={mark}")]);
        bench.source.incus(["stop", "--force", name]);
    }
    // Somebody has used it since, and stopped it again.
    bench.source.incus(["start", "c2"]);
    bench.source.incus(["stop", "--force", "c2"]);
    bench.run(["backup"]).code(0).stderr_has("started c1 again, which a run that was killed had left stopped");
    assert_eq!(bench.source.instance("c1")["status"], "Running");
    assert_eq!(bench.source.instance("c2")["status"], "Stopped");
    assert_eq!([mark(&bench, "c1"), mark(&bench, "c2")], [Value::Null, Value::Null]);
}

#[test]
fn run_that_is_killed_while_an_instance_is_stopped_is_mended() {
    let bench = with("stop-timeout = \"3s\"");
    deaf(&bench, "c1");
    let mut run = bench.env.start(["backup"]);
    run.wait_until(|| was_asked(&bench, "c1"));
    run.kill();
    assert!(mark(&bench, "c1").is_string());
    // It stops when nobody waits for it any more.
    bench.source.incus(["stop", "--force", "c1"]);
    thread::sleep(Duration::from_secs(1));
    let outcome = bench.run(["backup"]);
    outcome.stderr_has("started c1 again, which a run that was killed had left stopped");
    assert_eq!(bench.source.instance("c1")["status"], "Running");
}

#[test]
fn instance_that_was_put_back_from_a_snapshot_with_the_mark_is_not_started() {
    let bench = with("");
    bench.source.launch("c1", &[]);
    backup(&bench);
    let point = bench.source.points("c1").remove(0);
    bench.source.incus(["stop", "--force", "c1"]);
    bench.source.incus(["snapshot", "restore", "c1", &point]);
    assert!(mark(&bench, "c1").is_string());
    bench.run(["backup"]).code(0).stderr_lacks("started c1 again");
    assert_eq!(bench.source.instance("c1")["status"], "Stopped");
    assert_eq!(mark(&bench, "c1"), Value::Null);
}

#[test]
fn instance_that_stopping_would_delete_is_refused() {
    let bench = with("");
    bench.source.launch("c1", &["--ephemeral"]);
    bench.run(["backup"]).code(1).stderr_has("c1 is ephemeral: stopping would delete it");
    assert_eq!(bench.source.instance("c1")["status"], "Running");
}
