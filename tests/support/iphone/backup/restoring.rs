//! A restore: the phone fetches a backup from the host, opens and checks everything, and notes what it got.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};

use super::agent::Shared;
use super::around::{Around, End};
use super::cipher::{Opened, body_size};
use super::content::Sha1;
use super::files::Files;
use super::keybag::Keybag;
use super::link::Link;
use super::manifest::{self, Row, place};
use super::previous::open_database;
use super::{other, plists};

/// One entry as it came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// 1: a file, 2: a directory, 4: a link.
    pub flags: i64,
    /// Bytes of the content.
    pub size: u64,
    /// Type and permissions.
    pub mode: u32,
    /// The SHA-1 of a file's content.
    pub sha1: Option<Sha1>,
    /// Where a link leads.
    pub target: Option<String>,
}

/// What a restore has brought.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The options that came with the request.
    pub options: Dictionary,
    /// By domain and path.
    pub entries: BTreeMap<(String, String), Came>,
    /// Files that the host did not send, and why.
    pub missing: Vec<(String, String)>,
    /// Files whose content is not what the manifest says.
    pub damaged: Vec<String>,
    /// `/iTunesRestore/RestoreApplications.plist`, as AFC had it when the request came or at its end.
    pub applications: Option<Vec<u8>>,
}

impl Restored {
    /// In what it differs from these files, in words.
    pub fn differences(&self, files: &Files) -> Vec<String> {
        let mut differences = Vec::new();
        for (domain, path, entry) in files.iter() {
            let came = self.entries.get(&(domain.to_owned(), path.to_owned()));
            let Some(came) = came else {
                differences.push(format!("{domain}/{path} did not come"));
                continue;
            };
            let content = entry.content().map(super::content::Content::sha1);
            if (came.flags, came.size, came.mode, came.sha1) != (entry.flags(), entry.size(), entry.mode, content) {
                differences.push(format!("{domain}/{path} came as {came:?} and not as {entry:?}"));
            }
        }
        let more = self.entries.keys().filter(|(domain, path)| files.get(domain, path).is_none());
        differences.extend(more.map(|(domain, path)| format!("{domain}/{path} came and is not on the phone")));
        differences
    }
}

/// Restores from the host.
///
/// # Errors
/// 211: "Find My" is on. 208: nobody has entered the passcode. 205: there is no finished backup. 207: the password is wrong or missing.
/// 4: bodies were missing or damaged, told when all the others have been fetched.
pub fn run(link: &mut Link, shared: &Shared, around: &dyn Around, request: &Dictionary) -> Result<Option<String>, End> {
    if shared.settings().find_my {
        return Err(End::code(211, "Find My iPhone must be turned off"));
    }
    shared.ask_passcode(around)?;
    let options = request.get("Options").and_then(Value::as_dictionary).cloned().unwrap_or_default();
    let mut restored = Restored { options, ..Restored::default() };
    link.progress = 0.0;
    let result = fetch(link, shared, around, request, &mut restored);
    restored.applications = around.media("/iTunesRestore/RestoreApplications.plist");
    shared.set_restored(restored);
    result
}

fn fetch(
    link: &mut Link,
    shared: &Shared,
    around: &dyn Around,
    request: &Dictionary,
    restored: &mut Restored,
) -> Result<Option<String>, End> {
    let source = other::source(around, request);
    let status = link.fetch(&format!("{source}/Status.plist"))?;
    if status.as_deref().and_then(plists::state).as_deref() != Some("finished") {
        return Err(End::code(205, "The backup is not finished"));
    }
    let manifest = link.fetch(&format!("{source}/Manifest.plist"))?;
    let manifest = manifest.as_deref().and_then(plists::read_manifest);
    let manifest = manifest.ok_or_else(|| End::code(205, "Invalid Manifest.plist"))?;
    let keys = if manifest.encrypted {
        let password = restored.options.get("Password").and_then(Value::as_string);
        let keys = password.and_then(|password| Keybag::unlock(&manifest.keybag, password));
        Some(keys.ok_or_else(|| End::code(207, "Invalid password"))?)
    } else {
        None
    };
    let database = link.fetch(&format!("{source}/Manifest.db"))?.unwrap_or_default();
    let database = match &keys {
        None => Some(database),
        Some(keys) => open_database(&database, &manifest.manifest_key.unwrap_or_default(), keys)?,
    };
    let rows = database.map(|bytes| manifest::read(&bytes)).transpose()?.flatten();
    let rows: BTreeMap<Sha1, Row> = rows.ok_or_else(|| End::code(205, "Invalid Manifest.db"))?.into_iter().collect();
    let leave = restored.options.get("RestoreDontCopyBackup").and_then(Value::as_boolean).unwrap_or(false);
    if shared.settings().copies_before_restore && !leave {
        let status = link.copy_item(&source, &format!("{source}-before-restore"))?;
        if status.code != 0 {
            return Err(End::code(104, "The drive could not copy the backup"));
        }
    }
    let bodies: Vec<(&Sha1, &Row)> = rows.iter().filter(|(_, row)| row.flags == 1).collect();
    for row in rows.values().filter(|row| row.flags != 1) {
        note(restored, row, None);
    }
    let mut done = 0;
    for batch in bodies.chunks(shared.settings().batch_files) {
        #[allow(clippy::cast_precision_loss, reason = "for a bar of progress")]
        (link.progress = 100.0 * done as f64 / bodies.len() as f64);
        fetch_bodies(link, &source, keys.as_ref(), batch, restored)?;
        done += batch.len();
    }
    match restored.missing.len() + restored.damaged.len() {
        0 => Ok(None),
        _ => Err(End::code(4, "Files of the backup are missing or damaged")),
    }
}

fn fetch_bodies(
    link: &mut Link,
    source: &str,
    keys: Option<&Keybag>,
    batch: &[(&Sha1, &Row)],
    restored: &mut Restored,
) -> Result<(), End> {
    let paths: Vec<String> = batch.iter().map(|(id, _)| place(source, id)).collect();
    let key = |row: &Row| keys.and_then(|keys| keys.key(row.record.key.as_deref()?));
    let mut bodies: Vec<Option<Opened>> = batch.iter().map(|(_, row)| Some(Opened::new(key(row).as_ref()))).collect();
    let results = link.download(&paths, &mut |at, piece| match &mut bodies[at] {
        Some(body) => body.take(piece, &mut |_| Ok(())),
        None => Ok(()),
    })?;
    for (((_, row), result), body) in batch.iter().zip(results).zip(bodies) {
        let name = format!("{}/{}", row.domain, row.path);
        let size = match result {
            Ok(size) => size,
            Err(why) => {
                restored.missing.push((name, why));
                continue;
            }
        };
        let content = body.map(|body| body.end(&mut |_| Ok(()))).transpose()?.flatten();
        let encrypted = keys.is_some() && row.record.key.is_some();
        let right = size == body_size(row.record.size, encrypted)
            && content.is_some_and(|(size, sha1)| {
                size == row.record.size && row.record.digest.is_none_or(|digest| digest == sha1)
            });
        if !right {
            restored.damaged.push(name);
        }
        note(restored, row, content.map(|(_, sha1)| sha1));
    }
    Ok(())
}

fn note(restored: &mut Restored, row: &Row, sha1: Option<Sha1>) {
    let (size, mode, target) = (row.record.size, row.record.mode, row.record.target.clone());
    let came = Came { flags: row.flags, size, mode, sha1, target };
    restored.entries.insert((row.domain.clone(), row.path.clone()), came);
}
