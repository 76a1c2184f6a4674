//! Holds containers still while what they write to is read: stops or freezes those that run, and brings them back whatever happens.
//!
//! What is done to which is decided in [`modes`], in which order in [`order`]. Before the first one is held a [`mark`] of all is left in the engine, and a
//! guard is armed ([`work`]): a run that fails, panics, or is told to end lets go before it ends, and what a run that was killed has held is brought [`back`] by the
//! next one, or by `holdall check` ([`mend`]).

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};

use super::engine::{self, Container, Engine};
use crate::cleanup::{self, Guard};
use crate::config::HoldConfig;
use crate::error::complain;
use crate::monitor::Monitor;

mod back;
mod holding;
mod mark;
mod modes;
mod order;
mod work;

pub(crate) use holding::{Failures, Holding};
pub(crate) use modes::LABEL;

use back::Back;
use mark::{Mark, Step};
use modes::Way;
use order::Graph;
use work::Work;

/// How many containers are held or started at a time.
const AT_ONCE: usize = 16;

/// Whoever holds, and how.
pub(crate) struct Holder<'h> {
    pub(crate) engine: &'h Engine,
    /// `docker.nas`
    pub(crate) source: &'h str,
    pub(crate) config: &'h HoldConfig,
}

impl Holder<'_> {
    /// Whether any of `users` has to be held, as far as it alone is concerned: if not, nobody else has to be asked for.
    ///
    /// # Errors
    ///
    /// When a label means nothing.
    pub(crate) fn is_needed(&self, users: &[Container]) -> Result<bool> {
        Ok(!self.plan(users, &[], &[])?.0.is_empty())
    }

    /// The ids of those that [`Holder::hold`] would hold.
    ///
    /// # Errors
    ///
    /// When a label means nothing.
    pub(crate) fn would_hold(
        &self,
        users: &[Container],
        all: &[Container],
        depends: &[(String, String)],
    ) -> Result<Vec<String>> {
        Ok(self.plan(users, all, depends)?.0.into_iter().map(|step| step.id).collect())
    }

    /// Holds those of `users` that run, and whoever has to stop with them. `all`: every container of the engine; `depends`: ids, each with that of a container it
    /// needs, known from elsewhere than labels.
    ///
    /// # Errors
    ///
    /// When a label means nothing, or one could not be held; then none is held any more.
    pub(crate) fn hold(
        &self,
        users: &[Container],
        all: &[Container],
        depends: &[(String, String)],
        monitor: &dyn Monitor,
    ) -> Result<Held> {
        let (steps, notes) = self.plan(users, all, depends)?;
        notes.iter().for_each(|note| tracing::warn!("{}: {note}", self.source));
        if steps.is_empty() {
            return Ok(Held { work: None });
        }
        for (way, word) in [(Way::Stop, "stops"), (Way::Pause, "pauses")] {
            let names: Vec<&str> =
                steps.iter().rev().filter(|step| step.way == way).map(|step| step.name.as_str()).collect();
            if !names.is_empty() {
                monitor.say(&format!("{}: {word} {}", self.source, names.join(", ")));
            }
        }
        let work = Arc::new(Work::new(self.engine, self.source, steps, self.config.start_timeout)?);
        let guard = Guard::new({
            let work = Arc::clone(&work);
            move |_| work.let_go(|line| tracing::warn!("{line}")).iter().for_each(complain)
        });
        let done = work.hold();
        let held = Held { work: Some((work, guard)) };
        if let Err(error) = done {
            // Why the item fails is the first error; the others would be lost with it.
            held.let_go(monitor).iter().for_each(complain);
            return Err(error);
        }
        Ok(held)
    }

    /// What is to be done, in the order of starting, and what the user should know of it.
    fn plan(
        &self,
        users: &[Container],
        all: &[Container],
        depends: &[(String, String)],
    ) -> Result<(Vec<Step>, Vec<String>)> {
        let unknown = users.iter().filter(|user| !all.iter().any(|other| other.id == user.id));
        let mut all: Vec<&Container> = all.iter().chain(unknown).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let is_user = |container: &Container| users.iter().any(|user| user.id == container.id);
        let users: Vec<usize> = (0..all.len()).filter(|&one| is_user(all[one])).collect();
        let (graph, passed_over) = Graph::new(&all, depends);
        let (ways, mut notes) = modes::decide(&users, &all, &graph, self.config)?;
        for (one, other) in passed_over {
            if ways.contains_key(&one) && ways.contains_key(&other) {
                let (one, other) = (&all[one].name, &all[other].name);
                notes.push(format!(
                    "containers need each other in a circle: {one} is started without regard to {other}"
                ));
            }
        }
        let step = |placed: order::Placed| {
            let container = all[placed.container];
            // One that was ill before need not be waited for.
            let is_awaited = |other: &&Container| other.health.as_ref().is_some_and(|health| health != "unhealthy");
            let needs =
                placed.needs.iter().filter(|other| ways.get(other) == Some(&Way::Stop)).map(|&other| all[other]);
            Step {
                id: container.id.clone(),
                name: container.name.clone(),
                way: ways.get(&placed.container).copied().unwrap_or(Way::Pause),
                wave: placed.wave,
                needs: needs.filter(is_awaited).map(|other| other.id.clone()).collect(),
                stop_timeout: stop_timeout(container, self.config),
            }
        };
        let held = ways.keys().copied().collect();
        Ok((graph.waves(&held).into_iter().map(step).collect(), notes))
    }
}

/// How long a container may take to stop; `None`: what the engine gives it. Engines count whole seconds, and half a one is not none.
fn stop_timeout(container: &Container, config: &HoldConfig) -> Option<Duration> {
    let whole = |time: Duration| Duration::from_secs(time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
    // In podman each that Docker's client has made has no time at all, and what it writes would end as after a crash.
    let own = container.stop_timeout.map(|time| if time.is_zero() { engine::STOP_TIMEOUT } else { time });
    config.stop_timeout.map(whole).or(own)
}

/// Containers that are held. Dropping it lets go, too, and only logs who does not come back; so does a signal that ends the program.
#[derive(Debug)]
#[must_use = "dropping it lets go"]
pub(crate) struct Held {
    work: Option<(Arc<Work>, Guard)>,
}

impl Held {
    /// Starts what was stopped and lets go on what was frozen, in order; one error for each container that did not come back.
    ///
    /// When a signal is ending the program, it does so in place of this, which does not return: what is read from then on is not whole.
    pub(crate) fn let_go(self, monitor: &dyn Monitor) -> Vec<Error> {
        let Some((work, guard)) = self.work else { return Vec::new() };
        cleanup::wait_if_ending();
        let errors = work.let_go(|line| monitor.say(line));
        guard.disarm();
        errors
    }
}

/// Says whom a backup of this item would hold: their ids are in `held`.
pub(crate) fn say_in_dry_run(item: &str, held: &[String], all: &[Container], monitor: &dyn Monitor) {
    let names = all.iter().filter(|container| held.contains(&container.id));
    let names: Vec<&str> = names.map(|container| container.name.as_str()).collect();
    monitor.say(&format!("{item}: nothing is held in a dry run; else it would be {}", names.join(", ")));
}

/// Whether a killed run of this source may have left something held: there is something to [`mend`], or a run is under way.
pub(crate) fn needs_mending(engine: &Engine, source: &str) -> Result<bool> {
    Ok(!Mark::left(engine, source)?.is_empty())
}

/// Brings back what killed runs of this source have left held; says for each what was done. Only for whoever has the lock of the source: no run is under way.
///
/// # Errors
///
/// When one does not come back, or it is not understood what a run has left. The others are brought back all the same, and what was done is logged.
pub(crate) fn mend(engine: &Engine, source: &str) -> Result<Vec<String>> {
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for found in Mark::left(engine, source)? {
        let (mark, steps) = match found {
            Ok(found) => found,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let Back { came, ran, gone, mut left, errors: own } = Back::bring(engine, &steps, mark.start_timeout());
        lines.extend(
            came.iter().map(|step| format!("started {} again, which a run that was killed had left held", step.name)),
        );
        lines.extend(gone.iter().map(|name| format!("{name} is gone, which a run that was killed had left held")));
        errors.extend(own);
        if mark.is_fresh() {
            // The run may have been killed while the engine stops them.
            left.extend(ran);
        }
        errors.extend(mark.settle(&left).err());
    }
    let failed = Failures::default();
    failed.add(errors);
    failed.tell().inspect_err(|_| lines.iter().for_each(|line| tracing::warn!("{source}: {line}")))?;
    Ok(lines)
}

/// Does the same for several at once; the results are in their order.
fn together<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let mut results = Vec::with_capacity(all.len());
    for some in all.chunks(AT_ONCE) {
        if let [one] = some {
            results.push(work(one));
            continue;
        }
        let work = &work;
        thread::scope(|scope| {
            let begin = |one| thread::Builder::new().name("hold".to_owned()).spawn_scoped(scope, move || work(one));
            let begun: Vec<_> = some.iter().map(|one| (one, begin(one))).collect();
            results.extend(begun.into_iter().map(|(one, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // Without a thread it is done here.
                Err(_) => work(one),
            }));
        });
    }
    results
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Hold;

    #[test]
    fn none_is_killed_because_nobody_says_how_long_it_may_take() {
        let of = |own: u64, configured: Option<Duration>| {
            let container = order::tests::container("a", json!({"Config": {"StopTimeout": own}}));
            let start_timeout = Duration::from_secs(60);
            let config = HoldConfig { hold: Hold::Stop, stop_timeout: configured, start_timeout, honors_offen: false };
            stop_timeout(&container, &config)
        };
        assert_eq!(of(0, None), Some(Duration::from_secs(10)));
        assert_eq!(of(30, None), Some(Duration::from_secs(30)));
        assert_eq!(of(30, Some(Duration::from_millis(500))), Some(Duration::from_secs(1)));
    }
}
