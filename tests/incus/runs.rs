//! Runs as a whole: what is due, dry runs, locks, the store.

use std::time::Duration;

use serde_json::json;

use crate::lab::{Asked, EVERYTHING, backup, instance, line};
use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;

#[test]
fn what_is_not_due_is_left_alone() {
    let bench = Bench::without_store(&format!("every = \"1h\"\n{EVERYTHING}"));
    bench.source.create("c1", &[]);
    backup(&bench);
    let again = backup(&bench);
    assert_eq!(line(&again, &instance("c1"))["outcome"], "not-due");
    assert_eq!(bench.source.points("c1").len(), 1);
    std::thread::sleep(Duration::from_millis(1100));
    bench.run(["backup", "--force"]).code(0);
    assert_eq!(bench.target.points("c1").len(), 2);
    // A copy that was broken off is no point that is young enough.
    bench.target.incus([
        "config",
        "set",
        "c1",
        "user.holdall.point=IAB_20200101-000000",
        "user.holdall.copying=IAB_20200101-000001",
    ]);
    backup(&bench);
    assert_eq!(bench.source.points("c1").len(), 3);
    // One of the future says nothing about today.
    bench.target.incus(["config", "set", "c1", "user.holdall.point=IAB_29990101-000000"]);
    backup(&bench);
    assert_eq!(bench.source.points("c1").len(), 4);
}

#[test]
fn dry_run_names_what_would_be_done_and_changes_nothing() {
    let bench = Bench::without_store(
        "[[incus.lab.project]]\nname = \"default\"\ninstances = [{ name = \"*\", stop = true }]\nvolumes = [{ name = \"*\" }]\n",
    );
    let bridge = bench.source.bridge("hb");
    bench.source.volume(LOCAL, "v1", "echo x >file");
    bench.source.launch("c1", &[]);
    bench.source.incus(["config", "device", "add", "c1", "data", "disk", "pool=local", "source=v1", "path=/data"]);
    bench.source.create("c2", &[]);
    bench.source.incus(["config", "device", "add", "c2", "eth0", "nic", &format!("network={bridge}")]);
    bench.target.create("c2", &[]);
    let look = || {
        [&bench.source, &bench.target].map(|server| {
            let mut instances = server.query("/1.0/instances?recursion=2");
            for instance in instances.as_array_mut().unwrap() {
                // How much memory it takes changes by itself.
                let state = &mut instance["state"];
                *state = json!([state["pid"], state["started_at"], state["status"]]);
            }
            instances
        })
    };
    let before = look();
    let outcome = bench.run(["backup", "-n"]).code(1);
    let outcome = outcome.stderr_has(
        "incus.lab/default/instance/c1: it would be stopped for its snapshot and started again, copied to the target for the first time",
    );
    let outcome = outcome.stderr_has("the target has an instance c2 that holdall did not make");
    // Its volume will be there by then.
    outcome.stderr_lacks("/devices/data").stderr_has("This was a dry run");
    bench
        .run(["backup", "-n", "--adopt"])
        .code(0)
        .stderr_has(&format!("/devices/eth0: left out of the copy: the target has no network {bridge}"));
    assert_eq!(look(), before);
    assert!(bench.source.volume_points("v1").is_empty());
}

#[test]
fn two_runs_at_once_follow_each_other() {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.create("c1", &[]);
    let mut first = bench.env.start(["backup", "--lock-wait", "10min"]);
    let second = bench.run(["backup", "--lock-wait", "10min"]);
    second.code(0);
    assert_eq!(first.wait(Duration::from_secs(600)).code(), Some(0), "{}", first.log());
    assert_eq!(bench.source.points("c1").len(), 2);
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
}

#[test]
fn only_what_is_named_is_copied() {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.create("c1", &[]);
    bench.source.create("c2", &[]);
    bench.run(["backup", &instance("c2")]).code(0).stderr_lacks("c1");
    assert!(bench.target.has("c2") && !bench.target.has("c1"));
    bench.run(["backup", "incus.lab/default/instance/c3"]).code(2).stderr_has("nothing is called");
    bench.run(["backup", "incus.lab/default/*/c1"]).code(0);
    assert!(bench.target.has("c1"));
}

#[test]
fn export_without_a_target_saves_into_the_store() {
    let bench = Bench::with("");
    let text = bench.stanza(&format!("export = true\n{EVERYTHING}"));
    let alone: String =
        text.lines().filter(|line| !line.starts_with("target")).map(|line| format!("{line}\n")).collect();
    bench.env.configure(&alone);
    bench.source.volume(LOCAL, "v1", "echo x >file");
    bench.source.create("c1", &[]);
    let outcome = backup(&bench);
    let copied = line(&outcome, &instance("c1"))["copied"].clone();
    assert_eq!((copied["store"].as_bool(), copied["target"].as_bool()), (Some(true), Some(false)));
    let stored = bench.run(["list", "--json"]).code(0).json();
    let places: Vec<&str> = stored.as_array().unwrap().iter().filter_map(|point| point["where"].as_str()).collect();
    assert_eq!(places.iter().filter(|place| **place == "store").count(), 2);
    assert_eq!(places.iter().filter(|place| **place == "source").count(), 2);
}

#[test]
fn copy_and_export_are_both_told() {
    let bench = Bench::with(&format!("export = true\n{EVERYTHING}"));
    bench.source.create("c1", &[]);
    bench.run(["backup"]).code(0).stderr_has("to the target for the first time, and into the store: added");
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
}
