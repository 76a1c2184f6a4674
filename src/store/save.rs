//! Saves a tree as a new point.
//!
//! The snapshot is the last thing written, once: after everything is in the repository, after the source has said that what it gave was
//! whole, and with the tag that tells when something is missing. Until then [`super::gate`] holds it back.

use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use rustic_core::jiff::Zoned;
use rustic_core::repofile::SnapshotFile;
use rustic_core::{BackupOptions, IndexedFullStatus, ParentOptions, Repository};

use super::reading::Reading;
use super::{Store, explain, points, unchanged};
use crate::error::Annotate;
use crate::monitor::{Monitor, Task, Unit};
use crate::report::Saved;
use crate::source::{Item, Problem, Severity, Tree};
use crate::timeline::Point;

/// How to save.
#[derive(Debug, Clone, Default)]
pub struct SaveOptions<'p> {
    /// The time of the new point.
    pub time: DateTime<Utc>,
    /// The point that unchanged files are taken from without reading them; `None`: everything is read.
    pub parent: Option<&'p Point>,
    /// The newest point of the item, against which "it is empty now" is judged.
    pub newest: Option<&'p Point>,
    /// Whether the tree may hold no files though the newest point has some.
    pub allow_empty: bool,
    /// Whether to only find out what would be saved: nothing is written.
    pub dry_run: bool,
}

impl Store {
    /// Saves a tree as a new point of `item`.
    ///
    /// # Errors
    ///
    /// No point is made when the store fails, when the source broke off ([`Tree::finish`]), or when it turned out empty and was
    /// not before. What could not be read makes a point that is incomplete, with [`Saved::problems`].
    pub fn save(
        &self,
        item: &Item,
        tree: Box<dyn Tree>,
        options: &SaveOptions<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Saved> {
        let mut snapshot = points::new_snapshot(item, options.time)?;
        let repository = self.indexed()?;

        let total = options.newest.and_then(|point| point.bytes);
        let start = |action| {
            let task = monitor.start(&item.id, action, Unit::Bytes);
            if let Some(total) = total {
                task.expect(total);
            }
            task
        };
        let mut unchanged = None;
        if let Some(parent) = options.parent {
            let task = start("compare");
            unchanged = reuse(&repository, parent, &*tree, item, &snapshot, &*task)?;
            task.finish();
        }
        let task = start("save");
        let reading = Reading::new(tree, task.clone());
        snapshot = match unchanged {
            Some(snapshot) => snapshot,
            None => thread::scope(|scope| {
                if total.is_none() && monitor.is_watched() {
                    scope.spawn(|| reading.tree().size().inspect(|&size| task.expect(size)));
                }
                self.archive(&repository, &reading, snapshot, item, options, &task)
            })?,
        };
        task.finish();

        for id in self.gate.damaged() {
            // rustic_core passes over a saved tree that it cannot read; but the new point shares what the store has already.
            let error =
                format!("{id} in the store is damaged, and what this point shares with it; see `holdall verify`");
            reading.seen().add(Problem { path: self.repository.clone().into(), error, severity: Severity::Unread });
        }
        let summary = snapshot.summary.clone().unwrap_or_default();
        let problems = reading.seen().problems();
        let had_files = options.newest.and_then(|point| point.files).unwrap_or(0) > 0;
        if summary.total_files_processed == 0 && had_files && !options.allow_empty {
            if let Some(Problem { path, error, .. }) = problems.iter().find(|found| found.severity == Severity::Unread)
            {
                return Err(anyhow!("nothing could be read: {}: {error}", path.display()))
                    .hint("May this user read it? holdall reads everything as root, or with CAP_DAC_READ_SEARCH.");
            }
            return Err(anyhow!("nothing is there, but the newest point has files")).hint(format!(
                "Is something not mounted? If it is right that {} is empty now, set `allow-empty = true`.",
                item.source
            ));
        }
        let problem_count = reading.seen().problem_count();
        if reading.seen().is_incomplete() {
            points::mark_incomplete(&mut snapshot);
        }
        reading.into_tree().finish().context("the source broke off")?;

        let mut id = String::new();
        if !options.dry_run {
            repository.save_snapshots(vec![snapshot]).map_err(|error| explain(*error)).context("write the snapshot")?;
            let written = self.gate.last_snapshot().context("the snapshot was not written")?;
            id = written.to_hex().as_str().to_owned();
        }
        Ok(Saved {
            snapshot: id,
            time: options.time,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            bytes_processed: summary.total_bytes_processed,
            bytes_added: summary.data_added,
            bytes_stored: summary.data_added_packed,
            problems,
            problem_count,
        })
    }

    /// Lets rustic_core archive the tree; the snapshot it makes is held back.
    fn archive(
        &self,
        repository: &Repository<IndexedFullStatus>,
        reading: &Reading,
        snapshot: SnapshotFile,
        item: &Item,
        options: &SaveOptions<'_>,
        task: &Arc<dyn Task>,
    ) -> Result<SnapshotFile> {
        let parent_options = match options.parent {
            Some(parent) => ParentOptions::default().parents(vec![parent.id.clone()]),
            None => ParentOptions::default().force(true),
        };
        let backup_options =
            BackupOptions::default().no_scan(true).dry_run(options.dry_run).parent_opts(parent_options);
        let archived = self.gate.hold_snapshots_during(|| {
            self.bars.count_into(task, || repository.archive(&backup_options, reading, snapshot, &item.paths))
        });
        let archived = archived.map_err(|error| explain(*error)).context("write to the store")?;
        let taken = archived.summary.as_ref().map_or(0, |summary| summary.total_files_processed);
        let expected = reading.seen().expected_files();
        if taken != expected {
            // rustic_core logs an entry it could not store and goes on; then the snapshot would lack it.
            bail!("the store took {taken} of {expected} files");
        }
        Ok(archived)
    }
}

/// The snapshot with the tree of `parent`, when nothing changed since.
fn reuse(
    repository: &Repository<IndexedFullStatus>,
    parent: &Point,
    tree: &dyn Tree,
    item: &Item,
    snapshot: &SnapshotFile,
    task: &dyn Task,
) -> Result<Option<SnapshotFile>> {
    let begun = Zoned::now();
    let found = repository.get_snapshots(&[&parent.id]).map_err(|error| explain(*error))?;
    let Some(saved) = found.into_iter().next() else { return Ok(None) };
    let Some(equal) = unchanged::compare(repository, saved.tree, &item.paths, tree.entries(), task) else {
        return Ok(None);
    };
    let mut snapshot = snapshot.clone();
    let mut summary = snapshot.summary.take().unwrap_or_default();
    summary.files_unmodified = equal.files;
    summary.total_files_processed = equal.files;
    summary.total_bytes_processed = equal.bytes;
    summary.dirs_unmodified = equal.directories;
    summary.total_dirs_processed = equal.directories;
    summary.backup_end = Zoned::now();
    summary.backup_duration = begun.duration_until(&summary.backup_end).as_secs_f64();
    summary.total_duration = snapshot.time.duration_until(&summary.backup_end).as_secs_f64();
    summary.backup_start = begun;
    snapshot.summary = Some(summary);
    item.paths.iter().for_each(|path| snapshot.paths.add(path.to_string_lossy().into_owned()));
    snapshot.tree = saved.tree;
    snapshot.parent = Some(saved.id);
    snapshot.parents = vec![saved.id];
    Ok(Some(snapshot))
}
