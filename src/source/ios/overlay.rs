//! The folder that a device sees: the point before, and over it what happens in this session.
//!
//! Nothing is changed in the store. What the point before has is here as the pieces that it is stored in, what the device sends is staged; moving, copying and
//! removing only change who has what. A file is some 150 bytes here, whatever its content.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::manifest::FileId;
use super::place::{Area, Place, file_id};
use super::reading::Reading;
use super::refusal::{Refused, device};
use super::staging::{Staged, Staging};
use crate::store::format::BlobId;
use crate::store::{Ahead, SavedTree};

/// How many files a backup may have. The largest that are known have some hundred thousand; beyond this the memory would go.
const MOST_FILES: usize = 2_000_000;

/// How many other files and folders there may be.
const MOST_NAMED: usize = 1000;

/// Files by the names of their contents.
type Bodies = HashMap<FileId, Stowed>;

/// The folder of a session.
#[derive(Debug)]
pub(super) struct Overlay {
    /// The name of the folder in the point.
    udid: String,
    /// What the device calls itself, and so the folder.
    called: String,
    kept: Bodies,
    snapshot: Bodies,
    named: BTreeMap<Box<str>, Stowed>,
    /// Folders that were made, by their path below the folder of the device. Those that files are in need not be among them.
    folders: BTreeSet<Box<str>>,
    staging: Staging,
    previous: Option<SavedTree>,
}

/// A file of the folder.
#[derive(Debug, Clone)]
pub(super) struct Stowed {
    content: Held,
    /// When it came, in nanoseconds since 1970.
    pub(super) modified: i64,
}

/// Where a content is.
#[derive(Debug, Clone)]
enum Held {
    /// In the store since the point before.
    Saved(Box<Saved>),
    /// On our disk.
    Staged(Arc<Staged>),
}

#[derive(Debug, Clone)]
struct Saved {
    size: u64,
    blobs: Box<[BlobId]>,
}

/// What a folder has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// A folder.
    Folder,
    /// A file: its size in bytes, and when it came, in nanoseconds since 1970.
    File(u64, i64),
}

/// The pieces of one file among those that are read ahead.
struct Part<'r> {
    ahead: &'r mut Ahead,
    left: usize,
}

impl Iterator for Part<'_> {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.ahead.next()
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        // The next file begins behind what nobody wanted of this one.
        self.for_each(drop);
    }
}

impl Stowed {
    /// A file that has come now.
    pub(super) fn new(staged: Arc<Staged>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { content: Held::Staged(staged), modified: i64::try_from(now.as_nanos()).unwrap_or(0) }
    }

    /// How long it is, in bytes.
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Held::Saved(saved) => saved.size,
            Held::Staged(staged) => staged.size(),
        }
    }

    /// Where it is in the store, if it is there.
    pub(super) fn blobs(&self) -> Option<&[BlobId]> {
        match &self.content {
            Held::Saved(saved) => Some(&saved.blobs),
            Held::Staged(staged) => staged.blobs(),
        }
    }

    /// The file on our disk, if it came in this session.
    pub(super) fn staged(&self) -> Option<&Arc<Staged>> {
        match &self.content {
            Held::Saved(_) => None,
            Held::Staged(staged) => Some(staged),
        }
    }
}

impl Overlay {
    /// An empty folder.
    pub(super) fn empty(udid: &str, staging: Staging) -> Self {
        let (kept, snapshot, named, folders) = Default::default();
        let (udid, called) = (udid.to_owned(), udid.to_owned());
        Self { udid, called, kept, snapshot, named, folders, staging, previous: None }
    }

    /// The folder as a point has it.
    ///
    /// # Errors
    ///
    /// When the point has no such folder, or cannot be read.
    pub(super) fn of_point(udid: &str, staging: Staging, point: &SavedTree) -> Result<Self> {
        let mut overlay = Self::empty(udid, staging);
        let top = std::path::Path::new("/").join(udid);
        let top = point.find(&top)?.with_context(|| format!("it has no backup of the device {udid}"))?;
        for node in point.children(&top)? {
            let name = node.name();
            let Some(name) = name.to_str() else { continue };
            if !node.is_dir() {
                if let Ok(Place::Named(name)) = Place::parse(udid, &format!("{udid}/{name}")) {
                    overlay.named.insert(name, Stowed::of_node(&node));
                }
                continue;
            }
            let Ok(Place::Hash(Area::Kept, byte)) = Place::parse(udid, &format!("{udid}/{name}")) else { continue };
            overlay.folders.insert(name.into());
            for node in point.children(&node)? {
                let id = node.name().to_str().and_then(file_id).filter(|id| id.0[0] == byte && node.is_file());
                if let Some(id) = id {
                    overlay.kept.insert(id, Stowed::of_node(&node));
                }
            }
        }
        overlay.previous = Some(point.clone());
        Ok(overlay)
    }

    /// Lets go of the point before, whose index takes memory: nothing of it will be read.
    pub(super) fn forget_point(&mut self) {
        self.previous = None;
    }

    /// The name of the folder in the point.
    pub(super) fn udid(&self) -> &str {
        &self.udid
    }

    /// What the device calls the folder.
    pub(super) fn called(&self) -> &str {
        &self.called
    }

    /// The device calls itself so, which may be written in another way than in the configuration.
    pub(super) fn call(&mut self, udid: &str) {
        udid.clone_into(&mut self.called);
    }

    /// Whether it is that of a point, which stays as it is.
    pub(super) fn is_of_point(&self) -> bool {
        self.previous.is_some()
    }

    /// Where what comes is staged.
    pub(super) fn staging(&mut self) -> &mut Staging {
        &mut self.staging
    }

    /// The file at a place.
    pub(super) fn get(&self, place: &Place) -> Option<&Stowed> {
        match place {
            Place::Body(area, id) => self.bodies(*area).get(id),
            Place::Named(name) => self.named.get(name),
            Place::Top | Place::Snapshot | Place::Hash(..) => None,
        }
    }

    /// The content of a file that the manifest names.
    pub(super) fn body(&self, id: &FileId) -> Option<&Stowed> {
        self.kept.get(id)
    }

    /// A file that is about all others: `Manifest.db`.
    pub(super) fn named(&self, name: &str) -> Option<&Stowed> {
        self.named.get(name)
    }

    /// The names of all contents, in their order.
    pub(super) fn ids(&self) -> Vec<FileId> {
        let mut ids: Vec<FileId> = self.kept.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Opens a file for reading; the next of those that `ahead` is for.
    ///
    /// # Errors
    ///
    /// When it is not there, or is no file, or cannot be read.
    pub(super) fn open<'r>(&'r self, place: &Place, ahead: Option<&'r mut Ahead>) -> Result<Reading<'r>, Refused> {
        let Some(stowed) = self.get(place) else {
            return Err(if self.is_folder(place) {
                Refused::new(device::IS_FOLDER, "it is a folder")
            } else {
                Refused::missing()
            });
        };
        match (&stowed.content, ahead) {
            (Held::Saved(saved), Some(ahead)) => Ok(Reading::of_pieces(Part { ahead, left: saved.blobs.len() })),
            _ => self.read(stowed).map_err(|error| Refused::of_io(&error)),
        }
    }

    /// Reads a file of this folder.
    ///
    /// # Errors
    ///
    /// As opening a file has them.
    pub(super) fn read(&self, stowed: &Stowed) -> io::Result<Reading<'_>> {
        match (&stowed.content, &self.previous) {
            (Held::Staged(staged), _) => Ok(Reading::of_file(staged.open()?)),
            (Held::Saved(saved), Some(point)) => Ok(Reading::of_pieces(point.read_ahead(saved.blobs.to_vec()))),
            (Held::Saved(_), None) => Err(io::Error::other("the point that has it is gone")),
        }
    }

    /// What the store has of these files, in their order, for [`Overlay::open`].
    pub(super) fn ahead<'p>(&self, places: impl Iterator<Item = &'p Place>) -> Option<Ahead> {
        let saved = places.filter_map(|place| match &self.get(place)?.content {
            Held::Saved(saved) => Some(&saved.blobs[..]),
            Held::Staged(_) => None,
        });
        Some(self.previous.as_ref()?.read_ahead(saved.flatten().copied().collect()))
    }

    /// All of a small file that is about all others; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is longer than `most` bytes.
    pub(super) fn whole(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(stowed) = self.named(name) else { return Ok(None) };
        ensure!(stowed.size() <= most, "{name} has {} bytes; {most} are allowed", stowed.size());
        let mut bytes = Vec::new();
        let read = self.read(stowed).and_then(|mut reading| io::Read::read_to_end(&mut reading, &mut bytes));
        read.with_context(|| format!("read {name}"))?;
        Ok(Some(bytes))
    }

    /// What is in a folder; nothing when it is not there.
    pub(super) fn list(&self, place: &Place) -> Vec<(String, Listed)> {
        let mut found: BTreeMap<String, Listed> = BTreeMap::new();
        let file = |stowed: &Stowed| Listed::File(stowed.size(), stowed.modified);
        let mut area_of = |area: Area, prefix: &str| {
            for id in self.bodies(area).keys() {
                found.entry(format!("{:02x}", id.0[0])).or_insert(Listed::Folder);
            }
            found.extend(self.below(prefix, file));
        };
        match place {
            Place::Top => {
                area_of(Area::Kept, "");
                if self.is_folder(&Place::Snapshot) {
                    found.insert("Snapshot".to_owned(), Listed::Folder);
                }
            }
            Place::Snapshot => area_of(Area::Snapshot, "Snapshot/"),
            Place::Hash(area, byte) => {
                let bodies = self.bodies(*area).iter().filter(|(id, _)| id.0[0] == *byte);
                found.extend(bodies.map(|(id, stowed)| (id.to_string(), file(stowed))));
            }
            Place::Named(name) => found.extend(self.below(&format!("{name}/"), file)),
            Place::Body(..) => {}
        }
        found.into_iter().collect()
    }

    /// What is directly below a path of those that are kept by name, and folders that were made.
    fn below(&self, prefix: &str, file: impl Fn(&Stowed) -> Listed) -> Vec<(String, Listed)> {
        let files = self.named.iter().map(|(name, stowed)| (name, file(stowed)));
        let folders = self.folders.iter().map(|name| (name, Listed::Folder));
        let below = folders.chain(files).filter_map(|(name, listed)| {
            let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty() && !rest.starts_with('.'))?;
            Some(match rest.split_once('/') {
                Some((folder, _)) => (folder.to_owned(), Listed::Folder),
                None => (rest.to_owned(), listed),
            })
        });
        below.collect()
    }

    fn is_folder(&self, place: &Place) -> bool {
        match place {
            Place::Top => true,
            Place::Snapshot => {
                let begins = |name: &str| name == "Snapshot" || name.starts_with("Snapshot/");
                !self.snapshot.is_empty()
                    || self.named.keys().any(|name| begins(name))
                    || self.folders.iter().any(|name| begins(name))
            }
            Place::Hash(area, byte) => {
                self.folders.contains(&*folder(*area, *byte)) || self.bodies(*area).keys().any(|id| id.0[0] == *byte)
            }
            Place::Named(name) => self.folders.contains(name),
            Place::Body(..) => false,
        }
    }

    /// Makes a folder; one that is there is as good.
    ///
    /// # Errors
    ///
    /// When there is a file, or there are too many.
    pub(super) fn make_folder(&mut self, place: &Place) -> Result<(), Refused> {
        let name: Box<str> = match place {
            Place::Top => return Ok(()),
            Place::Body(..) => return Err(Refused::unknown()),
            Place::Snapshot => "Snapshot".into(),
            Place::Hash(area, byte) => folder(*area, *byte).into(),
            Place::Named(name) if self.named.contains_key(name) => {
                return Err(Refused::new(device::EXISTS, "there is a file of this name"));
            }
            Place::Named(name) => name.clone(),
        };
        if self.folders.len() >= MOST_NAMED && !self.folders.contains(&name) {
            return Err(Refused::new(device::OTHER, "there are too many folders"));
        }
        self.folders.insert(name);
        Ok(())
    }

    /// Puts a file at a place, in the stead of what is there. Folders above it need not be there.
    ///
    /// # Errors
    ///
    /// When no file can be there, or there are too many.
    pub(super) fn put(&mut self, place: &Place, stowed: Stowed) -> Result<(), Refused> {
        let too_many = || Err(Refused::new(device::OTHER, "there are too many files"));
        match place {
            Place::Body(area, id) => {
                if self.kept.len() + self.snapshot.len() >= MOST_FILES && self.get(place).is_none() {
                    return too_many();
                }
                self.bodies_mut(*area).insert(*id, stowed);
            }
            Place::Named(name) => {
                if self.folders.contains(name) {
                    return Err(Refused::new(device::IS_FOLDER, "it is a folder"));
                }
                if self.named.len() >= MOST_NAMED && !self.named.contains_key(name) {
                    return too_many();
                }
                self.named.insert(name.clone(), stowed);
            }
            Place::Top | Place::Snapshot | Place::Hash(..) => {
                return Err(Refused::new(device::IS_FOLDER, "it is a folder"));
            }
        }
        Ok(())
    }

    /// Gives a file another place.
    ///
    /// # Errors
    ///
    /// When it is not there, or no file can be at the other place.
    pub(super) fn rename(&mut self, from: &Place, to: &Place) -> Result<(), Refused> {
        self.copy(from, to)?;
        if from == to {
            return Ok(());
        }
        match from {
            Place::Body(area, id) => drop(self.bodies_mut(*area).remove(id)),
            Place::Named(name) => drop(self.named.remove(name)),
            Place::Top | Place::Snapshot | Place::Hash(..) => {}
        }
        Ok(())
    }

    /// Gives the content of a file to a second place.
    ///
    /// # Errors
    ///
    /// When it is not there, or no file can be at the other place.
    pub(super) fn copy(&mut self, from: &Place, to: &Place) -> Result<(), Refused> {
        let Some(stowed) = self.get(from).cloned() else {
            return Err(if self.is_folder(from) {
                Refused::new(device::IS_FOLDER, "it is a folder")
            } else {
                Refused::missing()
            });
        };
        self.put(to, stowed)
    }

    /// Removes a file, or a folder with all that is in it. What is not there is as good as removed.
    ///
    /// # Errors
    ///
    /// When it is the folder of the device itself.
    pub(super) fn remove(&mut self, place: &Place) -> Result<(), Refused> {
        match place {
            Place::Top => return Err(Refused::new(device::OTHER, "it is the backup itself")),
            Place::Snapshot => {
                self.snapshot.clear();
                self.remove_named("Snapshot");
            }
            Place::Hash(area, byte) => {
                self.bodies_mut(*area).retain(|id, _| id.0[0] != *byte);
                self.remove_named(&folder(*area, *byte));
            }
            Place::Body(area, id) => drop(self.bodies_mut(*area).remove(id)),
            Place::Named(name) => self.remove_named(name),
        }
        Ok(())
    }

    fn remove_named(&mut self, name: &str) {
        let stays = |other: &str| other != name && !other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        self.named.retain(|other, _| stays(other));
        self.folders.retain(|other| stays(other));
    }

    fn bodies(&self, area: Area) -> &Bodies {
        match area {
            Area::Kept => &self.kept,
            Area::Snapshot => &self.snapshot,
        }
    }

    fn bodies_mut(&mut self, area: Area) -> &mut Bodies {
        match area {
            Area::Kept => &mut self.kept,
            Area::Snapshot => &mut self.snapshot,
        }
    }
}

impl Stowed {
    fn of_node(node: &crate::store::Node) -> Self {
        let blobs = node.content.iter().flatten().map(|id| BlobId::from(**id)).collect();
        let modified = node.meta.mtime.and_then(|time| i64::try_from(time.as_nanosecond()).ok()).unwrap_or(0);
        Self { content: Held::Saved(Box::new(Saved { size: node.meta.size, blobs })), modified }
    }
}

fn folder(area: Area, byte: u8) -> String {
    match area {
        Area::Kept => format!("{byte:02x}"),
        Area::Snapshot => format!("Snapshot/{byte:02x}"),
    }
}

#[cfg(test)]
mod tests;
