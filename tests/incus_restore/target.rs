//! What the source has lost, of the replica.

use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;
use crate::{ALL, C1, V1, all_of, newest};

#[test]
fn deleted_instance_and_its_volume_come_back_start_with_their_data_and_the_next_backup_goes_on() {
    for mode in ["push", "pull"] {
        let bench = Bench::without_store(&format!("mode = \"{mode}\"\n{ALL}"));
        let bridge = bench.source.bridge("br");
        bench.source.volume(LOCAL, "v1", "echo one >file");
        bench
            .source
            .launch("c1", &["--network", &bridge, "-c", "boot.autostart=true", "-c", "snapshots.schedule=@yearly"]);
        bench.source.incus(["storage", "volume", "attach", LOCAL, "v1", "c1", "/data"]);
        bench.source.exec("c1", "echo one >/root/file; sync");
        bench.run(["backup"]).code(0);
        let first = newest(&bench);
        bench.source.exec("c1", "echo two >/root/file; echo two >/data/file; sync");
        bench.run(["backup"]).code(0);
        let before = bench.source.query("/1.0/instances/c1");
        let (all, snapshots) = (all_of(&bench.source), bench.source.snapshots("default", "instance", "c1"));
        bench.source.incus(["delete", "-f", "c1"]);
        bench.source.incus(["storage", "volume", "delete", LOCAL, "v1"]);

        bench.run(["restore", C1, "--in-place"]).code(1).stderr_has("--from target");
        bench
            .run(["restore", C1, "--from", "target"])
            .code(1)
            .stderr_has(&format!("holdall restore {V1} --from target"));
        assert_eq!(all_of(&bench.source), Vec::<String>::new());
        bench.run(["restore", V1, "--from", "target"]).code(0);
        bench.run(["restore", C1, "--from", "target", "-n"]).code(0).stdout_has("would copy the instance c1");
        bench.run(["restore", C1, "--from", "target"]).code(0).stderr_has("incus start c1");

        let after = bench.source.query("/1.0/instances/c1");
        assert_eq!(after["status"], "Stopped");
        for key in ["devices", "profiles", "description", "architecture", "ephemeral"] {
            assert_eq!(after[key], before[key], "{key}");
        }
        let keys = |instance: &serde_json::Value| {
            let kept = |key: &str| !key.starts_with("volatile.") || key.ends_with("hwaddr") || key == "volatile.uuid";
            let all = instance["config"].as_object().unwrap().clone();
            all.into_iter().filter(|(key, _)| kept(key)).collect::<Vec<_>>()
        };
        assert_eq!(keys(&after), keys(&before));
        assert_eq!(all_of(&bench.source), all);
        bench.source.incus(["start", "c1"]);
        assert_eq!(
            bench.source.exec("c1", "cat /root/file /data/file; stat -c %u /root/file /data/file"),
            "two\ntwo\n0\n0"
        );

        bench.source.exec("c1", "echo three >/root/file; sync");
        bench.run(["backup"]).code(0);
        assert_eq!(bench.target.read_instance("c1", "/root/file"), "three\n");
        let config = bench.target.query("/1.0/instances/c1")["config"].clone();
        assert_eq!(config["user.holdall.point"], newest(&bench));
        assert!(config["user.holdall.reseed"].is_null(), "{config}");
        assert_eq!(
            bench.source.snapshots("default", "instance", "c1"),
            bench.target.snapshots("default", "instance", "c1")
        );
        assert_eq!(bench.source.snapshots("default", "instance", "c1")[..2], snapshots);

        // The first one makes the replicas anew, the second one goes on from there.
        bench.source.exec("c1", "echo four >/data/file; sync");
        bench.run(["backup"]).code(0).stderr_lacks("first time");
        assert_eq!(bench.target.read_volume(LOCAL, "v1", "file"), "four\n");

        bench.source.incus(["stop", "c1"]);
        bench.source.incus(["delete", "c1"]);
        bench.run(["restore", &format!("{C1}@{first}"), "--from", "target"]).code(0);
        assert_eq!(bench.source.read_instance("c1", "/root/file"), "one\n");
        assert_eq!(bench.source.snapshots("default", "instance", "c1").len(), 4);
    }
}

#[test]
fn replica_that_a_broken_refresh_has_damaged_gives_back_its_last_whole_point() {
    let bench = Bench::without_store(ALL);
    bench.source.volume(LOCAL, "v1", "echo one >file");
    bench.source.create("c1", &[]);
    bench.source.incus(["storage", "volume", "attach", LOCAL, "v1", "c1", "/data"]);
    bench.source.incus(["start", "c1"]);
    bench.source.exec("c1", "echo one >/root/file; sync");
    bench.run(["backup"]).code(0);
    // What a refresh that fails late leaves on btrfs: the snapshots, and nothing in their midst.
    let subvolumes = bench.target.dir().join("storage-pools").join(LOCAL);
    for subvolume in ["containers/c1", "custom/default_v1"] {
        let subvolume = subvolumes.join(subvolume);
        btrfs(["property", "set", "-f", "-ts"], &subvolume, &["ro", "false"]);
        btrfs(["subvolume", "delete"], &subvolume, &[]);
    }
    bench.target.incus(["config", "set", "c1", "user.holdall.copying=IAB_20991231-000000"]);
    bench.target.incus(["storage", "volume", "set", LOCAL, "v1", "user.holdall.copying=IAB_20991231-000000"]);
    bench.source.incus(["delete", "-f", "c1"]);
    bench.source.incus(["storage", "volume", "delete", LOCAL, "v1"]);

    bench.run(["restore", V1, "--from", "target"]).code(0);
    bench.run(["restore", C1, "--from", "target"]).code(0);
    bench.source.incus(["start", "c1"]);
    assert_eq!(bench.source.exec("c1", "cat /root/file /data/file"), "one\none");
}

fn btrfs<const N: usize>(words: [&str; N], subvolume: &std::path::Path, more: &[&str]) {
    let done = std::process::Command::new("btrfs").args(words).arg(subvolume).args(more).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn replica_comes_back_beside_the_original_and_never_over_it() {
    let bench = Bench::without_store(ALL);
    bench.source.launch("c1", &[]);
    bench.source.exec("c1", "echo one >/root/file; sync");
    bench.run(["backup"]).code(0);
    bench.source.exec("c1", "echo two >/root/file; sync");
    bench.run(["restore", C1, "--from", "target"]).code(2).stderr_has("there is an instance c1 on the source already");
    bench.run(["restore", C1, "--from", "target", "--as", "c2"]).code(0);
    assert_eq!(bench.source.read_instance("c2", "/root/file"), "one\n");
    assert_eq!(bench.source.exec("c1", "cat /root/file"), "two");
    assert!(bench.source.query("/1.0/instances/c2")["config"]["user.holdall.source"].is_null());
    bench.run(["backup"]).code(0);
    assert_eq!(bench.target.read_instance("c2", "/root/file"), "one\n");
}
