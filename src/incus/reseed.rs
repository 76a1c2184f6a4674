//! Makes a replica anew that cannot be refreshed any more: the old one is put aside, and deleted when the new one is whole; if it does not become so, the old
//! one is put back. A run that is killed in between is put right by the next one.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use super::api::Server;
use super::model::{Devices, Instance, Settings, Volume};
use super::replica::{Copied, There, delete, users};
use super::select::Subject;
use super::target::Place;
use crate::error::chain;
use crate::source::{Problem, Severity};

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
    let users = detach(target, subject).context("take the old replica from the instances that have it")?;
    let renamed = rename(target, subject, &old).context("put the old replica aside");
    let done = renamed.and_then(|()| match anew() {
        Ok(mut copied) => {
            if let Err(error) = delete(target, &old) {
                // The new one is whole; the next run tries again.
                let error = format!("the old replica was put aside and cannot be deleted: {}", chain(&error));
                let path = PathBuf::from(format!("/{}", old.name));
                copied.problems.push(Problem { path, error, severity: Severity::Warning });
            }
            Ok(copied)
        }
        Err(error) => Err(match delete(target, subject).and_then(|_| rename(target, &old, subject)) {
            Ok(()) => error,
            Err(other) => error.context(format!("the old replica is now called {} ({})", old.name, chain(&other))),
        }),
    });
    attach(target, &users).context("give the replica back to the instances that had it").and(done)
}

/// Masks a volume in all instances that have it; answers the devices that they had. Incus would change them with every change of its name, and takes half
/// a minute for each. When the run is killed, the next copy of each instance puts them right.
fn detach(target: &Server, subject: &Subject) -> Result<Vec<(Subject, Devices)>> {
    if subject.pool.is_none() {
        return Ok(Vec::new());
    }
    let volume: Volume = target.call("GET", &subject.path(&[])).project(&subject.project).get()?;
    let mut all = Vec::new();
    for user in users(&volume) {
        let user = Subject { project: subject.project.clone(), pool: None, name: user.to_owned() };
        let Instance { mut devices, .. } = target.call("GET", &user.path(&[])).project(&user.project).get()?;
        devices.retain(|_, device| {
            device.get("pool") == subject.pool.as_ref() && device.get("source") == Some(&subject.name)
        });
        let none = Settings::from([("type".to_owned(), "none".to_owned())]);
        set_devices(target, &user, &devices.keys().map(|name| (name.clone(), none.clone())).collect())?;
        all.push((user, devices));
    }
    Ok(all)
}

fn attach(target: &Server, users: &[(Subject, Devices)]) -> Result<()> {
    users.iter().try_for_each(|(user, devices)| set_devices(target, user, devices))
}

fn set_devices(target: &Server, user: &Subject, devices: &Devices) -> Result<()> {
    let body = json!({ "devices": devices });
    target.call("PATCH", &user.path(&[])).project(&user.project).body(body).run().map(|_| ())
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
        delete(target, &old)?;
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
