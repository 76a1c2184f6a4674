//! Instances and volumes that are there only for a while: copies of snapshots, for as long as an archive is made of them and sent, and what a restore has not
//! completed yet, which gets its own name last.
//!
//! They are never started, are marked, and are nobody's items. One that a run left behind which was killed is removed by the next one that wants the same name, or
//! by [`sweep`].

use std::thread;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::api::{Server, is_not_found, refusal};
use super::select::{Subject, check_name, list_pools};
use super::{Replication, Servers};
use crate::cleanup::Guard;
use crate::error::hinted;

/// What the configuration of a temporary copy has: the item it is made for.
pub(super) const MARK: &str = "user.holdall.export";

/// What something temporary is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// An archive is made of it.
    Export,
    /// It is being brought back.
    Restore,
    /// It is on its way from one server to the other.
    Transit,
}

impl Work {
    /// What the names begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Export => "holdall-export-",
            Self::Restore => "holdall-restore-",
            Self::Transit => "holdall-transit-",
        }
    }
}

const LOOK: &str = "look for temporary copies that were left behind";

/// How many bytes of the digest of an item its temporary name has.
const DIGITS: usize = 6;

/// How often a server is asked to remove something that it is still working on, a second apart.
const TRIES: u32 = 15;

/// Whether something that is called like this is temporary: nobody's instance or volume.
pub(super) fn is_temporary(name: &str) -> bool {
    let digits = [Work::Export, Work::Restore, Work::Transit].iter().find_map(|work| name.strip_prefix(work.prefix()));
    digits.is_some_and(|digits| digits.len() == 2 * DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Something temporary on a server; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    server: Server,
    item: String,
    subject: Subject,
    guard: Guard,
}

impl Temporary {
    /// Has one made for an item by `make`, which is told what it is to be called. `subject` says what and where it is.
    pub(super) fn make(
        server: &Server,
        work: Work,
        item: &str,
        subject: &Subject,
        mut make: impl FnMut(&Self) -> Result<()>,
    ) -> Result<Self> {
        let subject = Subject { name: name_for(work, item), ..subject.clone() };
        let guard = Guard::new({
            let (server, item, subject) = (server.clone(), item.to_owned(), subject.clone());
            move |_| {
                if let Err(error) = remove(&server, &subject, &item) {
                    tracing::warn!("{}", crate::error::chain(&error));
                }
            }
        });
        let made = Self { server: server.clone(), item: item.to_owned(), subject, guard };
        if let Err(error) = make(&made) {
            // A run that was killed may have left it. What this one has left of it goes as well.
            if !is_taken(&error) || !remove(server, &made.subject, item).unwrap_or(false) {
                return Err(error);
            }
            make(&made)?;
        }
        Ok(made)
    }

    /// The item that it is made for: the value that its configuration has to have for [`MARK`].
    pub(super) fn item(&self) -> &str {
        &self.item
    }

    /// What it is on the server.
    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Removes it from the server.
    pub(super) fn end(self) -> Result<()> {
        let removed = remove(&self.server, &self.subject, &self.item);
        self.guard.disarm();
        removed.map(drop)
    }

    /// It has become something else, which stays.
    pub(super) fn keep(self) {
        self.guard.disarm();
    }
}

/// One name for each item: whoever wants it again finds what was left.
fn name_for(work: Work, item: &str) -> String {
    let digits: String = Sha256::digest(item).iter().take(DIGITS).map(|byte| format!("{byte:02x}")).collect();
    format!("{}{digits}", work.prefix())
}

/// Whether the server says that there is something of this name already.
fn is_taken(error: &anyhow::Error) -> bool {
    refusal(error).is_some_and(|refused| refused.status == 409 || refused.message.contains("already exists"))
}

/// Removes an instance or a volume that is marked as made for this item; whether it was there.
///
/// # Errors
///
/// When it is not marked, or does not go away.
fn remove(server: &Server, subject: &Subject, item: &str) -> Result<bool> {
    let mut tries = 0;
    loop {
        match remove_once(server, subject, item) {
            Ok(removed) => return Ok(removed),
            // What the server was doing with it when it was told to stop may not be over.
            Err(error) if tries < TRIES && is_busy(&error) => {
                tries += 1;
                thread::sleep(std::time::Duration::from_secs(1));
            }
            Err(error) => {
                let what = format!("remove the temporary {} {}", subject.kind(), subject.name);
                return Err(hinted(error.context(what), "The next backup of it tries again."));
            }
        }
    }
}

fn remove_once(server: &Server, subject: &Subject, item: &str) -> Result<bool> {
    let call = server.call("GET", &subject.path(&[])).project(&subject.project);
    let Some(found) = call.find::<Value>()? else { return Ok(false) };
    // A restore loses the mark on its way.
    if found["config"][MARK].as_str().is_some_and(|other| other != item) {
        return Err(anyhow!("it is marked as one of another item"));
    }
    match server.call("DELETE", &subject.path(&[])).project(&subject.project).run() {
        Err(error) if is_not_found(&error) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Whether the server has not ended yet what it does with it.
fn is_busy(error: &anyhow::Error) -> bool {
    refusal(error).is_some_and(|refused| refused.message.contains("busy") || refused.message.contains("in use"))
}

/// Removes temporary copies that runs of this source have left which were killed. Says what was removed. Only under the lock of the source.
///
/// # Errors
///
/// When the source cannot be asked, or does not remove one.
pub fn sweep(servers: &Servers, replication: &Replication) -> Result<Vec<String>> {
    let server = &servers.source;
    let own = format!("{}/", replication.id);
    let mut removed = Vec::new();
    let projects: Vec<&str> = replication.config.projects.iter().map(|project| project.name.as_str()).collect();
    let pools = list_pools(server, &projects).context(LOOK)?;
    for project in projects {
        let mut places = vec![(None, vec!["instances"])];
        for pool in &pools {
            places.push((Some(pool), vec!["storage-pools", pool, "volumes", "custom"]));
        }
        for (pool, path) in places {
            for name in names(server, &path, project)? {
                let subject = Subject { project: project.to_owned(), pool: pool.cloned(), name };
                if !is_temporary(&subject.name) {
                    continue;
                }
                let call = server.call("GET", &subject.path(&[])).project(project);
                let found = call.find::<Value>()?.unwrap_or_default();
                if let Some(item) = found["config"][MARK].as_str().filter(|item| item.starts_with(&own))
                    && remove(server, &subject, item)?
                {
                    removed.push(format!("removed the temporary {} {}", subject.kind(), subject.name));
                }
            }
        }
    }
    Ok(removed)
}

/// The names in a list of the server, which are the ends of URLs.
fn names(server: &Server, path: &[&str], project: &str) -> Result<Vec<String>> {
    let urls: Vec<String> = server.call("GET", path).project(project).get().context(LOOK)?;
    let name = |url: &String| url.split('?').next()?.rsplit('/').next().map(str::to_owned);
    Ok(urls.iter().filter_map(name).filter(|name| check_name(name).is_ok()).collect())
}
