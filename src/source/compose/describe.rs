//! `/stack.json` of a snapshot: which services, of which images, what was running, and how it was read.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::labels;
use super::project::Project;
use super::stacks::Stack;
use crate::source::docker::engine::{Container, Engine, State};

/// The number of the format, for whoever reads it later.
pub(super) const FORMAT: u64 = 1;

/// How a stack was read.
pub(super) struct Manner {
    /// Which files of this machine are where in the snapshot.
    pub(super) files: Value,
    /// Whether its containers were `stop`ped, `pause`d, or `none` of them was.
    pub(super) held: &'static str,
    /// Whether the configuration says that it is never held.
    pub(super) keeps_running: bool,
    pub(super) with_data: bool,
}

/// What there is to know of a stack.
pub(super) fn describe(
    stack: &Stack,
    project: &Project,
    volumes: &[String],
    manner: Manner,
    engine: &Engine,
) -> Result<Value> {
    let info = engine.info()?;
    let mut names: Vec<&str> = project.services.keys().map(String::as_str).collect();
    names.extend(stack.containers.iter().map(labels::service));
    names.sort_unstable();
    names.dedup();
    let mut services = Map::new();
    for name in names {
        let containers: Vec<&Container> =
            stack.containers.iter().filter(|container| labels::service(container) == name).collect();
        let named = project.services.get(name).and_then(|service| service.image.as_deref());
        services.insert(name.to_owned(), service(&containers, named, engine)?);
    }
    let running: Vec<&str> = stack
        .containers
        .iter()
        .filter(|container| container.state != State::Stopped)
        .map(|c| c.name.as_str())
        .collect();
    Ok(json!({
        "format": FORMAT,
        "project": stack.name,
        "working_dir": stack.directory,
        "config_files": stack.compose_files,
        "environment_files": stack.env_files,
        "files": manner.files,
        "held": manner.held,
        "keep-running": manner.keeps_running,
        "include-data": manner.with_data,
        "engine": {"host": info.host, "version": info.version},
        "running": running,
        "volumes": volumes,
        "services": services,
    }))
}

fn service(containers: &[&Container], named: Option<&str>, engine: &Engine) -> Result<Value> {
    let name = containers.first().map(|container| container.image.as_str()).or(named);
    // What a container is made of may have lost its name to a newer one.
    let id = containers.first().and_then(|container| container.inspect["Image"].as_str());
    let image = match id.or(name) {
        Some(image) => engine.image(image)?,
        None => None,
    };
    let of_image = |key: &str| image.as_ref().map_or(Value::Null, |image| image[key].clone());
    let containers = containers.iter().map(|container| {
        let state = match container.state {
            State::Running => "running",
            State::Paused => "paused",
            State::Stopped => "stopped",
        };
        json!({"name": container.name, "id": container.id, "state": state})
    });
    Ok(json!({
        "image": name,
        "image_id": of_image("Id"),
        "digests": of_image("RepoDigests"),
        "containers": containers.collect::<Value>(),
    }))
}
