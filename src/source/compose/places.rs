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
use crate::source::{Problem, Severity};

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
        let mut all: BTreeMap<PathBuf, Bind> = BTreeMap::new();
        let whole = wanted.stack.directory.clone().filter(|_| wanted.stack.is_below && wanted.with_data);
        for source in places.made_of(wanted).into_iter().chain(whole) {
            all.insert(source.clone(), Bind { source, is_file: true, mounts: BTreeSet::new() });
        }
        let mounted = if wanted.with_data { places.mounted(wanted)? } else { BTreeMap::new() };
        for (source, mounts) in mounted {
            let bind = || Bind { source: source.clone(), is_file: false, mounts: BTreeSet::new() };
            all.entry(source.clone()).or_insert_with(bind).mounts.extend(mounts);
        }
        // What others lie in comes before them.
        for bind in all.into_values() {
            places.put(bind, wanted);
        }
        Ok(places)
    }

    /// Gives something its place, unless it comes along with what it lies in.
    fn put(&mut self, bind: Bind, wanted: &Wanted<'_>) {
        let is_here = bind.is_file || wanted.is_own;
        let comes_with = |outer: &Path| bind.source.starts_with(outer) && !(is_here && leads_out(&bind.source, outer));
        let below = wanted.stack.directory.as_ref().and_then(|directory| bind.source.strip_prefix(directory).ok());
        if let Some(below) = below.filter(|_| is_here) {
            if self.files.keys().any(|outer| comes_with(outer)) {
                return;
            }
            if !self.files.keys().any(|outer| bind.source.starts_with(outer)) {
                // Joining nothing would leave a slash at the end.
                let is_all = below.as_os_str().is_empty();
                let at = if is_all { PROJECT.into() } else { Path::new(PROJECT).join(below) };
                self.files.insert(bind.source, at);
                return;
            }
        }
        let is_outer = |outer: &&mut Bind| (outer.is_file || wanted.is_own) == is_here && comes_with(&outer.source);
        match self.binds.iter_mut().find(is_outer) {
            Some(outer) => outer.mounts.extend(bind.mounts),
            None => self.binds.push(bind),
        }
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

/// Whether a path in a folder is a link to something that does not come along with the folder.
fn leads_out(path: &Path, directory: &Path) -> bool {
    !real(path).starts_with(real(directory))
}

/// A path without links in it, if it is there.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}
