//! Which files of the machine belong to a stack, and where each is in a snapshot: below `/project`, or one of `/binds`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::excludes::Excludes;
use super::project::Project;
use super::stacks::Stack;
use super::{labels, paths};
use crate::source::{Problem, Severity, outermost};

/// Where the folder of a stack is in a snapshot.
pub(super) const PROJECT: &str = "/project";

/// What is asked of a stack.
pub(super) struct Wanted<'w> {
    pub(super) stack: &'w Stack,
    pub(super) project: &'w Project,
    pub(super) excludes: &'w Excludes<'w>,
    /// Whether more than what the stack is made of is wanted.
    pub(super) with_data: bool,
    /// Whether what the engine mounts is a path of this machine.
    pub(super) is_own: bool,
}

/// Where the files of a stack go.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Paths of this machine, and where each is in the snapshot.
    pub(super) files: BTreeMap<PathBuf, PathBuf>,
    /// Paths of the engine's machine that are mounted in containers from outside of the folder, in the order of their numbers.
    pub(super) binds: Vec<Bind>,
    /// What is mounted and nothing to be saved, and why.
    passed_over: BTreeMap<PathBuf, String>,
    /// What was to be there, and is not saved.
    pub(super) problems: Vec<Problem>,
}

/// A path of a machine that is not below `/project` in the snapshot.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) source: PathBuf,
    /// Whether it is read from this machine: the files that a stack is made of are, wherever its engine is.
    pub(super) is_file: bool,
    /// The services in which it is mounted, and where.
    pub(super) mounts: BTreeSet<(String, PathBuf)>,
}

impl Places {
    /// Looks which files there are, and says where they go.
    ///
    /// # Errors
    ///
    /// When the excludes are not understood.
    pub(super) fn find(wanted: &Wanted<'_>) -> Result<Self> {
        let mut places = Self { problems: wanted.project.problems.clone(), ..Self::default() };
        for folder in &wanted.stack.namesakes {
            let why = format!(
                "has the project name {} as well, and is not saved: its containers are another's",
                wanted.stack.name
            );
            places.add(folder, why, Severity::Warning);
        }
        let is_whole = wanted.stack.is_below && wanted.with_data;
        let directory = wanted.stack.directory.as_deref();
        let mut binds: BTreeMap<PathBuf, Bind> = BTreeMap::new();
        let mut inside: Vec<PathBuf> = Vec::new();
        if let Some(directory) = directory.filter(|_| is_whole) {
            inside.push(directory.to_path_buf());
        }
        for path in places.made_of(wanted) {
            match directory {
                Some(directory) if path.starts_with(directory) && !leads_out(&path, directory, is_whole) => {
                    inside.push(path)
                }
                _ => {
                    binds.insert(path.clone(), Bind { source: path, is_file: true, mounts: BTreeSet::new() });
                }
            }
        }
        if wanted.with_data {
            for (path, mounts) in places.mounted(wanted)? {
                let is_inside = |directory: &&Path| {
                    wanted.is_own && path.starts_with(directory) && !leads_out(&path, directory, is_whole)
                };
                if directory.as_ref().is_some_and(is_inside) {
                    inside.push(path);
                } else {
                    let bind = || Bind { source: path.clone(), is_file: false, mounts: BTreeSet::new() };
                    binds.entry(path.clone()).or_insert_with(bind).mounts.extend(mounts);
                }
            }
        }
        for path in outermost(&inside) {
            let below = directory.and_then(|directory| path.strip_prefix(directory).ok()).unwrap_or(Path::new(""));
            // Joining nothing would leave a slash at the end.
            let at = if below.as_os_str().is_empty() { PROJECT.into() } else { Path::new(PROJECT).join(below) };
            places.files.insert(path, at);
        }
        // What is mounted twice, once with what is above it, is saved once.
        let sources: Vec<PathBuf> = binds.keys().cloned().collect();
        for outer in outermost(&sources) {
            let Some(mut bind) = binds.remove(&outer) else { continue };
            let within = binds.iter().filter(|(path, _)| path.starts_with(&outer));
            bind.mounts.extend(within.flat_map(|(_, bind)| bind.mounts.iter().cloned()));
            places.binds.push(bind);
        }
        Ok(places)
    }

    /// The files that a stack is made of, those that are there.
    fn made_of(&mut self, wanted: &Wanted<'_>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for path in wanted.stack.compose_files.iter().chain(&wanted.project.compose_files) {
            if path.exists() {
                found.push(path.clone());
            } else {
                self.add(path, "this compose file is not there".to_owned(), Severity::Unread);
            }
        }
        if wanted.stack.compose_files.is_empty() {
            let folder = wanted.stack.directory.clone().unwrap_or_else(|| (&wanted.stack.name).into());
            self.add(&folder, "no compose file is there".to_owned(), Severity::Unread);
        }
        // Compose does without these when they are not there, or says so itself.
        let others = wanted.stack.env_files.iter().chain(&wanted.project.files).filter(|path| path.exists());
        found.extend(others.cloned());
        self.problems.sort_by(|a, b| a.path.cmp(&b.path));
        self.problems.dedup();
        found
    }

    /// The paths that are mounted in containers, and can be saved; of a service without containers those that its files name.
    fn mounted(&mut self, wanted: &Wanted<'_>) -> Result<BTreeMap<PathBuf, BTreeSet<(String, PathBuf)>>> {
        let mut mounted: BTreeMap<PathBuf, BTreeSet<(String, PathBuf)>> = BTreeMap::new();
        for container in &wanted.stack.containers {
            for (source, destination) in container.binds() {
                let mount = (labels::service(container).to_owned(), destination.to_path_buf());
                mounted.entry(source.to_path_buf()).or_default().insert(mount);
            }
        }
        for (name, service) in &wanted.project.services {
            if wanted.stack.containers.iter().any(|container| labels::service(container) == name) {
                continue;
            }
            self.problems.extend(service.problems.iter().cloned());
            // Compose makes the directory when it starts the service.
            for path in service.binds.iter().filter(|path| path.exists()) {
                mounted.entry(path.clone()).or_default();
            }
        }
        let mut kept = BTreeMap::new();
        for (path, mounts) in mounted {
            let others = if wanted.is_own { others(wanted, &path)? } else { None };
            match others.or_else(|| paths::unsavable(&path)) {
                Some(why) => {
                    tracing::debug!("{} of the stack {}: {why}", path.display(), wanted.stack.name);
                    self.passed_over.insert(path, why.to_owned());
                }
                None => {
                    kept.insert(path, mounts);
                }
            }
        }
        Ok(kept)
    }

    fn add(&mut self, path: &Path, error: String, severity: Severity) {
        self.problems.push(Problem { path: path.to_path_buf(), error, severity });
    }

    /// Which files of this machine are where in the snapshot.
    pub(super) fn listed(&self) -> Value {
        let outside = self.binds.iter().enumerate().filter(|(_, bind)| bind.is_file);
        let outside = outside.map(|(number, bind)| (bind_path(number), bind.source.clone()));
        let files = self.files.iter().map(|(source, at)| (at.clone(), source.clone())).chain(outside);
        files.map(|(at, source)| json!({"path": at, "source": source})).collect()
    }

    /// What is at which place of `/binds`, for the snapshot.
    pub(super) fn table(&self) -> Value {
        let mounts = |bind: &Bind| -> Value {
            bind.mounts.iter().map(|(service, at)| json!({"service": service, "destination": at})).collect()
        };
        let line = |(number, bind): (usize, &Bind)| json!({"path": bind_path(number), "source": bind.source, "mounts": mounts(bind)});
        let passed_over = self.passed_over.iter().map(|(path, why)| json!({"source": path, "not-saved": why}));
        self.binds.iter().enumerate().map(line).chain(passed_over).collect()
    }
}

/// Why what is mounted is not this stack's alone; `None` when it is.
fn others(wanted: &Wanted<'_>, path: &Path) -> Result<Option<&'static str>> {
    let directory = wanted.excludes.directory;
    if directory.is_some_and(|directory| real(directory).starts_with(real(path)))
        && wanted.stack.directory.as_deref() != Some(path)
    {
        return Ok(Some("all stacks are in it"));
    }
    let is_elsewhere = !directory.is_some_and(|directory| path.starts_with(directory));
    Ok((is_elsewhere && wanted.excludes.excludes(path)?).then_some("it is excluded"))
}

/// Where a bind is in the snapshot.
pub(super) fn bind_path(number: usize) -> PathBuf {
    Path::new("/binds").join(number.to_string())
}

/// Whether a path in a folder is a link to something that does not come along with the folder as a whole.
fn leads_out(path: &Path, directory: &Path, is_whole: bool) -> bool {
    is_whole && !real(path).starts_with(real(directory))
}

/// A path without links in it, if it is there.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}
