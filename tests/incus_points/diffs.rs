//! `diff` of instances and volumes: what they are, not what is in them.

use serde_json::json;

use crate::lab::{EVERYTHING, Lab};
use crate::support::incusd::LOCAL;

const ITEM: &str = "incus.lab/default/instance/vm1";
const OLD: &str = "IAB_20260101-000000";
const NEW: &str = "IAB_20260102-000000";

/// An instance that has changed between two snapshots, and once more since.
fn changed() -> Lab {
    let lab = Lab::new(EVERYTHING);
    lab.instance("vm1", &[]);
    let set = |arguments: &[&str]| {
        lab.bench.source.incus(["config"].iter().chain(arguments));
    };
    set(&["set", "vm1", "limits.cpu=1", "user.gone=x"]);
    lab.snapshots("vm1", &[OLD]);
    set(&["set", "vm1", "limits.cpu=2", "user.text=one\ntwo"]);
    set(&["unset", "vm1", "user.gone"]);
    set(&["device", "add", "vm1", "eth0", "none"]);
    lab.snapshots("vm1", &[NEW]);
    set(&["set", "vm1", "limits.memory=1GiB"]);
    lab.bench.source.incus(["profile", "create", "web"]);
    lab.bench.source.incus(["profile", "assign", "vm1", "default,web"]);
    lab
}

#[test]
fn two_snapshots_are_compared_by_their_settings() {
    let lab = changed();
    let compared = lab.run(&["diff", &format!("{ITEM}@{OLD}"), &format!("{ITEM}@{NEW}")]).code(0);
    assert_eq!(
        compared.stdout,
        "M /config/limits.cpu: 1 -> 2\n- /config/user.gone: x\n+ /config/user.text: one\\ntwo\n+ /devices/eth0/type: none\n"
    );
    compared.stderr_has("2 added, 1 removed, 1 modified");
    let rows = lab.run(&["diff", &format!("{ITEM}@latest~1"), &format!("{ITEM}@2026-01-02"), "--json"]).code(0).json();
    assert_eq!(
        rows,
        json!([
            {"path": "/config/limits.cpu", "change": "M", "old": "1", "new": "2"},
            {"path": "/config/user.gone", "change": "-", "old": "x", "new": null},
            {"path": "/config/user.text", "change": "+", "old": null, "new": "one\ntwo"},
            {"path": "/devices/eth0/type", "change": "+", "old": null, "new": "none"},
        ])
    );
    lab.run(&["diff", &format!("{ITEM}@{OLD}"), &format!("{ITEM}@{OLD}")]).code(0).stderr_has("no difference");
}

#[test]
fn snapshot_is_compared_with_what_is_now() {
    let lab = changed();
    let compared = lab.run(&["diff", &format!("{ITEM}@IAB_20260102"), &format!("{ITEM}@live")]).code(0);
    // Of its profiles Incus tells what they are now, for a snapshot as well.
    assert_eq!(compared.stdout, "+ /config/limits.memory: 1GiB\n");
    lab.instance("vm3", &[]);
    let compared = lab.run(&["diff", "incus.lab/default/instance/vm3@live", &format!("{ITEM}@live")]).code(0);
    compared.stdout_has("+ /config/limits.memory: 1GiB\n").stdout_has("M /profiles: default -> default, web\n");
    lab.run(&["diff", &format!("{ITEM}@live"), "incus.lab/default/instance/vm2@live"])
        .code(2)
        .stderr_has("Did you mean");
    lab.run(&["diff", &format!("{ITEM}@IAB_2026"), &format!("{ITEM}@live")])
        .code(1)
        .stderr_has("the beginning of 2 ids");
    lab.run(&["diff", &format!("{ITEM}@IAB_2027"), &format!("{ITEM}@live")]).code(1).stderr_has("there is no point");
}

#[test]
fn point_that_only_the_target_has_is_found_there() {
    let lab = changed();
    lab.copy_instance_without_profile("vm1", "web");
    lab.bench.source.incus(["snapshot", "delete", "vm1", OLD]);
    let compared = lab.run(&["diff", &format!("{ITEM}@{OLD}"), &format!("{ITEM}@{NEW}")]).code(0);
    compared.stdout_has("M /config/limits.cpu: 1 -> 2\n").stdout_lacks("holdall").stdout_lacks("volatile");
    lab.bench.source.incus(["delete", "vm1"]);
    lab.run(&["diff", &format!("{ITEM}@{OLD}"), &format!("{ITEM}@{NEW}")]).code(0).stdout_has("limits.cpu");
}

#[test]
fn volumes_and_different_items_can_be_compared() {
    let lab = Lab::new(EVERYTHING);
    lab.volume("v1", &[OLD]);
    lab.volume("v2", &[]);
    lab.bench.source.incus(["storage", "volume", "set", LOCAL, "v1", "user.a=1"]);
    let item = |name: &str| format!("incus.lab/default/volume/{name}");
    let compared = lab.run(&["diff", &format!("{}@{OLD}", item("v1")), &format!("{}@live", item("v1"))]).code(0);
    assert_eq!(compared.stdout, "+ /config/user.a: 1\n");
    let compared = lab.run(&["diff", &format!("{}@live", item("v1")), &format!("{}@live", item("v2"))]).code(0);
    assert_eq!(compared.stdout, "- /config/user.a: 1\n");
}
