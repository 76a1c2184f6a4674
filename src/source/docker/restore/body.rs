//! What an engine is told to make a container of: out of what it once said of one.
//!
//! What it said has more than anybody had asked for. What the engine had chosen by itself (ids, addresses, the host name that is the beginning of the id) is left
//! out, so that it chooses anew.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Labels that make something a part of a Compose project or of a swarm, and of what is put together likewise.
const MEMBERSHIPS: [&str; 3] = ["com.docker.compose.", "com.docker.stack.", "com.docker.swarm."];

/// What is needed to make a container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Body {
    /// As in `POST /containers/create`.
    pub(crate) create: Value,
    /// Further networks: old engines take but one when they make it. Name, and endpoint as in `POST /networks/NAME/connect`.
    pub(crate) connect: Vec<(String, Value)>,
}

/// A mount that a copy gets in place of what the original has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// Where in the container.
    pub(crate) destination: String,
    /// A volume, or a path of the engine's machine.
    pub(crate) source: String,
    pub(crate) is_volume: bool,
    pub(crate) is_writable: bool,
}

/// The labels of something that is to be no part of what the original belongs to.
pub(crate) fn without_memberships(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    let is_own = |label: &String| !MEMBERSHIPS.iter().any(|membership| label.starts_with(membership));
    Value::Object(
        labels.filter(|(label, _)| is_own(label)).map(|(label, value)| (label.clone(), value.clone())).collect(),
    )
}

/// A container as it was.
pub(crate) fn again(inspect: &Value) -> Body {
    let mut create = begun(inspect);
    let host = &mut create["HostConfig"];
    links(host);
    attach_anonymous(inspect, host);
    let mode = network_mode(inspect);
    if !mode.is_empty() {
        host["NetworkMode"] = json!(mode);
    }
    let mut connect = Vec::new();
    let mut first = Map::new();
    for (network, endpoint) in
        inspect.pointer("/NetworkSettings/Networks").and_then(Value::as_object).into_iter().flatten()
    {
        let endpoint = asked_for(endpoint, inspect);
        let is_first = *network == mode || (network == "bridge" && matches!(&*mode, "default" | ""));
        if is_first {
            first.insert(network.clone(), endpoint);
        } else {
            connect.push((network.clone(), endpoint));
        }
    }
    // `none`, `host` and those of other containers have nothing to be set.
    if !first.is_empty() && !matches!(&*mode, "none" | "host") && !mode.starts_with("container:") {
        create["NetworkingConfig"] = json!({"EndpointsConfig": first});
    }
    Body { create, connect }
}

/// A container beside the original, which cannot disturb it: without a network, without published ports, with other volumes, and no part of what the original
/// belongs to.
pub(crate) fn beside(inspect: &Value, mounts: &[Replaced]) -> Body {
    let mut create = begun(inspect);
    create["Labels"] = without_memberships(&create["Labels"]);
    let mounts = mounts.iter().map(|mount| {
        let kind = if mount.is_volume { "volume" } else { "bind" };
        let Replaced { destination, source, is_writable, .. } = mount;
        json!({"Type": kind, "Source": source, "Target": destination, "ReadOnly": !is_writable})
    });
    let mounts: Vec<Value> = mounts.collect();
    if let Some(config) = create.as_object_mut() {
        // Every one of them has its mount, or is none of ours to make.
        config.remove("Volumes");
    }
    if let Some(host) = create["HostConfig"].as_object_mut() {
        for key in ["Binds", "VolumesFrom", "Links", "PortBindings", "ContainerIDFile", "PublishAllPorts", "AutoRemove"]
        {
            host.remove(key);
        }
        for key in ["IpcMode", "PidMode"] {
            if host.get(key).and_then(Value::as_str).is_some_and(|mode| mode.starts_with("container:")) {
                host.remove(key);
            }
        }
        host.insert("RestartPolicy".to_owned(), json!({"Name": "no"}));
        host.insert("NetworkMode".to_owned(), json!("none"));
        host.insert("Mounts".to_owned(), Value::Array(mounts));
    }
    Body { create, connect: Vec::new() }
}

/// The keys in which two containers differ, as `docker inspect` has them.
pub(crate) fn differences(one: &Value, other: &Value) -> BTreeSet<String> {
    let (first, second) = (again(one), again(other));
    let mut keys = BTreeSet::new();
    let mut compare = |place: &str, one: &Value, other: &Value| {
        let empty = Map::new();
        let (one, other) = (one.as_object().unwrap_or(&empty), other.as_object().unwrap_or(&empty));
        for key in one.keys().chain(other.keys()) {
            let of = |map: &Map<String, Value>| map.get(key).filter(|value| !is_nothing(value)).cloned();
            if of(one) != of(other) {
                keys.insert(format!("{place}{key}"));
            }
        }
    };
    let without = |body: &Body| {
        let mut config = body.create.clone();
        if let Some(config) = config.as_object_mut() {
            config.remove("HostConfig");
            config.remove("NetworkingConfig");
        }
        config
    };
    compare("Config.", &without(&first), &without(&second));
    compare("HostConfig.", &first.create["HostConfig"], &second.create["HostConfig"]);
    let networks = |body: &Body| {
        let mut all: Map<String, Value> = body.connect.iter().cloned().collect();
        let first = body.create.pointer("/NetworkingConfig/EndpointsConfig").and_then(Value::as_object);
        all.extend(first.into_iter().flatten().map(|(name, endpoint)| (name.clone(), endpoint.clone())));
        Value::Object(all)
    };
    compare("Networks.", &networks(&first), &networks(&second));
    keys
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// What both ways have: the configuration, and that of the host.
fn begun(inspect: &Value) -> Value {
    let mut create = if inspect["Config"].is_object() { inspect["Config"].clone() } else { json!({}) };
    let mut host = if inspect["HostConfig"].is_object() { inspect["HostConfig"].clone() } else { json!({}) };
    let is_given = |name: &Value| !short_id(inspect).is_empty() && name.as_str() == Some(short_id(inspect));
    let joins = host["NetworkMode"].as_str().is_some_and(|mode| mode.starts_with("container:"));
    if let Some(config) = create.as_object_mut() {
        if joins || config.get("Hostname").is_some_and(is_given) {
            config.remove("Hostname");
            config.remove("Domainname");
        }
        if joins {
            config.remove("ExposedPorts");
        }
    }
    if let Some(host) = host.as_object_mut() {
        // A file of whoever had made it.
        host.remove("ContainerIDFile");
    }
    create["HostConfig"] = host;
    create
}

fn short_id(inspect: &Value) -> &str {
    inspect["Id"].as_str().and_then(|id| id.get(..12)).unwrap_or_default()
}

/// The network that it was made with, by its name: an id is that of a network which may have been made anew.
fn network_mode(inspect: &Value) -> String {
    let mode = inspect.pointer("/HostConfig/NetworkMode").and_then(Value::as_str).unwrap_or_default();
    let networks = inspect.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let named = networks.into_iter().flatten().find(|(_, endpoint)| !mode.is_empty() && endpoint["NetworkID"] == mode);
    named.map_or(mode, |(name, _)| name).to_owned()
}

/// What of an endpoint somebody has asked for.
fn asked_for(endpoint: &Value, inspect: &Value) -> Value {
    let mut asked = Map::new();
    for key in ["IPAMConfig", "Links", "DriverOpts"] {
        if let Some(value) = endpoint.get(key).filter(|value| !is_nothing(value)) {
            asked.insert(key.to_owned(), value.clone());
        }
    }
    // The engine adds the beginning of the id by itself.
    let aliases = endpoint["Aliases"].as_array().into_iter().flatten();
    let aliases: Vec<Value> = aliases.filter(|alias| alias.as_str() != Some(short_id(inspect))).cloned().collect();
    if !aliases.is_empty() {
        asked.insert("Aliases".to_owned(), Value::Array(aliases));
    }
    Value::Object(asked)
}

/// The engine says `/OTHER:/OWN/ALIAS`, and wants to be told `OTHER:ALIAS`.
fn links(host: &mut Value) {
    let Some(links) = host.get_mut("Links").and_then(Value::as_array_mut) else { return };
    for link in links {
        let told = link.as_str().and_then(|text| text.split_once(':')).map(|(other, alias)| {
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            format!("{}:{alias}", other.trim_start_matches('/'))
        });
        if let Some(told) = told {
            *link = json!(told);
        }
    }
}

/// Names the volumes that had got a name from the engine: else it would make new ones, which are empty.
fn attach_anonymous(inspect: &Value, host: &mut Value) {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let bound: Vec<String> = host["Binds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|bind| Some(bind.as_str()?.split(':').nth(1)?.to_owned()))
        .collect();
    let mut added = Vec::new();
    for mount in inspect["Mounts"].as_array().into_iter().flatten() {
        let (name, destination) = (text(mount, "Name"), text(mount, "Destination"));
        if mount["Type"] != "volume" || name.is_empty() || bound.contains(&destination) {
            continue;
        }
        let described = host["Mounts"].as_array_mut().into_iter().flatten();
        if let Some(described) = described.into_iter().find(|mount| mount["Target"] == *destination) {
            described["Source"] = json!(name);
        } else if inspect.pointer("/Config/Volumes").is_some_and(|volumes| volumes.get(&destination).is_some()) {
            added.push(json!(format!("{name}:{destination}")));
        }
    }
    if added.is_empty() {
        return;
    }
    match host["Binds"].as_array_mut() {
        Some(binds) => binds.extend(added),
        None => host["Binds"] = Value::Array(added),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Value {
        json!({
            "Id": "ca1aa92e525aba89f4b12ee87148c86f", "Name": "/web", "Image": "sha256:98b8",
            "Config": {
                "Hostname": "ca1aa92e525a", "Image": "bb", "Env": ["X=y"], "Volumes": {"/anon": {}},
                "Labels": {"a": "b", "com.docker.compose.project": "p"},
            },
            "HostConfig": {
                "Binds": ["v1:/data:ro"], "NetworkMode": "n2", "Links": ["/db:/web/store"],
                "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "AutoRemove": true,
                "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}, "PidMode": "container:x",
            },
            "Mounts": [
                {"Type": "volume", "Name": "v1", "Destination": "/data", "RW": false},
                {"Type": "volume", "Name": "7542", "Destination": "/anon", "RW": true},
            ],
            "NetworkSettings": {"Networks": {
                "n1": {"Aliases": ["extra", "ca1aa92e525a"], "IPAMConfig": {}, "IPAddress": "172.17.0.2"},
                "n2": {"Aliases": ["ca1aa92e525a"], "IPAMConfig": {"IPv4Address": "10.9.0.7"}, "MacAddress": "02:42"},
            }},
        })
    }

    #[test]
    fn what_the_engine_had_chosen_is_left_out_and_what_was_asked_for_stays() {
        let Body { create, connect } = again(&web());
        assert_eq!(create.get("Hostname"), None);
        assert_eq!((&create["Env"], &create["Labels"]["a"]), (&json!(["X=y"]), &json!("b")));
        assert_eq!(create["HostConfig"]["Links"], json!(["db:store"]));
        assert_eq!(create["HostConfig"]["Binds"], json!(["v1:/data:ro", "7542:/anon"]));
        let endpoint = json!({"IPAMConfig": {"IPv4Address": "10.9.0.7"}});
        assert_eq!(create["NetworkingConfig"]["EndpointsConfig"], json!({"n2": endpoint}));
        assert_eq!(connect, [("n1".to_owned(), json!({"Aliases": ["extra"]}))]);
    }

    #[test]
    fn anonymous_mount_gets_the_name_of_its_volume() {
        let mut inspect = web();
        inspect["HostConfig"]["Mounts"] = json!([{"Type": "volume", "Target": "/anon"}]);
        let create = again(&inspect).create;
        assert_eq!(create["HostConfig"]["Mounts"][0]["Source"], "7542");
        assert_eq!(create["HostConfig"]["Binds"], json!(["v1:/data:ro"]));
    }

    #[test]
    fn network_that_was_named_by_its_id_is_named_by_its_name() {
        let mut inspect = web();
        inspect["HostConfig"]["NetworkMode"] = json!("c4815d1d");
        inspect["NetworkSettings"]["Networks"]["n2"]["NetworkID"] = json!("c4815d1d");
        assert_eq!(again(&inspect), again(&web()));
    }

    #[test]
    fn container_in_the_network_of_another_one_has_no_name_and_no_network_of_its_own() {
        let mut inspect = web();
        inspect["Config"]["Hostname"] = json!("chosen");
        inspect["HostConfig"]["NetworkMode"] = json!("container:abc");
        inspect["NetworkSettings"]["Networks"] = json!({});
        let Body { create, connect } = again(&inspect);
        assert_eq!((create.get("Hostname"), create.get("NetworkingConfig"), connect.len()), (None, None, 0));
    }

    #[test]
    fn copy_beside_the_original_has_nothing_that_disturbs_it() {
        let data =
            Replaced { destination: "/data".into(), source: "copy_v1".into(), is_volume: true, is_writable: true };
        let Body { create, connect } = beside(&web(), &[data]);
        assert_eq!(connect, []);
        assert_eq!(create["Labels"], json!({"a": "b"}));
        let host = &create["HostConfig"];
        let mount = json!({"Type": "volume", "Source": "copy_v1", "Target": "/data", "ReadOnly": false});
        assert_eq!((&host["NetworkMode"], &host["Mounts"]), (&json!("none"), &json!([mount])));
        assert_eq!(host["RestartPolicy"], json!({"Name": "no"}));
        for key in ["Binds", "Links", "PortBindings", "AutoRemove", "PidMode"] {
            assert_eq!(host.get(key), None, "{key}");
        }
    }

    #[test]
    fn containers_that_are_alike_differ_in_nothing_and_others_are_told_by_key() {
        let mut other = web();
        other["Id"] = json!("0123456789abcdef");
        other["Config"]["Hostname"] = json!("0123456789ab");
        other["NetworkSettings"]["Networks"]["n1"]["Aliases"] = json!(["extra", "0123456789ab"]);
        other["NetworkSettings"]["Networks"]["n2"]["Aliases"] = json!(["0123456789ab"]);
        other["HostConfig"]["Dns"] = json!([]);
        assert_eq!(differences(&web(), &other), BTreeSet::new());
        other["Config"]["Env"] = json!([]);
        other["HostConfig"]["RestartPolicy"]["Name"] = json!("no");
        other["NetworkSettings"]["Networks"]["n1"]["Aliases"] = json!([]);
        let told = ["Config.Env", "HostConfig.RestartPolicy", "Networks.n1"];
        assert_eq!(differences(&web(), &other).into_iter().collect::<Vec<_>>(), told);
    }
}
