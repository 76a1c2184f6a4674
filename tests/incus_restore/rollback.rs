//! Back to a snapshot that the source has, in place.

use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;
use crate::{ALL, C1, V1, newest};

/// An instance that runs and writes to a volume, backed up when its files said `one`; now they say `two`.
fn changed() -> Bench {
    let bench = Bench::without_store(ALL);
    bench.source.volume(LOCAL, "v1", "echo one >file");
    bench.source.launch("c1", &[]);
    bench.source.incus(["storage", "volume", "attach", LOCAL, "v1", "c1", "/data"]);
    bench.source.exec("c1", "echo one >/root/file; sync");
    bench.run(["backup"]).code(0);
    bench.source.exec("c1", "echo two >/root/file; echo two >/data/file; sync");
    bench.source.incus(["config", "set", "c1", "user.x", "changed"]);
    bench
}

#[test]
fn instance_that_runs_is_rolled_back_kept_before_and_runs_again_and_the_next_backup_goes_on() {
    let bench = changed();
    let point = newest(&bench);
    bench.run(["restore", C1, "--in-place", "--yes"]).code(1).stderr_has("runs").stderr_has("--stop");
    bench.run(["restore", C1, "--in-place", "--stop"]).code(2).stderr_has("--yes");
    let dry = bench.run(["restore", C1, "--in-place", "--stop", "-n"]).code(0);
    assert!(dry.stdout.starts_with("would stop c1\nwould keep c1 as it is now as the snapshot IAB_"), "{}", dry.stdout);
    assert_eq!(bench.source.read_instance("c1", "/root/file"), "two\n");

    let done = bench
        .run(["restore", C1, "--in-place", "--stop", "--yes"])
        .code(0)
        .stderr_has("To undo: incus snapshot restore c1 IAB_");
    assert_eq!(bench.source.query("/1.0/instances/c1")["status"], "Running");
    assert_eq!(bench.source.exec("c1", "cat /root/file /data/file"), "one\ntwo");
    assert!(bench.source.query("/1.0/instances/c1")["config"]["user.x"].is_null(), "{}", done.stderr);
    let snapshots = bench.source.snapshots("default", "instance", "c1");
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    assert_eq!(snapshots[0], point);

    bench.run(["backup"]).code(0);
    assert_eq!(bench.target.read_instance("c1", "/root/file"), "one\n");
    let safety = &snapshots[1];
    bench.source.incus(["stop", "c1"]);
    bench.source.incus(["snapshot", "restore", "c1", safety]);
    assert_eq!(bench.source.read_instance("c1", "/root/file"), "two\n");
}

#[test]
fn volume_is_rolled_back_when_those_who_use_it_may_be_stopped() {
    let bench = changed();
    bench.run(["restore", V1, "--in-place", "--yes"]).code(1).stderr_has("c1 runs and uses");
    assert_eq!(bench.source.read_volume(LOCAL, "v1", "file"), "two\n");
    let said = bench.run(["--json", "restore", V1, "--in-place", "--yes", "--stop"]).code(0).json();
    assert_eq!(said["from"], "source");
    assert_eq!(bench.source.exec("c1", "cat /data/file /root/file"), "one\ntwo");
    let snapshots = bench.source.snapshots("default", "volume", "local/v1");
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    bench.run(["backup"]).code(0);
    assert_eq!(bench.target.read_volume(LOCAL, "v1", "file"), "one\n");
}

#[test]
fn point_is_chosen_by_name_or_time_and_no_safety_keeps_nothing() {
    let bench = changed();
    let first = newest(&bench);
    bench.source.incus(["stop", "c1"]);
    bench.run(["backup", C1]).code(0);
    let second = newest(&bench);
    assert_ne!(first, second);
    bench.run(["restore", &format!("{C1}@{first}"), "--in-place", "--yes", "--no-safety"]).code(0);
    assert_eq!(bench.source.read_instance("c1", "/root/file"), "one\n");
    assert_eq!(bench.source.snapshots("default", "instance", "c1"), [first, second.clone()]);
    assert_eq!(bench.source.query("/1.0/instances/c1")["status"], "Stopped");
    bench.run(["restore", &format!("{C1}@latest"), "--in-place", "--yes", "--no-safety"]).code(0);
    assert_eq!(bench.source.read_instance("c1", "/root/file"), "two\n");
    bench
        .run(["restore", &format!("{C1}@IAB_20010101-000000"), "--in-place", "--yes"])
        .code(1)
        .stderr_has("there is no point");
}

#[test]
fn snapshot_is_made_an_instance_beside_the_original_that_shares_nothing_with_it() {
    let bench = changed();
    let said = bench.run(["restore", C1, "--as", "c2"]).code(0).stderr_has("incus start c2");
    assert!(said.stderr.contains("the disk data") || said.stderr.contains("v1"), "{}", said.stderr);
    assert_eq!(bench.source.read_instance("c2", "/root/file"), "one\n");
    assert_eq!(bench.source.exec("c1", "cat /root/file"), "two");
    let made = bench.source.query("/1.0/instances/c2");
    assert_eq!((&made["status"], &made["config"]["boot.autostart"]), (&"Stopped".into(), &"false".into()));
    assert!(made["expanded_devices"]["v1"].is_null(), "{made}");
    assert!(made["config"]["user.holdall.export"].is_null(), "{made}");
    bench.run(["restore", C1, "--as", "c2"]).code(2).stderr_has("there is an instance c2 on the source already");
    bench.run(["restore", C1, "--as", "c/2"]).code(2).stderr_has("no name that an instance can have");
    bench.run(["restore", V1, "--as", "v2"]).code(0);
    assert_eq!(bench.source.read_volume(LOCAL, "v2", "file"), "one\n");
    bench.source.incus(["start", "c2"]);
}

#[test]
fn what_has_no_meaning_for_an_instance_is_refused() {
    let bench = changed();
    bench.run(["restore", &format!("{C1}:/root"), "--in-place"]).code(2).stderr_has("comes back whole");
    bench.run(["restore", C1, "--in-place", "--verify"]).code(2).stderr_has("--verify has no meaning");
    bench.run(["restore", C1, "--in-place", "--overwrite"]).code(2).stderr_has("--overwrite has no meaning");
    bench.run(["restore", C1, "--from", "store"]).code(10).stderr_has("has no [store]");
    bench.run(["restore", "incus.lab/default/instance/nix", "--in-place"]).code(1).stderr_has("--from target");
}
