//! What an engine has that could be backed up, and which sources cover it: for `holdall discover docker compose`.

use std::collections::BTreeMap;

use anyhow::Result;

use super::engine::{Container, Engine, State, Volume};
use super::{Docker, Kind};
use crate::config::{ComposeConfig, Config, DockerConfig, EngineConfig, SourceConfig};
use crate::quantity::show_bytes;

/// The label by which Compose names the project of a container.
const PROJECT: &str = "com.docker.compose.project";

/// The label by which engines tell that nobody has named a volume.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// Something that an engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// `docker`, or `compose` for a stack.
    pub kind: &'static str,
    /// `volume/pgdata`, `container/web`, `image/app:1.2`; of a stack its project.
    pub name: String,
    /// What it is, for people.
    pub detail: String,
    /// The source in which it is; `None`: in none.
    pub covered_by: Option<String>,
}

/// An engine that was looked at, and what came of it.
#[derive(Debug)]
pub struct Looked {
    /// Where it is, as `$DOCKER_HOST` would say it.
    pub place: String,
    /// Whether a source names it; else it is only where one would be.
    pub is_configured: bool,
    /// What it has.
    pub things: Result<Vec<Thing>>,
}

/// What there is in the engines that sources name, and in the one that would be asked without any.
pub fn engines(config: &Config) -> Vec<Looked> {
    let mut engines: Vec<(String, EngineConfig, bool)> = Vec::new();
    let configured = config.sources.iter().filter_map(engine_of).map(|engine| (engine, true));
    for (engine, is_configured) in configured.chain([(&EngineConfig::default(), false)]) {
        let place = Engine::place_of(engine);
        if !engines.iter().any(|(known, ..)| *known == place) {
            engines.push((place, engine.clone(), is_configured));
        }
    }
    let look = |(place, engine, is_configured): (String, EngineConfig, bool)| {
        let things = Engine::connect(&engine).and_then(|engine| things(&engine, &place, config));
        Looked { place, is_configured, things }
    };
    engines.into_iter().map(look).collect()
}

fn engine_of(source: &SourceConfig) -> Option<&EngineConfig> {
    match source {
        SourceConfig::Docker(docker) => Some(&docker.engine),
        SourceConfig::Compose(compose) => Some(&compose.engine),
        _ => None,
    }
}

/// What one engine has.
fn things(engine: &Engine, place: &str, config: &Config) -> Result<Vec<Thing>> {
    let is_here = |source: &&SourceConfig| engine_of(source).is_some_and(|engine| Engine::place_of(engine) == place);
    let sources: Vec<&SourceConfig> = config.sources.iter().filter(is_here).collect();
    let containers: Vec<Container> = engine.containers()?.into_iter().filter(|it| !it.is_ours()).collect();
    let mut found = Vec::new();
    for volume in engine.volumes()?.into_iter().filter(|volume| !volume.is_ours()) {
        let users: Vec<&Container> =
            containers.iter().filter(|container| container.volumes().any(|name| name == volume.name)).collect();
        let own = covering(&sources, Kind::Volume, &volume.name);
        let covered_by = own.or_else(|| users.iter().find_map(|user| with_volumes(&sources, user)));
        let detail = volume_detail(&volume, &users);
        found.push(Thing { kind: "docker", name: format!("volume/{}", volume.name), detail, covered_by });
    }
    for container in &containers {
        let covered_by = covering(&sources, Kind::Container, &container.name).or_else(|| stack_of(&sources, container));
        let detail = format!("{}, {}", container.image, state(container));
        found.push(Thing { kind: "docker", name: format!("container/{}", container.name), detail, covered_by });
    }
    for image in engine.images()?.into_iter().filter(|image| !image.is_ours()) {
        let covered_by = covering(&sources, Kind::Image, &image.name);
        let detail = show_bytes(image.size);
        found.push(Thing { kind: "docker", name: format!("image/{}", image.name), detail, covered_by });
    }
    let mut stacks: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for container in &containers {
        if let Some(project) = container.labels.get(PROJECT) {
            stacks.entry(project).or_default().push(container);
        }
    }
    for (project, containers) in stacks {
        let covered_by = containers.first().and_then(|container| stack_of(&sources, container));
        found.push(Thing { kind: "compose", name: project.to_owned(), detail: stack_detail(&containers), covered_by });
    }
    Ok(found)
}

/// The source of which a thing is an item of its own.
fn covering(sources: &[&SourceConfig], kind: Kind, name: &str) -> Option<String> {
    let covers = |docker: &DockerConfig| Docker::covers(docker, kind, name);
    let found = sources.iter().find(|source| matches!(source, SourceConfig::Docker(docker) if covers(docker)));
    found.map(|source| source.id())
}

/// The source that saves a container together with its volumes.
fn with_volumes(sources: &[&SourceConfig], container: &Container) -> Option<String> {
    covering(sources, Kind::Container, &container.name).or_else(|| {
        let saves_data =
            |source: &&&SourceConfig| !matches!(source, SourceConfig::Compose(compose) if !compose.include_data);
        let sources: Vec<&SourceConfig> = sources.iter().filter(saves_data).copied().collect();
        stack_of(&sources, container)
    })
}

/// The source that saves the stack that a container is a part of.
fn stack_of(sources: &[&SourceConfig], container: &Container) -> Option<String> {
    let project = container.labels.get(PROJECT)?;
    let covers = |compose: &ComposeConfig| compose.stacks.iter().any(|stack| stack.matches(project));
    let found = sources.iter().find(|source| matches!(source, SourceConfig::Compose(compose) if covers(compose)));
    found.map(|source| source.id())
}

fn volume_detail(volume: &Volume, users: &[&Container]) -> String {
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    let used = if names.is_empty() { "unused".to_owned() } else { format!("used by {}", names.join(", ")) };
    let anonymous = if volume.labels.contains_key(ANONYMOUS) { "anonymous, " } else { "" };
    match volume.driver.as_str() {
        "local" => format!("{anonymous}{used}"),
        driver => format!("{anonymous}{driver}, {used}"),
    }
}

fn state(container: &Container) -> &'static str {
    match container.state {
        State::Running => "running",
        State::Paused => "paused",
        State::Stopped => "stopped",
    }
}

fn stack_detail(containers: &[&Container]) -> String {
    let running = containers.iter().filter(|container| container.state == State::Running).count();
    let directory = containers.iter().find_map(|it| it.labels.get("com.docker.compose.project.working_dir"));
    let directory = directory.map_or_else(String::new, |directory| format!(", {directory}"));
    format!("{running} of {} running{directory}", containers.len())
}
