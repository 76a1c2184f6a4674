//! The devices of a copy: its root disk on a pool of the target, and none that would keep it from being made.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::{Adapted, no_pool};
use crate::incus::model::{Devices, Instance, Settings};
use crate::incus::select::Selected;
use crate::incus::target::Place;

/// The root disk among devices: the disk that is mounted at `/`.
pub(crate) fn root(devices: &Devices) -> Option<(&String, &Settings)> {
    devices.iter().find(|(_, device)| {
        of(device, "type") == Some("disk") && of(device, "path") == Some("/") && of(device, "source").is_none()
    })
}

fn of<'d>(device: &'d Settings, key: &str) -> Option<&'d str> {
    device.get(key).map(String::as_str)
}

/// Gives the copy a root disk of its own, on the pool that is wanted, or is there under the source's name, also when the source has it from a profile: a profile
/// of the target may say otherwise, and Incus adds the device anyway. A copy that is there stays where it is.
pub(super) fn put_root_on_its_pool(
    adapted: &mut Adapted,
    selected: &Selected,
    own: &Instance,
    there: &Place,
    replica: Option<&Instance>,
) -> Result<()> {
    let (name, device) = root(&own.expanded_devices).context("it has no root disk")?;
    let (name, mut device) = (name.clone(), device.clone());
    let wanted = selected.target_pool.clone().or_else(|| device.get("pool").cloned()).unwrap_or_default();
    let is_at = replica.and_then(|replica| root(&replica.expanded_devices)).and_then(|(_, root)| root.get("pool"));
    let pool = match is_at {
        Some(at) => {
            if *at != wanted && selected.target_pool.is_some() {
                let text =
                    format!("the replica stays in the pool {at}: `incus move` on the target takes it to {wanted}");
                adapted.warn(&format!("/devices/{name}"), &text);
            }
            at.clone()
        }
        None if there.pools.contains(&wanted) => wanted,
        None => {
            let name = &own.name;
            let hint = format!("Say where to put it: `instances = [{{ name = \"{name}\", pool = \"…\" }}]`.");
            return Err(no_pool(&wanted, &there.pools, &hint));
        }
    };
    device.insert("pool".to_owned(), pool);
    adapted.devices.insert(name, device);
    Ok(())
}

/// Takes away what is excluded, and network cards and volumes that the target cannot give. What a profile of the target gives is masked by a device of the
/// type `none`.
pub(super) fn drop_what_cannot_be(adapted: &mut Adapted, selected: &Selected, own: &Instance, there: &Place) {
    let (_, given) = there.given_by(&adapted.profiles);
    let names: BTreeSet<&String> = adapted.devices.keys().chain(given.keys()).collect();
    let mut dropped: Vec<(String, Option<String>)> = Vec::new();
    for name in names {
        let Some(device) = adapted.devices.get(name).or_else(|| given.get(name)) else { continue };
        if selected.exclude_devices.contains(name) {
            dropped.push((name.clone(), None));
        } else if let Some(lack) = lack(device, there) {
            dropped.push((name.clone(), Some(lack)));
        }
    }
    for (name, lack) in dropped {
        adapted.devices.remove(&name);
        if given.contains_key(&name) {
            adapted.devices.insert(name.clone(), Settings::from([("type".to_owned(), "none".to_owned())]));
        }
        if let Some(lack) = lack {
            adapted.warn(&format!("/devices/{name}"), &format!("left out of the copy: {lack}"));
        }
    }
    for name in &selected.exclude_devices {
        if !own.expanded_devices.contains_key(name) && !given.contains_key(name) {
            adapted.warn(&format!("/devices/{name}"), "`exclude-devices` names it, and there is no such device");
        }
    }
}

/// What the target lacks for a device.
fn lack(device: &Settings, there: &Place) -> Option<String> {
    match of(device, "type")? {
        "nic" => {
            let network = of(device, "network")?;
            (!there.networks.contains(network)).then(|| format!("the target has no network {network}"))
        }
        "disk" if of(device, "path") != Some("/") => {
            let (pool, source) = (of(device, "pool")?, of(device, "source")?);
            // Files and shares have no pool; what stands behind the name is a folder of the volume.
            let volume = source.split('/').next().unwrap_or(source);
            (!there.has_volume(pool, volume)).then(|| format!("the target has no volume {volume} in a pool {pool}"))
        }
        _ => None,
    }
}
