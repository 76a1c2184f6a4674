//! Makes an instance or a volume anew on the source: of a replica with all its snapshots, of an export in the store, or of a snapshot beside the original.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow};
use bytes::{Buf, Bytes};
use serde_json::{Value, json};

use super::lent;
use super::settle::{self, Settled};
use super::{Origin, Plan, Restore, check_name, instance_of};
use crate::config::CopyMode;
use crate::error::{Annotate, ExitCode, chain};
use crate::extract;
use crate::incus::api::Server;
use crate::incus::copy::Copy;
use crate::incus::model::{Instance, Pool, Settings, Volume};
use crate::incus::select::{Subject, list_pools};
use crate::incus::temporary::{MARK, Temporary, Work};
use crate::incus::{export, mark};
use crate::quantity::show_time;
use crate::store::SavedTree;

/// How many pieces of an archive may be read ahead.
const AHEAD: usize = 4;

/// What is known of what comes back.
struct Anew<'r> {
    restore: Restore<'r>,
    origin: Origin<'r>,
    /// What the server said of it then.
    described: Value,
    /// The same of an instance.
    then: Option<Instance>,
    /// The pool of the source that it is put on.
    pool: String,
    /// The same, where its root disk was on another one.
    moved: Option<String>,
}

pub(super) fn plan<'r>(restore: Restore<'r>, origin: Origin<'r>) -> Result<Plan<'r>> {
    let name = restore.name();
    check_name(restore.subject, name)?;
    let described = match origin {
        Origin::Source(snapshot) => export::describe(restore.source, restore.subject, None, snapshot)?.1,
        Origin::Target(server, replica, snapshot) => export::describe(server, replica, None, snapshot)?.1,
        Origin::Store(saved) => export::described(saved)?,
    };
    check_free(&restore)?;
    let pools = list_pools(restore.source, &[&restore.subject.project])?;
    let mut warnings = Vec::new();
    let (then, pool, moved) = match &restore.subject.pool {
        Some(pool) => {
            check_volume_pool(&restore, pool, &pools)?;
            (None, pool.clone(), None)
        }
        None => {
            let then = instance_of(&described)?;
            let (pool, moved) = pool_for(&restore, &then, &pools)?;
            if let Some(moved) = &moved {
                warnings.push(format!(
                    "the root disk is put on the pool {moved}: the source has no such pool as it was on"
                ));
            }
            if restore.options.rename.is_none() {
                check_volumes(&restore, &then)?;
            }
            (Some(then), pool, moved)
        }
    };
    let anew = Anew { restore, origin, described, then, pool, moved };
    if let Some(then) = &anew.then {
        warnings.extend(anew.settled(then, &Settings::new()).warnings);
    }
    let (kind, own) = (restore.subject.kind(), &restore.subject.name);
    let at = show_time(restore.time);
    let mut steps = match origin {
        Origin::Source(snapshot) => vec![format!("make the {kind} {name} of {own} as it was at {at} UTC ({snapshot})")],
        Origin::Target(.., snapshot) => vec![
            format!("copy the {kind} {own} with its snapshots from the target"),
            format!("put it back as it was at {at} UTC ({snapshot})"),
        ],
        Origin::Store(_) => vec![format!("make the {kind} {own} of its export as it was at {at} UTC")],
    };
    if restore.options.rename.is_some() && !matches!(origin, Origin::Source(_)) {
        steps.push(format!("call it {name}"));
    }
    let next = match anew.then {
        Some(_) => vec![format!("It does not run. To start it: incus start {}", restore.words(name))],
        None => Vec::new(),
    };
    Ok(Plan { steps, warnings, next, overwrites: false, work: Box::new(move || anew.bring()) })
}

/// Sees that nothing is called like what comes back.
fn check_free(restore: &Restore<'_>) -> Result<()> {
    let (kind, name) = (restore.subject.kind(), restore.name());
    let wanted = Subject { name: name.to_owned(), ..restore.subject.clone() };
    let call = restore.source.call("GET", &wanted.path(&[])).project(&wanted.project);
    if call.find::<Value>()?.is_none() {
        return Ok(());
    }
    let error =
        Err(anyhow!("there is {} {kind} {name} on the source already", if kind == "instance" { "an" } else { "a" }));
    if restore.options.rename.is_some() {
        return error.hint("With --as a name that is free is needed: nothing is overwritten.").exit(ExitCode::Usage);
    }
    error
        .hint("To roll it back to a point that the source has: --in-place without --from. To bring it back beside the original: --as NAME.")
        .exit(ExitCode::Usage)
}

fn check_volume_pool(restore: &Restore<'_>, pool: &String, pools: &[String]) -> Result<()> {
    if pools.contains(pool) {
        return Ok(());
    }
    Err(anyhow!("the source has no storage pool {pool}, which {} was on", restore.subject.name))
        .hint(format!("Make it with `incus storage create {pool} DRIVER`. There is: {}.", pools.join(", ")))
}

/// The pool that the root disk is put on, and the same again when that is not where it was.
fn pool_for(restore: &Restore<'_>, then: &Instance, pools: &[String]) -> Result<(String, Option<String>)> {
    let (root, device) = settle::root(then).context("it has no root disk")?;
    let mut given = None;
    for name in &then.profiles {
        let call = restore.source.call("GET", &["profiles", name]).project(&restore.subject.project);
        let profile: Option<Value> = call.find()?;
        let profile = profile
            .ok_or_else(|| anyhow!("the source has no profile {name}, which {} has", restore.subject.name))
            .hint(format!("Make it with `incus profile create {}`.", restore.words(name)))?;
        let disk = profile["devices"].as_object().into_iter().flatten().find(|(_, device)| device["path"] == "/");
        given = disk.and_then(|(_, device)| device["pool"].as_str().map(ToOwned::to_owned)).or(given);
    }
    let was = device.get("pool").cloned().unwrap_or_default();
    let is_own = then.devices.contains_key(root);
    match given {
        Some(pool) if !is_own => Ok((pool, None)),
        _ if pools.contains(&was) => Ok((was.clone(), (!is_own).then_some(was))),
        Some(pool) => Ok((pool.clone(), Some(pool))),
        None if pools.len() == 1 => Ok((pools[0].clone(), Some(pools[0].clone()))),
        None => {
            Err(anyhow!("the source has no storage pool {was}, which the root disk of {} was on", restore.subject.name))
                .hint(format!("Make it with `incus storage create {was} DRIVER`. There is: {}.", pools.join(", ")))
        }
    }
}

/// Sees that the volumes are there which it uses: without them it could not be made as it was.
fn check_volumes(restore: &Restore<'_>, then: &Instance) -> Result<()> {
    for (device, pool, volume) in settle::volumes(then) {
        let path = ["storage-pools", pool, "volumes", "custom", volume];
        if restore.source.call("GET", &path).project(&restore.subject.project).find::<Value>()?.is_none() {
            let item = format!("{}/{}/volume/{volume}", restore.replication.id, restore.subject.project);
            return Err(anyhow!(
                "the source has no volume {volume} on {pool}, which is the disk {device} of {}",
                restore.subject.name
            ))
            .hint(format!("Bring it back first: holdall restore {item} --from target."));
        }
    }
    Ok(())
}

impl Anew<'_> {
    fn settled(&self, then: &Instance, now: &Settings) -> Settled {
        let settled = if self.restore.options.rename.is_some() { settle::beside } else { settle::as_it_was };
        settled(then, now, self.moved.as_deref())
    }

    fn bring(self) -> Result<()> {
        let Self { restore, .. } = &self;
        let (source, item) = (restore.source, restore.item());
        let made = match self.origin {
            Origin::Source(snapshot) => {
                export::copy(source, Work::Restore, &item, restore.subject, snapshot, &self.described)
            }
            Origin::Target(server, replica, snapshot) => self.copy_back(&item, server, replica, snapshot),
            Origin::Store(saved) => {
                Temporary::make(source, Work::Restore, &item, restore.subject, |made| self.import(saved, made))
            }
        };
        let made = made.with_context(|| format!("bring back {item}"))?;
        self.settle(made.subject()).with_context(|| format!("give {} what it had", restore.name()))?;
        let subject = made.subject();
        let call = source.call("POST", &subject.path(&[])).project(&subject.project);
        let renamed = call.body(json!({"name": restore.name(), "migration": false})).run();
        renamed.with_context(|| format!("call it {}", restore.name()))?;
        made.keep();
        match self.origin {
            Origin::Target(server, replica, _) if restore.options.rename.is_none() => ask_for_reseed(server, replica),
            _ => Ok(()),
        }
    }

    /// Copies a replica with all its snapshots, and puts it back to the one that is wanted: what the replica has besides is of no point. Of one whose last
    /// copy was broken off only that snapshot is sure to be there: what Incus had begun to replace may be gone.
    fn copy_back(&self, item: &str, server: &Server, replica: &Subject, snapshot: &str) -> Result<Temporary> {
        let source = self.restore.source;
        let is_whole = !lent::is_broken_off(server, replica)?;
        let sent = match lent::is_on_btrfs(server, replica)? {
            _ if !is_whole => Some(export::copy(server, Work::Transit, item, replica, snapshot, &self.described)?),
            true => Some(lent::copy(server, Work::Transit, item, replica)?),
            false => None,
        };
        let receive = |work| {
            let from = sent.as_ref().map_or(replica, Temporary::subject);
            Temporary::make(source, work, item, self.restore.subject, |made| self.receive(server, from, made))
        };
        let is_on_btrfs =
            source.get::<Pool>(&["storage-pools", &self.pool]).map_or(true, |pool| pool.driver == "btrfs");
        let made = match is_on_btrfs {
            false => receive(Work::Restore)?,
            true => {
                let received = receive(Work::Transit)?;
                let made = lent::copy(source, Work::Restore, item, received.subject())?;
                received.end()?;
                made
            }
        };
        sent.map_or(Ok(()), Temporary::end)?;
        if !is_whole {
            return Ok(made);
        }
        let subject = made.subject();
        let call = source.call("PUT", &subject.path(&[])).project(&subject.project);
        let back = call.body(json!({"restore": snapshot})).run();
        back.with_context(|| format!("put it back to {snapshot}"))?;
        Ok(made)
    }

    fn receive(&self, server: &Server, from: &Subject, made: &Temporary) -> Result<()> {
        let subject = made.subject();
        let text = |key: &str| self.described[key].as_str().unwrap_or_default();
        let body = match &self.then {
            None => json!({
                "name": subject.name,
                "type": "custom",
                "content_type": text("content_type"),
                "description": text("description"),
                "config": with_mark(self.described["config"].clone(), made),
            }),
            Some(then) => {
                let (root, device) = settle::root(then).context("it has no root disk")?;
                let mut device = device.clone();
                device.insert("pool".to_owned(), self.pool.clone());
                let image = then.config.get("volatile.base_image").cloned().unwrap_or_default();
                json!({
                    "name": subject.name,
                    "type": then.kind,
                    "architecture": then.architecture,
                    "description": then.description,
                    "config": with_mark(json!({"volatile.base_image": image, "boot.autostart": "false"}), made),
                    "devices": {root: device},
                    "profiles": [],
                    "ephemeral": false,
                })
            }
        };
        // Whoever reaches the other one for backups reaches it now.
        let mode = match self.restore.replication.config.mode {
            CopyMode::Push => CopyMode::Pull,
            CopyMode::Pull => CopyMode::Push,
        };
        let task = self.restore.start_task();
        let to_pool = subject.pool.as_deref();
        Copy { from: server, to: self.restore.source, mode, subject: from, to_pool, refresh: false, body }.run(&task.0)
    }

    /// Has the source make it of the archive in the store.
    fn import(&self, saved: &SavedTree, made: &Temporary) -> Result<()> {
        let archive = extract::find(saved, export::ARCHIVE.as_ref())?;
        let size = saved.piece_sizes(&archive)?.into_iter().fold(0, u64::saturating_add);
        let task = self.restore.start_task();
        task.0.expect(size);
        let (pieces, received) = sync_channel::<io::Result<Bytes>>(AHEAD);
        let saved = saved.clone();
        let reader = thread::Builder::new().name("read the store".to_owned()).spawn(move || -> Result<()> {
            for piece in saved.read(&archive)? {
                let broken = piece.as_ref().err().map(chain);
                let sent = pieces.send(piece.map_err(|error| io::Error::other(chain(&error))));
                // Whoever reads may have given up, and says why.
                if broken.is_some() || sent.is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        let subject = made.subject();
        let mut headers = vec![("X-Incus-name", subject.name.as_str())];
        let path = match &subject.pool {
            Some(pool) => {
                headers.push(("X-Incus-type", "backup"));
                vec!["storage-pools", pool, "volumes", "custom"]
            }
            None => {
                headers.push(("X-Incus-pool", &self.pool));
                vec!["instances"]
            }
        };
        let content = Pieces { received, piece: Bytes::new(), task: task.0.clone() };
        let call = self.restore.source.call("POST", &path).project(&subject.project);
        let begun = call.upload(&headers, size, content);
        let read = reader.join().unwrap_or_else(|_| Err(anyhow!("the store could not be read")));
        let operation = begun?;
        read?;
        operation.wait(None).context("make it of the archive").map(drop)
    }

    /// Gives what was made the configuration that it had.
    fn settle(&self, subject: &Subject) -> Result<()> {
        let source = self.restore.source;
        let ask = || source.call("GET", &subject.path(&[])).project(&subject.project);
        let body = match &self.then {
            Some(then) => {
                let now: Instance = ask().get()?;
                settle::body(then, &self.settled(then, &now.config))
            }
            None => {
                let now: Volume = ask().get()?;
                let then: Volume = serde_json::from_value(self.described.clone()).context("understand the volume")?;
                json!({"config": settle::volume(&then, &now.config), "description": then.description})
            }
        };
        source.call("PUT", &subject.path(&[])).project(&subject.project).body(body).run().map(drop)
    }
}

/// Has the next backup make the replica anew, where the snapshots that came back have nothing by which the two servers would know them for the same. Nothing is
/// lost by that: all that the replica has is on the source now.
fn ask_for_reseed(server: &Server, replica: &Subject) -> Result<()> {
    if !lent::is_broken_off(server, replica)? && !lent::is_on_btrfs(server, replica)? {
        return Ok(());
    }
    let body = json!({"config": {mark::RESEED: "true"}});
    let call = server.call("PATCH", &replica.path(&[])).project(&replica.project).body(body);
    call.run().map(drop).context("it is back, but the next backup will not know it").hint("Run it once with --reseed.")
}

/// A configuration with the mark of something temporary, and none of ours that it had.
fn with_mark(mut config: Value, made: &Temporary) -> Value {
    if let Some(config) = config.as_object_mut() {
        config.retain(|key, _| !key.starts_with(mark::KEYS));
        config.insert(MARK.to_owned(), json!(made.item()));
    }
    config
}

/// An archive as it comes from the store.
struct Pieces {
    received: Receiver<io::Result<Bytes>>,
    piece: Bytes,
    task: std::sync::Arc<dyn crate::monitor::Task>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.received.recv() {
                Ok(piece) => self.piece = piece?,
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        self.task.advance(count as u64);
        Ok(count)
    }
}
