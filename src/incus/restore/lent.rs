//! Copies on the same server, with all snapshots, of what is sent from one server to the other and of what was received.
//!
//! On btrfs, Incus knows snapshots of two servers for the same by the ids of their subvolumes, and that holds in one direction and once:
//!
//! - A replica that was refreshed cannot be sent. Its snapshots are made read-only for it, by which they lose the ids that they were received by; the receiver does
//!   not find the parents (`cannot find parent subvolume`), and the next refresh of the replica does not find them either.
//! - What was received cannot be the origin of a refresh. It is sent with the ids that it was received by, and compared by its own: all is sent again, and
//!   fails on what is there (`file exists`).
//!
//! A copy on the same pool has ids of its own and none that it was received by. It takes no room.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::settle;
use crate::incus::api::Server;
use crate::incus::mark::Mark;
use crate::incus::model::{Instance, Pool, Settings, Volume};
use crate::incus::select::Subject;
use crate::incus::temporary::{MARK, Temporary, Work};

/// Whether something is on btrfs, or on nobody knows what.
pub(super) fn is_on_btrfs(server: &Server, subject: &Subject) -> Result<bool> {
    let pool = match &subject.pool {
        Some(pool) => pool.clone(),
        None => {
            let instance: Instance = server.call("GET", &subject.path(&[])).project(&subject.project).get()?;
            let root = settle::root(&instance).context("it has no root disk")?;
            root.1.get("pool").cloned().unwrap_or_default()
        }
    };
    // A client that is restricted to a project may not be told.
    Ok(server.get::<Pool>(&["storage-pools", &pool]).map_or(true, |pool| matches!(pool.driver.as_str(), "btrfs" | "")))
}

/// Whether the last copy of a replica was broken off.
pub(super) fn is_broken_off(server: &Server, replica: &Subject) -> Result<bool> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Marked {
        config: Option<Settings>,
    }
    let marked: Marked = server.call("GET", &replica.path(&[])).project(&replica.project).get()?;
    Ok(Mark::of(&marked.config.unwrap_or_default()).copying.is_some())
}

/// Makes a copy of something for an item.
pub(super) fn copy(server: &Server, work: Work, item: &str, subject: &Subject) -> Result<Temporary> {
    let ask = || server.call("GET", &subject.path(&[])).project(&subject.project);
    let (path, mut body) = match &subject.pool {
        Some(pool) => {
            let volume: Volume = ask().get()?;
            let path = vec!["storage-pools", pool, "volumes", "custom"];
            let source = json!({"type": "copy", "pool": pool, "name": subject.name, "volume_only": false});
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
                "source": {"type": "copy", "source": subject.name, "instance_only": false},
            });
            (vec!["instances"], body)
        }
    };
    Temporary::make(server, work, item, subject, move |copy| {
        body["name"] = json!(copy.subject().name);
        body["config"][MARK] = json!(item);
        let call = server.call("POST", &path).project(&subject.project).body(body.clone());
        call.run().map(drop).with_context(|| format!("copy it on the {} itself", server.role().word()))
    })
}
