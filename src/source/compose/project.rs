//! What a stack is made of, as its compose files say: further files, paths that are mounted, volumes, and what depends on what.
//!
//! Compose specification, <https://github.com/compose-spec/compose-spec>. Only what a backup needs is looked at. What is not understood is a
//! problem that names the file, and no more: the files are saved whatever they say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::env::Env;
use super::paths::{self, joined};
use super::yaml;
use crate::source::{Problem, Severity};

mod service;

/// How often files may be read for one stack: some are extended by many services.
const MOST_READS: usize = 1000;

/// How many files may include or extend each other in a row.
const DEEPEST: usize = 16;

/// What the compose files of a stack say together.
#[derive(Debug, Default)]
pub(super) struct Project {
    /// Its name, when a file says it.
    pub(super) name: Option<String>,
    pub(super) services: BTreeMap<String, Service>,
    /// By their names in the files.
    pub(super) volumes: BTreeMap<String, NamedVolume>,
    /// Compose files, those that others include or extend among them.
    pub(super) compose_files: BTreeSet<PathBuf>,
    /// Files of variables, configs and secrets. They need not be there.
    pub(super) files: BTreeSet<PathBuf>,
    /// What was not understood.
    pub(super) problems: Vec<Problem>,
    /// How often a file was read.
    reads: usize,
}

/// A service.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) image: Option<String>,
    /// Services that it needs.
    pub(super) needs: BTreeSet<String>,
    /// Paths of the machine that are mounted in its containers.
    pub(super) binds: BTreeSet<PathBuf>,
    /// What of its mounts was not understood. When it has containers, they tell.
    pub(super) problems: Vec<Problem>,
}

/// A volume that a stack names.
#[derive(Debug, Default)]
pub(super) struct NamedVolume {
    pub(super) name: Option<String>,
    /// Whether somebody else makes it.
    pub(super) is_external: bool,
}

impl Project {
    /// Reads compose files, whose relative paths begin at `directory`, and all files that they include or extend.
    pub(super) fn read(directory: &Path, files: &[PathBuf], env: &Env) -> Self {
        let mut project = Self::default();
        for file in files {
            project.file(&Place { file, directory, env, service: None }, 0);
        }
        project
    }

    /// Names of the volumes that it has on its engine. Some of them may not be there.
    pub(super) fn volume_names(&self, project: &str) -> Vec<String> {
        let named = self.volumes.iter().map(|(key, volume)| match &volume.name {
            Some(name) => name.clone(),
            None if volume.is_external => key.clone(),
            None => format!("{project}_{key}"),
        });
        named.collect()
    }

    /// Reads one file; of an extended one only the service that is extended.
    fn file(&mut self, at: &Place<'_>, depth: usize) {
        self.reads += 1;
        if depth > DEEPEST || self.reads > MOST_READS {
            self.problem(at.file, "it includes or extends too many files".to_owned());
            return;
        }
        self.compose_files.insert(at.file.to_path_buf());
        let document = match yaml::read(at.file) {
            Ok(document) => document,
            Err(error) => {
                // That a file is missing shows when it is saved.
                if !crate::error::is_caused_by::<std::io::Error>(&error) {
                    self.problem(at.file, crate::error::chain(&error));
                }
                return;
            }
        };
        for (name, service) in entries(&document["services"]) {
            if at.service.is_none_or(|wanted| wanted == name) {
                self.service(name, service, at, depth);
            }
        }
        if at.service.is_some() {
            return;
        }
        if let Some(name) = text(&document["name"]) {
            self.name = at.env.expand(&name).ok().or(self.name.take());
        }
        for (key, volume) in entries(&document["volumes"]) {
            let known = self.volumes.entry(key.to_owned()).or_default();
            known.is_external |= matches!(&volume["external"], Value::Bool(true) | Value::Object(_));
            let name = text(&volume["name"]).or_else(|| text(&volume["external"]["name"]));
            if let Some(name) = name.and_then(|name| at.env.expand(&name).ok()) {
                known.name = Some(name);
            }
        }
        for kind in ["configs", "secrets"] {
            for (_, described) in entries(&document[kind]) {
                self.add_file(&described["file"], at);
            }
        }
        for included in list(&document["include"]) {
            self.include(included, at, depth);
        }
    }

    /// `include`: a path, or a table with one path or several, the directory that theirs begin at, and their variables.
    fn include(&mut self, included: &Value, at: &Place<'_>, depth: usize) {
        let names = if included.is_object() { &included["path"] } else { included };
        let files: Vec<PathBuf> = list(names).filter_map(|name| self.path(name, at)).collect();
        let Some(first) = files.first() else { return };
        let above = first.parent().unwrap_or(at.directory).to_path_buf();
        let directory = self.path(&included["project_directory"], at).unwrap_or(above);
        let mut env = at.env.clone();
        let mut variables: Vec<PathBuf> = list(&included["env_file"]).filter_map(|name| self.path(name, at)).collect();
        if variables.is_empty() {
            variables.push(directory.join(".env"));
        }
        for file in variables {
            if let Ok(text) = yaml::read_text(&file) {
                env.add(&text);
                self.files.insert(file);
            }
        }
        for file in &files {
            if !self.compose_files.contains(file) {
                self.file(&Place { file, directory: &directory, env: &env, service: None }, depth + 1);
            }
        }
    }

    /// Notes a file that is named.
    fn add_file(&mut self, name: &Value, at: &Place<'_>) {
        if let Some(path) = self.path(name, at) {
            self.files.insert(path);
        }
    }

    /// The path that is named, if one is. What is on other machines is none.
    fn path(&mut self, name: &Value, at: &Place<'_>) -> Option<PathBuf> {
        let name = text(name)?;
        if paths::is_remote(&name) {
            return None;
        }
        match at.env.expand(&name) {
            Ok(name) => joined(at.directory, &name),
            Err(error) => {
                self.problem(at.file, format!("`{name}`: {error}"));
                None
            }
        }
    }

    fn problem(&mut self, file: &Path, error: String) {
        self.problems.push(warning(file, error));
    }
}

/// Where in the files of a stack something stands.
struct Place<'p> {
    file: &'p Path,
    /// Where relative paths begin.
    directory: &'p Path,
    env: &'p Env,
    /// The one service that is wanted.
    service: Option<&'p str>,
}

fn warning(path: &Path, error: String) -> Problem {
    Problem { path: path.to_path_buf(), error, severity: Severity::Warning }
}

/// Names and values of a table.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// The elements of a list, or the one thing that stands where a list may stand.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(elements) => elements.as_slice(),
        Value::Null => &[],
        single => std::slice::from_ref(single),
    }
    .iter()
}

/// A text, or a number or truth value that was meant as one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
