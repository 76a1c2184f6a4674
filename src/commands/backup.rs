//! `holdall backup`: back up what is due, and tell how it went.
//!
//! Sources run one after another. What fails for one item is that item's outcome; only what concerns the whole run (configuration, store,
//! lock) ends it. Whether an item is due is read from the store: there is no other state.
//!
//! It is longer than others, because the state of a run (arguments, store, report) is used in every part of it; what servers do among themselves is below.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow};
use chrono::{DateTime, Utc};

use self::hooks::Mark;
use super::status::Freshness;
use super::{Context, known_items, lock_source, lock_store, open_store, show_report, try_lock_source};
use super::{mirror, prune};
use crate::cleanup::Guard;
use crate::config::{Config, MirrorConfig};
use crate::error::{Annotate, ExitCode, chain, exit_code, hinted};
use crate::hooks::Around;
use crate::job::{Driver, Job};
use crate::lock::Lock;
use crate::notify::Notifier;
use crate::notify::standing::Standing;
use crate::quantity::{show_duration, show_time};
use crate::report::file::{Recorder, file_in_broken_config};
use crate::report::{ItemReport, Outcome, Report, json};
use crate::select::{self, Selector};
use crate::source::{Away, Item, OpenOptions, Readiness, Source};
use crate::store::locks::Held;
use crate::store::{SaveOptions, Store};
use crate::timeline::{Point, Timeline};

mod hooks;
mod replicate;
mod standing;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// Which sources or items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR", add = super::completions::selectors())]
    selectors: Vec<String>,

    /// Read everything and show what would be saved; change nothing, tell nobody
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Back up also what is not due
    #[arg(long)]
    force: bool,

    /// Apply retention afterwards, to the items that were backed up without a failure
    #[arg(long)]
    prune: bool,

    /// Devices: have everything sent anew, and not only what has changed
    #[arg(long)]
    full: bool,

    /// Incus: write also to instances and volumes of the target that holdall did not make, or made of another server
    #[arg(long)]
    adopt: bool,

    /// Incus: copy anew what cannot be refreshed, and delete the old replica after that
    #[arg(long, requires = "selectors")]
    reseed: bool,
}

/// Runs `backup`.
pub fn run(args: &BackupArgs, context: &Context) -> Result<ExitCode> {
    let config = match context.config() {
        Ok(config) => config,
        Err(error) => {
            if !args.dry_run {
                let text = fs::read_to_string(context.config_file()).unwrap_or_default();
                Notifier::for_broken_config(&context.config_file(), &text).fail(&error, exit_code(&error));
                let file = file_in_broken_config(&text);
                Recorder::new(file.as_deref(), "backup", context.now()).fail(&error, exit_code(&error));
            }
            return Err(error);
        }
    };
    let notifier = Arc::new(if args.dry_run { Notifier::silent() } else { Notifier::new(&config) });
    let on_signal = Guard::new({
        let notifier = notifier.clone();
        move |signal| match signal {
            Some(code) => notifier.signal(code),
            // It is disarmed below, unless a panic goes by.
            None => notifier.fail(&anyhow!("holdall broke off: this is a fault in the program"), ExitCode::Failed),
        }
    });
    let file = config.report_file.as_deref().filter(|_| !args.dry_run);
    let recorder = Arc::new(Recorder::new(file, "backup", context.now()));
    let recording = recorder.guard();
    let begun = Instant::now();
    let result = Run { args, context, config: &config, notifier: &notifier, recorder: &recorder, begun }.run();
    on_signal.disarm();
    recording.disarm();
    match result {
        Ok(Ended { mut report, standing }) => {
            report.elapsed = begun.elapsed();
            recorder.finish(&report);
            notifier.finish(&report, standing.as_ref());
            let rehearsed = "This was a dry run: nothing was changed, and nobody was told.";
            show_report(&report, "the backup is not whole", args.dry_run.then_some(rehearsed), context)?;
            Ok(report.exit_code())
        }
        Err(error) => {
            recorder.fail(&error, exit_code(&error));
            notifier.fail(&error, exit_code(&error));
            Err(error)
        }
    }
}

/// The store, as this run has it.
struct Opened {
    store: Store,
    points: Vec<Point>,
    /// Taken when the first item is due: most runs of a timer find nothing to do and disturb nobody.
    held: Option<Held>,
}

impl Opened {
    fn hold(&mut self, context: &Context) -> Result<()> {
        if self.held.is_none() {
            self.held = Some(self.store.hold_to_save(context.global.lock_wait, &*context.monitor)?);
            // Whoever was waited for may have removed points.
            self.points = self.store.points()?;
        }
        Ok(())
    }

    fn points_of(&self, item: &str) -> Vec<&Point> {
        self.points.iter().filter(|point| point.item == item).collect()
    }
}

/// A run that came to its end.
#[derive(Default)]
struct Ended {
    report: Report,
    /// How every item stands, if somebody wants to know.
    standing: Option<Standing>,
}

/// One run, on its way.
struct Run<'r> {
    args: &'r BackupArgs,
    context: &'r Context,
    config: &'r Config,
    notifier: &'r Notifier,
    recorder: &'r Recorder,
    begun: Instant,
}

impl Run<'_> {
    fn run(&self) -> Result<Ended> {
        if self.config.sources.is_empty() {
            // A run that saves nothing must not look like one that had nothing to do.
            return Err(anyhow!("{} names nothing to back up", self.config.file.display()))
                .hint("Add a source, for instance with `holdall onboard files host /etc /home`.")
                .exit(ExitCode::Usage);
        }
        let jobs = Job::all(self.config)?;
        let selectors: Vec<Selector> =
            self.args.selectors.iter().map(|selector| Selector::parse(selector)).collect::<Result<_>>()?;
        // What servers do among themselves needs no store.
        let mut concerned = jobs.iter().filter(|job| is_concerned(&selectors, &job.id)).peekable();
        let needs_store = concerned.peek().is_none() || concerned.any(Job::needs_store);
        let _lock = if self.args.dry_run || !needs_store { None } else { Some(lock_store(self.context, self.config)?) };
        self.around_run(&jobs, &selectors, || self.work(&jobs, &selectors, needs_store))
    }

    /// What is done between the hooks of the run.
    fn work(&self, jobs: &[Job], selectors: &[Selector], needs_store: bool) -> Result<Ended> {
        let mut early = None;
        let mut opened = None;
        if needs_store {
            let store = thread::scope(|scope| {
                // A hook may have to see to it first that it is there.
                let is_early = |job: &&Job| is_wanted(selectors, &job.id) && self.config.hooks.of(&job.id).is_empty();
                let first = jobs.first().filter(is_early);
                let looking = first.and_then(|job| {
                    thread::Builder::new().name("look".to_owned()).spawn_scoped(scope, || self.look(job)).ok()
                });
                let store = open_store(self.context, self.config);
                early = looking.and_then(|looking| looking.join().ok());
                store
            })?;
            opened = Some(Opened { points: store.points()?, store, held: None });
        }
        let points = opened.as_ref().map_or(&[][..], |opened| &opened.points);
        let known = self.known(jobs, selectors, points);
        let wanted = select::resolve(&self.args.selectors, &known)?;

        let mut report = Report::default();
        for job in jobs {
            let below = format!("{}/", job.id);
            if wanted.iter().any(|item| *item == job.id || item.starts_with(&below)) {
                match &job.driver {
                    Driver::Source(source) => {
                        let opened = opened.as_mut().with_context(|| format!("{} has no store", job.id))?;
                        // Of the first one it is known already.
                        let readiness = early.take().flatten();
                        self.back_up_source(job, &**source, readiness, selectors, opened, &mut report)?;
                    }
                    Driver::Replication(replication) => {
                        self.replicate(job, replication, selectors, opened.as_mut(), &mut report)?;
                    }
                }
            }
            early = None;
        }
        let mirrors = self.mirror(opened.as_mut(), &mut report)?;
        let store = opened.map(|opened| opened.store);
        if let Some(store) = &store {
            self.complain_of_stale(store, &mut report);
        }
        if self.args.prune {
            match self.prune(store.as_ref(), &mirrors, &report) {
                // Everything is saved, and the next run prunes as well: nothing is wrong with a store that others use too.
                Err(error) if exit_code(&error) == ExitCode::Locked => {
                    tracing::warn!("not pruned this time: {}", chain(&error));
                }
                Err(error) => report.errors.push(error.context("prune")),
                Ok(errors) => report.errors.extend(errors),
            }
        }
        let standing = self.standing(store.as_ref());
        Ok(Ended { report, standing })
    }

    /// What a selector can mean: what has points, and what there is to back up now in a source of which something is named that has none.
    fn known(&self, jobs: &[Job], selectors: &[Selector], points: &[Point]) -> Vec<String> {
        let mut known = known_items(self.config, points);
        let is_below = |job: &Job, selector: &Selector| selector.is_below(&job.id);
        for selector in
            selectors.iter().filter(|selector| !known.iter().any(|id| selector.matches(id))).collect::<Vec<_>>()
        {
            for job in jobs.iter().filter(|job| is_below(job, selector)) {
                // That it cannot be asked is told when it is its turn, if it ever is.
                let items = match &job.driver {
                    Driver::Source(source) => {
                        source.items().unwrap_or_default().into_iter().map(|item| item.id).collect()
                    }
                    Driver::Replication(replication) => replicate::known(replication, selector),
                };
                known.extend(items.into_iter().filter(|id| !points.iter().any(|point| point.item == *id)));
            }
        }
        known
    }

    /// Asks a source whether it is ready, while the store is being opened; what it then needs takes time, too.
    fn look(&self, job: &Job) -> Option<Result<Readiness>> {
        let Driver::Source(source) = &job.driver else { return None };
        let readiness = source.preflight();
        // Whether it is due is only known from the store.
        let is_due = job.common.every.is_none() || self.args.force;
        if is_due && matches!(readiness, Ok(Readiness::Ready)) {
            source.anticipate();
        }
        Some(readiness)
    }

    /// Backs up what is due of a source, between its hooks.
    fn back_up_source(
        &self,
        job: &Job,
        source: &dyn Source,
        readiness: Option<Result<Readiness>>,
        selectors: &[Selector],
        opened: &mut Opened,
        report: &mut Report,
    ) -> Result<()> {
        let mut around = self.around(Some(&job.id));
        let mark = Mark::behind(report);
        let mut lock = None;
        if !around.set().is_empty() && self.is_due_unasked(job, opened) {
            lock = self.lock_to_save(job)?;
            if let Some(outcome) = self.begin(&mut around) {
                self.add(report, &job.id, outcome, Duration::ZERO)?;
                self.end(around, &mark, report);
                return Ok(());
            }
        }
        let result = self.back_up_items(job, source, readiness, selectors, opened, report, (&mut around, lock));
        if let Err(error) = source.close() {
            report.errors.push(error.context(job.id.clone()));
        }
        result?;
        self.end(around, &mark, report);
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the state of a run, handed on once")]
    fn back_up_items(
        &self,
        job: &Job,
        source: &dyn Source,
        readiness: Option<Result<Readiness>>,
        selectors: &[Selector],
        opened: &mut Opened,
        report: &mut Report,
        (around, mut lock): (&mut Around, Option<Lock>),
    ) -> Result<()> {
        let begun = Instant::now();
        let readiness = readiness.unwrap_or_else(|| source.preflight());
        let mut is_mended = false;
        if lock.is_none() && !self.args.dry_run && matches!(readiness, Ok(Readiness::Ready)) {
            lock = self.mend_early(job, source, report);
            is_mended = lock.is_some();
        }
        let items = match readiness {
            Ok(Readiness::Ready) => source.items(),
            Ok(Readiness::Away(why)) => return self.add(report, &job.id, Outcome::Away(why), begun.elapsed()),
            Err(error) => Err(error),
        };
        let items = match items {
            Ok(items) => items,
            Err(error) => {
                self.notifier.start();
                return self.add(report, &job.id, Outcome::Failed(error), begun.elapsed());
            }
        };
        let mut not_now = None;
        for item in items.iter().filter(|item| is_wanted(selectors, &item.id)) {
            let begun = Instant::now();
            let outcome = match (self.not_due(job, &opened.points_of(&item.id)), &not_now) {
                (Some(outcome), _) => outcome,
                (None, Some(why)) => Outcome::Away(String::clone(why)),
                (None, None) => {
                    if lock.is_none() {
                        lock = self.lock_to_save(job)?;
                    }
                    match self.begin(around) {
                        Some(Outcome::Away(why)) => {
                            not_now = Some(why.clone());
                            Outcome::Away(why)
                        }
                        Some(failed) => return self.add(report, &job.id, failed, begun.elapsed()),
                        None => {
                            self.notifier.start();
                            if !self.args.dry_run && !std::mem::replace(&mut is_mended, true) {
                                // Whoever had the lock may have been killed.
                                self.mend(job, source, report);
                            }
                            if !self.args.dry_run {
                                opened.hold(self.context)?;
                            }
                            let saved = self.save(job, source, item, &opened.points_of(&item.id), &opened.store);
                            saved.unwrap_or_else(outcome_of)
                        }
                    }
                }
            };
            self.add(report, &item.id, outcome, begun.elapsed())?;
        }
        Ok(())
    }

    /// Takes the lock of a source of which something is due.
    fn lock_to_save(&self, job: &Job) -> Result<Option<Lock>> {
        if self.args.dry_run { Ok(None) } else { lock_source(self.context, &job.id).map(Some) }
    }

    /// Puts right what a killed run of this source has left, whether or not anything is due; the lock of the source if it was needed. While another run
    /// is under way there is nothing to be put right.
    fn mend_early(&self, job: &Job, source: &dyn Source, report: &mut Report) -> Option<Lock> {
        match source.needs_mending() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                report.errors.push(error.context(job.id.clone()));
                return None;
            }
        }
        let lock = try_lock_source(&job.id).ok()?;
        self.mend(job, source, report);
        Some(lock)
    }

    /// See [`crate::source::Source::mend`].
    fn mend(&self, job: &Job, source: &dyn Source, report: &mut Report) {
        match source.mend() {
            Ok(lines) => lines.iter().for_each(|line| tracing::warn!("{}: {line}", job.id)),
            Err(error) => report.errors.push(error.context(job.id.clone())),
        }
    }

    /// Says that an item is not due, if so. A point dated in the future says nothing about today.
    fn not_due(&self, job: &Job, own: &[&Point]) -> Option<Outcome> {
        self.not_due_since(job, own.iter().map(|point| point.time))
    }

    fn not_due_since(&self, job: &Job, times: impl Iterator<Item = DateTime<Utc>>) -> Option<Outcome> {
        let every = job.common.every.filter(|_| !self.args.force)?;
        let now = self.context.now();
        let newest = times.filter(|time| *time <= now).max()?;
        let due: DateTime<Utc> = newest.checked_add_signed(chrono::Duration::from_std(every).ok()?)?;
        (due > now).then_some(Outcome::NotDue { newest, due })
    }

    fn save(&self, job: &Job, source: &dyn Source, item: &Item, own: &[&Point], store: &Store) -> Result<Outcome> {
        let monitor = &*self.context.monitor;
        let newest = own.iter().max_by_key(|point| point.time).copied();
        // An incomplete point would make everything that it lacks be read again.
        let parent = own.iter().filter(|point| point.complete).max_by_key(|point| point.time).copied().or(newest);
        let previous = match parent.filter(|_| source.wants_previous()) {
            Some(point) => Some(store.tree(point)?),
            None => None,
        };
        let deposit = store.deposit();
        let opening = OpenOptions {
            previous: previous.as_ref(),
            dry_run: self.args.dry_run,
            full: self.args.full,
            deposit: (!self.args.dry_run).then_some(&deposit),
        };
        let tree = source.open(item, &opening, monitor)?;
        // It has what it needs of the point before, whose index takes memory.
        drop(previous);
        let options = SaveOptions {
            time: self.context.now(),
            parent,
            newest,
            allow_empty: job.common.allow_empty,
            dry_run: self.args.dry_run,
        };
        Ok(store.save(item, tree, &options, monitor)?.into_outcome())
    }

    fn add(&self, report: &mut Report, item: &str, outcome: Outcome, elapsed: Duration) -> Result<()> {
        let item = ItemReport { item: item.to_owned(), outcome, elapsed };
        if self.context.output.json {
            self.context.output.json_line(&json::item_json(&item))?;
        }
        self.recorder.add(&item);
        report.items.push(item);
        Ok(())
    }

    /// A source may be away, but not for longer than `max-age`: then the run is not well, and the monitor hears of it.
    fn complain_of_stale(&self, store: &Store, report: &mut Report) {
        let away = |item: &&ItemReport| matches!(item.outcome, Outcome::Away(_));
        let away: Vec<&str> = report.items.iter().filter(away).map(|item| item.item.as_str()).collect();
        if self.args.dry_run || away.is_empty() {
            return;
        }
        match store.points() {
            Ok(points) => {
                let freshness = |item: &str| Freshness::of(item, self.config, &points, self.context.now());
                let stale: Vec<Error> = away
                    .into_iter()
                    .map(freshness)
                    .filter(Freshness::is_stale)
                    .map(|freshness| stale_error(&freshness))
                    .collect();
                report.errors.extend(stale);
            }
            // What became of each item is known and must be told all the same.
            Err(error) => report.errors.push(error.context("see how old the newest points are")),
        }
    }

    /// Catches the mirrors up when anything was due: also with what earlier runs could not copy. Those that have everything now.
    fn mirror(&self, opened: Option<&mut Opened>, report: &mut Report) -> Result<Vec<&MirrorConfig>> {
        let Some(opened) = opened.filter(|_| !self.config.mirrors.is_empty()) else { return Ok(Vec::new()) };
        if self.args.dry_run || report.nothing_was_due() {
            return Ok(Vec::new());
        }
        if let Err(error) = opened.hold(self.context) {
            report.errors.push(error.context("copy to the mirrors"));
            return Ok(Vec::new());
        }
        mirror::after_backup(self.context, self.config, &opened.store, report)
    }

    fn prune(&self, store: Option<&Store>, mirrors: &[&MirrorConfig], report: &Report) -> Result<Vec<Error>> {
        let is_well = |item: &ItemReport| matches!(item.outcome, Outcome::Saved(_) | Outcome::Incomplete(_));
        let well: Vec<&str> = report.items.iter().filter(|item| is_well(item)).map(|item| item.item.as_str()).collect();
        if well.is_empty() {
            // A timer asks every half hour; without a new point there is nothing more to remove than before.
            return Ok(Vec::new());
        }
        prune::after_backup(self.context, self.config, store, mirrors, &well, self.args.dry_run)
    }
}

/// What an item that could not be saved comes to.
fn outcome_of(error: Error) -> Outcome {
    match error.downcast_ref::<Away>() {
        Some(Away(why)) => Outcome::Away(why.clone()),
        None => Outcome::Failed(error),
    }
}

/// Whether a selector may mean something of the source `id`.
fn is_concerned(selectors: &[Selector], id: &str) -> bool {
    is_wanted(selectors, id) || selectors.iter().any(|selector| selector.is_below(id))
}

fn is_wanted(selectors: &[Selector], item: &str) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(item))
}

fn stale_error(freshness: &Freshness) -> Error {
    let max_age = freshness.max_age.map(show_duration).unwrap_or_default();
    let text = match (freshness.newest, freshness.age) {
        (Some(newest), Some(age)) => {
            let (newest, age) = (show_time(newest), show_duration(age));
            anyhow!("the newest point of {} is {age} old ({newest} UTC); {max_age} is allowed", freshness.item)
        }
        _ => anyhow!("there is no point of {} yet; one that is at most {max_age} old is wanted", freshness.item),
    };
    hinted(text, "Bring it within reach, then run `holdall backup`.").context("stale")
}
