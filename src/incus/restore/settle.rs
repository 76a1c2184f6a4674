//! What an instance or a volume is given when it is back: the configuration and the devices that it had, or what of them may be beside the original.

use serde_json::{Value, json};

use crate::incus::mark;
use crate::incus::model::{Devices, Instance, Settings, Volume};

/// What of the `volatile.` keys belongs to how the files lie on the disk now, and what to a run that is over.
const OF_NOW: [&str; 3] = ["volatile.idmap.", "volatile.last_state.", "volatile.apply_"];

/// Keys of a network card by which two of them would be in each other's way.
const ADDRESSES: [&str; 4] = ["hwaddr", "ipv4.address", "ipv6.address", "host_name"];

/// How an instance has to look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) config: Settings,
    pub(super) devices: Devices,
    /// What is not as it was, and what can be done about it.
    pub(super) warnings: Vec<String>,
}

fn is_volatile(key: &str) -> bool {
    key.starts_with("volatile.")
}

fn is_of_now(key: &str) -> bool {
    OF_NOW.iter().any(|prefix| key.starts_with(prefix))
}

/// Its root disk, and what that is called.
pub(super) fn root(instance: &Instance) -> Option<(&String, &Settings)> {
    let is_root = |device: &Settings| is(device, "type", "disk") && is(device, "path", "/");
    instance.expanded_devices.iter().find(|(_, device)| is_root(device))
}

fn is(device: &Settings, key: &str, value: &str) -> bool {
    device.get(key).is_some_and(|found| found == value)
}

/// The custom volumes that it uses: the device, the pool and the volume.
pub(super) fn volumes(instance: &Instance) -> Vec<(&str, &str, &str)> {
    let disks = instance.expanded_devices.iter().filter(|(_, device)| is(device, "type", "disk"));
    let volumes = disks.filter_map(|(name, device)| {
        let (pool, source) = (device.get("pool")?, device.get("source").filter(|source| !source.is_empty())?);
        Some((name.as_str(), pool.as_str(), source.split('/').next().unwrap_or(source)))
    });
    volumes.collect()
}

/// As it was: `then` is what it was, `now` the configuration of what was made. Its root disk is on `pool`.
pub(super) fn as_it_was(then: &Instance, now: &Settings, pool: Option<&str>) -> Settled {
    let mut config = own(then);
    let volatile = then.config.iter().filter(|(key, _)| is_volatile(key) && !is_of_now(key));
    config.extend(volatile.map(|(key, value)| (key.clone(), value.clone())));
    let of_now = now.iter().filter(|(key, _)| is_of_now(key) && !key.starts_with("volatile.apply_"));
    config.extend(of_now.map(|(key, value)| (key.clone(), value.clone())));
    // It does not run, and no start of the server may start it.
    config.remove("volatile.last_state.power");
    let mut settled = Settled { config, devices: then.devices.clone(), warnings: Vec::new() };
    put_root(&mut settled.devices, then, pool);
    settled
}

/// Beside the original: it does not start by itself, has addresses of its own, and writes to nothing that the original has.
pub(super) fn beside(then: &Instance, now: &Settings, pool: Option<&str>) -> Settled {
    let mut config = own(then);
    let volatile = now.iter().filter(|(key, _)| is_volatile(key));
    config.extend(volatile.map(|(key, value)| (key.clone(), value.clone())));
    config.insert("boot.autostart".to_owned(), "false".to_owned());
    let mut settled = Settled { config, devices: then.devices.clone(), warnings: Vec::new() };
    for (name, device) in &then.expanded_devices {
        if is(device, "type", "disk") && !is(device, "path", "/") && device.contains_key("source") {
            let source = device.get("source").map(String::as_str).unwrap_or_default();
            settled.warnings.push(format!("the disk {name} ({source}) is the original's, and left out"));
            if settled.devices.remove(name).is_none() {
                // It comes from a profile.
                settled.devices.insert(name.clone(), Settings::from([("type".to_owned(), "none".to_owned())]));
            }
        } else if is(device, "type", "nic") && ADDRESSES.iter().any(|key| device.contains_key(*key)) {
            let mut free = device.clone();
            ADDRESSES.iter().for_each(|key| {
                free.remove(*key);
            });
            settled.warnings.push(format!("the network card {name} gets other addresses than the original's"));
            settled.devices.insert(name.clone(), free);
        }
    }
    put_root(&mut settled.devices, then, pool);
    settled
}

/// The keys that people have set, but those of ours.
fn own(then: &Instance) -> Settings {
    let keys = then.config.iter().filter(|(key, _)| !is_volatile(key) && !key.starts_with(mark::KEYS));
    keys.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn put_root(devices: &mut Devices, then: &Instance, pool: Option<&str>) {
    let (Some(pool), Some((name, root))) = (pool, root(then)) else { return };
    let mut root = root.clone();
    root.insert("pool".to_owned(), pool.to_owned());
    devices.insert(name.clone(), root);
}

/// What Incus is told of an instance.
pub(super) fn body(then: &Instance, settled: &Settled) -> Value {
    json!({
        "architecture": then.architecture,
        "config": settled.config,
        "description": then.description,
        "devices": settled.devices,
        "ephemeral": then.ephemeral,
        "profiles": then.profiles,
        "stateful": false,
    })
}

/// The configuration of a volume that is back: how its files are shifted is known of what was made.
pub(super) fn volume(then: &Volume, now: &Settings) -> Settings {
    let keys = then.config.iter().filter(|(key, value)| {
        // That is what a copy says for no limit.
        let is_unlimited = key.as_str() == "size" && value.as_str() == "0";
        !is_volatile(key) && !key.starts_with(mark::KEYS) && !is_unlimited
    });
    let now = now.iter().filter(|(key, _)| is_volatile(key));
    keys.chain(now).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn then() -> Instance {
        let devices = Devices::from([
            ("eth0".to_owned(), settings(&[("type", "nic"), ("network", "br0"), ("ipv4.address", "10.0.0.2")])),
            ("data".to_owned(), settings(&[("type", "disk"), ("pool", "local"), ("source", "v1"), ("path", "/data")])),
        ]);
        let mut expanded = devices.clone();
        expanded.insert("root".to_owned(), settings(&[("type", "disk"), ("path", "/"), ("pool", "tank")]));
        expanded.insert("srv".to_owned(), settings(&[("type", "disk"), ("source", "/srv"), ("path", "/srv")]));
        Instance {
            config: settings(&[
                ("boot.autostart", "true"),
                ("user.holdall.export", "x"),
                ("volatile.eth0.hwaddr", "00:16:3e:00:00:01"),
                ("volatile.idmap.next", "then"),
                ("volatile.last_state.power", "RUNNING"),
            ]),
            devices,
            expanded_devices: expanded,
            ..Instance::default()
        }
    }

    fn now() -> Settings {
        settings(&[
            ("user.holdall.export", "x"),
            ("volatile.apply_template", "copy"),
            ("volatile.idmap.next", "now"),
            ("volatile.last_state.idmap", "[]"),
            ("volatile.uuid", "new"),
        ])
    }

    #[test]
    fn what_comes_back_is_as_it_was_but_does_not_start_by_itself() {
        let settled = as_it_was(&then(), &now(), None);
        let config = [
            ("boot.autostart", "true"),
            ("volatile.eth0.hwaddr", "00:16:3e:00:00:01"),
            ("volatile.idmap.next", "now"),
            ("volatile.last_state.idmap", "[]"),
        ];
        assert_eq!(settled, Settled { config: settings(&config), devices: then().devices, warnings: Vec::new() });
        let moved = as_it_was(&then(), &now(), Some("other"));
        assert_eq!(moved.devices["root"]["pool"], "other");
    }

    #[test]
    fn what_is_made_beside_shares_nothing_with_the_original() {
        let settled = beside(&then(), &now(), None);
        let config = [
            ("boot.autostart", "false"),
            ("volatile.apply_template", "copy"),
            ("volatile.idmap.next", "now"),
            ("volatile.last_state.idmap", "[]"),
            ("volatile.uuid", "new"),
        ];
        assert_eq!(settled.config, settings(&config));
        assert_eq!(settled.devices["eth0"], settings(&[("type", "nic"), ("network", "br0")]));
        assert_eq!(settled.devices["srv"], settings(&[("type", "none")]));
        assert!(!settled.devices.contains_key("data"));
        assert_eq!(settled.warnings.len(), 3);
    }

    #[test]
    fn custom_volumes_are_named_with_their_pools() {
        assert_eq!(volumes(&then()), [("data", "local", "v1")]);
    }

    #[test]
    fn volume_keeps_its_keys_and_how_its_files_lie_now() {
        let then = Volume {
            config: settings(&[
                ("size", "0"),
                ("user.x", "1"),
                ("volatile.idmap.last", "then"),
                ("user.holdall.point", "p"),
            ]),
            ..Volume::default()
        };
        let now = settings(&[("volatile.idmap.last", "now"), ("user.holdall.export", "x")]);
        assert_eq!(volume(&then, &now), settings(&[("user.x", "1"), ("volatile.idmap.last", "now")]));
    }
}
