//! What of an instance the target does not have, and where its disk is put.

use crate::lab::{Asked, backup, instance, problems};
use crate::support::incus_bench::Bench;
use crate::support::incusd::{LOCAL, PLAIN};

fn with(entry: &str) -> Bench {
    Bench::without_store(&format!("[[incus.lab.project]]\nname = \"default\"\ninstances = [{{ {entry} }}]\n"))
}

#[test]
fn network_volume_and_excluded_device_are_left_out_and_told() {
    let bench = with("name = \"c1\", exclude-devices = [\"secret\", \"nothing\"]");
    let bridge = bench.source.bridge("hb");
    bench.source.volume(LOCAL, "v1", "echo x >file");
    bench.source.create("c1", &[]);
    bench.source.incus(["config", "device", "add", "c1", "data", "disk", "pool=local", "source=v1", "path=/data"]);
    bench.source.incus(["config", "device", "add", "c1", "eth0", "nic", &format!("network={bridge}")]);
    bench.source.incus(["config", "device", "add", "c1", "secret", "disk", "source=/etc", "path=/secret"]);
    bench.source.incus(["config", "device", "add", "c1", "host", "disk", "source=/usr", "path=/host"]);
    let expected = ["/devices/data", "/devices/eth0", "/devices/nothing"];
    assert_eq!(problems(&backup(&bench), &instance("c1")), expected);
    let devices = || bench.target.instance("c1")["devices"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(devices(), ["host", "root"]);
    // What the target gets later, the replica has from then on.
    bench.target.volume(LOCAL, "v1", "echo y >file");
    assert_eq!(
        problems(&bench.run(["backup", "--json"]).code(0), &instance("c1")),
        ["/devices/eth0", "/devices/nothing"]
    );
    assert_eq!(devices(), ["data", "host", "root"]);
}

#[test]
fn root_disk_goes_to_the_pool_that_is_configured_with_the_size_of_its_profile() {
    let bench = with("name = \"c1\", pool = \"plain\"");
    bench.source.incus(["profile", "device", "set", "default", "root", "size=300MiB"]);
    bench.source.create("c1", &[]);
    backup(&bench);
    let root = bench.target.instance("c1")["devices"]["root"].clone();
    assert_eq!((root["pool"].as_str(), root["size"].as_str()), (Some(PLAIN), Some("300MiB")));
    backup(&bench);
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
}

#[test]
fn pool_that_is_missing_is_told_before_anything_is_changed() {
    let bench = with("name = \"c1\", pool = \"gone\"");
    bench.source.create("c1", &[]);
    let outcome = bench.run(["backup"]).code(1);
    outcome
        .stderr_has("the target has no storage pool gone")
        .stderr_has("pool = \"…\"")
        .stderr_has("It has: local, plain.");
    assert!(bench.source.points("c1").is_empty());
}

#[test]
fn what_a_missing_profile_gave_is_on_the_copy_itself() {
    let bench = with("name = \"c1\"");
    bench.source.incus(["profile", "create", "web"]);
    bench.source.incus(["profile", "set", "web", "environment.WEB=yes"]);
    bench.source.incus(["profile", "device", "add", "web", "host", "disk", "source=/usr", "path=/host"]);
    bench.source.create("c1", &["--profile", "default", "--profile", "web"]);
    for _ in 0..2 {
        assert_eq!(problems(&backup(&bench), &instance("c1")), ["/profiles/web"]);
        let copy = bench.target.instance("c1");
        assert_eq!(copy["profiles"], serde_json::json!(["default"]));
        assert_eq!(copy["config"]["environment.WEB"], "yes");
        assert_eq!(copy["devices"]["host"]["source"], "/usr");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    bench.target.incus(["start", "c1"]);
    assert_eq!(bench.target.exec("c1", "echo $WEB"), "yes");
}

#[test]
fn device_that_a_profile_of_the_target_gives_is_masked() {
    let bench = with("name = \"c1\", exclude-devices = [\"host\"]");
    for server in [&bench.source, &bench.target] {
        server.incus(["profile", "device", "add", "default", "host", "disk", "source=/usr", "path=/host"]);
    }
    bench.source.create("c1", &[]);
    for _ in 0..2 {
        assert!(problems(&backup(&bench), &instance("c1")).is_empty());
        assert_eq!(bench.target.instance("c1")["devices"]["host"]["type"], "none");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

#[test]
fn instance_that_is_named_and_not_there_fails_alone() {
    let bench = Bench::without_store(
        "[[incus.lab.project]]\nname = \"default\"\ninstances = [{ name = \"server\" }, { name = \"servr\" }]\n",
    );
    bench.source.create("server", &[]);
    let outcome = bench.run(["backup"]).code(1);
    outcome.stderr_has("there is no instance servr").stderr_has("Did you mean `server`?");
    assert_eq!(bench.target.points("server").len(), 1);
}
