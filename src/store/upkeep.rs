//! Freeing space and checking integrity: rustic_core does both, this says how and reads the result.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustic_core::jiff::Span;
use rustic_core::{CheckOptions, CheckResults, LimitOption, OpenStatus, PruneOptions, ReadSubsetOption, Repository};

use super::trouble::explain_finding;
use super::{Store, explain, local_path};
use crate::cleanup::Guard;
use crate::error::Annotate;

/// How often a check is begun before it is given up.
const CHECKS: u32 = 5;

/// How to free space. A pack is first marked, then deleted by a later run, so that a backup that runs beside it loses nothing.
#[derive(Debug, Clone)]
pub struct FreeOptions {
    /// How much may be rewritten to gather what is still used: a size, `10%` of the repository, or `unlimited`.
    pub max_repack: String,
    /// How long a pack that nothing uses stays before it is deleted.
    pub keep_delete: std::time::Duration,
}

/// What freeing space did. Sizes in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Freed {
    /// Size of all packs before.
    pub total: u64,
    /// Of that, what is used by snapshots.
    pub used: u64,
    /// Packs that are marked now, to be deleted when `keep_delete` has passed.
    pub marked: u64,
    /// What is rewritten because its pack is only partly used.
    pub repacked: u64,
    /// What is deleted now.
    pub deleted: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Damage: something in the repository is not as it must be.
    pub errors: Vec<String>,
    /// Things that are strange and do no harm.
    pub warnings: Vec<String>,
}

impl Store {
    /// Frees the space of what no snapshot uses.
    ///
    /// # Errors
    ///
    /// Also when anything could not be listed ([`super::gate`] sees to that): what is not seen as used would be deleted.
    pub fn free_space(&self, options: &FreeOptions) -> Result<Freed> {
        self.trust_cached_trees();
        // What it counts on may go.
        self.forget_engine();
        let repository = self.opened()?;
        let mut prune = PruneOptions::default();
        prune.max_repack = options.max_repack.parse::<LimitOption>().map_err(|error| explain(*error))?;
        let seconds =
            i64::try_from(options.keep_delete.as_secs()).context("understand the time to keep unused packs")?;
        prune.keep_delete = Span::new().try_seconds(seconds).context("understand the time to keep unused packs")?;

        let plan = repository.prune_plan(&prune).map_err(|error| explain(*error)).context("plan what to free")?;
        let (size, deletion) = (plan.stats.size_sum(), plan.stats.size_to_delete);
        let freed = Freed {
            total: size.total(),
            used: size.used,
            marked: size.remove + size.repackrm,
            repacked: size.repack,
            deleted: deletion.remove + plan.stats.size_unref,
        };
        repository.prune(&prune, plan).map_err(|error| explain(*error)).context("free space")?;
        Ok(freed)
    }

    /// Checks that everything the snapshots need is there, and with `read_data` that this percentage of the packs reads back right.
    pub fn verify(&self, read_data: Option<f64>) -> Result<Findings> {
        let mut options = CheckOptions::default();
        if let Some(percent) = read_data {
            options.read_data = true;
            options.read_data_subset =
                if percent >= 100.0 { ReadSubsetOption::All } else { ReadSubsetOption::Percentage(percent) };
        }
        // What a cache holds proves nothing about the store: it is read itself, through an empty cache where it is far away.
        let mut reading = self.options.clone();
        let scratch = match (local_path(&self.repository), &self.options.cache_dir) {
            (None, Some(directory)) => Some(scratch_below(directory)?),
            _ => None,
        };
        reading.no_cache = scratch.is_none();
        reading.cache_dir = scratch.as_ref().map(|(path, _)| path.clone());
        let results = check(&self.opened_with(&reading)?, options)?;
        let mut findings = Findings::default();
        for (level, finding) in results.0 {
            let text = explain_finding(&finding);
            // The type of `level` is not exported; `is_ok` alone knows which one counts.
            // A pack that is only waiting to be deleted is missed by nobody: restic's prune deletes it earlier.
            let is_damage = format!("{level:?}") == "Error" && !text.contains("marked to-delete: true");
            if is_damage {
                findings.errors.push(text);
            } else {
                findings.warnings.push(text);
            }
        }
        Ok(findings)
    }
}

/// Has rustic_core check the repository.
///
/// It gives threads of its own a tenth of a second to end before it reads packs, and panics when a busy machine lets them have less
/// than they need. A check changes nothing, so it is done again.
fn check(repository: &Repository<OpenStatus>, options: CheckOptions) -> Result<CheckResults> {
    for _ in 0..CHECKS {
        let done = thread::scope(|scope| scope.spawn(|| repository.check(options)).join());
        if let Ok(checked) = done {
            return checked.map_err(|error| explain(*error)).context("check the repository");
        }
        tracing::warn!("the check did not get to its end on this busy machine; doing it again");
    }
    Err(anyhow!("the check came to no end {CHECKS} times")).hint("Run it again when this machine has less to do.")
}

/// A directory that goes with its guard, also when a signal ends the program.
fn scratch_below(directory: &Path) -> Result<(PathBuf, Guard)> {
    let made =
        fs::create_dir_all(directory).and_then(|()| tempfile::Builder::new().prefix("verify-").tempdir_in(directory));
    let path = made.with_context(|| format!("make a directory below {}", directory.display()))?.keep();
    let doomed = path.clone();
    Ok((path, Guard::new(move |_| drop(fs::remove_dir_all(doomed)))))
}
