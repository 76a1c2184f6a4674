//! Copies an instance or a volume with its snapshots from one server to another one: each is told to begin an operation, and one of them is told where the
//! other one waits. What is sent is what `incus copy` and `incus storage volume copy` send (`instancesPost`, `storagePoolVolumesTypePost` and what is under
//! `source` in `doc/rest-api.md`).

use std::sync::Arc;

use anyhow::{Error, Result, anyhow};
use serde_json::{Map, Value, json};

use super::api::{Operation, Server, refusal};
use super::select::Subject;
use crate::config::CopyMode;
use crate::error::{chain, hinted};
use crate::monitor::Task;

/// Whether older snapshots that a replica lacks are left out of a refresh; both servers have to know it.
const EXCLUDE_OLDER: &str = "custom_volume_refresh_exclude_older_snapshots";

/// One copy.
#[derive(Debug)]
pub struct Copy<'c> {
    /// The server that has it.
    pub from: &'c Server,
    /// The server that gets it.
    pub to: &'c Server,
    /// Which server connects to the other one: pushed by `from`, or pulled by `to`.
    pub mode: CopyMode,
    /// What is copied.
    pub subject: &'c Subject,
    /// The pool it is put on, for a volume.
    pub to_pool: Option<&'c str>,
    /// Whether it is there, and what it lacks is added.
    pub refresh: bool,
    /// What it is to be there: without `source`, with `name`.
    pub body: Value,
}

impl Copy<'_> {
    /// Copies; how far it is goes to `task`.
    ///
    /// # Errors
    ///
    /// When one of the servers refuses or fails. What then is on the other one is not whole.
    pub fn run(&self, task: &Arc<dyn Task>) -> Result<()> {
        let (giving, taking) = match self.mode {
            CopyMode::Push => {
                let taking = self.take("push", None)?;
                (self.give(Some(&taking))?, taking)
            }
            CopyMode::Pull => {
                let giving = self.give(None)?;
                let taking = self.take("pull", Some(&giving))?;
                (giving, taking)
            }
        };
        giving.wait_for_both(taking, Some(task)).map_err(|errors| self.explain(errors))
    }

    /// Tells the server that gets it; in `pull` mode it connects to `giving`.
    fn take(&self, mode: &str, giving: Option<&Operation>) -> Result<Operation> {
        let mut source = json!({
            "type": "migration",
            "mode": mode,
            "certificate": "",
            "refresh": self.refresh,
            "refresh_exclude_older": self.refresh && self.from.has(EXCLUDE_OLDER) && self.to.has(EXCLUDE_OLDER),
        });
        if let Some(giving) = giving {
            source["operation"] = giving.url().into();
            source["secrets"] = secrets(giving).into();
            source["certificate"] = self.from.about().environment.certificate.clone().into();
        }
        let mut body = self.body.clone();
        let path = match (self.to_pool, &self.subject.pool) {
            (Some(pool), from_pool) => {
                source["name"] = self.subject.name.clone().into();
                source["pool"] = from_pool.clone().into();
                source["volume_only"] = false.into();
                vec!["storage-pools", pool, "volumes", "custom"]
            }
            (None, _) => {
                source["base-image"] = body["config"]["volatile.base_image"].clone();
                source["instance_only"] = false.into();
                vec!["instances"]
            }
        };
        body["source"] = source;
        self.to.call("POST", &path).project(&self.subject.project).body(body).begin()
    }

    /// Tells the server that has it; in `push` mode it connects to `taking`.
    fn give(&self, taking: Option<&Operation>) -> Result<Operation> {
        let mut body = match &self.subject.pool {
            Some(pool) => json!({ "migration": true, "name": self.subject.name, "pool": pool, "volume_only": false }),
            None => json!({ "migration": true, "live": false, "instance_only": false, "name": "" }),
        };
        if let Some(taking) = taking {
            body["target"] = json!({
                "operation": taking.url(),
                "secrets": secrets(taking),
                "certificate": self.to.about().environment.certificate,
            });
        }
        self.from.call("POST", &self.subject.path(&[])).project(&self.subject.project).body(body).begin()
    }

    /// One error out of what both servers say: the one that gets it knows best why.
    fn explain(&self, [giving, taking]: [Option<Error>; 2]) -> Error {
        let (from, to) = (self.from.role().word(), self.to.role().word());
        self.hint(match (taking, giving) {
            (Some(taking), None) => taking.context(format!("the {to} gave up")),
            (Some(taking), Some(giving)) => {
                taking.context(format!("the {to} gave up (the {from} says: {})", chain(&giving)))
            }
            (None, Some(giving)) => giving.context(format!("the {from} gave up")),
            (None, None) => anyhow!("the copy broke off"),
        })
    }

    fn hint(&self, error: Error) -> Error {
        let text = chain(&error).to_lowercase();
        // 11 is how rsync ends that cannot write.
        let is_full = ["no space left", "quota exceeded", "out of space", "exit status 11"];
        if is_full.iter().any(|sign| text.contains(sign)) {
            return hinted(
                error,
                "The pool of the target may be full: `incus storage info POOL` says it. Free some of it, or make it larger.",
            );
        }
        if text.contains("dial tcp") || text.contains("failed connecting") || text.contains("websocket: bad handshake")
        {
            let (from, to) = (self.from, self.to);
            let (who, whom) = if self.mode == CopyMode::Push { (from, to) } else { (to, from) };
            let other = if self.mode == CopyMode::Push { "pull" } else { "push" };
            let hint = format!(
                "The {} has to reach {}. If only the other way is open, set `mode = \"{other}\"`.",
                who.role().word(),
                whom.address()
            );
            return hinted(error, hint);
        }
        error
    }
}

/// What opens the websockets of an operation that waits for the other server.
fn secrets(operation: &Operation) -> Map<String, Value> {
    let all = operation.metadata().as_object().into_iter().flatten();
    all.filter(|(_, value)| value.is_string()).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether a refresh was refused because a snapshot names a profile that the target does not have.
pub fn lacks_profile(error: &Error) -> bool {
    chain(error).to_lowercase().contains("profile not found")
}

/// Whether a refresh was refused because the replica does not come from what the source has now ("no common base (GUID mismatch)", Incus 7.1 and later).
pub fn has_no_common_base(error: &Error) -> bool {
    error.chain().map(ToString::to_string).chain(refusal(error).map(|refused| refused.message.clone())).any(|text| {
        let text = text.to_lowercase();
        text.contains("no common base") || text.contains("guid mismatch")
    })
}

/// Whether a refresh failed because what the target has of the replica on its disk is not what its database says.
pub fn is_damaged(error: &Error) -> bool {
    let text = chain(error).to_lowercase();
    ["not on storage", "not a btrfs subvolume", "file exists"].iter().any(|sign| text.contains(sign))
}

/// Whether a refresh failed because Incus sends what is new on btrfs in the order of the names, in which a snapshot may come before the one that it was made after.
pub fn is_out_of_order(error: &Error) -> bool {
    chain(error).to_lowercase().contains("cannot find parent subvolume")
}
