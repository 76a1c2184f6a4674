//! The part of a backup that one Incus server does with another one, and what of it goes into the store.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use super::hooks::Mark;
use super::{Opened, Run, is_wanted};
use crate::commands::lock_source;
use crate::hooks::Around;
use crate::incus::api::Role;
use crate::incus::run::{self, Options};
use crate::incus::select::{self, Selected, Selection};
use crate::incus::{Replication, Servers, certificate, export, temporary};
use crate::job::Job;
use crate::report::{ItemReport, Outcome, Report, Saved};
use crate::select::Selector;
use crate::source::Item;
use crate::store::SaveOptions;

/// What a selector may mean of a replication. When its source cannot be asked that is whatever the selector says: why is told when it is its turn.
pub(super) fn known(replication: &Replication, selector: &Selector) -> Vec<String> {
    let ask = || -> Result<Selection> {
        let source = replication.server(Role::Source)?.context("it has no source")?;
        select::selection(&source, &replication.id, &replication.config)
    };
    match ask() {
        Ok(Selection { items, missing }) => {
            let items = items.iter().map(|item| item.subject.id(&replication.id));
            items.chain(missing.into_iter().map(|(item, _)| item)).collect()
        }
        Err(_) => vec![selector.example()],
    }
}

impl Run<'_> {
    /// Snapshots, copies and exports what is due. What fails for the whole of it is one line of the report.
    ///
    /// # Errors
    ///
    /// When another run has the lock of the source, or nothing can be reported.
    pub(super) fn replicate(
        &self,
        job: &Job,
        replication: &Replication,
        selectors: &[Selector],
        opened: Option<&mut Opened>,
        report: &mut Report,
    ) -> Result<()> {
        let begun = Instant::now();
        let _lock = if self.args.dry_run { None } else { Some(lock_source(self.context, &job.id)?) };
        let asked = replication.connect().and_then(|servers| {
            let selection = select::selection(&servers.source, &replication.id, &replication.config)?;
            Ok((servers, selection))
        });
        let mut around = self.around(Some(&job.id));
        let mark = Mark::behind(report);
        let done = asked.and_then(|(servers, selection)| {
            self.run_over(job, replication, &servers, selection, selectors, (opened, &mut around), report)
        });
        match done {
            Ok(result) => result?,
            Err(error) => {
                self.notifier.start();
                self.add(report, &job.id, Outcome::Failed(error), begun.elapsed())?;
            }
        }
        self.end(around, &mark, report);
        Ok(())
    }

    /// The outer error is one of the replication, the inner one ends the run.
    #[allow(clippy::too_many_arguments, reason = "the state of a run, handed on once")]
    fn run_over(
        &self,
        job: &Job,
        replication: &Replication,
        servers: &Servers,
        selection: Selection,
        selectors: &[Selector],
        (opened, around): (Option<&mut Opened>, &mut Around),
        report: &mut Report,
    ) -> Result<Result<()>> {
        for line in certificate::expiring(replication, servers, self.context.now()) {
            tracing::warn!("{}: {line}", job.id);
        }
        let options = Options { adopt: self.args.adopt, reseed: self.args.reseed };
        let mut run = run::Run::new(replication, servers, selection.items, options)?;
        if !self.args.dry_run {
            let (lines, errors) = run.mend();
            lines.iter().for_each(|line| tracing::warn!("{}: {line}", job.id));
            report.errors.extend(errors.into_iter().map(|error| error.context(job.id.clone())));
        }
        let ids = run.ids();
        let mut due = Vec::new();
        for (place, id) in ids.iter().enumerate().filter(|(_, id)| is_wanted(selectors, id)) {
            let stored = || {
                let points = opened.as_ref().map(|opened| opened.points_of(id)).unwrap_or_default();
                points.into_iter().filter(|point| point.complete).map(|point| point.time).max()
            };
            let newest = if servers.target.is_some() { run.newest(place) } else { stored() };
            match self.not_due_since(job, newest.into_iter()) {
                Some(outcome) => self.add(report, id, outcome, Duration::ZERO)?,
                None => due.push(place),
            }
        }
        let missing: Vec<_> = selection.missing.into_iter().filter(|(id, _)| is_wanted(selectors, id)).collect();
        if due.is_empty() && missing.is_empty() {
            return Ok(Ok(()));
        }
        match self.begin(around) {
            Some(Outcome::Away(why)) => {
                for id in due.iter().filter_map(|place| ids.get(*place)).chain(missing.iter().map(|(id, _)| id)) {
                    self.add(report, id, Outcome::Away(why.clone()), Duration::ZERO)?;
                }
                return Ok(Ok(()));
            }
            Some(failed) => return Ok(self.add(report, &job.id, failed, Duration::ZERO)),
            None => {}
        }
        self.notifier.start();
        let told_before = report.items.len();
        for (id, error) in missing {
            self.add(report, &id, Outcome::Failed(error), Duration::ZERO)?;
        }
        if replication.config.export && !self.args.dry_run {
            match temporary::sweep(servers, replication) {
                Ok(lines) => lines.iter().for_each(|line| tracing::warn!("{}: {line}", job.id)),
                Err(error) => report.errors.push(error.context(job.id.clone())),
            }
        }
        let monitor = &*self.context.monitor;
        let mut told = Ok(());
        let mut tell = |place: usize, outcome: Outcome, elapsed: Duration| {
            let item: &str = ids.get(place).map_or(job.id.as_str(), String::as_str);
            if told.is_ok() {
                told = self.add(report, item, outcome, elapsed);
            } else {
                report.items.push(ItemReport { item: item.to_owned(), outcome, elapsed });
            }
        };
        let mut errors = Vec::new();
        if self.args.dry_run {
            run.rehearse(&due, monitor, |place, outcome| tell(place, outcome, Duration::ZERO));
        } else {
            let store = match opened.filter(|_| replication.config.export) {
                Some(opened) => {
                    opened.hold(self.context)?;
                    Some(RefCell::new(opened))
                }
                None => None,
            };
            let save = |item: &Selected, snapshot: &str, time: DateTime<Utc>| match &store {
                Some(opened) => self.save_snapshot(job, replication, servers, (item, snapshot, time), &opened.borrow()),
                None => anyhow::bail!("no store is open"),
            };
            let save: Option<run::Export<'_>> = if store.is_some() { Some(&save) } else { None };
            errors = run.go(&due, self.context.now(), monitor, save, tell);
        }
        // Some are copied at a time; people look for them where they are configured.
        let order = |item: &ItemReport| ids.iter().position(|id| *id == item.item);
        if let Some(own) = report.items.get_mut(told_before..) {
            own.sort_by_key(order);
        }
        report.errors.extend(errors.into_iter().map(|error| error.context(job.id.clone())));
        Ok(told)
    }

    /// Saves what a snapshot of the source holds into the store.
    fn save_snapshot(
        &self,
        job: &Job,
        replication: &Replication,
        servers: &Servers,
        (selected, snapshot, time): (&Selected, &str, DateTime<Utc>),
        opened: &Opened,
    ) -> Result<Saved> {
        let item = Item { id: selected.subject.id(&replication.id), source: replication.id.clone(), paths: Vec::new() };
        let tree = export::open(servers, replication, selected, snapshot)?;
        let own = opened.points_of(&item.id);
        let newest = own.iter().max_by_key(|point| point.time).copied();
        let options = SaveOptions { time, parent: newest, newest, allow_empty: job.common.allow_empty, dry_run: false };
        opened.store.save(&item, tree, &options, &*self.context.monitor)
    }
}
