//! Brings instances and volumes back on the source: rolled back where they are ([`rollback`]), or made anew of a replica, an export, or a snapshot ([`anew`]).
//!
//! Nothing that is there is overwritten but by a rollback. What is made anew gets its name last: until then it is called like something temporary, is nobody's
//! item, and a restore that was killed leaves nothing that could be taken for the whole.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Replication;
use super::api::Server;
use super::model::Instance;
use super::select::Subject;
use crate::error::{Annotate, ExitCode};
use crate::monitor::{Monitor, Task, Unit};
use crate::store::SavedTree;

mod anew;
pub mod files;
mod lent;
mod rollback;
mod settle;

/// What the names of snapshots end with that are made before a rollback: `IAB_20260205-115900-before-restore`. That is none of a backup: no policy removes it,
/// and `latest` does not mean it. It sorts by its time among those of backups: on btrfs, Incus sends several new snapshots in the order of their names, and fails
/// where that is not the order in which they were made.
const SAFETY: &str = "-before-restore";

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The name it gets beside the original.
    pub rename: Option<String>,
    /// Whether instances that are in the way may be stopped; they are started again.
    pub stop: bool,
    /// Whether what is rolled back is not kept as a snapshot before.
    pub no_safety: bool,
}

/// Where a point is, and what it is called there.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'o> {
    /// A snapshot on the source.
    Source(&'o str),
    /// A replica, where it is, and a snapshot of it.
    Target(&'o Server, &'o Subject, &'o str),
    /// An export in the store.
    Store(&'o SavedTree),
}

/// One restore.
#[derive(Clone, Copy)]
pub struct Restore<'r> {
    /// The source that it belongs to.
    pub replication: &'r Replication,
    /// The server that it is restored on.
    pub source: &'r Server,
    /// What is restored, where it was on that server.
    pub subject: &'r Subject,
    /// The time of the point.
    pub time: DateTime<Utc>,
    /// How.
    pub options: &'r Options,
    /// Who watches.
    pub monitor: &'r dyn Monitor,
}

/// What a restore is going to do, after all that can be known before was looked at.
pub struct Plan<'p> {
    /// What is done, in order: `stop vm1`.
    pub steps: Vec<String>,
    /// What will not be as it was.
    pub warnings: Vec<String>,
    /// What to type afterwards.
    pub next: Vec<String>,
    /// Whether something that is there is overwritten.
    pub overwrites: bool,
    work: Work<'p>,
}

type Work<'p> = Box<dyn FnOnce() -> Result<()> + 'p>;

impl Plan<'_> {
    /// Does it.
    ///
    /// # Errors
    ///
    /// When something fails; what was stopped runs again, and what was not completed is removed.
    pub fn carry_out(self) -> Result<()> {
        (self.work)()
    }

    /// What there is to be told of it afterwards.
    pub fn shown(&self) -> Plan<'static> {
        let Self { steps, warnings, next, overwrites, .. } = self;
        let (steps, warnings, next) = (steps.clone(), warnings.clone(), next.clone());
        Plan { steps, warnings, next, overwrites: *overwrites, work: Box::new(|| Ok(())) }
    }
}

impl<'r> Restore<'r> {
    /// Rolls back to a snapshot of the source.
    ///
    /// # Errors
    ///
    /// When it is gone, somebody is in the way who may not be stopped, or the pool cannot do it.
    pub fn roll_back(&self, snapshot: &str) -> Result<Plan<'r>> {
        if self.subject.pool.is_some() {
            rollback::volume(*self, snapshot)
        } else {
            rollback::instance(*self, snapshot)
        }
    }

    /// Makes it anew, under its own name or another one.
    ///
    /// # Errors
    ///
    /// When there is something of that name, or something that it needs is missing on the source.
    pub fn make_anew(&self, origin: Origin<'r>) -> Result<Plan<'r>> {
        anew::plan(*self, origin)
    }

    /// The item.
    fn item(&self) -> String {
        self.subject.id(&self.replication.id)
    }

    /// What it is called when it is back.
    fn name(&self) -> &'r str {
        self.options.rename.as_deref().unwrap_or(&self.subject.name)
    }

    /// What Incus's own client takes to mean it: `vm1`, `vm1 --project lab`.
    fn words(&self, name: &str) -> String {
        match self.subject.project.as_str() {
            "default" => name.to_owned(),
            project => format!("{name} --project {project}"),
        }
    }

    fn start_task(&self) -> Watched {
        Watched(self.monitor.start(&self.item(), "restore", Unit::Bytes))
    }
}

/// A task that is over when it is dropped, however the restore ends.
struct Watched(Arc<dyn Task>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// What an instance was when a snapshot was made, out of what [`super::export`] says of it.
fn instance_of(described: &Value) -> Result<Instance> {
    serde_json::from_value(described.clone()).context("understand what the server said of the instance")
}

/// Says why something cannot be called this: as Incus does, but before anything is copied.
pub fn check_name(subject: &Subject, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_instance = subject.pool.is_none();
    let ok = if is_instance {
        name.len() <= 63
            && name.chars().all(is_plain)
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && !name.ends_with('-')
    } else {
        super::select::check_name(name).is_ok() && !name.contains([' ', ':', '?', '#', '%']) && name.len() <= 255
    };
    if ok && !super::temporary::is_temporary(name) {
        return Ok(());
    }
    let hint = match is_instance {
        true => "At most 63 letters, digits and `-`, with a letter first.",
        false => "Letters, digits, and but not first `_`, `.` and `-`.",
    };
    let shown = crate::output::printable(name.as_ref());
    Err(anyhow!("`{shown}` is no name that {} can have", if is_instance { "an instance" } else { "a volume" }))
        .hint(hint)
        .exit(ExitCode::Usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(pool: Option<&str>) -> Subject {
        Subject { project: "default".into(), pool: pool.map(ToOwned::to_owned), name: "x".into() }
    }

    #[test]
    fn names_are_those_that_incus_takes() {
        for name in ["vm1", "a", "A-1"] {
            check_name(&subject(None), name).unwrap();
        }
        for name in ["", "1a", "-a", "a-", "a_b", "a/b", "..", "a.b", &"a".repeat(64), "holdall-export-0123456789ab"] {
            assert!(check_name(&subject(None), name).is_err(), "{name}");
        }
        check_name(&subject(Some("local")), "v_1.old").unwrap();
        for name in ["", "..", ".a", "a/b", "a b", "a\n"] {
            assert!(check_name(&subject(Some("local")), name).is_err(), "{name}");
        }
    }
}
