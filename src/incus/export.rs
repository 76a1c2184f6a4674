//! What a snapshot of an instance or a volume holds, as a tree for the store: `/backup.tar`, the archive that Incus makes for `incus import`, and what Incus said
//! of it as `/instance.json` or `/volume.json`.
//!
//! A server exports what is live, and not a snapshot. So the archive is that of a temporary copy of the snapshot ([`super::temporary`]), which has nothing but the root
//! disk: no profiles, no network, nothing to collide with the original. What the original has besides is in the JSON, from which a restore puts it back. The
//! archive is not compressed, so that the store finds again what it has.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{Duration, Utc};
use serde_json::{Map, Value, json};

use super::api::Server;
use super::model::{Instance, Volume};
use super::select::{Selected, Subject, check_name};
use super::temporary::{MARK, Temporary, Work};
use super::{Replication, Servers};
use crate::monitor::Monitor;
use crate::source::parts::{Output, Parts, Text};
use crate::source::{Content, Entries, Failure, Tree};
use crate::store::SavedTree;

/// The archive in the tree.
pub const ARCHIVE: &str = "/backup.tar";

/// What Incus said of an instance.
pub const INSTANCE: &str = "/instance.json";

/// What Incus said of a volume.
pub const VOLUME: &str = "/volume.json";

/// The name of the export of a temporary copy, which has no other.
const BACKUP: &str = "export";

/// After how many days a server removes an archive that was left behind.
const DAYS: i64 = 1;

/// No text beside an archive is longer than this, in bytes.
const LONGEST: usize = 16 << 20;

/// Blocks of zeros end a tar archive: two of 512 bytes at least.
const END: usize = 1024;

/// Opens a snapshot of the source as a tree. The archive is made now, and sent when it is read.
///
/// # Errors
///
/// When the source has no such snapshot, or no room for the copy or the archive. [`Tree::finish`] fails when the archive was cut short.
pub fn open(
    servers: &Servers,
    replication: &Replication,
    selected: &Selected,
    snapshot: &str,
) -> Result<Box<dyn Tree>> {
    let id = selected.subject.id(&replication.id);
    of(&servers.source, &id, &selected.subject, selected.instance.as_ref(), snapshot)
}

/// The same of either server. `instance` is what is known of the instance already.
pub(crate) fn of(
    server: &Server,
    item: &str,
    subject: &Subject,
    instance: Option<&Instance>,
    snapshot: &str,
) -> Result<Box<dyn Tree>> {
    let doing = || format!("export {snapshot} of {item}");
    let (name, described) = describe(server, subject, instance, snapshot).with_context(doing)?;
    let temporary = copy(server, Work::Export, item, subject, snapshot, &described).with_context(doing)?;
    let kind = if subject.pool.is_some() { "volume_only" } else { "instance_only" };
    let body = json!({
        "name": BACKUP,
        kind: true,
        "compression_algorithm": "none",
        "optimized_storage": false,
        "expires_at": Utc::now() + Duration::days(DAYS),
    });
    let copy = temporary.subject().clone();
    let call = server.call("POST", &copy.path(&["backups"])).project(&copy.project).body(body);
    call.run().context("make the archive").with_context(doing)?;

    let failure = Failure::default();
    let (server, text, watched) = (server.clone(), doing(), failure.clone());
    let archive = Output(move || -> Content {
        let (server, copy) = (server.clone(), copy.clone());
        watched.watch(text.clone(), move || {
            let call = server.call("GET", &copy.path(&["backups", BACKUP, "export"])).project(&copy.project);
            Ok(Whole { inner: call.download()?.0, zeros: 0 })
        })
    });
    let mut parts = Parts::default();
    parts.put(ARCHIVE, archive);
    parts.put(name, Text::json(&described));
    Ok(Box::new(Export { parts, failure, temporary: Mutex::new(Some(temporary)) }))
}

/// The name and the content of the text beside the archive: what the server says of the snapshot, with what it says of the instance only.
pub(super) fn describe(
    server: &Server,
    subject: &Subject,
    instance: Option<&Instance>,
    snapshot: &str,
) -> Result<(&'static str, Value)> {
    let path = subject.path(&["snapshots", snapshot]);
    let mut value: Value = server.call("GET", &path).project(&subject.project).get()?;
    let Some(described) = value.as_object_mut() else { bail!("the answer is of another form") };
    // Of the snapshot it may be with the name of the volume before it, and where it is stored now says nothing of then.
    ["name", "expires_at", "last_used_at", "size", "used_by", "location"].iter().for_each(|key| {
        described.remove(*key);
    });
    described.insert("name".to_owned(), json!(subject.name));
    described.insert("snapshot".to_owned(), json!(snapshot));
    described.insert("project".to_owned(), json!(subject.project));
    if let Some(pool) = &subject.pool {
        described.insert("pool".to_owned(), json!(pool));
        // Of a snapshot that was copied here it is not known.
        if described.get("content_type").and_then(Value::as_str).unwrap_or_default().is_empty() {
            let volume: Volume = server.call("GET", &subject.path(&[])).project(&subject.project).get()?;
            described.insert("content_type".to_owned(), json!(volume.content_type));
        }
        return Ok((VOLUME, value));
    }
    let asked;
    let instance = match instance {
        Some(instance) => instance,
        None => {
            asked = server.call("GET", &subject.path(&[])).project(&subject.project).get::<Instance>()?;
            &asked
        }
    };
    described.insert("type".to_owned(), json!(instance.kind));
    described.insert("description".to_owned(), json!(instance.description));
    Ok((INSTANCE, value))
}

/// What is said beside the archive of a saved export.
///
/// # Errors
///
/// When it is not there, or is not what holdall writes.
pub(super) fn described(saved: &SavedTree) -> Result<Value> {
    let is_instance = saved.find(INSTANCE.as_ref())?.is_some();
    let path = if is_instance { INSTANCE } else { VOLUME };
    let doing = || format!("understand {path} of the point");
    let node = crate::extract::find(saved, path.as_ref())?;
    let mut text = Vec::new();
    for piece in saved.read(&node)? {
        text.extend_from_slice(&piece?);
        if text.len() > LONGEST {
            return Err(anyhow!("it is longer than any server writes it")).with_context(doing);
        }
    }
    serde_json::from_slice(&text).with_context(doing)
}

/// What a saved export is of. `source`: `incus.lab`.
///
/// # Errors
///
/// When it is none, or of another item than its point says.
pub fn subject_of(saved: &SavedTree, source: &str) -> Result<Subject> {
    let described = described(saved)?;
    let text = |key: &str| described[key].as_str().map(ToOwned::to_owned);
    let (project, name) = (text("project").unwrap_or_default(), text("name").unwrap_or_default());
    let subject = Subject { project, pool: text("pool"), name };
    let item = &saved.point().item;
    if subject.id(source) != *item {
        let shown = crate::output::printable(subject.id(source).as_ref());
        bail!("the point is one of {item}, and what it holds says that it is {shown}");
    }
    for name in [Some(&subject.project), subject.pool.as_ref(), Some(&subject.name)].into_iter().flatten() {
        check_name(name)?;
    }
    Ok(subject)
}

/// Makes a temporary copy of a snapshot, of which the server says what is in `described`.
pub(super) fn copy(
    server: &Server,
    work: Work,
    item: &str,
    subject: &Subject,
    snapshot: &str,
    described: &Value,
) -> Result<Temporary> {
    Temporary::make(server, work, item, subject, |copy| {
        let (path, body) = match &subject.pool {
            Some(pool) => (
                vec!["storage-pools", pool, "volumes", "custom"],
                copy_of_volume(copy, pool, subject, snapshot, described),
            ),
            None => (vec!["instances"], copy_of_instance(copy, subject, snapshot, described)?),
        };
        let call = server.call("POST", &path).project(&subject.project).body(body);
        call.run().context("copy the snapshot").map(drop)
    })
}

fn copy_of_instance(copy: &Temporary, subject: &Subject, snapshot: &str, described: &Value) -> Result<Value> {
    let devices = |key: &str| described[key].as_object().cloned().unwrap_or_default();
    let expanded = devices("expanded_devices");
    let root = expanded.iter().find(|(_, device)| device["type"] == "disk" && device["path"] == "/");
    let (root, device) = root.ok_or_else(|| anyhow!("{snapshot} has no root disk"))?;
    // Its own devices would be copied unless something else is in their place.
    let mut without: Map<String, Value> =
        devices("devices").keys().map(|name| (name.clone(), json!({"type": "none"}))).collect();
    without.insert(root.clone(), device.clone());
    Ok(json!({
        "name": copy.subject().name,
        "type": described["type"],
        "profiles": [],
        "devices": without,
        "config": {MARK: copy.item(), "boot.autostart": "false", "snapshots.schedule": ""},
        "ephemeral": false,
        "source": {"type": "copy", "source": format!("{}/{snapshot}", subject.name), "instance_only": true},
    }))
}

fn copy_of_volume(copy: &Temporary, pool: &str, subject: &Subject, snapshot: &str, described: &Value) -> Value {
    // With `volatile.idmap.last`: else who gets the volume would take the owners of its files for others.
    let mut config = described["config"].as_object().cloned().unwrap_or_default();
    config.remove("snapshots.schedule");
    config.insert(MARK.to_owned(), json!(copy.item()));
    json!({
        "name": copy.subject().name,
        "type": "custom",
        "content_type": described["content_type"],
        "config": config,
        "source": {"type": "copy", "pool": pool, "name": format!("{}/{snapshot}", subject.name), "volume_only": true},
    })
}

/// The tree of one snapshot.
struct Export {
    parts: Parts,
    failure: Failure,
    temporary: Mutex<Option<Temporary>>,
}

impl Export {
    /// The archive is whole or not whatever becomes of the copy, and the next run removes one that stays.
    fn remove(&self) {
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = temporary.map(Temporary::end) {
            tracing::warn!("{}", crate::error::chain(&error));
        }
    }
}

impl Tree for Export {
    fn entries(&self) -> Entries {
        self.parts.entries()
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn made_up(&self) -> u64 {
        self.parts.texts()
    }

    fn let_go(&self, _monitor: &dyn Monitor) {
        self.remove();
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.remove();
        self.failure.take()
    }
}

/// An archive that fails when it does not end as one: however it was sent, half of one is not taken for the whole.
struct Whole<R> {
    inner: R,
    /// How many zeros were read last.
    zeros: usize,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() && self.zeros < END {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle"));
        }
        let read = &buffer[..count];
        let zeros = read.iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == count { self.zeros.saturating_add(zeros) } else { zeros };
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(archive: &[u8], at_once: usize) -> io::Result<usize> {
        let mut whole = Whole { inner: archive, zeros: 0 };
        let mut buffer = vec![1; at_once];
        let mut all = 0;
        loop {
            match whole.read(&mut buffer)? {
                0 => return Ok(all),
                count => all += count,
            }
        }
    }

    #[test]
    fn archive_that_does_not_end_is_an_error_however_it_is_read() {
        let mut archive = vec![7; 700];
        archive.resize(700 + END, 0);
        for at_once in [1, 100, 1024, 4096] {
            assert_eq!(read(&archive, at_once).unwrap(), archive.len());
            for cut in [0, 1, 500, 700, archive.len() - 1] {
                let error = read(&archive[..cut], at_once).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{cut} of it, {at_once} at once");
            }
        }
    }
}
