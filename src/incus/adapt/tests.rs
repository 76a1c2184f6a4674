//! What a copy is given and what it is not.

use super::*;
use crate::error::{chain, hints};
use crate::incus::model::Profile;
use crate::incus::select::Subject;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn devices(all: &[(&str, &[(&str, &str)])]) -> Devices {
    all.iter().map(|(name, pairs)| ((*name).to_owned(), settings(pairs))).collect()
}

const ROOT: (&str, &[(&str, &str)]) = ("root", &[("type", "disk"), ("path", "/"), ("pool", "local")]);

/// An instance of these profiles and devices; `given` is what profiles give besides.
fn own(profiles: &[&str], local: &[(&str, &[(&str, &str)])], given: &[(&str, &[(&str, &str)])]) -> Instance {
    let mut expanded = devices(given);
    expanded.extend(devices(local));
    Instance {
        name: "c1".to_owned(),
        kind: "container".to_owned(),
        devices: devices(local),
        expanded_devices: expanded,
        profiles: profiles.iter().map(|name| (*name).to_owned()).collect(),
        ..Instance::default()
    }
}

fn selected(target_pool: Option<&str>, exclude_devices: &[&str]) -> Selected {
    Selected {
        subject: Subject { project: "default".to_owned(), pool: None, name: "c1".to_owned() },
        instance: None,
        volume: None,
        target_pool: target_pool.map(ToOwned::to_owned),
        exclude_devices: exclude_devices.iter().map(|name| (*name).to_owned()).collect(),
        stop: false,
    }
}

fn there() -> Place {
    let default = Profile { name: "default".to_owned(), devices: devices(&[ROOT]), ..Profile::default() };
    Place {
        pools: ["local", "fast"].map(ToOwned::to_owned).into(),
        networks: ["br0".to_owned()].into(),
        profiles: [("default".to_owned(), default)].into(),
        ..Place::default()
    }
}

fn warned(adapted: &Adapted) -> Vec<String> {
    adapted.problems.iter().map(|problem| format!("{}: {}", problem.path.display(), problem.error)).collect()
}

#[test]
fn what_would_make_a_copy_run_or_change_by_itself_is_taken_away() {
    let mut own = own(&["default"], &[], &[ROOT]);
    own.config = settings(&[
        ("volatile.base_image", "abc"),
        ("volatile.eth0.hwaddr", "00:16"),
        ("volatile.last_state.power", "RUNNING"),
        ("volatile.uuid", "u"),
        ("boot.autostart", "true"),
        ("snapshots.schedule", "@daily"),
        ("snapshots.expiry", "1d"),
        ("snapshots.pattern", "snap%d"),
        ("user.holdall.source", "x"),
        ("user.holdall.stopped", "y"),
        ("limits.cpu", "2"),
    ]);
    let adapted = instance(&selected(None, &[]), &own, &there(), None).unwrap();
    let wanted = settings(&[("volatile.base_image", "abc"), ("boot.autostart", "false"), ("limits.cpu", "2")]);
    assert_eq!(adapted.config, wanted);
    assert!(adapted.problems.is_empty());
}

#[test]
fn root_disk_of_a_profile_becomes_one_of_the_copy_with_its_size_and_the_wanted_pool() {
    let given: &[(&str, &[(&str, &str)])] =
        &[("disk0", &[("type", "disk"), ("path", "/"), ("pool", "local"), ("size", "5GiB")])];
    let adapted = instance(&selected(Some("fast"), &[]), &own(&["default"], &[], given), &there(), None).unwrap();
    assert_eq!(
        adapted.devices["disk0"],
        settings(&[("type", "disk"), ("path", "/"), ("pool", "fast"), ("size", "5GiB")])
    );
}

#[test]
fn pool_that_the_target_lacks_is_an_error_that_names_the_key() {
    let error = instance(&selected(Some("gone"), &[]), &own(&["default"], &[], &[ROOT]), &there(), None).unwrap_err();
    assert_eq!(chain(&error), "the target has no storage pool gone");
    let hint = "Say where to put it: `instances = [{ name = \"c1\", pool = \"…\" }]`. It has: fast, local.";
    assert_eq!(hints(&error), [hint]);
}

#[test]
fn replica_stays_in_its_pool() {
    let mut replica = own(&["default"], &[("root", &[("type", "disk"), ("path", "/"), ("pool", "local")])], &[]);
    replica.name = "c1".to_owned();
    let adapted =
        instance(&selected(Some("fast"), &[]), &own(&["default"], &[], &[ROOT]), &there(), Some(&replica)).unwrap();
    assert_eq!(adapted.devices["root"]["pool"], "local");
    assert_eq!(adapted.problems.len(), 1);
    let adapted = instance(&selected(None, &[]), &own(&["default"], &[], &[ROOT]), &there(), Some(&replica)).unwrap();
    assert!(adapted.problems.is_empty());
}

#[test]
fn network_cards_and_volumes_that_the_target_lacks_are_left_out_and_told() {
    let local: &[(&str, &[(&str, &str)])] = &[
        ROOT,
        ("eth0", &[("type", "nic"), ("network", "br0")]),
        ("eth1", &[("type", "nic"), ("network", "br1")]),
        ("eth2", &[("type", "nic"), ("nictype", "bridged"), ("parent", "lxcbr0")]),
        ("data", &[("type", "disk"), ("pool", "local"), ("source", "v1"), ("path", "/data")]),
        ("block", &[("type", "disk"), ("pool", "local"), ("source", "v2")]),
        ("host", &[("type", "disk"), ("source", "/srv"), ("path", "/srv")]),
        ("gpu", &[("type", "gpu")]),
    ];
    let mut there = there();
    there.volumes.insert(("local".to_owned(), "v1".to_owned()), Volume::default());
    let adapted = instance(&selected(None, &[]), &own(&["default"], local, &[]), &there, None).unwrap();
    assert_eq!(adapted.devices.keys().collect::<Vec<_>>(), ["data", "eth0", "eth2", "gpu", "host", "root"]);
    let expected = [
        "/devices/block: left out of the copy: the target has no volume v2 in a pool local",
        "/devices/eth1: left out of the copy: the target has no network br1",
    ];
    assert_eq!(warned(&adapted), expected);
}

#[test]
fn device_of_a_profile_of_the_target_is_masked() {
    let mut there = there();
    let nic = devices(&[("eth0", &[("type", "nic"), ("network", "br0")]), ("usb", &[("type", "usb")])]);
    there.profiles.get_mut("default").unwrap().devices.extend(nic.clone());
    let given = [("eth0", &[("type", "nic"), ("network", "br0")][..]), ("usb", &[("type", "usb")][..])];
    let mut own = own(&["default"], &[ROOT], &given);
    own.expanded_devices.extend(nic);
    let adapted = instance(&selected(None, &["eth0", "eth9"]), &own, &there, None).unwrap();
    assert_eq!(adapted.devices["eth0"], settings(&[("type", "none")]));
    assert!(!adapted.devices.contains_key("usb"));
    assert_eq!(warned(&adapted), ["/devices/eth9: `exclude-devices` names it, and there is no such device"]);
}

#[test]
fn what_a_missing_profile_gave_is_written_to_the_copy_itself() {
    let given = [ROOT, ("eth0", &[("type", "nic"), ("network", "br0")][..])];
    let mut own = own(&["default", "web"], &[], &given);
    own.expanded_config = settings(&[("limits.cpu", "2"), ("volatile.uuid", "u")]);
    let adapted = instance(&selected(None, &[]), &own, &there(), None).unwrap();
    assert_eq!(adapted.profiles, ["default"]);
    assert_eq!(adapted.config, settings(&[("limits.cpu", "2"), ("boot.autostart", "false")]));
    assert_eq!(adapted.devices.keys().collect::<Vec<_>>(), ["eth0", "root"]);
    let expected = ["/profiles/web: the target has no such profile: what it gives is written to the copy itself"];
    assert_eq!(warned(&adapted), expected);
}

#[test]
fn copy_that_differs_only_in_what_the_target_adds_is_left_alone() {
    let mut own = own(&["default"], &[], &[ROOT]);
    own.config = settings(&[("limits.cpu", "2"), ("volatile.base_image", "abc")]);
    let adapted = instance(&selected(None, &[]), &own, &there(), None).unwrap();
    let mut replica = Instance {
        config: adapted.config.clone(),
        devices: adapted.devices.clone(),
        profiles: adapted.profiles.clone(),
        ..Instance::default()
    };
    replica.config.extend(settings(&[("volatile.uuid", "other"), (mark::POINT, "IAB_x")]));
    assert!(adapted.is_as(&replica));
    replica.config.insert("limits.cpu".to_owned(), "1".to_owned());
    assert!(!adapted.is_as(&replica));
}

#[test]
fn volume_keeps_how_its_files_are_shifted() {
    let own = Volume {
        config: settings(&[
            ("size", "1GiB"),
            ("snapshots.expiry", "1d"),
            ("volatile.idmap.last", "[]"),
            ("volatile.uuid", "u"),
            (mark::POINT, "IAB_x"),
        ]),
        ..Volume::default()
    };
    assert_eq!(volume(&own).config, settings(&[("size", "1GiB"), ("volatile.idmap.last", "[]")]));
}
