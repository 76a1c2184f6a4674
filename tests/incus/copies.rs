//! What a backup brings to the target.

use std::thread;
use std::time::Duration;

use crate::lab::{Asked, EVERYTHING, backup, instance, line, volume};
use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;

/// Two snapshots have two names.
fn next_second() {
    thread::sleep(Duration::from_millis(1100));
}

#[test]
fn container_and_its_volume_come_to_the_target_with_all_snapshots_in_both_modes() {
    for mode in ["push", "pull"] {
        let bench = Bench::without_store(&format!("mode = \"{mode}\"\n{EVERYTHING}"));
        bench.source.volume(LOCAL, "v1", "echo first >file");
        bench.source.launch("c1", &["--config", "user.note=mine"]);
        bench.source.incus(["config", "device", "add", "c1", "data", "disk", "pool=local", "source=v1", "path=/data"]);
        bench.source.exec("c1", "echo one >/root/data");
        bench.source.incus(["snapshot", "create", "c1", "by-hand"]);

        let first = backup(&bench);
        let name = line(&first, &instance("c1"))["snapshot"].as_str().unwrap().to_owned();
        assert_eq!(line(&first, &instance("c1"))["copied"]["first"], true);
        assert_eq!(line(&first, &volume("v1"))["snapshot"], name.as_str());
        assert_eq!(bench.target.points("c1"), [name.clone(), "by-hand".to_owned()]);
        assert_eq!(bench.target.volume_points("v1"), std::slice::from_ref(&name));

        next_second();
        bench.source.exec("c1", "echo two >/root/data; echo second >/data/file");
        let second = backup(&bench);
        let newer = line(&second, &instance("c1"))["snapshot"].as_str().unwrap().to_owned();
        assert_eq!(line(&second, &instance("c1"))["copied"]["first"], false);
        assert_eq!(bench.target.points("c1"), [name.clone(), newer.clone(), "by-hand".to_owned()]);
        assert_eq!(bench.target.volume_points("v1"), [name, newer.clone()]);
        assert_eq!(bench.target.read_volume(LOCAL, "v1", "file"), "second\n");
        assert_eq!(bench.target.read_instance("c1", "root/data"), "two\n");

        let copy = bench.target.instance("c1");
        assert_eq!(copy["status"], "Stopped");
        assert_eq!(copy["config"]["user.holdall.point"], newer.as_str());
        assert_eq!(copy["config"]["user.holdall.copying"], serde_json::Value::Null);
        let owner = copy["config"]["user.holdall.source"].as_str().unwrap();
        assert!(owner.starts_with("incus.lab/default/instance/c1 "), "{owner}");
        assert_eq!(copy["config"]["boot.autostart"], "false");
        assert_eq!(copy["config"]["volatile.last_state.power"], serde_json::Value::Null);
        assert_eq!(copy["devices"]["data"]["source"], "v1");
        // It is a whole container: it starts, with the volume of the target.
        bench.target.incus(["start", "c1"]);
        assert_eq!(bench.target.exec("c1", "cat /root/data /data/file"), "two\nsecond");
        assert_eq!(bench.source.instance("c1")["config"]["user.holdall.source"], serde_json::Value::Null);
    }
}

#[test]
fn snapshots_of_others_whose_names_sort_behind_ours_are_copied_before_ours_is_made() {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.volume(LOCAL, "v1", "echo one >file");
    bench.source.launch("c1", &[]);
    backup(&bench);
    // Incus takes what was made in the second of the newest snapshot of the replica for older, and leaves it out.
    next_second();
    bench.source.incus(["snapshot", "create", "c1", "snap0"]);
    bench.source.incus(["storage", "volume", "snapshot", "create", LOCAL, "v1", "snap0"]);
    next_second();
    bench.source.exec("c1", "echo two >/root/data; sync");
    bench.source.in_volume(LOCAL, "v1", "echo two >file; sync");
    backup(&bench);
    next_second();
    backup(&bench);
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
    assert_eq!(bench.target.volume_points("v1"), bench.source.volume_points("v1"));
    assert_eq!(bench.target.points("c1").len(), 4);
    assert_eq!(bench.target.read_volume(LOCAL, "v1", "file"), "two\n");
    assert_eq!(bench.target.read_instance("c1", "root/data"), "two\n");

    // Two that sort in another order than they were made in are beyond that.
    for name in ["zebra", "yak"] {
        bench.source.incus(["storage", "volume", "snapshot", "create", LOCAL, "v1", name]);
    }
    next_second();
    bench.run(["backup", &volume("v1")]).code(1).stderr_has("in the order of their names").stderr_has("--reseed");
    bench.run(["backup", &volume("v1"), "--reseed"]).code(0);
    assert_eq!(bench.target.volume_points("v1"), bench.source.volume_points("v1"));
    next_second();
    backup(&bench);
}

#[test]
fn what_is_changed_on_the_source_is_changed_on_the_replica() {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.volume(LOCAL, "v1", "echo x >file");
    bench.source.create("c1", &["--config", "limits.cpu=1", "--config", "user.gone=1"]);
    backup(&bench);
    next_second();
    bench.source.incus(["config", "set", "c1", "limits.cpu=2", "boot.autostart=true", "snapshots.schedule=@daily"]);
    bench.source.incus(["config", "unset", "c1", "user.gone"]);
    bench.source.incus(["config", "device", "add", "c1", "data", "disk", "pool=local", "source=v1", "path=/data"]);
    let description = ["query", "-X", "PATCH", "/1.0/instances/c1", "-d", "{\"description\": \"web server\"}"];
    bench.source.incus(description);
    bench.source.incus(["storage", "volume", "set", LOCAL, "v1", "user.new=1", "snapshots.expiry=1d"]);
    let base = bench.target.instance("c1")["config"]["volatile.base_image"].clone();
    backup(&bench);
    let copy = bench.target.instance("c1");
    assert_eq!(copy["description"], "web server");
    assert_eq!(copy["config"]["limits.cpu"], "2");
    assert_eq!(copy["config"]["boot.autostart"], "false");
    assert_eq!(copy["config"]["user.gone"], serde_json::Value::Null);
    assert_eq!(copy["config"]["snapshots.schedule"], serde_json::Value::Null);
    assert_eq!((&copy["config"]["volatile.base_image"], base.is_string()), (&base, true));
    assert_eq!(copy["devices"]["data"]["source"], "v1");
    let copy = bench.target.custom("v1");
    assert_eq!(copy["config"]["user.new"], "1");
    assert_eq!(copy["config"]["snapshots.expiry"], serde_json::Value::Null);
    assert!(copy["config"]["user.holdall.point"].is_string());
}

#[test]
fn snapshot_is_not_removed_by_the_servers_own_expiry() {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.volume(LOCAL, "v1", "echo x >file");
    bench.source.create("c1", &["--config", "snapshots.expiry=1d"]);
    bench.source.incus(["storage", "volume", "set", LOCAL, "v1", "snapshots.expiry=1d"]);
    backup(&bench);
    for server in [&bench.source, &bench.target] {
        for path in ["instances/c1", "storage-pools/local/volumes/custom/v1"] {
            let snapshots = server.query(&format!("/1.0/{path}/snapshots?recursion=1"));
            let expires = snapshots[0]["expires_at"].clone();
            assert!(expires.is_null() || expires.as_str().unwrap().starts_with("0001-"), "{expires}");
        }
    }
}

#[test]
fn second_run_within_a_second_waits_for_a_name_of_its_own() {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.volume(LOCAL, "v1", "echo x >file");
    bench.source.create("c1", &[]);
    let now = chrono::Utc::now();
    // Whichever of the next seconds the run begins in, its name is taken.
    for second in 0..3 {
        let name = (now + chrono::Duration::seconds(second)).format("IAB_%Y%m%d-%H%M%S").to_string();
        bench.source.incus(["snapshot", "create", "c1", &name]);
        bench.source.incus(["storage", "volume", "snapshot", "create", LOCAL, "v1", &name]);
    }
    backup(&bench);
    assert_eq!(bench.source.points("c1").len(), 4);
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
    assert_eq!(bench.target.volume_points("v1"), bench.source.volume_points("v1"));
}

#[test]
fn things_of_a_project_are_copied_within_it() {
    let bench = Bench::without_store(
        "[[incus.lab.project]]\nname = \"web\"\ninstances = [{ name = \"*\" }]\nvolumes = [{ name = \"*\", pool = \"local\" }]\n",
    );
    bench.source.incus([
        "project",
        "create",
        "web",
        "--config",
        "features.images=false",
        "--config",
        "features.profiles=false",
    ]);
    bench.source.volume(LOCAL, "web/v1", "echo x >file");
    bench.source.create("c1", &["--project", "web"]);
    let outcome = bench.run(["backup"]).code(1);
    outcome.stderr_has("the target has no project web").stderr_has("incus project create web");
    bench.target.incus([
        "project",
        "create",
        "web",
        "--config",
        "features.images=false",
        "--config",
        "features.profiles=false",
    ]);
    backup(&bench);
    assert_eq!(bench.target.snapshots("web", "instance", "c1").len(), 1);
    assert_eq!(bench.target.read_volume(LOCAL, "web/v1", "file"), "x\n");
    assert!(!bench.target.has("c1"));
}
