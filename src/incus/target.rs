//! What the target has in a project: asked once a run, so that no item has to ask for itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Error, Result, anyhow};
use serde_json::Value;

use super::api::{Server, is_not_found};
use super::mark;
use super::model::{Devices, Instance, Network, Profile, Settings, Volume};
use super::select::{list_pools, list_with_snapshots, volumes_of};
use crate::error::hinted;

/// What a project of the target has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) pools: BTreeSet<String>,
    /// Those that Incus manages.
    pub(crate) networks: BTreeSet<String>,
    /// Without those that are only [placeholders](mark::PLACEHOLDER).
    pub(crate) profiles: BTreeMap<String, Profile>,
    pub(crate) instances: BTreeMap<String, Instance>,
    /// By pool and name.
    pub(crate) volumes: BTreeMap<(String, String), Volume>,
}

impl Place {
    /// Asks for everything. `wanted`: pools that something is to be put on.
    ///
    /// # Errors
    ///
    /// When the target cannot be asked, or has no such project.
    pub(crate) fn look(target: &Server, project: &str, wanted: &BTreeSet<&str>) -> Result<Self> {
        let context = || format!("list what is in the project {project} of the target");
        let mut place = Self::read(target, project).map_err(|error| explain(error, project)).with_context(context)?;
        for pool in wanted {
            // Who may see some projects only is not told of all pools.
            if !place.pools.contains(*pool)
                && target.call("GET", &["storage-pools", pool]).find::<Value>().is_ok_and(|pool| pool.is_none())
            {
                continue;
            }
            place.pools.insert((*pool).to_owned());
        }
        Ok(place)
    }

    fn read(target: &Server, project: &str) -> Result<Self> {
        let mut profiles: Vec<Profile> = list(target, "profiles", project)?;
        profiles.retain(|profile| !profile.config.contains_key(mark::PLACEHOLDER));
        let networks: Vec<Network> = list(target, "networks", project)?;
        let pools = list_pools(target, &[project])?;
        let instances = list_with_snapshots(target, project)?;
        let mut volumes = BTreeMap::new();
        for pool in &pools {
            let there = volumes_of(target, project, pool)?;
            volumes.extend(there.into_iter().map(|volume| ((pool.clone(), volume.name.clone()), volume)));
        }
        Ok(Self {
            pools: pools.into_iter().collect(),
            networks: networks.into_iter().filter(|network| network.managed).map(|network| network.name).collect(),
            profiles: profiles.into_iter().map(|profile| (profile.name.clone(), profile)).collect(),
            instances: instances.into_iter().map(|instance| (instance.name.clone(), instance)).collect(),
            volumes,
        })
    }

    /// Whether there is this volume.
    pub(crate) fn has_volume(&self, pool: &str, name: &str) -> bool {
        self.volumes.contains_key(&(pool.to_owned(), name.to_owned()))
    }

    /// What profiles give together, the later ones before the earlier ones.
    pub(crate) fn given_by(&self, profiles: &[String]) -> (Settings, Devices) {
        let (mut config, mut devices) = (Settings::new(), Devices::new());
        for profile in profiles.iter().filter_map(|name| self.profiles.get(name)) {
            config.extend(profile.config.clone());
            devices.extend(profile.devices.clone());
        }
        (config, devices)
    }
}

fn list<T: serde::de::DeserializeOwned>(target: &Server, what: &str, project: &str) -> Result<Vec<T>> {
    target.call("GET", &[what]).project(project).query("recursion", "1").get()
}

fn explain(error: Error, project: &str) -> Error {
    if !is_not_found(&error) {
        return error;
    }
    let hint =
        format!("Make it there with `incus project create {project}`, with the features that it has on the source.");
    hinted(anyhow!("the target has no project {project}"), hint)
}
