//! What Incus says of instances, custom volumes and their snapshots. Go writes `null` for what is empty: that is read as empty.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

/// Keys and values of a configuration.
pub type Settings = BTreeMap<String, String>;

/// Devices by name.
pub type Devices = BTreeMap<String, Settings>;

/// An instance: `Instance` of `shared/api/instance.go`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Its name, unique in its project.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    /// `container` or `virtual-machine`.
    #[serde(rename = "type", deserialize_with = "or_empty")]
    pub kind: String,
    /// `x86_64`
    #[serde(deserialize_with = "or_empty")]
    pub architecture: String,
    /// What people say of it.
    #[serde(deserialize_with = "or_empty")]
    pub description: String,
    /// `Running`, `Stopped`, `Frozen`, …
    #[serde(deserialize_with = "or_empty")]
    pub status: String,
    /// Whether it is deleted when it stops.
    pub ephemeral: bool,
    /// Its own configuration, without what profiles give.
    #[serde(deserialize_with = "or_empty")]
    pub config: Settings,
    /// Its own devices.
    #[serde(deserialize_with = "or_empty")]
    pub devices: Devices,
    /// With what profiles give.
    #[serde(deserialize_with = "or_empty")]
    pub expanded_config: Settings,
    /// With what profiles give.
    #[serde(deserialize_with = "or_empty")]
    pub expanded_devices: Devices,
    /// In the order in which they apply.
    #[serde(deserialize_with = "or_empty")]
    pub profiles: Vec<String>,
    /// Only when they were asked for, see [`super::select::list_with_snapshots`].
    #[serde(deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<InstanceSnapshot>,
    /// When it was started last, as the server writes it.
    #[serde(deserialize_with = "or_empty")]
    pub last_used_at: String,
}

impl Instance {
    /// Whether anything of it runs: it is neither stopped nor broken.
    pub fn is_running(&self) -> bool {
        !matches!(self.status.as_str(), "Stopped" | "Error")
    }

    /// The pool that its root disk is on, also when a profile says it.
    pub fn root_pool(&self) -> Option<&str> {
        let is = |device: &&Settings, key: &str, value: &str| device.get(key).is_some_and(|found| found == value);
        let root = self.expanded_devices.values().find(|device| is(device, "type", "disk") && is(device, "path", "/"));
        root.and_then(|root| root.get("pool")).map(String::as_str)
    }
}

/// A snapshot of an instance: `InstanceSnapshot` of `shared/api/instance_snapshot.go`; it has the configuration of then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceSnapshot {
    /// Its name, without that of the instance.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    /// When it was made, by the clock of the server it was made on; a copy of an instance has it without the fraction of the second. What is no
    /// time is read as the epoch.
    #[serde(deserialize_with = "time")]
    pub created_at: DateTime<Utc>,
    /// As [`Instance::config`].
    #[serde(deserialize_with = "or_empty")]
    pub config: Settings,
    /// As [`Instance::devices`].
    #[serde(deserialize_with = "or_empty")]
    pub devices: Devices,
    /// As [`Instance::profiles`].
    #[serde(deserialize_with = "or_empty")]
    pub profiles: Vec<String>,
    /// As [`Instance::architecture`].
    #[serde(deserialize_with = "or_empty")]
    pub architecture: String,
    /// As [`Instance::ephemeral`].
    pub ephemeral: bool,
    /// In bytes on its disk; 0 or less: not known.
    pub size: i64,
}

/// A custom volume: `StorageVolume` of `shared/api/storage_pool_volume.go`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its name, unique in its pool and project.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    /// `filesystem`, `block` or `iso`.
    #[serde(deserialize_with = "or_empty")]
    pub content_type: String,
    /// What people say of it.
    #[serde(deserialize_with = "or_empty")]
    pub description: String,
    /// Its configuration.
    #[serde(deserialize_with = "or_empty")]
    pub config: Settings,
    /// Paths of the API: `/1.0/instances/c1?project=p`.
    #[serde(deserialize_with = "or_empty")]
    pub used_by: Vec<String>,
    /// The project it is in, which is `default` where a project has no volumes of its own.
    #[serde(deserialize_with = "or_empty")]
    pub project: String,
    /// Its snapshots; Incus lists them beside the volumes, [`super::select::list_volumes`] puts them here.
    #[serde(skip)]
    pub snapshots: Vec<VolumeSnapshot>,
}

/// A snapshot of a custom volume: `StorageVolumeSnapshot` of `shared/api/storage_pool_volume_snapshot.go`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSnapshot {
    /// Its name, without that of the volume; some versions put `VOLUME/` before it.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    /// As [`InstanceSnapshot::created_at`].
    #[serde(deserialize_with = "time")]
    pub created_at: DateTime<Utc>,
    /// As [`Volume::config`].
    #[serde(deserialize_with = "or_empty")]
    pub config: Settings,
    /// As [`Volume::description`].
    #[serde(deserialize_with = "or_empty")]
    pub description: String,
}

/// A storage pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pool {
    /// Its name.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    /// `dir`, `btrfs`, `zfs`, `lvm`, `ceph`, …
    #[serde(deserialize_with = "or_empty")]
    pub driver: String,
}

/// A profile: `Profile` of `shared/api/profile.go`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Its name.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    /// What it gives to instances.
    #[serde(deserialize_with = "or_empty")]
    pub config: Settings,
    /// What it gives to instances.
    #[serde(deserialize_with = "or_empty")]
    pub devices: Devices,
}

/// A network, or an interface of the machine that is listed among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Its name.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    /// Whether Incus made it, so that a device can name it as its `network`.
    pub managed: bool,
}

fn or_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A server may say anything; one snapshot with an absurd time must not hide all others.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let said = serde_json::Value::deserialize(deserializer)?;
    Ok(said.as_str().and_then(|text| text.parse().ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_empty() {
        let text = r#"{"name":"c1","type":"container","config":null,"devices":null,"profiles":null,"status":"Frozen"}"#;
        let instance: Instance = serde_json::from_str(text).unwrap();
        assert_eq!((instance.name.as_str(), instance.kind.as_str()), ("c1", "container"));
        assert!(instance.config.is_empty() && instance.devices.is_empty() && instance.is_running());
    }

    #[test]
    fn what_is_no_time_is_the_epoch() {
        let read = |time: &str| {
            let text = format!(r#"{{"name":"IAB_x","created_at":{time}}}"#);
            serde_json::from_str::<InstanceSnapshot>(&text).unwrap().created_at.to_rfc3339()
        };
        assert_eq!(read("\"2026-02-05T11:59:00.5+01:00\""), "2026-02-05T10:59:00.500+00:00");
        for absurd in ["\"9999999-01-01T00:00:00Z\"", "\"\"", "null", "7", "{}"] {
            assert_eq!(read(absurd), "1970-01-01T00:00:00+00:00", "{absurd}");
        }
    }
}
