//! How an instance or a volume has to look on the target: what the target does not have is left out and told, what would make the copy run by itself is taken
//! away. Pure functions of what both servers say.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::mark;
use super::model::{Devices, Instance, Settings, Volume};
use super::select::Selected;
use super::target::Place;
use crate::error::hinted;
use crate::source::{Problem, Severity};

mod devices;

/// What of an instance's `volatile.` keys goes with it: which image it was made of. The others belong to the server that it runs on, as in
/// `InstanceIncludeWhenCopying` of `internal/instance/instance_utils.go`.
const KEPT_VOLATILE: &str = "volatile.base_image";

/// How the files of a volume are shifted on its disk; other `volatile.` keys of volumes belong to their server.
const VOLUME_SHIFT: &str = "volatile.idmap.";

/// What makes a server take or drop snapshots by itself: the replica has those of the source and no others.
const SCHEDULES: &str = "snapshots.";

/// How a copy has to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adapted {
    pub(crate) architecture: String,
    pub(crate) description: String,
    /// Without marks, and without what the target adds itself.
    pub(crate) config: Settings,
    pub(crate) devices: Devices,
    pub(crate) profiles: Vec<String>,
    /// What the copy lacks, as warnings.
    pub(crate) problems: Vec<Problem>,
}

impl Adapted {
    /// Whether a copy looks like this already.
    pub(crate) fn is_as(&self, there: &Instance) -> bool {
        let mut config = there.config.clone();
        mark::strip(&mut config);
        config.retain(|key, _| !key.starts_with("volatile."));
        let wanted = self.config.iter().filter(|(key, _)| !key.starts_with("volatile."));
        self.architecture == there.architecture
            && self.description == there.description
            && self.devices == there.devices
            && self.profiles == there.profiles
            && !there.ephemeral
            && config.iter().eq(wanted)
    }

    /// The same for a volume.
    pub(crate) fn is_as_volume(&self, there: &Volume) -> bool {
        let mut config = there.config.clone();
        mark::strip(&mut config);
        self.description == there.description && config == self.config
    }

    /// What Incus is told of an instance, with further keys of its configuration.
    pub(crate) fn body(&self, more: impl IntoIterator<Item = (String, String)>) -> Value {
        let mut config = self.config.clone();
        config.extend(more);
        json!({
            "architecture": self.architecture,
            "config": config,
            "description": self.description,
            "devices": self.devices,
            "ephemeral": false,
            "profiles": self.profiles,
        })
    }
}

/// How the copy of an instance has to look. `replica`: the copy that is there.
///
/// # Errors
///
/// When its root disk has no pool on the target.
pub(crate) fn instance(
    selected: &Selected,
    own: &Instance,
    there: &Place,
    replica: Option<&Instance>,
) -> Result<Adapted> {
    let mut adapted = Adapted {
        architecture: own.architecture.clone(),
        description: own.description.clone(),
        config: own.config.clone(),
        devices: own.devices.clone(),
        ..Adapted::default()
    };
    let (kept, missing): (Vec<&String>, Vec<&String>) =
        own.profiles.iter().partition(|name| there.profiles.contains_key(name.as_str()));
    adapted.profiles = kept.into_iter().cloned().collect();
    if !missing.is_empty() {
        give_what_profiles_gave(&mut adapted, own, there);
        for name in missing {
            let text = "the target has no such profile: what it gives is written to the copy itself";
            adapted.warn(&format!("/profiles/{name}"), text);
        }
    }
    adapted.config.retain(|key, _| {
        key == KEPT_VOLATILE
            || !key.starts_with("volatile.") && !key.starts_with(mark::KEYS) && !key.starts_with(SCHEDULES)
    });
    // Two of the same name and address must not run at once because the target was started anew.
    adapted.config.insert("boot.autostart".to_owned(), "false".to_owned());
    devices::put_root_on_its_pool(&mut adapted, selected, own, there, replica)?;
    devices::drop_what_cannot_be(&mut adapted, selected, own, there);
    Ok(adapted)
}

/// The pool of the target that a first copy of an item is put on.
pub(crate) fn wanted_pool(selected: &Selected) -> Option<&str> {
    let root = selected.instance.as_ref().and_then(|own| devices::root(&own.expanded_devices));
    let of_root = root.and_then(|(_, device)| device.get("pool"));
    selected.subject.pool.as_ref().or(selected.target_pool.as_ref()).or(of_root).map(String::as_str)
}

/// How the copy of a volume has to look.
pub(crate) fn volume(own: &Volume) -> Adapted {
    let mut config = own.config.clone();
    config.retain(|key, _| {
        (!key.starts_with("volatile.") || key.starts_with(VOLUME_SHIFT))
            && !key.starts_with(mark::KEYS)
            && !key.starts_with(SCHEDULES)
    });
    Adapted { description: own.description.clone(), config, ..Adapted::default() }
}

/// Writes to the copy itself what its profiles give on the source and not on the target.
fn give_what_profiles_gave(adapted: &mut Adapted, own: &Instance, there: &Place) {
    let (config, devices) = there.given_by(&adapted.profiles);
    for (key, value) in &own.expanded_config {
        if config.get(key) != Some(value) {
            adapted.config.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    for (name, device) in &own.expanded_devices {
        if devices.get(name) != Some(device) {
            adapted.devices.entry(name.clone()).or_insert_with(|| device.clone());
        }
    }
}

impl Adapted {
    fn warn(&mut self, path: &str, text: &str) {
        let problem = Problem { path: PathBuf::from(path), error: text.to_owned(), severity: Severity::Warning };
        self.problems.push(problem);
    }
}

/// The error for a pool that the target does not have.
pub(crate) fn no_pool(pool: &str, pools: &BTreeSet<String>, hint: &str) -> anyhow::Error {
    let there: Vec<&str> = pools.iter().map(String::as_str).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    hinted(anyhow!("the target has no storage pool {pool}"), format!("{hint} It has: {there}."))
}

#[cfg(test)]
mod tests;
