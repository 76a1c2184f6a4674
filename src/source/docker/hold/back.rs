//! Brings containers back: starts what was stopped and lets go on what was frozen, in order, each when what it needs is healthy.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};

use super::mark::Step;
use super::modes::Way;
use super::together;
use crate::error::{Annotate, hinted};
use crate::quantity::show_duration;
use crate::source::docker::engine::{Engine, State};

/// How often it is asked whether a container is healthy now.
const POLL: Duration = Duration::from_millis(200);

/// How long a container that was started is watched: what is wrong with its files or arguments shows at once.
const SETTLING: Duration = Duration::from_millis(300);

/// How long to wait before what failed is tried again, once.
const AGAIN: Duration = Duration::from_secs(1);

/// What became of containers that were to come back.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// Those that were held until now, with the names that they have now.
    pub(super) came: Vec<Step>,
    /// Those that ran already.
    pub(super) ran: Vec<Step>,
    /// Those that are not there any more.
    pub(super) gone: Vec<String>,
    /// Those that did not come back.
    pub(super) left: Vec<Step>,
    /// Why; and what else went wrong.
    pub(super) errors: Vec<Error>,
}

/// What became of one.
enum Came {
    Now(String),
    Before,
    Gone,
}

impl Back {
    /// Brings containers back, which are in the order of starting. One after which others come may take so long to become healthy.
    pub(super) fn bring(engine: &Engine, steps: &[Step], start_timeout: Duration) -> Self {
        let mut back = Self::default();
        for wave in steps.chunk_by(|one, other| one.wave == other.wave) {
            back.await_healthy(engine, steps, wave, start_timeout);
            let results = together(wave, |step| come_again(engine, step));
            for (step, result) in wave.iter().zip(results) {
                match result {
                    Ok(Came::Now(name)) => back.came.push(Step { name, ..step.clone() }),
                    Ok(Came::Before) => back.ran.push(step.clone()),
                    Ok(Came::Gone) => back.gone.push(step.name.clone()),
                    Err(error) => {
                        back.left.push(step.clone());
                        back.errors.push(error);
                    }
                }
            }
        }
        if back.came.iter().any(|step| step.way == Way::Stop) {
            thread::sleep(SETTLING);
        }
        back.errors.extend(back.came.iter().filter_map(|step| has_ended(engine, step)));
        back
    }

    /// Waits until all are healthy that a wave needs. One that does not become so in time is an error and does not hinder the others.
    fn await_healthy(&mut self, engine: &Engine, steps: &[Step], wave: &[Step], timeout: Duration) {
        let needs: BTreeSet<&String> = wave.iter().flat_map(|step| &step.needs).collect();
        let is_back = |step: &&Step| !self.left.contains(step) && !self.gone.contains(&step.name);
        let mut awaited: Vec<&Step> = steps.iter().filter(|step| needs.contains(&step.id)).filter(is_back).collect();
        let begun = Instant::now();
        loop {
            awaited.retain(|step| match health(engine, step) {
                Ok(None) => false,
                Ok(Some(_)) if begun.elapsed() < timeout => true,
                Ok(Some(health)) => {
                    let (name, limit) = (&step.name, show_duration(timeout));
                    let error = anyhow!("{name} was started again and is not healthy after {limit}: {health}");
                    self.errors
                        .push(hinted(error, format!("`docker inspect {name}` shows what its health check says.")));
                    false
                }
                Err(error) => {
                    self.errors.push(error);
                    false
                }
            });
            if awaited.is_empty() {
                return;
            }
            thread::sleep(POLL);
        }
    }
}

/// What a health check says that is not well yet; `None` when there is nothing more to wait for.
fn health(engine: &Engine, step: &Step) -> Result<Option<String>> {
    let Some(container) = engine.container(&step.id)? else { return Ok(None) };
    // One that has ended does not become healthy, and is told of later.
    Ok(container.health.filter(|health| health != "healthy" && container.state == State::Running))
}

/// Brings one back, at the second try if need be.
fn come_again(engine: &Engine, step: &Step) -> Result<Came> {
    come(engine, step).or_else(|error| {
        tracing::debug!("{error:#}; it is tried once more");
        thread::sleep(AGAIN);
        come(engine, step)
    })
}

fn come(engine: &Engine, step: &Step) -> Result<Came> {
    let doing = |name: &str| format!("could not start {name} again");
    let by_hand = |command: &str, name: &str| {
        format!("Type `docker {command} {name}` once that is mended; holdall tries it again at its next run.")
    };
    let asked = engine.container(&step.id).with_context(|| doing(&step.name));
    let Some(container) = asked.hint(by_hand("start", &step.name))? else { return Ok(Came::Gone) };
    let name = &container.name;
    match (container.state, step.way) {
        (State::Running, _) | (State::Paused, Way::Stop) => return Ok(Came::Before),
        (State::Paused, Way::Pause) => {
            let done = engine.unpause(&step.id).with_context(|| format!("could not let {name} go on again"));
            done.hint(by_hand("unpause", name))?;
        }
        (State::Stopped, _) => {
            engine.start(&step.id).with_context(|| doing(name)).hint(by_hand("start", name))?;
        }
    }
    Ok(Came::Now(container.name))
}

/// One that was started and has ended by itself since.
fn has_ended(engine: &Engine, step: &Step) -> Option<Error> {
    let container = engine.container(&step.id).ok()??;
    if container.state != State::Stopped {
        return None;
    }
    let (name, code) = (&container.name, container.inspect.pointer("/State/ExitCode"));
    let code = code.and_then(serde_json::Value::as_i64).unwrap_or_default();
    let error = anyhow!("{name} was started again and ended at once, with status {code}");
    Some(hinted(error, format!("`docker logs {name}` shows what it said.")))
}
