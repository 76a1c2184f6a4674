//! `verify --restore`: tries for each item whether files of its newest point come back, see [`crate::rehearsal`].

use std::ffi::OsStr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::VerifyArgs;
use crate::commands::ls::rows::path_text;
use crate::commands::{Context, known_items, lock_source};
use crate::config::{Config, locate};
use crate::output::printable;
use crate::quantity::show_bytes;
use crate::rehearsal::{Draw, Rehearsed, Scratch, rehearse};
use crate::select;
use crate::store::{SavedTree, Store};
use crate::timeline::{Point, Timeline};

/// What came of the rehearsals of all items.
pub(super) struct Rehearsals {
    seed: u64,
    count: usize,
    items: Vec<(Point, Rehearsed)>,
}

/// Restores files of the newest point of each item that the selectors mean.
///
/// # Errors
///
/// When a selector means nothing, or there is no room.
pub(super) fn run(
    count: usize,
    args: &VerifyArgs,
    context: &Context,
    config: &Config,
    store: &Store,
) -> Result<Rehearsals> {
    let points = store.points()?;
    let wanted = select::resolve(&args.selectors, &known_items(config, &points))?;
    let parent = match &args.scratch {
        Some(directory) => directory.clone(),
        None => locate::cache_dir().unwrap_or_else(std::env::temp_dir),
    };
    // What another run has there must not be taken for what one has left that was killed.
    let _lock = lock_source(context, "rehearsal")?;
    let scratch = Scratch::below(&parent)?;
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    tracing::info!("files are chosen with --seed {seed}, and restored for a moment into {}", scratch.path().display());
    let mut rehearsals = Rehearsals { seed, count, items: Vec::new() };
    let mut last: Option<SavedTree> = None;
    for item in wanted {
        let own = points.iter().filter(|point| point.item == item);
        let Some(newest) = own.max_by_key(|point| point.time) else {
            context.monitor.say(&format!("{item} has no point in the store yet; nothing was tried"));
            continue;
        };
        let opened = match &last {
            Some(last) => last.beside(newest),
            None => store.tree(newest),
        };
        let saved = opened.with_context(|| format!("open point {} of {item}", newest.short_id()))?;
        let rehearsed = rehearse(&saved, count, &Draw::new(seed, &item), &scratch, &*context.monitor)?;
        last = Some(saved);
        rehearsals.items.push((newest.clone(), rehearsed));
    }
    Ok(rehearsals)
}

impl Rehearsals {
    /// What is not as in its point, by name.
    pub(super) fn faults(&self) -> Vec<String> {
        let of = |(point, rehearsed): &(Point, Rehearsed)| {
            let tried = rehearsed.tried.iter().filter_map(|tried| {
                let fault = tried.fault.as_deref()?;
                Some(format!("{}@{}:{}: {fault}", point.item, point.short_id(), printable(tried.path.as_os_str())))
            });
            let errors = rehearsed.errors.iter().map(|error| format!("{}@{}: {error}", point.item, point.short_id()));
            tried.chain(errors).collect::<Vec<_>>()
        };
        self.items.iter().flat_map(of).collect()
    }

    /// What to type to try the same files again.
    pub(super) fn again(&self) -> String {
        format!("holdall verify --restore={} --seed {}", self.count, self.seed)
    }

    /// How much was tried, in one line.
    pub(super) fn summary(&self) -> String {
        let tried = || self.items.iter().flat_map(|(_, rehearsed)| &rehearsed.tried);
        let bytes = tried().map(|tried| tried.bytes).fold(0, u64::saturating_add);
        let items = self.items.len();
        let (files, item) = (tried().count(), if items == 1 { "item" } else { "items" });
        let file = if files == 1 { "file" } else { "files" };
        format!("restored {files} {file} of {items} {item} ({})", show_bytes(bytes))
    }

    /// Prints what was tried: a line an item, and with -v a line a file.
    pub(super) fn print(&self, context: &Context) -> Result<()> {
        for (point, Rehearsed { tried, files, too_large, .. }) in &self.items {
            let (item, id) = (printable(OsStr::new(&point.item)), point.short_id());
            let well = tried.iter().filter(|tried| tried.fault.is_none());
            let (count, bytes) =
                well.clone().fold((0, 0_u64), |(count, sum), tried| (count + 1, sum.saturating_add(tried.bytes)));
            if !context.global.quiet {
                context.output.line(&format!(
                    "{item}@{id}: {count} of {files} files came back as they were ({})",
                    show_bytes(bytes)
                ))?;
            }
            if context.global.verbose > 0 {
                for tried in well {
                    let path = printable(tried.path.as_os_str());
                    context.output.line(&format!("    {path}  {}", show_bytes(tried.bytes)))?;
                }
            }
            if *too_large > 0 {
                tracing::warn!(
                    hint = "Name a directory on a larger disk with --scratch DIR.",
                    "{too_large} of the {files} files of {item} are larger than what is free in the scratch folder, and were not tried"
                );
            }
        }
        for fault in self.faults() {
            context.output.line(&format!("not restored: {fault}"))?;
        }
        Ok(())
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        let items = self.items.iter().map(|(point, rehearsed)| {
            let tried = rehearsed.tried.iter().map(|tried| {
                json!({"path": path_text(&tried.path), "bytes": tried.bytes, "ok": tried.fault.is_none(), "error": tried.fault})
            });
            json!({
                "item": point.item,
                "point": point.id,
                "ok": rehearsed.is_well(),
                "files": rehearsed.files,
                "too_large": rehearsed.too_large,
                "tried": tried.collect::<Vec<_>>(),
                "errors": rehearsed.errors,
            })
        });
        json!({"seed": self.seed, "items": items.collect::<Vec<_>>()})
    }
}
