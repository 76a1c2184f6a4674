//! Whose the things on the target are: nothing is overwritten that is not a replica of the very same thing.

use crate::lab::{Asked, EVERYTHING, backup, instance, line};
use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;

fn bench() -> Bench {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.volume(LOCAL, "v1", "echo ours >file");
    bench.source.create("c1", &[]);
    bench
}

#[test]
fn what_holdall_did_not_make_is_not_written_to_until_it_is_adopted() {
    let bench = bench();
    bench.target.volume(LOCAL, "v1", "echo theirs >file");
    bench.target.create("c1", &["--config", "user.mine=1"]);
    let outcome = bench.run(["backup"]).code(1);
    let outcome = outcome.stderr_has("the target has an instance c1 that holdall did not make");
    let outcome = outcome.stderr_has("the target has a volume v1 that holdall did not make");
    outcome.stderr_has("`holdall backup incus.lab/default/instance/c1 --adopt`");
    assert_eq!(bench.target.read_volume(LOCAL, "v1", "file"), "theirs\n");
    assert!(bench.target.points("c1").is_empty() && bench.source.points("c1").is_empty());
    bench.run(["backup", "--adopt"]).code(0);
    assert_eq!(bench.target.read_volume(LOCAL, "v1", "file"), "ours\n");
    assert_eq!(bench.target.instance("c1")["config"]["user.mine"], serde_json::Value::Null);
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
    // From then on it is ours.
    backup(&bench);
}

#[test]
fn replica_that_runs_is_not_touched() {
    let bench = bench();
    backup(&bench);
    bench.target.incus(["start", "c1"]);
    let outcome = bench.run(["backup", "--adopt"]).code(1);
    outcome.stderr_has("the replica runs: it was started on the target").stderr_has("incus stop c1");
    assert_eq!((bench.source.points("c1").len(), bench.target.points("c1").len()), (1, 1));
    assert_eq!(bench.target.instance("c1")["status"], "Running");
}

#[test]
fn volume_that_a_running_instance_of_the_target_has_is_not_touched() {
    let bench = bench();
    backup(&bench);
    bench.target.launch("user", &[]);
    bench.target.incus(["config", "device", "add", "user", "data", "disk", "pool=local", "source=v1", "path=/data"]);
    bench.run(["backup"]).code(1).stderr_has("the replica is used by user, which runs on the target");
    assert_eq!(bench.target.volume_points("v1").len(), 1);
}

#[test]
fn replica_of_another_item_or_server_is_refused() {
    let bench = bench();
    backup(&bench);
    let owner = bench.target.instance("c1")["config"]["user.holdall.source"].as_str().unwrap().to_owned();
    let (item, _) = owner.split_once(' ').unwrap();
    let set = |value: &str| bench.target.incus(["config", "set", "c1", &format!("user.holdall.source={value}")]);
    set(&format!("{item} 0123456789abcdef"));
    bench.run(["backup", item]).code(1).stderr_has("the replica on the target is of another server");
    set("incus.other/default/instance/c1 0123456789abcdef");
    bench.run(["backup", item]).code(1).stderr_has("is the replica of incus.other/default/instance/c1");
    bench.run(["backup", item, "--adopt"]).code(0);
    assert_eq!(bench.target.instance("c1")["config"]["user.holdall.source"], owner.as_str());
}

#[test]
fn server_that_is_away_is_one_line_of_the_report_and_changes_nothing() {
    let mut bench = bench();
    bench.target.kill();
    let outcome = bench.run(["backup", "--json"]).code(1);
    let line = line(&outcome, "incus.lab");
    assert!(line["error"].as_str().unwrap().contains("the target does not answer"), "{line}");
    assert_eq!(outcome.line("summary")["items"]["failed"], 1);
    assert!(bench.source.points("c1").is_empty());
    // Also when something of it is named: nobody can say that it is not there.
    bench.run(["backup", &instance("c1")]).code(1).stderr_has("the target does not answer");
    bench.source.kill();
    bench.run(["backup", &instance("c1")]).code(1).stderr_has("the source does not answer");
}
