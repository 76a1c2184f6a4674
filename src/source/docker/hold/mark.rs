//! What a run leaves in the engine as long as it holds containers, so that a later one can bring them back if it is killed: a volume with labels
//! and nothing in it.
//!
//! It is written before the first container is held, and names all that are going to be. What engines say of it is read as coming from anybody.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::modes::Way;
use crate::error::Annotate;
use crate::source::docker::engine::{Engine, STOP_TIMEOUT, Volume};
use crate::source::docker::ours;

/// What the label of all that is ours says of a mark.
const KIND: &str = "hold";
/// The label that names what is held.
const CONTAINERS: &str = "holdall.held";

/// The form of what is written; a later one may be one that is not understood here.
const VERSION: u32 = 1;

/// A container that is to be held, in the order of starting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) id: String,
    /// As it was called when it was held.
    pub(super) name: String,
    pub(super) way: Way,
    /// Those of one wave do not need each other.
    pub(super) wave: usize,
    /// Ids of those that have to be healthy before it is started.
    pub(super) needs: Vec<String>,
    /// How long it may take to stop; `None`: the engine's own time.
    #[serde(skip)]
    pub(super) stop_timeout: Option<Duration>,
}

/// What an engine takes besides.
const SETTLING: Duration = Duration::from_secs(5);

/// Nobody is waited for longer than this because a mark says so.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    /// In seconds.
    start_timeout: u64,
    /// Until when an engine may still do what it was told, in seconds since 1970 of this machine.
    settled_at: i64,
    containers: Vec<Step>,
}

/// A mark that was found, with what it names; or why it cannot be understood.
type Found = Result<(Mark, Vec<Step>)>;

/// The mark of a run.
#[derive(Debug)]
pub(super) struct Mark {
    engine: Engine,
    source: String,
    volume: String,
    /// How long one may take to become healthy.
    start_timeout: Duration,
    settled_at: DateTime<Utc>,
}

impl Mark {
    /// Writes a mark of what is going to be held.
    pub(super) fn write(engine: &Engine, source: &str, start_timeout: Duration, steps: &[Step]) -> Result<Self> {
        let times = steps.iter().map(|step| step.stop_timeout.unwrap_or(STOP_TIMEOUT).min(LONGEST));
        let settled_at = Utc::now() + times.sum::<Duration>() + SETTLING;
        let (engine, source) = (engine.clone(), source.to_owned());
        let mut mark = Self { engine, source, volume: String::new(), start_timeout, settled_at };
        mark.volume = mark.put(steps)?;
        Ok(mark)
    }

    fn put(&self, steps: &[Step]) -> Result<String> {
        let name = format!("holdall-hold-{}", uuid::Uuid::new_v4().simple());
        let written = Written {
            version: VERSION,
            start_timeout: self.start_timeout.as_secs(),
            settled_at: self.settled_at.timestamp(),
            containers: steps.to_vec(),
        };
        let written = serde_json::to_string(&written).context("write down which containers are held")?;
        let labels = json!({ours::LABEL: KIND, ours::SOURCE: self.source, ours::MACHINE: ours::this_machine(), CONTAINERS: written});
        let made = self.engine.create_volume(&json!({"Name": name, "Driver": "local", "Labels": labels}));
        made.context("leave a mark in the engine of which containers are held")?;
        Ok(name)
    }

    /// The marks of this source that runs on this machine have left.
    pub(super) fn left(engine: &Engine, source: &str) -> Result<Vec<Found>> {
        let is = |volume: &Volume, label: &str, value: &str| volume.labels.get(label).is_some_and(|own| own == value);
        let machine = ours::this_machine();
        let mut volumes = engine.volumes().context("look for what an earlier run has left")?;
        volumes.retain(|v| is(v, ours::LABEL, KIND) && is(v, ours::SOURCE, source) && is(v, ours::MACHINE, &machine));
        let understood = |volume: &Volume| {
            let Written { start_timeout, settled_at, containers, .. } = read(volume)
                .with_context(|| format!("understand the mark {} of a run that was killed", volume.name))
                .hint(format!(
                    "It says which containers that run has stopped: look at it with `docker volume inspect {0}`, start them, then \
                     `docker volume rm {0}`.",
                    volume.name
                ))?;
            let (engine, source, name) = (engine.clone(), source.to_owned(), volume.name.clone());
            let start_timeout = Duration::from_secs(start_timeout).min(LONGEST);
            let settled_at = DateTime::from_timestamp(settled_at, 0).unwrap_or_default();
            Ok((Self { engine, source, volume: name, start_timeout, settled_at }, containers))
        };
        Ok(volumes.iter().map(understood).collect())
    }

    /// Whether an engine may still be stopping what runs: a run that was killed does not hinder it.
    pub(super) fn is_fresh(&self) -> bool {
        let now = Utc::now();
        // A clock that was set back would keep it fresh for years.
        now < self.settled_at && self.settled_at - now < TimeDelta::days(1)
    }

    pub(super) fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    /// Removes the mark, or leaves in its place one of what has still to be brought back.
    pub(super) fn settle(self, left: &[Step]) -> Result<()> {
        if !left.is_empty() {
            self.put(left)?;
        }
        let removed = self.engine.remove_volume(&self.volume);
        removed.with_context(|| format!("remove the mark {} of which containers are held", self.volume))
    }
}

/// What a mark says.
fn read(volume: &Volume) -> Result<Written> {
    let text = volume.labels.get(CONTAINERS).with_context(|| format!("it has no label {CONTAINERS}"))?;
    let written: Written = serde_json::from_str(text)?;
    if written.version != VERSION {
        bail!("a newer holdall has written it");
    }
    let is_id = |id: &String| (12..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ids = written.containers.iter().flat_map(|step| std::iter::once(&step.id).chain(&step.needs));
    match ids.into_iter().find(|id| !is_id(id)) {
        Some(id) => Err(anyhow!("{id:?} is no id of a container")),
        None => Ok(written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(labels: &serde_json::Value) -> Volume {
        Volume::new(json!({"Name": "holdall-hold-x", "Labels": labels})).unwrap()
    }

    #[test]
    fn mark_that_says_something_else_is_not_followed() {
        let read = |text: &str| read(&volume(&json!({CONTAINERS: text}))).map(|written| written.containers.len());
        let id = "0123456789abcdef";
        let of = |id: &str, version: u32| {
            json!({"version": version, "start_timeout": 60, "settled_at": 0, "containers": [
                {"id": id, "name": "web", "way": "stop", "wave": 0, "needs": [id]}]})
            .to_string()
        };
        assert_eq!(read(&of(id, 1)).unwrap(), 1);
        for text in [&of(id, 2), &of("../volumes/prune", 1), &of("", 1), "{}", "[]", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
