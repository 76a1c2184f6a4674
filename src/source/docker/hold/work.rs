//! The work of holding and letting go, which a run, a guard and a signal share: whoever comes first lets go, once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};

use super::back::Back;
use super::mark::{Mark, Step};
use super::modes::Way;
use super::together;
use crate::cleanup;
use crate::error::{Annotate, chain};
use crate::quantity::show_duration;
use crate::source::docker::engine::{Container, Engine, STOP_TIMEOUT, State};

/// What is held, and how far.
#[derive(Debug)]
pub(super) struct Work {
    engine: Engine,
    source: String,
    /// In the order of starting.
    steps: Vec<Step>,
    start_timeout: Duration,
    progress: Mutex<Progress>,
    /// Whether nothing more may be stopped.
    is_over: AtomicBool,
}

#[derive(Debug)]
struct Progress {
    /// Taken by whoever lets go.
    mark: Option<Mark>,
    /// Ids of those that the engine was told to hold.
    told: BTreeSet<String>,
    /// Ids of those of which it is not known whether the engine has done so, or still will.
    doubtful: BTreeSet<String>,
}

/// What came of telling the engine to hold a container.
enum Sent {
    Held,
    /// It did not run any more: nothing was done to it.
    NotRunning,
    Failed(Error),
}

impl Work {
    /// Leaves a mark; nothing is held yet.
    pub(super) fn new(engine: &Engine, source: &str, steps: Vec<Step>, start_timeout: Duration) -> Result<Self> {
        let mark = Mark::write(engine, source, start_timeout, &steps)?;
        let progress = Progress { mark: Some(mark), told: BTreeSet::new(), doubtful: BTreeSet::new() };
        let (progress, is_over) = (Mutex::new(progress), AtomicBool::new(false));
        Ok(Self { engine: engine.clone(), source: source.to_owned(), steps, start_timeout, progress, is_over })
    }

    /// Holds all, the last to be started first. Gives back the ids of what is held.
    ///
    /// # Errors
    ///
    /// When the engine could not hold one; then some may be held.
    pub(super) fn hold(&self) -> Result<Vec<String>> {
        let mut waves: Vec<&[Step]> = self.steps.chunk_by(|one, other| one.wave == other.wave).collect();
        waves.reverse();
        for wave in waves {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_over.load(Ordering::SeqCst) {
                drop(progress);
                cleanup::wait_if_ending();
                return Err(anyhow!("the run is being ended"));
            }
            // Before they are sent: whoever lets go after a panic has to know of them.
            progress.told.extend(wave.iter().map(|step| step.id.clone()));
            let mut failed = None;
            for (step, sent) in wave.iter().zip(together(wave, |step| send(&self.engine, step))) {
                match sent {
                    Sent::Held => {}
                    Sent::NotRunning => drop(progress.told.remove(&step.id)),
                    Sent::Failed(error) => {
                        progress.doubtful.insert(step.id.clone());
                        failed.get_or_insert(error);
                    }
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.steps.iter().map(|step| step.id.clone()).filter(|id| progress.told.contains(id)).collect())
    }

    /// Brings all back that was held, and removes the mark; nothing when that was done. One error for each that did not come back. Waits for what the
    /// engine is doing just now. `say` is told in a line who came back.
    pub(super) fn let_go(&self, say: impl FnOnce(&str)) -> Vec<Error> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mark) = progress.mark.take() else { return Vec::new() };
        let told: Vec<Step> = self.steps.iter().filter(|step| progress.told.contains(&step.id)).cloned().collect();
        let Back { came, ran, gone, mut left, mut errors } = Back::bring(&self.engine, &told, self.start_timeout);
        if !came.is_empty() {
            let names: Vec<&str> = came.iter().map(|step| step.name.as_str()).collect();
            say(&format!("{}: starts {}", self.source, names.join(", ")));
        }
        for step in ran {
            if progress.doubtful.contains(&step.id) {
                // The engine may yet do what it was told.
                left.push(step);
            } else {
                tracing::warn!(
                    "{} was started by somebody else while it was held: what was read may not fit together",
                    step.name
                );
            }
        }
        errors.extend(gone.iter().filter_map(|name| replaced(&self.engine, name).err()));
        if let Err(error) = mark.settle(&left) {
            tracing::warn!("{}", chain(&error));
        }
        errors
    }
}

/// Holds one.
fn send(engine: &Engine, step: &Step) -> Sent {
    match engine.container(&step.id) {
        Ok(Some(container)) if container.state == State::Running => {}
        Ok(_) => return Sent::NotRunning,
        Err(error) => return Sent::Failed(error),
    }
    let begun = Instant::now();
    let done = match step.way {
        Way::Pause => engine.pause(&step.id).with_context(|| format!("pause {}", step.name)),
        Way::Stop => stop(engine, step),
    };
    match done {
        Ok(()) => {
            let limit = step.stop_timeout.unwrap_or(STOP_TIMEOUT);
            if step.way == Way::Stop && begun.elapsed() >= limit {
                let (name, limit) = (&step.name, show_duration(limit));
                tracing::warn!("{name} did not stop within {limit} and was killed: `stop-timeout` gives it more time");
            }
            Sent::Held
        }
        // Somebody was faster; whether a container that ended was removed as well or not.
        Err(error) if chain(&error).contains("already paused") => Sent::NotRunning,
        Err(error) => match engine.container(&step.id) {
            Ok(None) => Sent::NotRunning,
            // One that ends again and again is not paused while it waits for its next start.
            Ok(Some(container)) if step.way == Way::Pause && is_restarting(&container) => {
                stop(engine, step).map_or_else(Sent::Failed, |()| Sent::Held)
            }
            _ => Sent::Failed(error),
        },
    }
}

fn stop(engine: &Engine, step: &Step) -> Result<()> {
    engine.stop(&step.id, step.stop_timeout).with_context(|| format!("stop {}", step.name))
}

fn is_restarting(container: &Container) -> bool {
    container.inspect.pointer("/State/Restarting").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// Sees that one of this name runs in place of one that is gone: an update has come between.
fn replaced(engine: &Engine, name: &str) -> Result<()> {
    if engine.container(name)?.is_some_and(|other| other.state == State::Running) {
        tracing::warn!("{name} was replaced by another container while it was held");
        return Ok(());
    }
    Err(anyhow!("could not start {name} again: it was removed while it was held"))
        .hint("Whoever removed it has to make it anew; its volumes are still there.")
}
