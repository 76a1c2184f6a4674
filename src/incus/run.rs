//! A run over the items of a replication: snapshots of all of them, then the copies, volumes before instances. What fails for one item is that item's outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};
use chrono::{DateTime, Utc};

use super::api::{Server, fingerprint};
use super::replica::{Copied, There, Way};
use super::select::Selected;
use super::snapshot::{self, Made};
use super::target::Place;
use super::{Replication, Servers, abreast, adapt, hold, reseed};
use crate::monitor::Monitor;
use crate::report::{self, Outcome, Saved};

/// How many copies are under way at a time.
const AT_ONCE: usize = 4;

/// How a run is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether what the target has without our mark is written to.
    pub adopt: bool,
    /// Whether replicas are made anew.
    pub reseed: bool,
}

/// Saves an item into the store as well, as it is in the snapshot of this name and time.
pub type Export<'e> = &'e dyn Fn(&Selected, &str, DateTime<Utc>) -> Result<Saved>;

/// A run, with what both servers say.
#[derive(Debug)]
pub struct Run<'r> {
    replication: &'r Replication,
    servers: &'r Servers,
    items: Vec<Selected>,
    /// What the target has, by project.
    places: BTreeMap<String, Place>,
    fingerprint: String,
    options: Options,
}

impl<'r> Run<'r> {
    /// Asks the target what it has. `items`: those of this run, as the source has them.
    ///
    /// # Errors
    ///
    /// When it cannot be asked, or lacks a project.
    pub fn new(
        replication: &'r Replication,
        servers: &'r Servers,
        items: Vec<Selected>,
        options: Options,
    ) -> Result<Self> {
        let certificate = servers.source.certificate().context("the source has shown no certificate")?;
        let fingerprint = fingerprint(&certificate);
        let mut run = Self { replication, servers, items, places: BTreeMap::new(), fingerprint, options };
        if let Some(target) = &servers.target {
            run.look(target)?;
        }
        Ok(run)
    }

    fn look(&mut self, target: &Server) -> Result<()> {
        let mut wanted: BTreeMap<&String, BTreeSet<&str>> = BTreeMap::new();
        for item in &self.items {
            wanted.entry(&item.subject.project).or_default().extend(adapt::wanted_pool(item));
        }
        let places =
            wanted.into_iter().map(|(project, pools)| Ok((project.clone(), Place::look(target, project, &pools)?)));
        self.places = places.collect::<Result<_>>()?;
        Ok(())
    }

    /// The ids of the items, in the order of the run.
    pub fn ids(&self) -> Vec<String> {
        self.items.iter().map(|item| self.id(item)).collect()
    }

    fn id(&self, item: &Selected) -> String {
        item.subject.id(&self.replication.id)
    }

    /// When the newest whole point of an item on the target was made.
    pub fn newest(&self, place: usize) -> Option<DateTime<Utc>> {
        let item = self.items.get(place)?;
        let mark = There::of(&item.subject, self.places.get(&item.subject.project)?).mark();
        (mark.item() == Some(self.id(item).as_str()))
            .then_some(mark.point)
            .flatten()
            .and_then(|point| super::snapshot_time(&point))
    }

    /// Puts right what a run that was killed has left: starts what it has stopped, and puts replicas back that it has put aside. Says what was done, and what
    /// could not be. Only under the lock of the source.
    pub fn mend(&mut self) -> (Vec<String>, Vec<Error>) {
        let (mut lines, mut errors) = (Vec::new(), Vec::new());
        for item in &mut self.items {
            let Some(instance) = &mut item.instance else { continue };
            match hold::mend(&self.servers.source, &item.subject, instance) {
                Ok(line) => lines.extend(line),
                Err(error) => errors.push(error),
            }
        }
        let Some(target) = &self.servers.target else { return (lines, errors) };
        let mut is_changed = false;
        for item in &self.items {
            let Some(place) = self.places.get(&item.subject.project) else { continue };
            let id = self.id(item);
            match reseed::settle(target, &id, &item.subject, place) {
                Ok(changed) => is_changed |= changed,
                Err(error) => {
                    errors.push(error.context(format!("put the replica of {id} in order, which was being made anew")))
                }
            }
        }
        if is_changed {
            errors.extend(self.look(target).err());
        }
        (lines, errors)
    }

    fn way<'w>(&'w self, target: &'w Server, monitor: &'w dyn Monitor) -> Way<'w> {
        Way {
            source: &self.servers.source,
            target,
            mode: self.replication.config.mode,
            fingerprint: &self.fingerprint,
            adopt: self.options.adopt,
            reseed: self.options.reseed,
            monitor,
        }
    }

    fn place(&self, item: &Selected) -> Result<&Place> {
        self.places.get(&item.subject.project).context("nothing is known of the target")
    }

    /// Says what would be done with these items (their places), and changes nothing.
    pub fn rehearse(&mut self, due: &[usize], monitor: &dyn Monitor, mut told: impl FnMut(usize, Outcome)) {
        for &place in due {
            let outcome = self.foresee(&self.items[place], monitor);
            if outcome.is_ok() {
                self.has_arrived(place);
            }
            told(place, outcome.unwrap_or_else(Outcome::Failed));
        }
    }

    /// A volume is on the target now: instances that have it need not go without.
    fn has_arrived(&mut self, place: usize) {
        let Selected { subject, volume, .. } = &self.items[place];
        let there = self.places.get_mut(&subject.project);
        if let (Some(there), Some(pool), Some(volume)) = (there, &subject.pool, volume) {
            let key = (pool.clone(), subject.name.clone());
            there.volumes.entry(key).or_insert_with(|| volume.clone());
        }
    }

    fn foresee(&self, item: &Selected, monitor: &dyn Monitor) -> Result<Outcome> {
        let id = self.id(item);
        let mut saved = Saved { time: Utc::now(), ..Saved::default() };
        let mut steps = Vec::new();
        if item.instance.as_ref().is_some_and(hold::was_left_stopped) {
            steps.push("started again, which a run that was killed has left stopped");
        }
        if snapshot::has_to_stop(item)? {
            steps.push("stopped for its snapshot and started again");
        }
        let mut is_first = false;
        if let Some(target) = &self.servers.target {
            let (way, place) = (self.way(target, monitor), self.place(item)?);
            way.check(&id, item, place)?;
            saved.problems = way.adapted(item, place)?.problems;
            is_first = matches!(There::of(&item.subject, place), There::Nothing);
            steps.push(match (is_first, self.options.reseed) {
                (true, _) => "copied to the target for the first time",
                (false, true) => "copied to the target anew, and the old replica deleted",
                (false, false) => "brought up to date on the target",
            });
        }
        if self.replication.config.export {
            steps.push("saved into the store");
        }
        monitor.say(&format!("{id}: it would be {}", steps.join(", ")));
        saved.copied = Some(report::Copied {
            is_first,
            to_target: self.servers.target.is_some(),
            exported: self.replication.config.export,
            bytes: 0,
        });
        Ok(saved.into_outcome())
    }

    /// Backs up these items (their places): `told` hears of each when it has ended. What failed beside the items is answered.
    pub fn go(
        &mut self,
        due: &[usize],
        now: DateTime<Utc>,
        monitor: &dyn Monitor,
        export: Option<Export<'_>>,
        mut told: impl FnMut(usize, Outcome, Duration),
    ) -> Vec<Error> {
        // What cannot be copied gets no snapshot either, night after night.
        let mut due: Vec<usize> = due.to_vec();
        if let Some(target) = &self.servers.target {
            let way = self.way(target, monitor);
            due.retain(|&place| {
                let item = &self.items[place];
                let ready = self.place(item).and_then(|there| {
                    way.check(&self.id(item), item, there)?;
                    way.adapted(item, there)
                });
                ready.map_err(|error| told(place, Outcome::Failed(error), Duration::ZERO)).is_ok()
            });
        }
        self.catch_up(&mut due, &snapshot::name(now), monitor, &mut told);
        let begun = Instant::now();
        let chosen: Vec<Selected> = due.iter().map(|place| self.items[*place].clone()).collect();
        let snapshots = snapshot::make(&self.servers.source, &chosen, now, self.replication.config.stop_timeout);
        let snapshots_took = begun.elapsed();
        let mut made = Vec::new();
        for (chosen, result) in snapshots.made {
            match result {
                Ok(snapshot) => made.push((due[chosen], snapshot)),
                Err(error) => told(due[chosen], Outcome::Failed(error), snapshots_took),
            }
        }
        let (volumes, instances): (Vec<_>, Vec<_>) =
            made.into_iter().partition(|(place, _)| self.items[*place].volume.is_some());
        for phase in [volumes, instances] {
            let arrived = self.copy_all(phase, monitor, export, &mut told);
            arrived.into_iter().for_each(|place| self.has_arrived(place));
        }
        snapshots.errors
    }

    /// Brings replicas up to the snapshots of others that have to be there before the next one, called `next`, is made. Takes out of `due` what fails.
    fn catch_up(
        &self,
        due: &mut Vec<usize>,
        next: &str,
        monitor: &dyn Monitor,
        told: &mut impl FnMut(usize, Outcome, Duration),
    ) {
        let Some(target) = &self.servers.target else { return };
        let way = self.way(target, monitor);
        due.sort_by_key(|place| self.items[*place].instance.is_some());
        due.retain(|&place| {
            let (item, begun) = (&self.items[place], Instant::now());
            let id = self.id(item);
            let caught_up = self.place(item).and_then(|there| match way.lags(&id, item, there, next) {
                Some(point) => way.copy(&id, item, &point, there).map(drop),
                None => Ok(()),
            });
            caught_up.map_err(|error| told(place, Outcome::Failed(error), begun.elapsed())).is_ok()
        });
    }

    /// Copies items, some at a time; answers those that arrived.
    fn copy_all(
        &self,
        items: Vec<(usize, Made)>,
        monitor: &dyn Monitor,
        export: Option<Export<'_>>,
        told: &mut impl FnMut(usize, Outcome, Duration),
    ) -> Vec<usize> {
        let arrived = Mutex::new(Vec::new());
        let work = |(place, made): (usize, Made)| {
            let begun = Instant::now();
            let item = &self.items[place];
            let copied = self
                .servers
                .target
                .as_ref()
                .map(|target| self.way(target, monitor).copy(&self.id(item), item, &made.name, self.place(item)?));
            if matches!(copied, Some(Ok(_))) {
                arrived.lock().unwrap_or_else(PoisonError::into_inner).push(place);
            }
            (place, made, copied, begun)
        };
        abreast::each(items, AT_ONCE, work, |(place, made, copied, begun)| {
            // One after the other: the store is written by this thread.
            let exported = export.map(|export| export(&self.items[place], &made.name, made.time));
            told(place, outcome(made, copied, exported), begun.elapsed());
        });
        arrived.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome(made: Made, copied: Option<Result<Copied>>, exported: Option<Result<Saved>>) -> Outcome {
    let (copied, exported) = match (copied.transpose(), exported.transpose()) {
        (Ok(copied), Ok(exported)) => (copied, exported),
        (Err(copy), Err(export)) => {
            return Outcome::Failed(
                copy.context(anyhow!("and it was not saved into the store: {}", crate::error::chain(&export))),
            );
        }
        (Err(error), Ok(_)) => return Outcome::Failed(error),
        (Ok(_), Err(error)) => return Outcome::Failed(error.context("save it into the store")),
    };
    let is_exported = exported.is_some();
    let mut saved = exported.unwrap_or_default();
    saved.snapshot = made.name;
    saved.time = made.time;
    let to_target = copied.is_some();
    let copied = copied.unwrap_or_default();
    saved.problem_count += copied.problems.len() as u64;
    saved.problems.extend(copied.problems);
    saved.copied =
        Some(report::Copied { is_first: copied.is_first, to_target, bytes: copied.bytes, exported: is_exported });
    saved.into_outcome()
}
