//! What a copy that broke off has left on the target, because holdall, a server or the way between them ended: it is never taken for a replica, and is put
//! right before the next copy.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::api::{Server, is_not_found, refusal};
use super::mark::Mark;
use super::model::{InstanceSnapshot, Settings, VolumeSnapshot};
use super::replica::delete;
use super::select::{Subject, check_name};
use crate::quantity::show_duration;

/// An operation of a server, as it is listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listed {
    id: String,
    resources: Value,
}

/// Puts right what a copy has left that broke off; whether nothing is left of the replica. One that never was whole is deleted; of one that was, the
/// snapshots that came after its last whole one are, because Incus takes a snapshot that is there for whole.
///
/// # Errors
///
/// When a copy of an earlier run still goes on and does not end, or what is there cannot be removed.
pub(super) fn settle(target: &Server, subject: &Subject, mark: &Mark) -> Result<bool> {
    let context = || "put right what a copy has left that broke off";
    await_copies(target, subject).with_context(context)?;
    match &mark.point {
        None => delete(target, subject).map(|_| true).with_context(context),
        Some(point) => delete_newer(target, subject, point).map(|()| false).with_context(context),
    }
}

/// Waits until no operation of an earlier run works on it; one that can be cancelled is.
fn await_copies(target: &Server, subject: &Subject) -> Result<()> {
    let begun = Instant::now();
    loop {
        let all: Value = target.call("GET", &["operations"]).project(&subject.project).query("recursion", "1").get()?;
        let running = all.get("running").cloned().unwrap_or_default();
        let running: Vec<Listed> = serde_json::from_value(running).unwrap_or_default();
        let Some(operation) = running.into_iter().find(|operation| concerns(operation, subject)) else { return Ok(()) };
        check_name(&operation.id)?;
        if begun.elapsed() > target.idle_timeout() {
            bail!("a copy of an earlier run goes on since {} or longer", show_duration(begun.elapsed()));
        }
        if let Err(error) = target.call("DELETE", &["operations", &operation.id]).get::<Value>() {
            tracing::debug!("operation {} goes on: {error:#}", operation.id);
        }
        let wait = target.call("GET", &["operations", &operation.id, "wait"]).query("timeout", "5");
        match wait.get::<Value>() {
            Err(error) if refusal(&error).is_none() => return Err(error),
            // It is over, or goes on: the list says it.
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn concerns(operation: &Listed, subject: &Subject) -> bool {
    let path = format!("/1.0/{}", subject.path(&[]).join("/"));
    let kinds = operation.resources.as_object().into_iter().flatten();
    let mut all = kinds.filter_map(|(_, paths)| paths.as_array()).flatten().filter_map(Value::as_str);
    all.any(|resource| resource.split('?').next() == Some(&path))
}

fn delete_newer(target: &Server, subject: &Subject, point: &str) -> Result<()> {
    let call = target.call("GET", &subject.path(&["snapshots"])).project(&subject.project).query("recursion", "1");
    let there: Vec<(String, chrono::DateTime<chrono::Utc>)> = if subject.pool.is_some() {
        let all: Vec<VolumeSnapshot> = call.get()?;
        all.into_iter().map(|snapshot| (snapshot.name, snapshot.created_at)).collect()
    } else {
        let all: Vec<InstanceSnapshot> = call.get()?;
        all.into_iter().map(|snapshot| (snapshot.name, snapshot.created_at)).collect()
    };
    let own = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let there: Vec<_> = there.into_iter().map(|(name, time)| (own(&name), time)).collect();
    let whole = there.iter().find(|(name, _)| name == point).map(|(_, time)| *time);
    for (name, time) in &there {
        if whole.is_none_or(|whole| *time > whole) && name != point {
            check_name(name)?;
            let call = target.call("DELETE", &subject.path(&["snapshots", name])).project(&subject.project);
            call.run().with_context(|| format!("delete its snapshot {name}, which may not be whole"))?;
        }
    }
    Ok(())
}

/// Deletes what a first copy has left that failed, so that it takes no space; else the next run does.
pub(super) fn discard_half(target: &Server, subject: &Subject, owner: &str) {
    #[derive(Deserialize)]
    struct Any {
        config: Option<Settings>,
    }
    let half = |any: &Any| {
        let mark = any.config.as_ref().map(Mark::of).unwrap_or_default();
        mark.source.as_deref() == Some(owner) && mark.copying.is_some() && mark.point.is_none()
    };
    let there: Result<Any> = target.call("GET", &subject.path(&[])).project(&subject.project).get();
    let done = match there {
        Ok(any) if half(&any) => delete(target, subject).map(|_| ()),
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        tracing::debug!("half of {} stays on the target: {error:#}", subject.name);
    }
}
