//! Copies of snapshots that are there for as long as an archive is made of them and sent.
//!
//! They are never started, have the root disk and nothing else, and are marked. One that a run left behind which was killed is removed by the next one that wants
//! the same name, or by [`sweep`].

use std::thread;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::cleanup::Guard;
use crate::error::hinted;
use crate::incus::api::{Server, is_not_found};
use crate::incus::model::{Pool, Settings};
use crate::incus::select::{Subject, check_name};
use crate::incus::{Replication, Servers};

/// What the configuration of a temporary copy has: the item it is made for.
const MARK: &str = "user.holdall.export";

/// What the names of temporary copies begin with.
const PREFIX: &str = "holdall-export-";

const LOOK: &str = "look for temporary copies that were left behind";

/// How often a server is asked to remove something that it is still working on, a second apart.
const TRIES: u32 = 15;

/// Whether something is a temporary copy: nobody's instance or volume.
pub(in crate::incus) fn is_temporary(name: &str, config: &Settings) -> bool {
    name.starts_with(PREFIX) && config.contains_key(MARK)
}

/// A temporary copy; removed when it is dropped.
pub(super) struct Temporary {
    server: Server,
    item: String,
    subject: Subject,
    guard: Guard,
}

impl Temporary {
    /// Copies a snapshot, of which the server says what is in `described`.
    pub(super) fn make(
        server: &Server,
        item: &str,
        subject: &Subject,
        snapshot: &str,
        described: &Value,
    ) -> Result<Self> {
        let copy = Subject { name: name_for(item), ..subject.clone() };
        let (path, body) = match &subject.pool {
            Some(pool) => (
                vec!["storage-pools", pool, "volumes", "custom"],
                of_volume(item, &copy.name, pool, subject, snapshot, described),
            ),
            None => (vec!["instances"], of_instance(item, &copy.name, subject, snapshot, described)?),
        };
        let guard = Guard::new({
            let (server, item, copy) = (server.clone(), item.to_owned(), copy.clone());
            move |_| {
                if let Err(error) = remove_marked(&server, &copy, &item) {
                    tracing::warn!("{}", crate::error::chain(&error));
                }
            }
        });
        let made = Self { server: server.clone(), item: item.to_owned(), subject: copy, guard };
        let make = || server.call("POST", &path).project(&subject.project).body(body.clone()).run();
        if let Err(error) = make() {
            // A run that was killed may have left it.
            if !remove_marked(server, &made.subject, item).unwrap_or(false) {
                return Err(error).context("copy the snapshot, to make an archive of it");
            }
            make().context("copy the snapshot, to make an archive of it")?;
        }
        Ok(made)
    }

    /// What it is on the server.
    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Removes it from the server.
    pub(super) fn remove(self) -> Result<()> {
        let removed = remove_marked(&self.server, &self.subject, &self.item);
        self.guard.disarm();
        removed.map(drop)
    }
}

/// One name for each item: whoever wants it again finds what was left.
fn name_for(item: &str) -> String {
    let digits: String = Sha256::digest(item).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{digits}")
}

fn of_instance(item: &str, name: &str, subject: &Subject, snapshot: &str, described: &Value) -> Result<Value> {
    let devices = |key: &str| described[key].as_object().cloned().unwrap_or_default();
    let expanded = devices("expanded_devices");
    let root = expanded.iter().find(|(_, device)| device["type"] == "disk" && device["path"] == "/");
    let (root, device) = root.ok_or_else(|| anyhow!("{snapshot} has no root disk"))?;
    // Its own devices would be copied unless something else is in their place.
    let mut without: Map<String, Value> =
        devices("devices").keys().map(|name| (name.clone(), json!({"type": "none"}))).collect();
    without.insert(root.clone(), device.clone());
    Ok(json!({
        "name": name,
        "type": described["type"],
        "profiles": [],
        "devices": without,
        "config": {MARK: item, "boot.autostart": "false", "snapshots.schedule": ""},
        "ephemeral": false,
        "source": {"type": "copy", "source": format!("{}/{snapshot}", subject.name), "instance_only": true},
    }))
}

fn of_volume(item: &str, name: &str, pool: &str, subject: &Subject, snapshot: &str, described: &Value) -> Value {
    // With `volatile.idmap.last`: else who gets the volume would take the owners of its files for others.
    let mut config = described["config"].as_object().cloned().unwrap_or_default();
    config.remove("snapshots.schedule");
    config.insert(MARK.to_owned(), json!(item));
    json!({
        "name": name,
        "type": "custom",
        "content_type": described["content_type"],
        "config": config,
        "source": {"type": "copy", "pool": pool, "name": format!("{}/{snapshot}", subject.name), "volume_only": true},
    })
}

/// Removes an instance or a volume that is marked as made for this item; whether it was there.
///
/// # Errors
///
/// When it is not marked, or does not go away.
fn remove_marked(server: &Server, subject: &Subject, item: &str) -> Result<bool> {
    let mut tries = 0;
    loop {
        match remove_once(server, subject, item) {
            Ok(removed) => return Ok(removed),
            // What the server was doing with it when it was told to stop may not be over.
            Err(error) if tries < TRIES && is_busy(&error) => {
                tries += 1;
                thread::sleep(std::time::Duration::from_secs(1));
            }
            Err(error) => {
                let what = format!("remove the temporary {} {}", subject.kind(), subject.name);
                return Err(hinted(error.context(what), "The next backup of it tries again."));
            }
        }
    }
}

fn remove_once(server: &Server, subject: &Subject, item: &str) -> Result<bool> {
    let call = server.call("GET", &subject.path(&[])).project(&subject.project);
    let Some(found) = call.find::<Value>()? else { return Ok(false) };
    if found["config"][MARK] != item {
        return Err(anyhow!("it is not marked as one of {item}"));
    }
    match server.call("DELETE", &subject.path(&[])).project(&subject.project).run() {
        Err(error) if is_not_found(&error) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Whether the server has not ended yet what it does with it.
fn is_busy(error: &anyhow::Error) -> bool {
    let refusal = crate::incus::api::refusal(error);
    refusal.is_some_and(|refused| refused.message.contains("busy") || refused.message.contains("in use"))
}

/// Removes temporary copies that runs of this source have left which were killed. Says what was removed. Only under the lock of the source.
///
/// # Errors
///
/// When the source cannot be asked, or does not remove one.
pub fn sweep(servers: &Servers, replication: &Replication) -> Result<Vec<String>> {
    let server = &servers.source;
    let own = format!("{}/", replication.id);
    let mut removed = Vec::new();
    let pools: Vec<Pool> = server.call("GET", &["storage-pools"]).query("recursion", "1").get().context(LOOK)?;
    pools.iter().try_for_each(|pool| check_name(&pool.name))?;
    for project in replication.config.projects.iter().map(|project| project.name.as_str()) {
        let mut places = vec![(None, vec!["instances"])];
        for pool in &pools {
            places.push((Some(&pool.name), vec!["storage-pools", &pool.name, "volumes", "custom"]));
        }
        for (pool, path) in places {
            for name in names(server, &path, project)? {
                let subject = Subject { project: project.to_owned(), pool: pool.cloned(), name };
                if !subject.name.starts_with(PREFIX) {
                    continue;
                }
                let call = server.call("GET", &subject.path(&[])).project(project);
                let found = call.find::<Value>()?.unwrap_or_default();
                if let Some(item) = found["config"][MARK].as_str().filter(|item| item.starts_with(&own))
                    && remove_marked(server, &subject, item)?
                {
                    removed.push(format!("removed the temporary {} {}", subject.kind(), subject.name));
                }
            }
        }
    }
    Ok(removed)
}

/// The names in a list of the server, which are the ends of URLs.
fn names(server: &Server, path: &[&str], project: &str) -> Result<Vec<String>> {
    let urls: Vec<String> = server.call("GET", path).project(project).get().context(LOOK)?;
    let name = |url: &String| url.split('?').next()?.rsplit('/').next().map(str::to_owned);
    Ok(urls.iter().filter_map(name).filter(|name| check_name(name).is_ok()).collect())
}
