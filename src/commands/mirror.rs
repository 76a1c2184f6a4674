//! `holdall mirror`: copies to each mirror what it lacks, from the store and not from the sources.
//!
//! A mirror stands beside the backup: that it is away, full or opens with another password is an error of the run and of nothing else, and the next run catches up.
//! What the retention of the mirror would remove at once is not copied, or it would travel anew every night.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Error, Result, anyhow};
use chrono::{DateTime, Utc};

use super::mirrors::{about, lock_mirror};
use super::{Context, hold_to_read, known_items, open_store, show_report};
use crate::config::{Config, MirrorConfig};
use crate::error::{Annotate, ExitCode};
use crate::quantity::show_time;
use crate::report::Report;
use crate::report::mirror::MirrorReport;
use crate::retention;
use crate::retention::sides::rule_at;
use crate::select;
use crate::store::Store;
use crate::store::copy::{Copied, Missing};
use crate::timeline::{Point, Timeline};

/// Arguments of `mirror`.
#[derive(Debug, clap::Args)]
pub struct MirrorArgs {
    /// Which mirrors, by name, and which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "NAME|SELECTOR")]
    wanted: Vec<String>,

    /// Show what would be copied; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Runs `mirror`.
pub fn run(args: &MirrorArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    if config.mirrors.is_empty() {
        return Err(anyhow!("{} names no mirror", config.file.display()))
            .hint("Make one with `holdall onboard store --mirror NAME REPOSITORY`.")
            .exit(ExitCode::Usage);
    }
    let begun = Instant::now();
    let store = open_store(context, &config)?;
    let _held = if args.dry_run { None } else { hold_to_read(context, &store)? };
    let mut known: Vec<String> = config.mirrors.iter().map(|mirror| mirror.name.to_owned()).collect();
    known.extend(known_items(&config, &store.points()?));
    let chosen = select::resolve(&args.wanted, &known)?;
    // No item is called as a mirror is: it has a dot in it.
    let (mirrors, items): (Vec<String>, Vec<String>) = chosen.into_iter().partition(|name| !name.contains('.'));
    let is_meant = |mirror: &&MirrorConfig| mirrors.is_empty() || mirrors.iter().any(|name| name == mirror.name);
    let run = Run {
        context,
        config: &config,
        store: &store,
        items: (!items.is_empty()).then_some(&items),
        dry_run: args.dry_run,
    };
    let mut report = Report::default();
    for mirror in config.mirrors.iter().filter(is_meant) {
        run.catch_up(mirror, &mut report)?;
    }
    report.elapsed = begun.elapsed();
    let rehearsed = args.dry_run.then_some("This was a dry run: nothing was changed.");
    show_report(&report, "not every mirror is up to date", rehearsed, context)?;
    Ok(report.exit_code())
}

/// Catches up every mirror after a backup, while the store is held; those that went well.
///
/// # Errors
///
/// When nothing can be reported.
pub fn after_backup<'c>(
    context: &Context,
    config: &'c Config,
    store: &Store,
    report: &mut Report,
) -> Result<Vec<&'c MirrorConfig>> {
    let run = Run { context, config, store, items: None, dry_run: false };
    let mut well = Vec::new();
    for mirror in &config.mirrors {
        if run.catch_up(mirror, report)? {
            well.push(mirror);
        }
    }
    Ok(well)
}

/// What is needed to catch mirrors up.
struct Run<'r> {
    context: &'r Context,
    config: &'r Config,
    store: &'r Store,
    /// The items that are meant; `None`: all.
    items: Option<&'r Vec<String>>,
    dry_run: bool,
}

impl Run<'_> {
    /// Catches one mirror up, and reports; whether it went well.
    fn catch_up(&self, mirror: &MirrorConfig, report: &mut Report) -> Result<bool> {
        let begun = Instant::now();
        let (copied, errors) = match self.copy(mirror) {
            Ok(Copied { points, bytes, failed }) => ((points, bytes), failed),
            Err(error) => ((0, 0), vec![error]),
        };
        let errors: Vec<Error> = errors.into_iter().map(|error| error.context(about(mirror))).collect();
        let line = MirrorReport {
            mirror: mirror.name,
            is_well: errors.is_empty(),
            copied: copied.0,
            bytes: copied.1,
            elapsed: begun.elapsed(),
            is_rehearsal: self.dry_run,
        };
        if self.context.output.json {
            self.context.output.json_line(&line.to_json(&errors))?;
        }
        let is_well = line.is_well;
        report.mirrors.push(line);
        report.errors.extend(errors);
        Ok(is_well)
    }

    fn copy(&self, mirror: &MirrorConfig) -> Result<Copied> {
        let there = Store::open_mirror(mirror, self.context.monitor.clone())?;
        // Who lacks nothing is not disturbed by a lock.
        let lacking = self.lacking(mirror, &there)?;
        if lacking.is_empty() || self.dry_run {
            self.rehearse(mirror, &lacking)?;
            return Ok(Copied { points: lacking.len() as u64, ..Copied::default() });
        }
        let _lock = lock_mirror(self.context, mirror)?;
        let monitor = &*self.context.monitor;
        let _held = there.hold_to_save(self.context.global.lock_wait, monitor)?;
        // Whoever was waited for may have done the work.
        let lacking = self.lacking(mirror, &there)?;
        self.store.copy(&lacking, &there, &about(mirror), monitor)
    }

    /// What a mirror lacks, of what it is to have.
    fn lacking(&self, mirror: &MirrorConfig, there: &Store) -> Result<Vec<Missing>> {
        let mut lacking = self.store.lacking_in(there)?;
        lacking.retain(|missing| {
            let item = &missing.point.item;
            mirror.wants(item) && self.items.is_none_or(|items| items.contains(item))
        });
        if lacking.is_empty() {
            return Ok(lacking);
        }
        let points = there.points()?;
        if points.is_empty() && !self.store.cuts_as(there)? {
            tracing::warn!("{}: {CUTS_OTHERWISE}", about(mirror));
        }
        Ok(worth_keeping(self.config, there, points, lacking, self.context.now()))
    }

    fn rehearse(&self, mirror: &MirrorConfig, lacking: &[Missing]) -> Result<()> {
        if self.context.output.json {
            return Ok(());
        }
        lacking.iter().rev().try_for_each(|Missing { point, .. }| {
            let (id, time) = (point.short_id(), show_time(point.time));
            self.context.output.line(&format!("would copy {id}  {time}  {} to {}", point.item, mirror.name))
        })
    }
}

/// Why a mirror is worth less than it could be.
pub(super) const CUTS_OTHERWISE: &str = "it was not made for this store, and cuts files in other places: copies are as small as in the store, but what another \
                                         program saves into it is stored twice";

/// Leaves out what the retention of the mirror would remove at once.
fn worth_keeping(
    config: &Config,
    there: &Store,
    points: Vec<Point>,
    lacking: Vec<Missing>,
    now: DateTime<Utc>,
) -> Vec<Missing> {
    let mut by_item: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    let all = lacking.iter().map(|missing| missing.point.clone()).chain(points);
    all.for_each(|point| by_item.entry(point.item.clone()).or_default().push(point));
    let mut kept = BTreeSet::new();
    for (item, points) in &by_item {
        let rule = rule_at(config, item, there.place());
        let verdicts = retention::plan(rule.map(|rule| &rule.policy), points, now);
        kept.extend(points.iter().zip(verdicts).filter(|(_, verdict)| verdict.keep).map(|(point, _)| point.id.clone()));
    }
    lacking.into_iter().filter(|missing| kept.contains(&missing.point.id)).collect()
}
