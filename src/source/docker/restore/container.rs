//! Puts a container back: its volumes and binds, and itself when it is gone.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::body::{self, Body, Replaced};
use super::image::Needed;
use super::plan::{self, Place};
use super::{Back, Kind};
use crate::error::Annotate;
use crate::extract::Extracted;
use crate::source::docker::engine::Container;

impl Back<'_> {
    /// Looks whether a container that is not there can be made.
    pub(super) fn check_container(&self) -> Result<()> {
        let Some(inspect) = self.described(Path::new(plan::CONTAINER))? else { return Ok(()) };
        self.needed_image(&inspect)?;
        if self.options.rename.is_some() {
            return Ok(());
        }
        let body = body::again(&inspect);
        let first = body.create.pointer("/NetworkingConfig/EndpointsConfig").and_then(Value::as_object);
        let first = first.into_iter().flatten().map(|(name, _)| name);
        for network in first.chain(body.connect.iter().map(|(name, _)| name)) {
            if !self.engine.has_network(network)? {
                return Err(anyhow!("it was connected to the network {network}, which is not there"))
                    .hint(make_network(&inspect, network));
            }
        }
        for key in ["NetworkMode", "IpcMode", "PidMode"] {
            let mode = inspect["HostConfig"][key].as_str().unwrap_or_default();
            let Some(other) = mode.strip_prefix("container:") else { continue };
            if self.engine.container(other)?.is_none() {
                return Err(anyhow!("its {key} is that of the container {other}, which is not there any more"))
                    .hint("With --as NAME a copy is made without it; what made the original can make it anew over the restored volumes.");
            }
        }
        Ok(())
    }

    /// Restores a container: what was mounted in it; and makes it, when it is not there.
    pub(super) fn container(&self, name: &str) -> Result<Extracted> {
        let existing = self.existing(Kind::Container, name)?;
        let fills = self.plan(Kind::Container, name, existing.as_ref())?;
        let inspect = self.described(Path::new(plan::CONTAINER))?;
        match (inspect, existing) {
            _ if self.options.path.is_some() => self.fills(&fills),
            (Some(inspect), None) => {
                let mut done = Extracted::default();
                let image = match self.needed_image(&inspect)? {
                    Needed::There(image) => image,
                    Needed::Saved { name, tree } => {
                        self.say("would load", "loads", &format!("the image {name} from the store"));
                        done.take_in(self.load(&tree, &name)?);
                        name
                    }
                };
                done.take_in(self.fills(&fills)?);
                self.make(name, &inspect, &image, &fills)?;
                Ok(done)
            }
            (None, None) => {
                tracing::warn!("the point does not say what the container was like: only its volumes are restored");
                self.fills(&fills)
            }
            (Some(inspect), Some(container)) => {
                let done = self.fills(&fills)?;
                tell_differences(&inspect, &container);
                Ok(done)
            }
            (None, Some(_)) => self.fills(&fills),
        }
    }

    /// Makes the container, and starts it if it was running.
    fn make(&self, name: &str, inspect: &Value, image: &str, fills: &[plan::Fill]) -> Result<()> {
        let is_copy = self.options.rename.is_some();
        let name = self.options.rename.as_deref().unwrap_or(name);
        self.say("would make", "makes", &format!("the container {name} of the image {image}"));
        let Body { mut create, connect } =
            if is_copy { body::beside(inspect, &self.replaced(inspect, fills)?) } else { body::again(inspect) };
        if self.options.dry_run {
            return Ok(());
        }
        create["Image"] = image.into();
        let id =
            self.engine.create_container(Some(name), &create).with_context(|| format!("make the container {name}"))?;
        for (network, endpoint) in &connect {
            if let Err(error) = self.engine.connect_network(network, &id, endpoint) {
                // Half of it would be taken for the whole by the next restore.
                self.engine.remove_container(&id)?;
                return Err(error).with_context(|| format!("make the container {name}"));
            }
        }
        let was_running = inspect.pointer("/State/Running").and_then(Value::as_bool).unwrap_or(false);
        if is_copy {
            self.monitor.say(&format!("{name} has no network and was not started; docker start {name} does it"));
        } else if was_running {
            self.engine.start(&id).with_context(|| format!("start the container {name}")).hint(format!(
                "It is made, with all that belongs to it. When what hinders it is gone: docker start {name}."
            ))?;
            self.monitor.say(&format!("{name} is started, as it was running"));
        } else {
            self.monitor.say(&format!("{name} is made and, as it was not running, not started"));
        }
        Ok(())
    }

    /// What is mounted in a copy: its own volumes; and files of the machine, to be read only. Whatever else was mounted is left out, which is told.
    fn replaced(&self, inspect: &Value, fills: &[plan::Fill]) -> Result<Vec<Replaced>> {
        let binds = plan::binds(self.saved)?;
        let mut replaced = Vec::new();
        for mount in inspect["Mounts"].as_array().into_iter().flatten() {
            let text = |key: &str| mount[key].as_str().unwrap_or_default();
            let destination = text("Destination").to_owned();
            let base = match text("Type") {
                "volume" => Path::new("/volumes").join(text("Name")).join("data"),
                "bind" => {
                    let number = binds.iter().position(|source| source == Path::new(text("Source")));
                    Path::new("/binds").join(number.map_or_else(|| "-".to_owned(), |number| number.to_string()))
                }
                _ => continue,
            };
            let fill = fills.iter().find(|fill| fill.base == base);
            let node = self.saved.find(&base)?;
            match (fill.map(|fill| &fill.place), node) {
                (Some(Place::Volume(volume)), _) => {
                    let is_writable = mount["RW"].as_bool().unwrap_or(true);
                    replaced.push(Replaced { destination, source: volume.clone(), is_volume: true, is_writable });
                }
                (_, Some(node)) if node.is_file() && text("Type") == "bind" => {
                    let source = text("Source").to_owned();
                    replaced.push(Replaced { destination, source, is_volume: false, is_writable: false });
                }
                _ => tracing::warn!("the copy has nothing at {destination}: it is not in the point"),
            }
        }
        Ok(replaced)
    }
}

/// Says in what a container that is there is not as it was.
fn tell_differences(inspect: &Value, container: &Container) {
    let mut keys: Vec<String> = body::differences(inspect, &container.inspect).into_iter().collect();
    if inspect["Image"] != container.inspect["Image"] {
        keys.push("Image".to_owned());
    }
    if !keys.is_empty() {
        tracing::warn!(
            "the container {} is not made as it was in the point, and was left as it is. What differs: {}",
            container.name,
            keys.join(", ")
        );
    }
}

/// What to type to make a network. One in which somebody has chosen an address needs its subnet.
fn make_network(inspect: &Value, network: &str) -> String {
    let endpoint = &inspect["NetworkSettings"]["Networks"][network];
    let address = endpoint.pointer("/IPAMConfig/IPv4Address").and_then(Value::as_str);
    let length = endpoint["IPPrefixLen"].as_u64().filter(|length| (1..=32).contains(length));
    let subnet = match (address, address.and_then(|address| address.parse::<Ipv4Addr>().ok()), length) {
        (Some(_), Some(address), Some(length)) => {
            let network = u32::from(address) & (u32::MAX << (32 - length));
            format!("--subnet {}/{length} ", Ipv4Addr::from(network))
        }
        // One that has never run does not say how large its network was.
        (Some(address), ..) => format!("--subnet ONE-WITH-{address} "),
        _ => String::new(),
    };
    let type_it = format!("Type docker network create {subnet}{network}, then restore once more.");
    match inspect.pointer("/Config/Labels/com.docker.compose.project").and_then(Value::as_str) {
        Some(project) => {
            format!(
                "It is one of the Compose project {project}, whose compose file makes it: docker compose create. Else: {type_it}"
            )
        }
        None => type_it,
    }
}
