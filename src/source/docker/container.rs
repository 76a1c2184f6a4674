//! A container: what the engine says of it, what is mounted in it, and what its dumps give.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::dump;
use super::engine::{Container, MountKind};
use super::volume::Reader;
use crate::config::DockerConfig;
use crate::source::parts::{Parts, Text};

/// Puts a container into a tree, without its dumps.
pub(super) fn put(container: &Container, reader: &Reader<'_>, parts: &mut Parts) -> Result<()> {
    parts.put("/container.json", Text::json(&container.inspect));
    // One may be mounted at several places.
    for name in container.volumes().collect::<BTreeSet<_>>() {
        let volume = reader.engine.volume(name)?.with_context(|| format!("there is no volume {name} any more"))?;
        reader.put(&volume, &Path::new("/volumes").join(name), parts)?;
    }
    // By its digests the same image can be had again; one that was removed since it was started has none.
    if let Some(image) = reader.engine.image(container.inspect["Image"].as_str().unwrap_or_default())? {
        parts.put("/image.json", Text::json(&image));
    }
    let binds: Vec<(&Path, &Path)> = container.binds().collect();
    for (number, (source, _)) in binds.iter().enumerate() {
        reader.put_bind(source, &Path::new("/binds").join(number.to_string()), parts);
    }
    if !binds.is_empty() {
        let table = binds.iter().map(|(source, destination)| json!({"source": source, "destination": destination}));
        parts.put("/binds.json", Text::json(&table.collect()));
    }
    Ok(())
}

/// Puts its dumps into a tree. They are taken now if it is going to be held while the tree is read.
pub(super) fn put_dumps(
    container: &Container,
    reader: &Reader<'_>,
    config: &DockerConfig,
    is_held: bool,
    parts: &mut Parts,
) -> Result<()> {
    let configured = config.dumps.iter().filter(|dump| dump.container == container.name);
    for dump in dump::wanted(container, configured)? {
        let at = Path::new("/dumps").join(&dump.file);
        if reader.is_dry_run {
            parts.put(&at, dump.passed_over(&at));
        } else if is_held {
            parts.put(at, dump.taken(reader.engine, container)?);
        } else {
            parts.put(at, dump.streamed(reader.engine, container, reader.failure));
        }
    }
    Ok(())
}

impl Container {
    /// Paths of the engine's machine that are mounted in it, and where.
    pub(crate) fn binds(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Bind(source) => Some((source.as_path(), mount.destination.as_path())),
            _ => None,
        })
    }
}
