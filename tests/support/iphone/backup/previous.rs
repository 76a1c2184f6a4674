//! What the host has of an earlier backup, and whether the phone builds on it.

use std::collections::{BTreeSet, HashMap};
use std::io;

use super::cipher::Opened;
use super::content::Sha1;
use super::files::Entry;
use super::keybag::Keybag;
use super::link::{Link, Listing};
use super::manifest::{self, Row, hex};
use super::plists;

/// The host's own manifest.
pub struct Previous {
    rows: HashMap<Sha1, Row>,
    by_file: HashMap<(u64, u64, i64), Sha1>,
}

impl Previous {
    /// Asks the host for it. `None`: there is nothing that can be built on. `keys`: those of encrypted backups, if this is going to be one.
    ///
    /// # Errors
    /// The connection's.
    pub fn fetch(link: &mut Link, udid: &str, keys: Option<&Keybag>) -> io::Result<Option<Self>> {
        let status = link.fetch(&format!("{udid}/Status.plist"))?;
        let state = status.as_deref().and_then(plists::state).unwrap_or_default();
        if !["finished", "uploading", "moving", "removing"].contains(&&*state) {
            return Ok(None);
        }
        let manifest = link.fetch(&format!("{udid}/Manifest.plist"))?;
        let database = link.fetch(&format!("{udid}/Manifest.db"))?;
        let (Some(manifest), Some(database)) = (manifest.as_deref().and_then(plists::read_manifest), database) else {
            return Ok(None);
        };
        let database = match (manifest.encrypted, keys) {
            (false, None) => Some(database),
            // Bodies under other keys are of no use to what comes.
            (true, Some(keys)) if keys.blob() == manifest.keybag => {
                open_database(&database, &manifest.manifest_key.unwrap_or_default(), keys)?
            }
            _ => None,
        };
        let Some(rows) = database.map(|bytes| manifest::read(&bytes)).transpose()?.flatten() else { return Ok(None) };
        let files = rows.iter().filter(|(_, row)| row.flags == 1);
        let by_file = files.map(|(id, row)| ((row.record.inode, row.record.size, row.record.mtime), *id)).collect();
        Ok(Some(Self { rows, by_file }))
    }

    /// Whether the folders that its bodies lie in are there.
    pub fn folders_are_in(&self, listing: &Listing) -> bool {
        let files = self.rows.iter().filter(|(_, row)| row.flags == 1);
        let folders: BTreeSet<String> = files.map(|(id, _)| hex(id)[..2].to_owned()).collect();
        folders.iter().all(|folder| listing.get(folder) == Some(&true))
    }

    /// The row of this file, if it is still the same one.
    pub fn unchanged(&self, id: &Sha1, entry: &Entry) -> Option<&Row> {
        let row = self.rows.get(id)?;
        let same =
            row.record.size == entry.size() && row.record.mtime == entry.mtime && row.record.inode == entry.inode;
        same.then_some(row)
    }

    /// The row of this file under another name.
    pub fn elsewhere(&self, entry: &Entry) -> Option<(&Sha1, &Row)> {
        let id = self.by_file.get(&(entry.inode, entry.size(), entry.mtime))?;
        Some((id, &self.rows[id]))
    }

    /// The files in it.
    pub fn files(&self) -> impl Iterator<Item = &Sha1> {
        self.rows.iter().filter(|(_, row)| row.flags == 1).map(|(id, _)| id)
    }
}

/// Deciphers a `Manifest.db`. `None`: these are not its keys.
///
/// # Errors
/// None of its own: memory takes everything.
pub fn open_database(bytes: &[u8], written_key: &[u8], keys: &Keybag) -> io::Result<Option<Vec<u8>>> {
    let Some(key) = keys.key(written_key) else { return Ok(None) };
    let (mut plain, mut opened) = (Vec::new(), Opened::new(Some(&key)));
    let mut sink = |piece: &[u8]| {
        plain.extend_from_slice(piece);
        Ok(())
    };
    opened.take(bytes, &mut sink)?;
    Ok(opened.end(&mut sink)?.map(|_| plain))
}
