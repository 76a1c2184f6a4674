//! What Compose has written on the containers and volumes that it made: versions 1 and 2, and podman-compose, which does alike.

use std::path::{Path, PathBuf};

use super::paths::joined;
use crate::source::docker::engine::{Container, Volume};

/// The project that something was made for.
pub(super) const PROJECT: &str = "com.docker.compose.project";
/// The name of a volume in the files.
pub(super) const VOLUME: &str = "com.docker.compose.volume";
const SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
const WORKING_DIRECTORY: &str = "com.docker.compose.project.working_dir";
const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";

/// The project that a container is a part of; `None` as well for one of `docker compose run`, which is no part of the stack.
pub(super) fn project(container: &Container) -> Option<&str> {
    let is_one_off = label(container, ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    label(container, PROJECT).filter(|_| !is_one_off)
}

/// The project that a volume was made for.
pub(super) fn project_of(volume: &Volume) -> Option<&str> {
    volume.labels.get(PROJECT).map(String::as_str)
}

/// The service that a container is one of.
pub(super) fn service(container: &Container) -> &str {
    label(container, SERVICE).unwrap_or(&container.name)
}

/// Which of the containers of its service it is, from 1.
pub(super) fn number(container: &Container) -> u64 {
    label(container, NUMBER).and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// Whether Compose has written on it what it depends on.
pub(super) fn tells_dependencies(container: &Container) -> bool {
    label(container, DEPENDS_ON).is_some()
}

/// Whether Compose has written on a container that it needs this service: `db:service_healthy:true,cache:service_started:false`.
pub(super) fn depends_on(container: &Container, service: &str) -> bool {
    let needed = label(container, DEPENDS_ON).unwrap_or_default().split(',');
    needed.filter_map(|needed| needed.split(':').next()).any(|needed| needed == service)
}

/// The directory of its project on the machine where Compose was run.
pub(super) fn working_directory(container: &Container) -> Option<PathBuf> {
    label(container, WORKING_DIRECTORY).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The compose files that it was made by; version 1 writes them as they were typed.
pub(super) fn config_files(container: &Container) -> Vec<PathBuf> {
    paths(container, CONFIG_FILES)
}

/// The files of variables that were named when it was made.
pub(super) fn environment_files(container: &Container) -> Vec<PathBuf> {
    paths(container, ENVIRONMENT_FILE)
}

fn paths(container: &Container, name: &str) -> Vec<PathBuf> {
    let directory = working_directory(container);
    let directory = directory.as_deref().unwrap_or(Path::new("/"));
    let names = label(container, name).unwrap_or_default().split(',');
    // Compose can read from its standard input, which it calls `-`.
    names.filter(|name| *name != "-").filter_map(|name| joined(directory, name)).collect()
}

fn label<'c>(container: &'c Container, name: &str) -> Option<&'c str> {
    container.labels.get(name).map(String::as_str).filter(|value| !value.is_empty())
}
