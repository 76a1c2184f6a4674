//! What a backup has to do with each file: nothing, send it, or have the host copy what it has.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::content::Sha1;
use super::files::{Entry, Files, Kind, file_id};
use super::keybag::{Key, Keybag};
use super::manifest::place;
use super::previous::Previous;

/// How the body of an entry gets to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It has none, or the host has it.
    Nothing,
    /// It is sent.
    Send,
    /// The host copies it from here.
    Copy(String),
}

/// One entry of the backup to be.
pub struct Item {
    /// The domain.
    pub domain: String,
    /// The path in it.
    pub path: String,
    /// What the phone has there.
    pub entry: Entry,
    /// The name of its body.
    pub id: Sha1,
    /// How the body gets to the host.
    pub way: Way,
    /// The key of the body.
    pub key: Option<Key>,
    /// That key as it is written.
    pub written_key: Option<Vec<u8>>,
    /// The SHA-1 of the content, as far as it is known.
    pub digest: Option<Sha1>,
    /// The item whose body this one is a copy of, by its number.
    pub copy_of: Option<usize>,
}

/// The whole of a backup.
pub struct Plan {
    /// Everything, in the order of domains and paths.
    pub items: Vec<Item>,
    /// What the host has and the phone no longer has.
    pub gone: Vec<Sha1>,
}

impl Plan {
    /// Compares what is on the phone with what the host has. `udid` is the folder. `keys` are there when the backup is encrypted, and say whether
    /// what is empty has one too.
    pub fn new(
        files: &Files,
        previous: Option<&Previous>,
        host: Option<&Previous>,
        udid: &str,
        keys: Option<(&Keybag, bool)>,
    ) -> Self {
        let mut items: Vec<Item> = Vec::with_capacity(files.len());
        for (domain, path, entry) in files.iter() {
            let id = file_id(domain, path);
            let mut item = Item {
                domain: domain.to_owned(),
                path: path.to_owned(),
                entry: entry.clone(),
                id,
                way: Way::Nothing,
                key: None,
                written_key: None,
                digest: None,
                copy_of: None,
            };
            if matches!(entry.kind, Kind::File(_)) {
                item.find_way(previous, udid, keys);
            }
            items.push(item);
        }
        copy_clones(&mut items, udid);
        let there: HashSet<Sha1> = items.iter().filter(|item| item.entry.flags() == 1).map(|item| item.id).collect();
        let mut gone: Vec<Sha1> =
            host.into_iter().flat_map(Previous::files).filter(|id| !there.contains(*id)).copied().collect();
        gone.sort_unstable();
        Self { items, gone }
    }

    /// Bytes that the host will have to store, every copy counted: what is compared with its free space.
    pub fn upload_size(&self) -> u64 {
        self.items.iter().filter(|item| item.way != Way::Nothing).map(|item| item.entry.size()).sum()
    }

    /// The numbers of what is to be sent, as one upload each.
    pub fn batches(&self, files: usize, bytes: u64) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut size = 0;
        for (number, item) in self.items.iter().enumerate().filter(|(_, item)| item.way == Way::Send) {
            match batches.last_mut() {
                Some(batch) if batch.len() < files && size < bytes => batch.push(number),
                _ => {
                    batches.push(vec![number]);
                    size = 0;
                }
            }
            size += item.entry.size();
        }
        batches
    }

    /// The first two digits of all bodies that are sent or copied.
    pub fn folders(&self) -> BTreeMap<u8, ()> {
        self.items.iter().filter(|item| item.way != Way::Nothing).map(|item| (item.id[0], ())).collect()
    }
}

impl Item {
    fn find_way(&mut self, previous: Option<&Previous>, udid: &str, keys: Option<(&Keybag, bool)>) {
        let size = self.entry.size();
        // A body without a key is of no use in an encrypted backup; only what is empty has none.
        let usable = |key: &Option<Vec<u8>>| keys.is_none() || key.is_some() || size == 0;
        if let Some(row) = previous.and_then(|previous| previous.unchanged(&self.id, &self.entry))
            && usable(&row.record.key)
        {
            (self.written_key, self.digest) = (row.record.key.clone(), row.record.digest);
            return;
        }
        if let Some((id, row)) = previous.and_then(|previous| previous.elsewhere(&self.entry))
            && usable(&row.record.key)
        {
            (self.written_key, self.digest) = (row.record.key.clone(), row.record.digest);
            self.way = Way::Copy(place(udid, id));
            return;
        }
        self.way = Way::Send;
        if let Some((keys, _)) = keys.filter(|(_, of_empty)| size > 0 || *of_empty) {
            let (key, written) = keys.new_key(if self.entry.class == 0 { 3 } else { self.entry.class.into() });
            (self.key, self.written_key) = (Some(key), Some(written));
        }
    }
}

/// Has the host copy clones of what it has already, or of what is sent to it.
fn copy_clones(items: &mut [Item], udid: &str) {
    let mut originals: HashMap<(u64, u64), usize> = HashMap::new();
    for (number, item) in items.iter().enumerate() {
        let Some(clone) = item.entry.clone else { continue };
        let original = originals.entry((clone, item.entry.size())).or_insert(number);
        if items[*original].way == Way::Send && item.way != Way::Send {
            *original = number;
        }
    }
    for number in 0..items.len() {
        let Some(clone) = items[number].entry.clone else { continue };
        let original = originals[&(clone, items[number].entry.size())];
        if original == number || items[number].way != Way::Send {
            continue;
        }
        let way = match &items[original].way {
            Way::Copy(from) => Way::Copy(from.clone()),
            Way::Send => Way::Copy(place(&format!("{udid}/Snapshot"), &items[original].id)),
            Way::Nothing => Way::Copy(place(udid, &items[original].id)),
        };
        let written_key = items[original].written_key.clone();
        let item = &mut items[number];
        (item.way, item.key, item.written_key, item.copy_of) = (way, None, written_key, Some(original));
    }
}
