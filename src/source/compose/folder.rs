//! A folder with compose files, as Compose would take it if it were run there.

use std::io;
use std::path::{Path, PathBuf};

use super::env::Env;
use super::paths::joined;
use super::project::Project;
use super::yaml::read_text;

/// Names of compose files, the one that Compose prefers first, and of what is merged into them.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// The file of variables that is read when no other is named.
const ENV: &str = ".env";

/// A folder with compose files.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) compose_files: Vec<PathBuf>,
}

impl Folder {
    /// The folder at `path`; `None` when no compose file is in it.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    pub(super) fn look(path: &Path) -> io::Result<Option<Self>> {
        let there = |names: &[&str]| -> io::Result<Option<PathBuf>> {
            for name in names {
                let file = path.join(name);
                if file.try_exists()? {
                    return Ok(Some(file));
                }
            }
            Ok(None)
        };
        let env = variables(path, &[]);
        let mut compose_files = Vec::new();
        if let Some(names) = env.get("COMPOSE_FILE") {
            let separator = env.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty()).unwrap_or(":");
            compose_files.extend(names.split(separator).filter_map(|name| joined(path, name)));
        } else if let Some(file) = there(&NAMES)? {
            compose_files.push(file);
            compose_files.extend(there(&OVERRIDES)?);
        }
        Ok((!compose_files.is_empty()).then(|| Self { path: path.to_path_buf(), compose_files }))
    }

    /// The name that Compose would give the project here.
    pub(super) fn project_name(&self) -> String {
        let env = variables(&self.path, &[]);
        let named = env.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()).map(str::to_owned);
        let written = || Project::read(&self.path, &self.compose_files, &env).name;
        let own = || self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        normalized(&named.or_else(written).unwrap_or_else(own))
    }
}

/// The variables of a stack: those of the files, or of `.env` when none are named.
pub(super) fn variables(directory: &Path, files: &[PathBuf]) -> Env {
    let mut env = Env::default();
    // Of two files the later one counts, and what is known stays.
    for file in env_files(directory, files).iter().rev() {
        if let Ok(text) = read_text(file) {
            env.add(&text);
        }
    }
    env
}

/// The files of variables: those that are named, else `.env`.
pub(super) fn env_files(directory: &Path, named: &[PathBuf]) -> Vec<PathBuf> {
    if named.is_empty() { vec![directory.join(ENV)] } else { named.to_vec() }
}

/// A name as Compose makes one of a project of it.
pub(super) fn normalized(name: &str) -> String {
    let name = name.to_lowercase();
    let kept: String = name.chars().filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')).collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Option<Folder>) {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("My_App 2.0");
        fs::create_dir(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        let folder = Folder::look(&path).unwrap();
        (above, folder)
    }

    fn names(folder: &Folder) -> Vec<&str> {
        folder.compose_files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn files_are_those_that_compose_would_read() {
        let (_above, both) = folder(&[
            ("docker-compose.yml", ""),
            ("compose.yaml", ""),
            ("compose.override.yaml", ""),
            ("other.yaml", ""),
        ]);
        assert_eq!(names(&both.unwrap()), ["compose.yaml", "compose.override.yaml"]);
        let (_above, old) = folder(&[("docker-compose.yaml", ""), ("docker-compose.override.yml", "")]);
        assert_eq!(names(&old.unwrap()), ["docker-compose.yaml", "docker-compose.override.yml"]);
        let (_above, named) = folder(&[(".env", "COMPOSE_FILE=a.yaml:b.yaml\n"), ("compose.yaml", "")]);
        assert_eq!(names(&named.unwrap()), ["a.yaml", "b.yaml"]);
        let (_above, none) = folder(&[("readme.md", ""), (".env", "A=1\n")]);
        assert!(none.is_none());
    }

    #[test]
    fn project_is_named_as_compose_does() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[("compose.yaml", "")], "my_app20"),
            (&[("compose.yaml", "name: Written")], "written"),
            (&[("compose.yaml", "name: ${N:-x}y")], "xy"),
            (&[("compose.yaml", "name: written"), (".env", "COMPOSE_PROJECT_NAME=_Env")], "env"),
            (&[("compose.yaml", "name: a"), ("compose.override.yml", "name: b")], "b"),
        ];
        for (files, name) in cases {
            assert_eq!(folder(files).1.unwrap().project_name(), name, "{files:?}");
        }
    }
}
