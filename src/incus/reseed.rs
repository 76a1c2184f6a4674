//! Makes a replica anew that cannot be refreshed any more: the old one is put aside, and deleted when the new one is whole; if it does not become so, the old
//! one is put back. A run that is killed in between is put right by the next one.

use anyhow::{Context, Result};
use serde_json::json;

use super::api::Server;
use super::model::{Instance, Volume};
use super::replica::{Copied, There, delete, users};
use super::select::Subject;
use super::target::Place;
use crate::error::chain;

/// What the name of a replica that is put aside ends with.
const ASIDE: &str = "-before-reseed";

fn aside(subject: &Subject) -> Subject {
    Subject { name: format!("{}{ASIDE}", subject.name), ..subject.clone() }
}

/// Has a replica made anew by `anew`.
///
/// # Errors
///
/// When it cannot be; then the old one is there again, unless it is said that it is not.
pub(super) fn replace(target: &Server, subject: &Subject, anew: impl FnOnce() -> Result<Copied>) -> Result<Copied> {
    let old = aside(subject);
    rename(target, subject, &old).context("put the old replica aside")?;
    match anew() {
        Ok(copied) => {
            discard(target, subject).context("delete the old replica, which was put aside")?;
            Ok(copied)
        }
        Err(error) => Err(match delete(target, subject).and_then(|_| rename(target, &old, subject)) {
            Ok(()) => error,
            Err(other) => error.context(format!("the old replica is now called {} ({})", old.name, chain(&other))),
        }),
    }
}

/// Puts right what a run has left that was killed while it made a replica of `item` anew; whether anything was.
///
/// # Errors
///
/// When it cannot.
pub(super) fn settle(target: &Server, item: &str, subject: &Subject, place: &Place) -> Result<bool> {
    let old = aside(subject);
    if There::of(&old, place).mark().item() != Some(item) {
        return Ok(false);
    }
    let there = There::of(subject, place);
    let mark = there.mark();
    let is_half = mark.item() == Some(item) && mark.copying.is_some() && mark.point.is_none();
    let is_whole = mark.item() == Some(item) && mark.copying.is_none() && mark.point.is_some();
    if is_whole {
        discard(target, subject)?;
    } else if is_half || matches!(there, There::Nothing) {
        delete(target, subject)?;
        rename(target, &old, subject)?;
    }
    Ok(true)
}

fn rename(target: &Server, from: &Subject, to: &Subject) -> Result<()> {
    let mut body = json!({ "name": to.name });
    if let Some(pool) = &to.pool {
        body["pool"] = pool.clone().into();
    }
    target.call("POST", &from.path(&[])).project(&from.project).body(body).run().map(|_| ())
}

/// Deletes the old replica; instances that Incus has made use it go over to the new one.
fn discard(target: &Server, subject: &Subject) -> Result<()> {
    let old = aside(subject);
    if subject.pool.is_some() {
        let volume: Volume = target.call("GET", &old.path(&[])).project(&old.project).get()?;
        for user in users(&volume) {
            let user = Subject { project: subject.project.clone(), pool: None, name: user.to_owned() };
            let instance: Instance = target.call("GET", &user.path(&[])).project(&user.project).get()?;
            let mut devices = instance.devices;
            devices
                .retain(|_, device| device.get("pool") == old.pool.as_ref() && device.get("source") == Some(&old.name));
            devices.values_mut().for_each(|device| {
                device.insert("source".to_owned(), subject.name.clone());
            });
            let body = json!({ "devices": devices });
            target.call("PATCH", &user.path(&[])).project(&user.project).body(body).run()?;
        }
    }
    delete(target, &old).map(|_| ())
}
