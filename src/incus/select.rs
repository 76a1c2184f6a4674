//! Which instances and custom volumes of the source are items, and what the configuration says of each.

use std::collections::BTreeMap;

use anyhow::{Context, Error, Result, anyhow, bail};
use serde_json::Value;

use super::api::Server;
use super::model::{Instance, Volume, VolumeSnapshot};
use super::temporary::is_temporary;
use crate::config::{IncusConfig, IncusProject, NameGlob};
use crate::error::hinted;

mod pools;

pub use pools::{Project, list_pools, list_projects};

/// An instance or a custom volume: what has snapshots, and replicas of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The project that it is asked for in, on both servers.
    pub project: String,
    /// The pool of the source that a custom volume is on; `None` for an instance.
    pub pool: Option<String>,
    /// Its name.
    pub name: String,
}

impl Subject {
    /// The id of the item: `incus.lab/default/instance/vm1`; `source` is `incus.lab`.
    pub fn id(&self, source: &str) -> String {
        format!("{source}/{}/{}/{}", self.project, self.kind(), self.name)
    }

    /// `instance` or `volume`.
    pub fn kind(&self) -> &'static str {
        if self.pool.is_some() { "volume" } else { "instance" }
    }

    /// The parts of its path in the API, with `rest` behind them.
    pub fn path<'p>(&'p self, rest: &[&'p str]) -> Vec<&'p str> {
        let begin = match &self.pool {
            Some(pool) => vec!["storage-pools", pool, "volumes", "custom", &self.name],
            None => vec!["instances", &self.name],
        };
        begin.into_iter().chain(rest.iter().copied()).collect()
    }
}

/// A subject that is backed up.
#[derive(Debug, Clone)]
pub struct Selected {
    /// Which.
    pub subject: Subject,
    /// The instance, as the source has it; `None` for a volume.
    pub instance: Option<Instance>,
    /// The volume, as the source has it; `None` for an instance.
    pub volume: Option<Volume>,
    /// The pool of the target that an instance's root disk is put on, when it is another than the source's.
    pub target_pool: Option<String>,
    /// Devices that the copy does not get.
    pub exclude_devices: Vec<String>,
    /// Whether the instance is stopped while its snapshot is made.
    pub stop: bool,
}

/// What the configuration names.
#[derive(Debug, Default)]
pub struct Selection {
    /// What the source has of it, volumes before instances in each project.
    pub items: Vec<Selected>,
    /// Ids of items that the configuration names and the source does not have.
    pub missing: Vec<(String, Error)>,
}

/// All that the configuration names. `id`: `incus.lab`.
///
/// # Errors
///
/// When the source cannot be asked, or one item would be two volumes.
pub fn selection(source: &Server, id: &str, config: &IncusConfig) -> Result<Selection> {
    let mut all = Selection::default();
    for project in &config.projects {
        let context = || format!("list what is in the project {} of {id}", project.name);
        let mut missing = Vec::new();
        all.items.extend(volumes(source, project, &mut missing).with_context(context)?);
        all.items.extend(instances(source, project, &mut missing).with_context(context)?);
        let item = |kind: &str, name: &str| format!("{id}/{}/{kind}/{name}", project.name);
        all.missing.extend(missing.into_iter().map(|(kind, name, error)| (item(kind, &name), error)));
    }
    Ok(all)
}

/// All that the configuration names and the source has.
///
/// # Errors
///
/// As [`selection`], and when a name without wildcards is not there.
pub fn selected(source: &Server, id: &str, config: &IncusConfig) -> Result<Vec<Selected>> {
    let Selection { items, missing } = selection(source, id, config)?;
    match missing.into_iter().next() {
        Some((item, error)) => Err(error.context(item)),
        None => Ok(items),
    }
}

/// Kind and name of an item that is not there, and the error that says it.
type Missing = (&'static str, String, Error);

fn instances(source: &Server, project: &IncusProject, missing: &mut Vec<Missing>) -> Result<Vec<Selected>> {
    if project.instances.is_empty() {
        return Ok(Vec::new());
    }
    let there = list_with_snapshots(source, &project.name)?;
    for wanted in project.instances.iter().map(|entry| &entry.name) {
        let error =
            must_be_there(wanted, "instance", there.iter().map(|instance| instance.name.as_str()), project).err();
        missing.extend(error.map(|error| ("instance", wanted.text.clone(), error)));
    }
    let mut selected = Vec::new();
    for instance in there {
        // Of several that mean it, a name says more than a glob.
        let means = |entry: &&crate::config::IncusInstances| entry.name.matches(&instance.name);
        let mut entries = project.instances.iter().filter(means);
        let Some(entry) = entries.clone().find(|entry| entry.name.glob.is_none()).or_else(|| entries.next()) else {
            continue;
        };
        if is_excluded(project, &format!("instance/{}", instance.name)) {
            continue;
        }
        selected.push(Selected {
            subject: Subject { project: project.name.clone(), pool: None, name: instance.name.clone() },
            target_pool: entry.pool.clone(),
            exclude_devices: entry.exclude_devices.clone(),
            stop: entry.stop,
            instance: Some(instance),
            volume: None,
        });
    }
    Ok(selected)
}

fn volumes(source: &Server, project: &IncusProject, missing: &mut Vec<Missing>) -> Result<Vec<Selected>> {
    if project.volumes.is_empty() {
        return Ok(Vec::new());
    }
    let there = list_volumes(source, &project.name)?;
    for entry in &project.volumes {
        let in_pool = there.iter().filter(|(pool, _)| entry.pool.as_ref().is_none_or(|wanted| wanted == pool));
        let names = in_pool.map(|(_, volume)| volume.name.as_str());
        let error = must_be_there(&entry.name, "volume", names, project).err();
        missing.extend(error.map(|error| ("volume", entry.name.text.clone(), error)));
    }
    let mut selected: Vec<Selected> = Vec::new();
    for (pool, volume) in there {
        if !names(project, Some(&pool), &volume.name) {
            continue;
        }
        if let Some(twin) = selected.iter().find(|other| other.subject.name == volume.name) {
            let other = twin.subject.pool.as_deref().unwrap_or_default();
            let text = format!(
                "there is a volume {} in the pool {other} and one in {pool}: one item cannot be both",
                volume.name
            );
            return Err(hinted(anyhow!(text), "Give `pool` with the name, or exclude it."));
        }
        selected.push(Selected {
            subject: Subject { project: project.name.clone(), pool: Some(pool), name: volume.name.clone() },
            instance: None,
            volume: Some(volume),
            target_pool: None,
            exclude_devices: Vec::new(),
            stop: false,
        });
    }
    Ok(selected)
}

/// All instances of a project, by name, without their snapshots.
pub fn list_instances(server: &Server, project: &str) -> Result<Vec<Instance>> {
    instances_at(server, project, "1")
}

/// All instances of a project, by name, with their snapshots.
///
/// The server looks at each one that runs for this, which takes it longer than [`list_instances`].
pub fn list_with_snapshots(server: &Server, project: &str) -> Result<Vec<Instance>> {
    instances_at(server, project, "2")
}

fn instances_at(server: &Server, project: &str, depth: &str) -> Result<Vec<Instance>> {
    let mut all: Vec<Instance> = server
        .call("GET", &["instances"])
        .project(project)
        .query("recursion", depth)
        .get()
        .context("list instances")?;
    all.retain(|instance| !is_temporary(&instance.name));
    all.iter().try_for_each(|instance| check_name(&instance.name))?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// All custom volumes of a project with the pools they are on, by pool and name, with their snapshots.
pub fn list_volumes(server: &Server, project: &str) -> Result<Vec<(String, Volume)>> {
    let mut all = Vec::new();
    for pool in list_pools(server, &[project])? {
        let volumes = volumes_of(server, project, &pool).with_context(|| format!("list volumes of {pool}"))?;
        all.extend(volumes.into_iter().map(|volume| (pool.clone(), volume)));
    }
    Ok(all)
}

/// The custom volumes of one pool. Incus lists snapshots among them, as `VOLUME/SNAPSHOT`.
pub fn volumes_of(server: &Server, project: &str, pool: &str) -> Result<Vec<Volume>> {
    let call = server.call("GET", &["storage-pools", pool, "volumes", "custom"]);
    let listed: Vec<Value> = call.project(project).query("recursion", "1").get()?;
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    let mut snapshots: Vec<(String, VolumeSnapshot)> = Vec::new();
    for one in listed {
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some((volume, _)) = name.split_once('/') {
            let volume = volume.to_owned();
            let mut snapshot: VolumeSnapshot = serde_json::from_value(one)?;
            snapshot.name.drain(..=volume.len());
            snapshots.push((volume, snapshot));
            continue;
        }
        check_name(name)?;
        volumes.insert(name.to_owned(), serde_json::from_value(one)?);
    }
    for (volume, snapshot) in snapshots {
        if let Some(volume) = volumes.get_mut(&volume) {
            volume.snapshots.push(snapshot);
        }
    }
    Ok(volumes.into_values().filter(|volume| !is_temporary(&volume.name)).collect())
}

/// Names become parts of ids and of paths; what a server says need not be true.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        bail!("`{}` cannot be a name", crate::output::printable(name.as_ref()));
    }
    Ok(())
}

/// Whether the configuration of a project names an instance (`pool`: `None`) or a custom volume that is called like this, wherever it is.
pub fn names(project: &IncusProject, pool: Option<&str>, name: &str) -> bool {
    let is_named = match pool {
        None => project.instances.iter().any(|entry| entry.name.matches(name)),
        Some(pool) => project.volumes.iter().any(|entry| entry.means(pool, name)),
    };
    let kind = if pool.is_some() { "volume" } else { "instance" };
    is_named && !is_excluded(project, &format!("{kind}/{name}"))
}

fn is_excluded(project: &IncusProject, name: &str) -> bool {
    project.exclude.iter().any(|exclude| exclude.matches(name))
}

fn must_be_there<'n>(
    wanted: &NameGlob,
    kind: &str,
    mut there: impl Iterator<Item = &'n str> + Clone,
    project: &IncusProject,
) -> Result<()> {
    if wanted.glob.is_some() || there.clone().any(|name| name == wanted.text) {
        return Ok(());
    }
    let near = crate::config::nearest(&wanted.text, there.by_ref());
    let hint = match near {
        Some(near) => format!("Did you mean `{near}`?"),
        None => format!(
            "`holdall discover incus` lists what there is. If it is gone for good, take it out of the project {}.",
            project.name
        ),
    };
    Err(hinted(anyhow!("there is no {kind} {}", wanted.text), hint))
}
