//! Saves a tree as a new point.
//!
//! The snapshot is the last thing written, once: after everything is in the repository, after the source has said that what it gave was
//! whole, and with the tag that tells when something is missing.

use std::sync::PoisonError;
use std::thread;

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Utc};
use rustic_core::Id;
use rustic_core::jiff::Zoned;
use rustic_core::repofile::{SnapshotFile, SnapshotSummary};

use super::format::BlobId;
use super::ingest::{Engine, Ingest, Problems};
use super::{Store, explain, points};
use crate::error::Annotate;
use crate::monitor::{Monitor, Unit};
use crate::report::Saved;
use crate::source::{Deposit, Item, Opener, Problem, Severity, Stored, Tree};
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
        let begun = Zoned::now();
        let mut snapshot = points::new_snapshot(item, options.time)?;
        item.paths.iter().for_each(|path| snapshot.paths.add(path.to_string_lossy().into_owned()));
        let mut summary = snapshot.summary.take().unwrap_or_default();
        let parent = self.parent(options, &mut snapshot)?;
        let engine = self.engine(options.dry_run)?;

        let problems = Problems::default();
        let task = monitor.start(&item.id, "save", Unit::Bytes);
        let root = thread::scope(|scope| {
            let total = options.newest.and_then(|point| point.bytes);
            match total {
                Some(total) => task.expect(total),
                None if monitor.is_watched() => {
                    let scan = || {
                        tree.size().inspect(|&size| task.expect(size));
                    };
                    // Without a thread to be had there is no total to be shown.
                    drop(thread::Builder::new().name("scan".to_owned()).spawn_scoped(scope, scan));
                }
                None => {}
            }
            let when_read = || tree.let_go(monitor);
            let work =
                Ingest { entries: tree.entries(), parent, problems: &problems, task: &*task, when_read: &when_read };
            engine.ingest(work, &mut summary)
        });
        task.finish();
        snapshot.tree = Id::from(root.context("write to the store")?).into();

        let made_up = tree.made_up();
        // A source that broke off has given nothing that could be judged.
        let concluded = tree
            .finish()
            .context("the source broke off")
            .and_then(|()| refuse_empty(&summary, made_up, item, options, &problems))
            .and_then(|()| {
                if problems.is_incomplete() {
                    points::mark_incomplete(&mut snapshot);
                }
                let end = Zoned::now();
                summary.backup_duration = begun.duration_until(&end).as_secs_f64();
                summary.total_duration = snapshot.time.duration_until(&end).as_secs_f64();
                (summary.backup_start, summary.backup_end) = (begun, end);
                snapshot.summary = Some(summary.clone());
                if options.dry_run { Ok(String::new()) } else { engine.write_snapshot(&snapshot) }
            });
        self.keep_engine(engine);
        Ok(Saved {
            snapshot: concluded?,
            time: options.time,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            bytes_processed: summary.total_bytes_processed,
            bytes_added: summary.data_added,
            bytes_stored: summary.data_added_packed,
            problems: problems.kept(),
            problem_count: problems.count(),
            copied: None,
        })
    }

    /// Where contents can be left for a tree that is saved next.
    pub fn deposit(&self) -> impl Deposit + '_ {
        ToStore(self)
    }

    /// Names the point before in the snapshot; the tree of it.
    fn parent(&self, options: &SaveOptions<'_>, snapshot: &mut SnapshotFile) -> Result<Option<BlobId>> {
        let Some(point) = options.parent else { return Ok(None) };
        let found = self.opened()?.get_snapshots(&[&point.id]).map_err(|error| explain(*error));
        let found = found.with_context(|| format!("read snapshot {}", point.short_id()))?;
        Ok(found.first().map(|saved| {
            snapshot.parent = Some(saved.id);
            snapshot.parents = vec![saved.id];
            BlobId::from(*saved.tree)
        }))
    }

    /// The engine of this run: its index is read once, and what one item added the next one finds.
    ///
    /// It is taken out while it works: one that failed or broke off counts on blobs that were not stored, and must not come back. Nor
    /// may one that only pretended to store serve one that does.
    pub(super) fn engine(&self, dry_run: bool) -> Result<Engine> {
        let kept = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.filter(|engine| engine.dry_run == dry_run).map_or_else(|| Engine::open(self, dry_run), Ok)
    }

    /// Gets the engine ready before the first save. An error is left to that save, which will meet it again.
    pub(super) fn prepare(&self) {
        // One that was made ready before is of another time.
        self.forget_engine();
        match Engine::open(self, false) {
            Ok(engine) => self.keep_engine(engine),
            Err(error) => tracing::debug!("cannot read the index yet: {error:#}"),
        }
    }

    /// Keeps the engine for the next item, after everything was stored.
    pub(super) fn keep_engine(&self, engine: Engine) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine);
    }

    /// Lets go of the engine, so that the next save reads the index anew.
    pub(super) fn forget_engine(&self) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[derive(Debug)]
struct ToStore<'s>(&'s Store);

impl Deposit for ToStore<'_> {
    fn take(
        &self,
        contents: &mut (dyn Iterator<Item = Opener> + Send),
        stored: &(dyn Fn(usize, Stored) + Sync),
    ) -> Result<()> {
        let engine = self.0.engine(false)?;
        engine.deposit(contents, stored).context("write to the store")?;
        self.0.keep_engine(engine);
        Ok(())
    }
}

/// A source that has nothing now but what was `made_up` of it, and had something before, is more likely not mounted than empty.
fn refuse_empty(
    summary: &SnapshotSummary,
    made_up: u64,
    item: &Item,
    options: &SaveOptions<'_>,
    problems: &Problems,
) -> Result<()> {
    let had_files = options.newest.and_then(|point| point.files).unwrap_or(0) > made_up;
    if summary.total_files_processed > made_up || !had_files || options.allow_empty {
        return Ok(());
    }
    let problems = problems.kept();
    if let Some(Problem { path, error, .. }) = problems.iter().find(|found| found.severity == Severity::Unread) {
        return Err(anyhow!("nothing could be read: {}: {error}", path.display()))
            .hint("May this user read it? holdall reads everything as root, or with CAP_DAC_READ_SEARCH.");
    }
    Err(anyhow!("nothing is there, but the newest point has files")).hint(format!(
        "Is something not mounted? If it is right that {} is empty now, set `allow-empty = true`.",
        item.source
    ))
}
