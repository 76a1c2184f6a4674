//! Copies that are broken off: the next run goes on, and nothing half is taken for a replica.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Asked, EVERYTHING, Through, backup, volume};
use crate::support::daemon::Daemon;
use crate::support::incus_bench::Bench;
use crate::support::incusd::{Incusd, PLAIN};

const BIG: &str = "dd if=/dev/urandom of=file bs=1M count=8 2>/dev/null; sha256sum file";

/// A volume in a pool that sends by rsync, which can be told to be slow.
fn slow() -> (Bench, String) {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.volume(PLAIN, "v1", "true");
    let sum = bench.source.in_volume(PLAIN, "v1", BIG);
    set_speed(&bench, "1MiB");
    (bench, sum)
}

fn set_speed(bench: &Bench, speed: &str) {
    bench.source.incus(["storage", "set", PLAIN, "rsync.bwlimit", speed]);
    bench.target.incus(["storage", "set", PLAIN, "rsync.bwlimit", speed]);
}

fn sum(server: &Incusd) -> String {
    server.in_volume(PLAIN, "v1", "sha256sum file")
}

fn config(server: &Incusd) -> Option<Value> {
    let all = server.query("/1.0/storage-pools/plain/volumes/custom?recursion=1");
    all.as_array().unwrap().iter().find(|one| one["name"] == "v1").map(|one| one["config"].clone())
}

fn points(server: &Incusd) -> Vec<String> {
    server.snapshots("default", "volume", "plain/v1")
}

/// Whether the target has the volume, and gets it.
fn is_under_way(server: &Incusd) -> bool {
    let folder = server.dir().join("storage-pools/plain/custom");
    let names =
        |path: &std::path::Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let inside =
        names(&folder.join("default_v1")).chain(names(&server.dir().join("storage-pools/plain/custom-snapshots")));
    let inside = inside.flat_map(|path| names(&path).chain([path.clone()]).collect::<Vec<_>>());
    inside.into_iter().any(|path| {
        path.to_string_lossy().contains(".file.") || path.join("file").exists() || {
            names(&path).any(|path| path.to_string_lossy().contains(".file."))
        }
    })
}

fn begun(bench: &Bench) -> Daemon {
    let mut run = bench.env.start(["backup"]);
    run.wait_until(|| is_under_way(&bench.target));
    run
}

/// Makes the second copy one that breaks off: there is one whole point.
fn refreshing(bench: &Bench) -> String {
    set_speed(bench, "0");
    backup(bench);
    thread::sleep(Duration::from_secs(1));
    let sum = bench.source.in_volume(PLAIN, "v1", BIG);
    set_speed(bench, "1MiB");
    sum
}

fn wait_for(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come");
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_whole(bench: &Bench, sum_of_source: &str) {
    set_speed(bench, "0");
    backup(bench);
    assert_eq!(sum(&bench.target), sum_of_source);
    let marks = config(&bench.target).unwrap();
    let newest = points(&bench.source).pop().unwrap();
    assert_eq!(
        (&marks["user.holdall.copying"], &marks["user.holdall.point"]),
        (&Value::Null, &Value::from(newest.clone()))
    );
    assert_eq!(points(&bench.target).pop().unwrap(), newest);
    // Every snapshot that is there is whole.
    for point in points(&bench.target) {
        let of = |server: &Incusd| {
            let folder = server.dir().join("storage-pools/plain/custom-snapshots/default_v1").join(&point);
            std::fs::read(folder.join("file")).map(|bytes| bytes.len()).unwrap_or_default()
        };
        assert_eq!(of(&bench.target), of(&bench.source), "{point}");
    }
}

#[test]
fn first_copy_during_which_holdall_is_killed_is_made_by_the_next_run() {
    let (bench, sum) = slow();
    let mut run = begun(&bench);
    run.kill();
    let marks = config(&bench.target).unwrap();
    assert_eq!(marks["user.holdall.point"], Value::Null);
    assert!(marks["user.holdall.copying"].is_string());
    set_speed(&bench, "0");
    is_whole(&bench, &sum);
}

#[test]
fn first_copy_during_which_the_target_is_killed_is_made_by_the_next_run() {
    let (mut bench, sum) = slow();
    let mut run = begun(&bench);
    bench.target.kill();
    assert_eq!(run.wait(Duration::from_secs(90)).code(), Some(1), "{}", run.log());
    bench.target.restart();
    is_whole(&bench, &sum);
}

#[test]
fn refresh_during_which_the_target_is_killed_is_made_by_the_next_run() {
    let (mut bench, _) = slow();
    let sum = refreshing(&bench);
    let mut run = bench.env.start(["backup"]);
    wait_for(|| config(&bench.target).is_some_and(|marks| marks["user.holdall.copying"].is_string()));
    thread::sleep(Duration::from_secs(2));
    bench.target.kill();
    assert_eq!(run.wait(Duration::from_secs(90)).code(), Some(1), "{}", run.log());
    bench.target.restart();
    let marks = config(&bench.target).unwrap();
    assert!(marks["user.holdall.copying"].is_string() && marks["user.holdall.point"].is_string());
    is_whole(&bench, &sum);
}

#[test]
fn refresh_during_which_the_source_is_killed_is_made_by_the_next_run() {
    let (mut bench, _) = slow();
    let sum = refreshing(&bench);
    let mut run = bench.env.start(["backup"]);
    wait_for(|| config(&bench.target).is_some_and(|marks| marks["user.holdall.copying"].is_string()));
    thread::sleep(Duration::from_secs(2));
    bench.source.kill();
    assert_eq!(run.wait(Duration::from_secs(90)).code(), Some(1), "{}", run.log());
    bench.source.restart();
    is_whole(&bench, &sum);
}

#[test]
fn copy_is_given_up_when_holdall_is_told_to_end() {
    let (bench, sum) = slow();
    let mut run = begun(&bench);
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.wait(Duration::from_secs(60)).code(), Some(143), "{}", run.log());
    is_whole(&bench, &sum);
}

#[test]
fn full_pool_is_told_and_leaves_no_half_replica() {
    let bench = Bench::without_store(EVERYTHING);
    bench.target.incus(["storage", "create", "small", "btrfs", "size=128MiB"]);
    bench.source.incus(["storage", "create", "small", "dir"]);
    bench.source.volume("small", "v1", "dd if=/dev/urandom of=file bs=1M count=200 2>/dev/null");
    let outcome = bench.run(["backup"]).code(1);
    outcome.stderr_has(&volume("v1")).stderr_has("The pool of the target may be full");
    let there = bench.target.query("/1.0/storage-pools/small/volumes/custom?recursion=1");
    assert!(there.as_array().unwrap().iter().all(|one| one["config"]["user.holdall.point"].is_null()), "{there}");
    bench.source.in_volume("small", "v1", "rm file; echo x >file");
    bench.source.incus([
        "storage",
        "volume",
        "snapshot",
        "delete",
        "small",
        "v1",
        &bench.source.snapshots("default", "volume", "small/v1")[0],
    ]);
    // btrfs frees what was deleted when it has the time.
    wait_for(|| bench.run(["backup"]).code_among(&[0, 1]).stderr.contains("ok: 1 saved"));
    assert_eq!(bench.target.read_volume("small", "v1", "file"), "x\n");
}

#[test]
fn operation_that_makes_no_progress_is_given_up() {
    let bench = Bench::without_store(&format!("idle-timeout = \"3s\"\n{EVERYTHING}"));
    bench.source.create("c1", &[]);
    backup(&bench);
    let proxy = bench.through_proxy();
    let state = r#"{"type":"sync","metadata":{"id":"0fe2193b-35f4-4c08-b19f-7e3d7e180000","status_code":103}}"#;
    proxy.answer("GET", "/1.0/operations/", 200, state);
    thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    bench.run(["backup"]).code(1).stderr_has("no progress for 3s; cancelled").stderr_has("`idle-timeout` says");
    assert!(begun.elapsed() < Duration::from_secs(30));
    proxy.clear();
    backup(&bench);
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
}
