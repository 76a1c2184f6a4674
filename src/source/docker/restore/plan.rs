//! Which part of a point goes where: the data of volumes, and what was mounted from the engine's machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::{check_name, described};
use crate::error::{Annotate, ExitCode};
use crate::extract::name;
use crate::source::docker::engine::{Container, MountKind};
use crate::store::SavedTree;

/// What the engine said of a container.
pub(crate) const CONTAINER: &str = "/container.json";

/// Where what was mounted in a container lay on the engine's machine.
pub(crate) const BINDS: &str = "/binds.json";

/// How long the names of volumes are that an engine makes up: 32 bytes in hexadecimal digits.
const ANONYMOUS: usize = 64;

/// How much of such a name tells it from others.
const SHORT: usize = 12;

/// A part of a point, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fill {
    /// What in the point becomes the place.
    pub(crate) base: PathBuf,
    /// The part of it that is wanted; `None`: all of it.
    pub(crate) part: Option<PathBuf>,
    pub(crate) place: Place,
    /// Where in the point it says what the volume was like, if it does.
    pub(crate) described: Option<PathBuf>,
    /// Whether it is put beside the original: then nothing is shared with what the original is made of.
    pub(crate) is_copy: bool,
}

/// Where something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into the volume of this name, which is made if it is not there.
    Volume(String),
    /// To a path of the engine's machine.
    Path(PathBuf),
}

/// Where the data of a volume's point goes.
pub(super) fn of_volume(
    saved: &SavedTree,
    volume: &str,
    rename: Option<&str>,
    path: Option<&Path>,
) -> Result<Vec<Fill>> {
    let fill = Fill {
        base: "/data".into(),
        part: None,
        place: Place::Volume(rename.unwrap_or(volume).to_owned()),
        described: Some("/volume.json".into()),
        is_copy: rename.is_some(),
    };
    wanted(saved, vec![fill], path)
}

/// Where the volumes and binds of a container's point go. `rename` is the name of the copy, if it becomes one; `existing` is the container that is there.
pub(super) fn of_container(
    saved: &SavedTree,
    rename: Option<&str>,
    path: Option<&Path>,
    existing: Option<&Container>,
) -> Result<Vec<Fill>> {
    let inspect = described(saved, Path::new(CONTAINER))?;
    let mut fills = Vec::new();
    if let Some(volumes) = saved.find(Path::new("/volumes"))? {
        for node in saved.children(&volumes)? {
            let name = node.name().to_string_lossy().into_owned();
            check_name(&name).with_context(|| format!("read the volumes of the point {}", saved.point().short_id()))?;
            let at = Path::new("/volumes").join(&name);
            let destination = inspect.as_ref().and_then(|inspect| destination(inspect, &name));
            let own = existing.zip(destination).and_then(|(container, at)| anonymous_at(container, &name, at));
            let volume = match (rename, own) {
                (Some(rename), _) => copy_of(rename, &name),
                (None, Some(own)) => own,
                (None, None) => name,
            };
            let described = Some(at.join("volume.json"));
            let place = Place::Volume(volume);
            fills.push(Fill { base: at.join("data"), part: None, place, described, is_copy: rename.is_some() });
        }
    }
    for (number, source) in binds(saved)?.into_iter().enumerate() {
        let base = Path::new("/binds").join(number.to_string());
        let Some(node) = saved.find(&base)? else { continue };
        let place = match rename {
            Some(rename) if node.is_dir() => Place::Volume(format!("{rename}_bind{number}")),
            Some(_) => continue,
            None if node.is_dir() || node.is_file() => Place::Path(source),
            None => continue,
        };
        fills.push(Fill { base, part: None, place, described: None, is_copy: rename.is_some() });
    }
    wanted(saved, fills, path)
}

/// The name of a copy's volume.
pub(super) fn copy_of(rename: &str, volume: &str) -> String {
    let short = if is_anonymous(volume) { volume.get(..SHORT).unwrap_or(volume) } else { volume };
    format!("{rename}_{short}")
}

/// Whether an engine has made up the name of a volume.
pub(crate) fn is_anonymous(volume: &str) -> bool {
    volume.len() == ANONYMOUS && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where a volume was mounted in the container of the point.
fn destination<'i>(inspect: &'i serde_json::Value, volume: &str) -> Option<&'i str> {
    let mut mounts = inspect["Mounts"].as_array().into_iter().flatten();
    mounts.find(|mount| mount["Name"] == volume)?["Destination"].as_str()
}

/// The volume that has taken the place of one whose name the engine had made up: a container that was made anew has another one.
fn anonymous_at(container: &Container, volume: &str, destination: &str) -> Option<String> {
    let mount = container.mounts.iter().find(|mount| mount.destination == Path::new(destination))?;
    match &mount.kind {
        MountKind::Volume(own) if is_anonymous(volume) && is_anonymous(own) => Some(own.clone()),
        _ => None,
    }
}

/// Where what was mounted lay, in the order of their numbers.
pub(super) fn binds(saved: &SavedTree) -> Result<Vec<PathBuf>> {
    let table = described(saved, Path::new(BINDS))?.unwrap_or_default();
    let sources = table.as_array().into_iter().flatten().map(|bind| {
        let source = Path::new(bind["source"].as_str().unwrap_or_default());
        let names = name::components(source).with_context(|| format!("understand {BINDS} of the point"))?;
        if !source.is_absolute() || names.is_empty() {
            bail!("{BINDS} of the point has a source that is no absolute path");
        }
        Ok(Path::new("/").join(names.iter().collect::<PathBuf>()))
    });
    sources.collect()
}

/// What of it is wanted.
///
/// # Errors
///
/// When nothing of it is, or the content of a volume is no directory.
pub(crate) fn wanted(saved: &SavedTree, fills: Vec<Fill>, path: Option<&Path>) -> Result<Vec<Fill>> {
    for fill in &fills {
        if let Place::Volume(_) = &fill.place
            && !saved.find(&fill.base)?.is_some_and(|node| node.is_dir())
        {
            bail!("{} of the point {} is no directory", fill.base.display(), saved.point().short_id());
        }
    }
    let Some(path) = path else { return Ok(fills) };
    let path = Path::new("/").join(name::components(path)?.iter().collect::<PathBuf>());
    let places: Vec<String> = fills.iter().map(|fill| fill.base.display().to_string()).collect();
    let mut wanted = fills;
    wanted.retain_mut(|fill| {
        if path.starts_with(&fill.base) && path != fill.base {
            fill.part = Some(path.clone());
        }
        path.starts_with(&fill.base) || fill.base.starts_with(&path)
    });
    if wanted.is_empty() {
        let item = &saved.point().item;
        return Err(anyhow!("{} of {item} has no place where it came from", path.display()))
            .hint(format!("Restore it with --to DIR. What has a place: {}.", places.join(", ")))
            .exit(ExitCode::Usage);
    }
    Ok(wanted)
}
