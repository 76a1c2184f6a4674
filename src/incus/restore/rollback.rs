//! Puts an instance or a volume back to a snapshot that the source has of it.

use anyhow::{Context, Result, anyhow, bail};
use chrono::{Duration, Utc};
use serde_json::json;

use super::{Plan, Restore, SAFETY};
use crate::error::{Annotate, hinted};
use crate::incus::PREFIX;
use crate::incus::hold::Hold;
use crate::incus::model::{Instance, Pool, Volume};
use crate::incus::select::Subject;
use crate::quantity::show_time;

/// An instance that may have to be stopped.
type User = (Subject, Instance);

pub(super) fn instance<'r>(restore: Restore<'r>, snapshot: &str) -> Result<Plan<'r>> {
    let subject = restore.subject;
    let call = restore.source.call("GET", &subject.path(&[])).project(&subject.project);
    let Some(there) = call.find::<Instance>()? else { return Err(gone(&restore)) };
    let root = there.expanded_devices.values().find(|device| is_root(device));
    let pool = root.and_then(|root| root.get("pool")).map(String::as_str).unwrap_or_default();
    check_pool(&restore, pool)?;
    plan(restore, snapshot, vec![(subject.clone(), there)])
}

pub(super) fn volume<'r>(restore: Restore<'r>, snapshot: &str) -> Result<Plan<'r>> {
    let subject = restore.subject;
    let call = restore.source.call("GET", &subject.path(&[])).project(&subject.project);
    let Some(there) = call.find::<Volume>()? else { return Err(gone(&restore)) };
    check_pool(&restore, subject.pool.as_deref().unwrap_or_default())?;
    let mut users = Vec::new();
    for url in &there.used_by {
        // Profiles, and what else may name it, do not run.
        let Some((project, name)) = user(url) else { continue };
        let user = Subject { project, pool: None, name };
        let call = restore.source.call("GET", &user.path(&[])).project(&user.project);
        if let Some(instance) = call.find::<Instance>()? {
            users.push((user, instance));
        }
    }
    plan(restore, snapshot, users)
}

/// Project and name of the instance that a path of the API names.
fn user(url: &str) -> Option<(String, String)> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let name = path.strip_prefix("/1.0/instances/")?;
    let project = query.split('&').find_map(|pair| pair.strip_prefix("project=")).unwrap_or("default");
    let is_plain = |name: &str| crate::incus::select::check_name(name).is_ok();
    (is_plain(name) && is_plain(project)).then(|| (project.to_owned(), name.to_owned()))
}

fn is_root(device: &crate::incus::model::Settings) -> bool {
    let is = |key: &str, value: &str| device.get(key).is_some_and(|found| found == value);
    is("type", "disk") && is("path", "/")
}

fn gone(restore: &Restore<'_>) -> anyhow::Error {
    let item = restore.item();
    let hint = format!("Bring it back from the target: holdall restore {item} --from target.");
    hinted(anyhow!("{item} is not on the source any more"), hint)
}

/// On ZFS a snapshot cannot be gone back to while there is a newer one, and the one that would be made for safety is.
fn check_pool(restore: &Restore<'_>, pool: &str) -> Result<()> {
    if restore.options.no_safety {
        return Ok(());
    }
    let found: Option<Pool> = restore.source.call("GET", &["storage-pools", pool]).find()?;
    if found.is_some_and(|pool| pool.driver == "zfs") {
        let text = format!("the pool {pool} is ZFS, which does not go back to a snapshot while there is a newer one");
        return Err(anyhow!(text)).hint(
            "Beside the original: --as NAME. In place with --no-safety: only to the newest snapshot, \
             unless the pool has volume.zfs.remove_snapshots; then the newer ones are lost.",
        );
    }
    Ok(())
}

fn plan<'r>(restore: Restore<'r>, snapshot: &str, users: Vec<User>) -> Result<Plan<'r>> {
    let running: Vec<User> = users.into_iter().filter(|(_, instance)| instance.is_running()).collect();
    let names: Vec<&str> = running.iter().map(|(subject, _)| subject.name.as_str()).collect();
    let item = restore.item();
    if !running.is_empty() && !restore.options.stop {
        let text = match restore.subject.pool {
            Some(_) => format!("{} runs and uses {item}", names.join(", ")),
            None => format!("{item} runs"),
        };
        return Err(anyhow!(text)).hint("With --stop it is stopped, and started again afterwards.");
    }
    if let Some((subject, _)) = running.iter().find(|(_, instance)| instance.ephemeral) {
        bail!("{} is ephemeral: stopping it would delete it", subject.name);
    }
    // A backup that follows in the same second comes behind it.
    let named = Utc::now() - Duration::seconds(1);
    let safety = (!restore.options.no_safety).then(|| format!("{PREFIX}{}{SAFETY}", named.format("%Y%m%d-%H%M%S")));
    let own = &restore.subject.name;
    let mut steps: Vec<String> = names.iter().map(|name| format!("stop {name}")).collect();
    steps.extend(safety.iter().map(|safety| format!("keep {own} as it is now as the snapshot {safety}")));
    steps.push(format!("put {own} back as it was at {} UTC ({snapshot})", show_time(restore.time)));
    steps.extend(names.iter().map(|name| format!("start {name} again")));
    let undo = |safety: &String| {
        let words = match &restore.subject.pool {
            Some(pool) => ("incus storage volume snapshot", format!("{pool} {own} {safety}")),
            None => ("incus snapshot", format!("{own} {safety}")),
        };
        let (command, what) = (words.0, restore.words(&words.1));
        format!("To undo: {command} restore {what}. When it is not needed: {command} delete {what}.")
    };
    let next = safety.iter().map(undo).collect();
    let snapshot = snapshot.to_owned();
    let work = Box::new(move || carry_out(restore, &snapshot, safety.as_deref(), &running));
    Ok(Plan { steps, warnings: Vec::new(), next, overwrites: true, work })
}

fn carry_out(restore: Restore<'_>, snapshot: &str, safety: Option<&str>, running: &[User]) -> Result<()> {
    let stopped: Vec<(&Subject, &Instance)> = running.iter().map(|(subject, instance)| (subject, instance)).collect();
    let timeout = restore.replication.config.stop_timeout;
    let held = match stopped.is_empty() {
        true => None,
        false => match Hold::stop(restore.source, &stopped, timeout) {
            Ok(held) => Some(held),
            Err((error, more)) => return Err(with_all(error, more)),
        },
    };
    let rolled_back = roll_back(restore, snapshot, safety);
    let errors = held.map(Hold::let_go).unwrap_or_default();
    match rolled_back {
        Err(error) => Err(with_all(error, errors)),
        Ok(()) => match errors.into_iter().reduce(|first, next| with_all(first, vec![next])) {
            Some(error) => Err(error.context("it is put back, but not all is as before")),
            None => Ok(()),
        },
    }
}

/// What failed besides is told before what failed first.
fn with_all(error: anyhow::Error, more: Vec<anyhow::Error>) -> anyhow::Error {
    more.iter().for_each(|error| tracing::error!("{}", crate::error::chain(error)));
    error
}

fn roll_back(restore: Restore<'_>, snapshot: &str, safety: Option<&str>) -> Result<()> {
    let subject = restore.subject;
    if let Some(safety) = safety {
        let body = json!({"name": safety, "expires_at": null});
        let call = restore.source.call("POST", &subject.path(&["snapshots"])).project(&subject.project).body(body);
        let doing = || format!("keep {} as it is now", subject.name);
        call.run()
            .with_context(doing)
            .hint("Nothing was changed. With --no-safety it is put back without being kept first.")?;
    }
    let call = restore.source.call("PUT", &subject.path(&[])).project(&subject.project);
    let done = call.body(json!({"restore": snapshot})).run();
    done.map(drop).with_context(|| format!("put {} back to {snapshot}", subject.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_volume_are_instances_with_their_projects() {
        let user = |url| user(url).map(|(project, name)| format!("{project}/{name}"));
        assert_eq!(user("/1.0/instances/c1"), Some("default/c1".to_owned()));
        assert_eq!(user("/1.0/instances/c1?project=lab"), Some("lab/c1".to_owned()));
        assert_eq!(user("/1.0/profiles/default?project=lab"), None);
        assert_eq!(user("/1.0/instances/../x"), None);
        assert_eq!(user("/1.0/instances/c1?project=.."), None);
    }
}
