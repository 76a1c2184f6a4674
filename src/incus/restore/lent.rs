//! A copy of a replica on its own server, with its snapshots, to be sent in its place.
//!
//! On btrfs, Incus cannot send a replica that was refreshed: it makes its snapshots writable and read-only again, by which they lose the ids that they were
//! received by. The receiver does not find the parents (`cannot find parent subvolume`), and neither does the next refresh of the replica. A copy on the same
//! pool has ids of its own, takes no room, and leaves the replica as it is.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::settle;
use crate::incus::api::Server;
use crate::incus::model::{Instance, Pool, Volume};
use crate::incus::select::Subject;
use crate::incus::temporary::{MARK, Temporary, Work};

/// Whether a replica is on btrfs, or on nobody knows what.
pub(super) fn is_on_btrfs(server: &Server, replica: &Subject) -> Result<bool> {
    let pool = match &replica.pool {
        Some(pool) => pool.clone(),
        None => {
            let instance: Instance = server.call("GET", &replica.path(&[])).project(&replica.project).get()?;
            let root = settle::root(&instance).context("it has no root disk")?;
            root.1.get("pool").cloned().unwrap_or_default()
        }
    };
    // A client that is restricted to a project may not be told.
    Ok(server.get::<Pool>(&["storage-pools", &pool]).map_or(true, |pool| matches!(pool.driver.as_str(), "btrfs" | "")))
}

/// Makes the copy.
pub(super) fn lend(server: &Server, item: &str, replica: &Subject) -> Result<Temporary> {
    let ask = || server.call("GET", &replica.path(&[])).project(&replica.project);
    let (path, mut body) = match &replica.pool {
        Some(pool) => {
            let volume: Volume = ask().get()?;
            let path = vec!["storage-pools", pool, "volumes", "custom"];
            let source = json!({"type": "copy", "pool": pool, "name": replica.name, "volume_only": false});
            let content = volume.content_type;
            (path, json!({"type": "custom", "content_type": content, "config": volume.config, "source": source}))
        }
        None => {
            let instance: Instance = ask().get()?;
            let (root, device) = settle::root(&instance).context("it has no root disk")?;
            let own = instance.devices.keys().map(|name| (name.clone(), json!({"type": "none"})));
            let mut devices: Map<String, Value> = own.collect();
            devices.insert(root.clone(), json!(device));
            let body = json!({
                "type": instance.kind,
                "profiles": [],
                "devices": devices,
                "config": {"boot.autostart": "false"},
                "ephemeral": false,
                "source": {"type": "copy", "source": replica.name, "instance_only": false},
            });
            (vec!["instances"], body)
        }
    };
    Temporary::make(server, Work::Restore, item, replica, move |copy| {
        body["name"] = json!(copy.subject().name);
        body["config"][MARK] = json!(item);
        let call = server.call("POST", &path).project(&replica.project).body(body.clone());
        call.run().map(drop).context("copy the replica on the target, to send the copy")
    })
}
