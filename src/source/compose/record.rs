//! What a point says of its stack: `/stack.json` and `/binds.json`, as they are read when it is brought back.
//!
//! A point is whatever made it: each path is looked at before anything is done with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::describe::FORMAT;
use crate::error::Annotate;
use crate::extract::name;
use crate::source::docker::restore::Back;

/// What is known of a stack.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    format: u64,
    pub(super) project: String,
    /// `None` for one whose folder nobody knew.
    pub(super) working_dir: Option<PathBuf>,
    pub(super) config_files: Vec<PathBuf>,
    pub(super) environment_files: Vec<PathBuf>,
    /// Names of containers.
    pub(super) running: Vec<String>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) files: Vec<Placed>,
    #[serde(skip)]
    pub(super) binds: Vec<Placed>,
}

/// A service of it.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) image: Option<String>,
    pub(super) digests: Option<Vec<String>>,
}

/// Something in the point, and where it was.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Placed {
    pub(super) path: PathBuf,
    pub(super) source: PathBuf,
}

impl Record {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// When it is not there, is of another format, or has paths that are none.
    pub(super) fn read(back: &Back<'_>) -> Result<Self> {
        const STACK: &str = "/stack.json";
        let doing = || format!("understand {STACK} of the point {}", back.saved.point().short_id());
        let told = back.described(Path::new(STACK))?;
        let told = told.context("it is not there").with_context(doing).hint("Restore it with --to DIR.")?;
        let mut record: Self = serde_json::from_value(told).with_context(doing)?;
        if record.format != FORMAT {
            return Err(anyhow::anyhow!("it is of format {}", record.format))
                .with_context(doing)
                .hint("A newer holdall may have made it. Restore it with --to DIR.");
        }
        let binds = back.described(Path::new("/binds.json"))?.unwrap_or_default();
        for bind in binds.as_array().into_iter().flatten().filter(|bind| bind["path"].is_string()) {
            let placed: Placed = serde_json::from_value(bind.clone()).context("understand /binds.json of the point")?;
            if !record.files.iter().any(|file| file.path == placed.path) {
                record.binds.push(placed);
            }
        }
        record.check().with_context(doing)?;
        Ok(record)
    }

    fn check(&self) -> Result<()> {
        let own = self.config_files.iter().chain(&self.environment_files).chain(&self.working_dir);
        let placed = self.files.iter().chain(&self.binds);
        for path in own.chain(placed.flat_map(|placed| [&placed.path, &placed.source])) {
            let names = name::components(path)?;
            if !path.is_absolute() || names.is_empty() {
                bail!("{} is no absolute path", path.display());
            }
        }
        Ok(())
    }

    /// What to type to have it running.
    pub(super) fn command(&self, name: &str, folder: &Path) -> String {
        let moved = |path: &PathBuf| -> PathBuf {
            let below = self.working_dir.as_ref().and_then(|own| path.strip_prefix(own).ok());
            below.map_or_else(|| path.clone(), |below| folder.join(below))
        };
        let mut words: Vec<PathBuf> =
            ["docker", "compose", "-p", name, "--project-directory"].map(PathBuf::from).into();
        words.push(folder.to_path_buf());
        for file in &self.config_files {
            words.extend(["-f".into(), moved(file)]);
        }
        for file in self.environment_files.iter().map(moved).filter(|file| *file != folder.join(".env")) {
            words.extend(["--env-file".into(), file]);
        }
        words.extend(["up", "-d"].map(PathBuf::from));
        words.iter().map(crate::process::shell_word).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(paths: &[&str]) -> Record {
        serde_json::from_value(json!({
            "format": 1, "project": "web", "working_dir": "/opt/my stacks/web", "config_files": paths,
            "environment_files": ["/opt/my stacks/web/.env", "/srv/x.env"],
            "running": [], "services": {}, "files": [],
        }))
        .unwrap()
    }

    #[test]
    fn command_names_the_files_where_they_are_then() {
        let record = record(&["/opt/my stacks/web/a.yml", "/srv/b.yml"]);
        assert_eq!(
            record.command("copy", Path::new("/opt/my stacks/copy")),
            "docker compose -p copy --project-directory '/opt/my stacks/copy' -f '/opt/my stacks/copy/a.yml' \
             -f /srv/b.yml --env-file /srv/x.env up -d"
        );
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        record(&["/opt/x"]).check().unwrap();
        for path in ["x", "/opt/../etc", "", "/"] {
            assert!(record(&[path]).check().is_err(), "{path}");
        }
    }
}
