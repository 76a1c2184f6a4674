//! Which stacks there are: those whose containers an engine has, and those whose compose files lie below the configured directory.
//!
//! A stack is what Compose calls a project, and its name is the one on its containers, whatever its folder is called. A folder is only asked for a name
//! when no container was made from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::folder::{self, Folder};
use super::paths::is_plain;
use super::{labels, project::Project};
use crate::error::Annotate;
use crate::source::docker::engine::Container;

/// A stack.
#[derive(Debug)]
pub(super) struct Stack {
    /// The name of the project.
    pub(super) name: String,
    /// Where its relative paths begin; `None` when nobody knows.
    pub(super) directory: Option<PathBuf>,
    /// Whether that is the configured directory, or below it.
    pub(super) is_below: bool,
    /// Its compose files, without those that they include.
    pub(super) compose_files: Vec<PathBuf>,
    /// The files that its variables are in; they need not be there.
    pub(super) env_files: Vec<PathBuf>,
    /// By service and number.
    pub(super) containers: Vec<Container>,
    /// Folders of other stacks below its own.
    pub(super) others: Vec<PathBuf>,
    /// Several folders that each look like this stack, of which none is where its containers were made.
    rivals: Vec<PathBuf>,
    /// Folders that Compose would take for this stack, whose containers were made elsewhere.
    pub(super) namesakes: Vec<PathBuf>,
}

/// Finds the stacks, by name: those of the containers, and those of the folders at and directly below `directory`.
///
/// # Errors
///
/// When the directory cannot be listed.
pub(super) fn find(containers: &[Container], directory: Option<&Path>) -> Result<Vec<Stack>> {
    let folders = directory.map(folders).transpose()?.unwrap_or_default();
    let mut projects: BTreeMap<String, Vec<Container>> = BTreeMap::new();
    for container in containers {
        match labels::project(container) {
            Some(name) if is_plain(name) => projects.entry(name.to_owned()).or_default().push(container.clone()),
            Some(name) => tracing::warn!("the container {} is of a project with an odd name: {name:?}", container.name),
            None => {}
        }
    }
    // Each folder is that of the projects whose containers say so, else of the one that Compose would make there.
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (name, containers) in &projects {
        places.insert(name.clone(), directories(containers));
    }
    for folder in &folders {
        let is_known = places.values().flatten().any(|place| is_same(place, &folder.path));
        let name = if is_known { String::new() } else { folder.project_name() };
        if !name.is_empty() {
            places.entry(name).or_default().push(folder.path.clone());
        }
    }
    let stacks = places.into_iter().map(|(name, places)| {
        let containers = projects.remove(&name).unwrap_or_default();
        stack(name, places, containers, &folders, directory)
    });
    Ok(stacks.collect())
}

/// The stack of this name, which may be at one of these places.
fn stack(
    name: String,
    places: Vec<PathBuf>,
    mut containers: Vec<Container>,
    folders: &[Folder],
    configured: Option<&Path>,
) -> Stack {
    containers.sort_by(|a, b| {
        let key = |container: &Container| (labels::service(container).to_owned(), labels::number(container));
        key(a).cmp(&key(b))
    });
    // Where a folder once was does not matter once it is somewhere else.
    let mut there: Vec<PathBuf> = places.iter().filter(|place| place.is_dir()).cloned().collect();
    there.dedup_by(|a, b| is_same(a, b));
    let directory = there.first().or(places.first()).cloned();
    let is_told = |place: &PathBuf| containers.iter().any(|one| labels::working_directory(one).as_ref() == Some(place));
    let told = there.iter().filter(|place| is_told(place)).count();
    let (mut rivals, mut namesakes) = (Vec::new(), Vec::new());
    match (told, there.len()) {
        (_, 0 | 1) => {}
        // Those that are told come first.
        (1, _) => namesakes = there.split_off(1),
        _ => rivals.clone_from(&there),
    }
    let folder =
        directory.as_ref().and_then(|directory| folders.iter().find(|folder| is_same(&folder.path, directory)));
    let is_inside =
        || Some(fs::canonicalize(directory.as_ref()?).ok()?.starts_with(fs::canonicalize(configured?).ok()?));
    let is_below = folder.is_some() || is_inside().unwrap_or(false);
    let of_labels = |paths: fn(&Container) -> Vec<PathBuf>| {
        let mut seen = BTreeSet::new();
        let of_place = containers.iter().filter(|container| labels::working_directory(container) == directory);
        of_place.flat_map(paths).filter(|path| seen.insert(path.clone())).collect::<Vec<_>>()
    };
    let mut compose_files = of_labels(labels::config_files);
    if compose_files.is_empty() {
        let found = directory.as_deref().and_then(|directory| Folder::look(directory).ok().flatten());
        compose_files = found.map(|folder| folder.compose_files).unwrap_or_default();
    }
    let named = of_labels(labels::environment_files);
    let env_files = directory.as_deref().map(|directory| folder::env_files(directory, &named)).unwrap_or_default();
    let others = folders.iter().map(|folder| folder.path.clone());
    let others = others.filter(|path| directory.as_ref().is_some_and(|own| path != own && path.starts_with(own)));
    let others = others.collect();
    Stack { name, is_below, compose_files, env_files, others, directory, containers, rivals, namesakes }
}

impl Stack {
    /// That it is clear which folder is its own.
    ///
    /// # Errors
    ///
    /// When several folders are, naming them.
    pub(super) fn is_one(&self) -> Result<()> {
        let [first, second, ..] = self.rivals.as_slice() else { return Ok(()) };
        Err(anyhow!("there are two stacks `{}`: {} and {}", self.name, first.display(), second.display())).hint(
            "Compose takes them for one, and so would a point. Give one of them another `name:` in its compose file.",
        )
    }

    /// What its files say.
    pub(super) fn project(&self) -> Project {
        let Some(directory) = &self.directory else { return Project::default() };
        Project::read(directory, &self.compose_files, &folder::variables(directory, &self.env_files))
    }

    /// What depends on what, as far as only the files say it: ids of containers, each with that of one it needs. The first version of Compose
    /// wrote it nowhere else.
    pub(super) fn depends(&self, project: &Project) -> Vec<(String, String)> {
        let mut depends = Vec::new();
        for container in self.containers.iter().filter(|container| !labels::tells_dependencies(container)) {
            let Some(service) = project.services.get(labels::service(container)) else { continue };
            let needed = self.containers.iter().filter(|other| service.needs.contains(labels::service(other)));
            depends.extend(needed.map(|other| (container.id.clone(), other.id.clone())));
        }
        depends
    }
}

/// The directories of a project, as its containers say.
fn directories(containers: &[Container]) -> Vec<PathBuf> {
    let directories: BTreeSet<PathBuf> = containers.iter().filter_map(labels::working_directory).collect();
    directories.into_iter().collect()
}

/// The folders with compose files at and directly below a directory, by name.
fn folders(directory: &Path) -> Result<Vec<Folder>> {
    let doing = || format!("look for stacks in {}", directory.display());
    let listed = fs::read_dir(directory)
        .with_context(doing)
        .hint("Is something not mounted? Else `directory` has to be where the folders of the stacks are.")?;
    let mut paths = vec![directory.to_path_buf()];
    for entry in listed {
        let path = entry.with_context(doing)?.path();
        paths.extend(path.is_dir().then_some(path));
    }
    paths.sort();
    let mut folders = Vec::new();
    for path in paths {
        match Folder::look(&path) {
            Ok(folder) => folders.extend(folder),
            // A `lost+found` is not a stack, and must not keep the others from being saved.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!("{} may not be looked at: if it is a stack, it is not saved", path.display());
            }
            Err(error) => return Err(error).with_context(|| format!("look for a stack in {}", path.display())),
        }
    }
    Ok(folders)
}

/// Whether two paths lead to the same directory.
fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    a == b || real(a) == real(b)
}

#[cfg(test)]
mod tests;
