//! What engines say of things: what holdall needs of it, and the whole as JSON for the snapshot.
//!
//! Fields are looked up by name and may be missing: engines of several makers and ages answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The engine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    /// The name of its machine.
    pub(crate) host: String,
    /// Its own version.
    pub(crate) version: String,
    /// Whether numbers of owners on its machine are others than in its containers.
    pub(crate) shifts_ids: bool,
}

impl Info {
    pub(super) fn new(value: &Value) -> Result<Self> {
        let options = value["SecurityOptions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            host: text(value, "/Name").context("it does not tell its name")?,
            version: text(value, "/ServerVersion").unwrap_or_default(),
            shifts_ids: options.into_iter().any(|option| option.contains("rootless") || option.contains("userns")),
        })
    }
}

/// A volume.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) driver: String,
    /// Where it is on the engine's machine, once it is mounted.
    pub(crate) mountpoint: PathBuf,
    pub(crate) labels: BTreeMap<String, String>,
    /// As they were given to the driver.
    pub(crate) options: BTreeMap<String, String>,
    /// All that the engine says.
    pub(crate) inspect: Value,
}

impl Volume {
    pub(crate) fn new(inspect: Value) -> Result<Self> {
        let name = text(&inspect, "/Name").context("a volume has no name")?;
        // It becomes a part of paths.
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
            bail!("the engine has a volume called {}, which cannot be", crate::output::printable(name.as_ref()));
        }
        Ok(Self {
            name,
            driver: text(&inspect, "/Driver").unwrap_or_default(),
            mountpoint: text(&inspect, "/Mountpoint").unwrap_or_default().into(),
            labels: texts(&inspect["Labels"]),
            options: texts(&inspect["Options"]),
            inspect,
        })
    }
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Paused,
    Stopped,
}

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// Without the slash that engines put before it.
    pub(crate) name: String,
    /// The name of the image that it was made from.
    pub(crate) image: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) state: State,
    /// `starting`, `healthy`, `unhealthy`; `None` when nobody checks.
    pub(crate) health: Option<String>,
    pub(crate) mounts: Vec<Mount>,
    /// Ids or names of containers whose network, processes or shared memory it uses.
    pub(crate) joined: Vec<String>,
    /// Whether the engine removes it when it stops.
    pub(crate) is_removed_on_stop: bool,
    /// How long it may take to stop.
    pub(crate) stop_timeout: Option<Duration>,
    /// All that the engine says.
    pub(crate) inspect: Value,
}

/// Something that is mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) kind: MountKind,
    /// Where in the container.
    pub(crate) destination: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// The volume of this name.
    Volume(String),
    /// A path of the engine's machine.
    Bind(PathBuf),
    /// Nothing that is kept.
    Other,
}

impl Container {
    pub(crate) fn new(mut inspect: Value) -> Result<Self> {
        // Docker tells them in an order that changes from time to time, and what is saved of them would change with it.
        if let Some(mounts) = inspect.get_mut("Mounts").and_then(Value::as_array_mut) {
            mounts.sort_by_key(|mount| text(mount, "/Destination"));
        }
        let mounts = inspect["Mounts"].as_array().into_iter().flatten().map(|mount| Mount {
            kind: match (text(mount, "/Type").as_deref(), text(mount, "/Name"), text(mount, "/Source")) {
                (Some("volume"), Some(name), _) => MountKind::Volume(name),
                (Some("bind"), _, Some(source)) => MountKind::Bind(source.into()),
                _ => MountKind::Other,
            },
            destination: text(mount, "/Destination").unwrap_or_default().into(),
        });
        let flag = |pointer: &str| inspect.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
        let state = match (flag("/State/Paused"), flag("/State/Running") || flag("/State/Restarting")) {
            (true, _) => State::Paused,
            (false, true) => State::Running,
            (false, false) => State::Stopped,
        };
        let modes = ["/HostConfig/NetworkMode", "/HostConfig/IpcMode", "/HostConfig/PidMode"];
        let joined =
            modes.iter().filter_map(|mode| text(&inspect, mode)?.strip_prefix("container:").map(str::to_owned));
        let seconds = inspect.pointer("/Config/StopTimeout").and_then(Value::as_u64);
        Ok(Self {
            id: text(&inspect, "/Id").context("a container has no id")?,
            name: text(&inspect, "/Name").unwrap_or_default().trim_start_matches('/').to_owned(),
            image: text(&inspect, "/Config/Image").unwrap_or_default(),
            labels: texts(&inspect["Config"]["Labels"]),
            state,
            health: text(&inspect, "/State/Health/Status").filter(|health| !health.is_empty() && health != "none"),
            mounts: mounts.collect(),
            joined: joined.collect(),
            is_removed_on_stop: flag("/HostConfig/AutoRemove"),
            stop_timeout: seconds.map(Duration::from_secs),
            inspect,
        })
    }

    /// The names of the volumes that are mounted in it.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// An image that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// `REPOSITORY:TAG`
    pub(crate) name: String,
    /// The digest of its configuration.
    pub(crate) id: String,
    /// In bytes.
    pub(crate) size: u64,
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn container_that_says_little_is_understood() {
        let container = Container::new(json!({"Id": "abc"})).unwrap();
        assert_eq!((container.state, container.health, container.mounts.len()), (State::Stopped, None, 0));
        assert!(Container::new(json!({"Name": "/web"})).is_err());
    }

    #[test]
    fn volume_whose_name_leads_elsewhere_is_none() {
        assert_eq!(Volume::new(json!({"Name": "..data"})).unwrap().name, "..data");
        for name in ["", ".", "..", "../etc", "/etc", "a/b"] {
            assert!(Volume::new(json!({"Name": name})).is_err(), "{name}");
        }
    }

    #[test]
    fn container_is_told_with_what_it_uses() {
        let container = Container::new(json!({
            "Id": "abc", "Name": "/web",
            "State": {"Running": true, "Paused": true, "Health": {"Status": "starting"}},
            "Config": {"Image": "app:1", "Labels": {"a": "b"}, "StopTimeout": 30},
            "HostConfig": {"NetworkMode": "container:def", "IpcMode": "private", "AutoRemove": true},
            "Mounts": [
                {"Type": "bind", "Source": "/etc/app", "Destination": "/etc/app"},
                {"Type": "tmpfs", "Destination": "/tmp"},
                {"Type": "volume", "Name": "data", "Source": "/x/_data", "Destination": "/data"},
            ],
        }))
        .unwrap();
        assert_eq!((container.name.as_str(), container.state), ("web", State::Paused));
        assert_eq!(container.health.as_deref(), Some("starting"));
        assert_eq!(container.volumes().collect::<Vec<_>>(), ["data"]);
        assert_eq!(container.mounts[1].kind, MountKind::Bind("/etc/app".into()), "in the order of their places");
        assert_eq!(container.joined, ["def"]);
        assert_eq!(container.stop_timeout, Some(Duration::from_secs(30)));
        assert!(container.is_removed_on_stop);
    }
}
