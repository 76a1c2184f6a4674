//! A backup, step by step as BackupAgent2 makes it. The host does nothing but what it is told.

use std::collections::BTreeMap;

use plist::{Date, Dictionary, Value};

use super::agent::Shared;
use super::around::{Around, End};
use super::content::{Content, Sha1};
use super::faults::{BadManifest, Faults, Wrong};
use super::files::{Entry, Kind};
use super::hostile;
use super::keybag::{Key, Keybag};
use super::link::{Link, Listing, Status, Upload};
use super::manifest::{Writer, place};
use super::plan::{Plan, Way};
use super::plists;
use super::previous::Previous;
use super::record::Record;

/// What the host must have free beyond what is sent to it.
const RESERVE: u64 = 128 << 20;
/// What is asked for beyond what is missing.
const PURGE_MORE: u64 = 2 << 30;
/// How many items one message moves or removes.
const ITEMS: usize = 500;

/// A backup that is being made.
struct Making<'a, 'w> {
    link: &'a mut Link<'w>,
    shared: &'a Shared,
    around: &'a dyn Around,
    faults: &'a Faults,
    udid: String,
    uuid: String,
    date: Date,
    full: bool,
    keys: Option<Keybag>,
    /// What could not be read, and is in no manifest.
    left_out: Option<Sha1>,
}

/// Makes one.
///
/// # Errors
/// What ends it: the connection, the host's refusals, the passcode, the faults.
pub fn run(
    link: &mut Link,
    shared: &Shared,
    around: &dyn Around,
    faults: &Faults,
    request: &Dictionary,
) -> Result<Option<String>, End> {
    shared.ask_passcode(around)?;
    let options = request.get("Options").and_then(Value::as_dictionary);
    let force = options.and_then(|options| options.get("ForceFullBackup")?.as_boolean()).unwrap_or(false);
    let (udid, uuid) = (around.udid(), uuid::Uuid::new_v4().to_string().to_uppercase());
    let keys = shared.encryption().map(|(_, keys)| keys);
    let date = plists::now(faults.clock);
    link.progress = 0.0;
    Making { link, shared, around, faults, udid, uuid, date, full: false, keys, left_out: None }.run(force)?;
    Ok(None)
}

impl Making<'_, '_> {
    fn run(&mut self, force: bool) -> Result<(), End> {
        let host = Previous::fetch(self.link, &self.udid, self.keys.as_ref())?;
        let (status, listing) = self.link.contents(&self.udid)?;
        done(&status)?;
        let previous = host.as_ref().filter(|host| !force && host.folders_are_in(&listing));
        self.full = previous.is_none();
        let of_empty = self.shared.settings().keys_of_empty;
        let keys = self.keys.as_ref().map(|keys| (keys, of_empty));
        let mut plan = Plan::new(&self.shared.snapshot(), previous, host.as_ref(), &self.udid, keys);
        let full = self.full;
        self.shared.note(|seen| {
            (seen.full, seen.sent, seen.copied, seen.removed) = (Some(full), Vec::new(), Vec::new(), 0);
        });
        self.check_space(plan.upload_size())?;
        let (status, listing) = self.link.contents(&self.udid)?;
        done(&status)?;
        if listing.contains_key("Snapshot") {
            done(&self.link.remove_items([self.snapshot("")])?)?;
        }
        self.send_status("uploading")?;
        self.make_folders(&plan, &listing)?;
        self.send_bodies(&mut plan)?;
        self.copy_bodies(&mut plan)?;
        hostile::ask_all(self.link, self.shared, self.faults)?;
        if let Some(flood) = self.faults.flood {
            hostile::flood(self.link, flood, &self.udid)?;
        }
        let manifests = self.send_manifests(&plan)?;
        if let Some((code, text)) = &self.faults.refuse_late {
            return Err(End::Refused(*code, text.clone()));
        }
        self.send_status("moving")?;
        self.move_all(&plan)?;
        self.send_status("removing")?;
        self.remove_gone(&plan)?;
        if self.faults.unfinished {
            return Ok(());
        }
        self.link.progress = 100.0;
        let status = self.send_status("finished")?;
        self.compare(&status, &manifests)
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.udid)
    }

    fn snapshot(&self, name: &str) -> String {
        let snapshot = self.at("Snapshot");
        if name.is_empty() { snapshot } else { format!("{snapshot}/{name}") }
    }

    /// The host must have room for everything and 128 MiB; else it is asked to purge, and asked again if it says that it did.
    fn check_space(&mut self, size: u64) -> Result<(), End> {
        let needed = size + RESERVE;
        for purged in [false, true] {
            let free = self.link.free_space(&self.udid)?;
            self.shared.note(|seen| seen.free.push(free));
            let missing = match free {
                Some(free) if free > needed => return Ok(()),
                free => needed - free.unwrap_or(0),
            };
            if purged {
                break;
            }
            let status = self.link.ask("DLMessagePurgeDiskSpace", [(missing + PURGE_MORE).into(), 4.into()])?;
            if status.code != 0 {
                break;
            }
        }
        Err(End::code(105, "Insufficient free disk space on drive to back up"))
    }

    fn send(&mut self, device: &str, host: String, content: Content, key: Option<Key>) -> Result<(), End> {
        let size = content.size();
        let upload = Upload { device: device.to_owned(), host, content, key, wrong: None };
        let (status, _) = self.link.upload(size, &[upload])?;
        done(&status)
    }

    fn send_status(&mut self, state: &str) -> Result<Vec<u8>, End> {
        let status = plists::status(state, self.full, &self.uuid, self.date);
        self.send("/.ba/Status.plist", self.at("Status.plist"), status.clone().into(), None)?;
        Ok(status)
    }

    fn make_folders(&mut self, plan: &Plan, listing: &Listing) -> Result<(), End> {
        let mut folders = vec![self.snapshot("")];
        for first in plan.folders().into_keys() {
            let name = format!("{first:02x}");
            folders.push(self.snapshot(&name));
            if listing.get(&name) != Some(&true) {
                folders.push(self.at(&name));
            }
        }
        for folder in folders {
            done(&self.link.create_directory(&folder)?)?;
        }
        Ok(())
    }

    fn send_bodies(&mut self, plan: &mut Plan) -> Result<(), End> {
        let settings = self.shared.settings();
        let all: u64 = plan.items.iter().filter(|item| item.way == Way::Send).map(|item| item.entry.size()).sum();
        let (mut sent, mut unreadable) = (0, false);
        for batch in plan.batches(settings.batch_files, settings.batch_bytes) {
            let mut uploads = Vec::with_capacity(batch.len());
            for number in &batch {
                let item = &plan.items[*number];
                let wrong = match &self.faults.file {
                    Some((domain, path, wrong)) if *domain == item.domain && *path == item.path => Some(*wrong),
                    _ => None,
                };
                unreadable |= wrong == Some(Wrong::Unreadable);
                if wrong == Some(Wrong::LeftOut) {
                    self.left_out = Some(item.id);
                }
                uploads.push(Upload {
                    device: format!("/.ba/mobile/{}/{}", item.domain, item.path),
                    host: place(&self.snapshot(""), &item.id),
                    content: item.entry.content().cloned().unwrap_or_else(|| "".into()),
                    key: item.key,
                    wrong,
                });
            }
            let total = uploads.iter().map(|upload| upload.content.size()).sum();
            sent += total;
            self.link.progress = 90.0 * ratio(sent, all);
            let (status, digests) = self.link.upload(total, &uploads)?;
            done(&status)?;
            for (number, digest) in batch.iter().zip(digests) {
                plan.items[*number].digest = Some(digest);
            }
            let names: Vec<_> = batch
                .iter()
                .map(|number| (plan.items[*number].domain.clone(), plan.items[*number].path.clone()))
                .collect();
            self.shared.note(|seen| seen.sent.extend(names));
        }
        if unreadable {
            return Err(End::code(104, "Input/output error"));
        }
        Ok(())
    }

    fn copy_bodies(&mut self, plan: &mut Plan) -> Result<(), End> {
        for number in 0..plan.items.len() {
            if let Some(original) = plan.items[number].copy_of {
                plan.items[number].digest = plan.items[original].digest;
            }
            let item = &plan.items[number];
            if let Way::Copy(from) = &item.way {
                done(&self.link.copy_item(from, &place(&self.snapshot(""), &item.id))?)?;
                let name = (item.domain.clone(), item.path.clone());
                self.shared.note(|seen| seen.copied.push(name));
            }
        }
        Ok(())
    }

    /// Sends `Manifest.plist` and `Manifest.db`, and says what they are.
    fn send_manifests(&mut self, plan: &Plan) -> Result<BTreeMap<&'static str, Vec<u8>>, End> {
        let bad = self.faults.manifest;
        let mut writer = Writer::new(bad);
        for item in plan.items.iter().filter(|item| self.left_out != Some(item.id)) {
            let record = Record::archive(&item.path, &item.entry, item.written_key.as_deref(), item.digest.as_ref());
            writer.add(&item.id, &item.domain, &item.path, item.entry.flags(), &record);
        }
        if bad == Some(BadManifest::NamesMore) {
            let (kind, id) = (Kind::File(Content::seeded(1, 1000)), [0xee; 20]);
            let entry = plan.items.first().map(|item| Entry { kind, ..item.entry.clone() });
            let entry = entry.ok_or_else(|| End::code(1, "There is nothing on this phone"))?;
            let record = Record::archive("never sent", &entry, None, None);
            writer.add(&id, "HomeDomain", "never sent", 1, &record);
        }
        let database = writer.finish();
        let key = self.keys.as_ref().map(|keys| keys.new_key(3));
        let described = plists::Described {
            keybag: self.keys.as_ref().unwrap_or_else(|| self.shared.unknown_keys()),
            manifest_key: key.as_ref().map(|(_, written)| &**written),
            passcode: self.shared.settings().passcode.is_some(),
            date: self.date,
        };
        let manifest = plists::manifest(&described, self.around);
        self.send("/.ba/Manifest.plist", self.snapshot("Manifest.plist"), manifest.clone().into(), None)?;
        let mut manifests = BTreeMap::from([("Manifest.plist", manifest)]);
        if bad != Some(BadManifest::Missing) {
            let key = key.map(|(key, _)| key);
            let content = Content::from(database);
            let mut body = Vec::new();
            let mut reader = super::cipher::Body::new(content.reader(), key.as_ref());
            std::io::Read::read_to_end(&mut reader, &mut body)?;
            self.send("/.ba/Manifest.db", self.snapshot("Manifest.db"), content, key)?;
            manifests.insert("Manifest.db", body);
        }
        Ok(manifests)
    }

    fn move_all(&mut self, plan: &Plan) -> Result<(), End> {
        let moving = plan.items.iter().filter(|item| item.way != Way::Nothing && self.left_out != Some(item.id));
        let moving: Vec<Sha1> = moving.map(|item| item.id).collect();
        let snapshot = self.snapshot("");
        for ids in moving.chunks(ITEMS) {
            let pairs = ids.iter().map(|id| (place(&snapshot, id), place(&self.udid, id)));
            done(&self.link.move_items(pairs.collect::<Vec<_>>())?)?;
        }
        let mut names = vec!["Manifest.plist", "Manifest.db"];
        if self.faults.manifest == Some(BadManifest::Missing) {
            names.pop();
        }
        let pairs: Vec<_> = names.into_iter().map(|name| (self.snapshot(name), self.at(name))).collect();
        done(&self.link.move_items(pairs)?)
    }

    fn remove_gone(&mut self, plan: &Plan) -> Result<(), End> {
        for ids in plan.gone.chunks(ITEMS) {
            let paths: Vec<_> = ids.iter().map(|id| place(&self.udid, id)).collect();
            done(&self.link.remove_items(paths)?)?;
        }
        self.shared.note(|seen| seen.removed = plan.gone.len());
        done(&self.link.remove_items([self.snapshot("")])?)
    }

    /// The host must have what was sent to it.
    fn compare(&mut self, status: &[u8], manifests: &BTreeMap<&'static str, Vec<u8>>) -> Result<(), End> {
        let files =
            [("Status.plist", status)].into_iter().chain(manifests.iter().map(|(name, bytes)| (*name, &**bytes)));
        for (name, sent) in files {
            let there = self.link.fetch(&self.at(name))?;
            if there.as_deref() != Some(sent) {
                return Err(End::code(205, &format!("Invalid {name} on the drive")));
            }
        }
        Ok(())
    }
}

/// What the host could not do ends the backup: 105 when its disk is full, else 104.
fn done(status: &Status) -> Result<(), End> {
    match status.code {
        0 => Ok(()),
        -15 | -28 => Err(End::code(105, "No space left on the drive")),
        code => Err(End::code(104, &format!("The drive said {code}: {}", status.text))),
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "for a bar of progress")]
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
