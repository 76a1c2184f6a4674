//! A point of a device under the names that its files have there: `/<domain>/<path>`, deciphered on the way when the backup is encrypted.
//!
//! What is stored is a MobileSync folder, in which a file's name is a hash. `Manifest.db` has the names; the contents are the blobs of the hashed files, of which none is
//! read before it is wanted. Owners are left out: they are accounts of the device, and nobody's here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::complete::MOST_PLIST;
use super::decrypt::{BLOCK, Decipher, Key};
use super::keybag::{self, Keys};
use super::manifest::Manifest;
use super::reading::Reading;
use crate::error::Annotate;
use crate::secret::Revealed;
use crate::source::Problem;
use crate::store::view::{Decode, Seen, Stored, View};
use crate::store::{Metadata, Node, NodeType, SavedTree, node};

mod bodies;
mod table;

use bodies::{Bodies, Found};
use table::{Builder, Row, Table, What};

/// A point under real names.
#[derive(Debug)]
pub struct Named {
    /// Its tree.
    pub saved: SavedTree,
    /// What of `Manifest.db` cannot be shown: the first thousand.
    pub problems: Vec<Problem>,
    /// How many problems there were in all.
    pub refused: u64,
}

/// Whether the points of an item are those of a device.
pub fn is_device(item: &str) -> bool {
    item.starts_with("ios.")
}

/// Shows a point of a device under real names. `password` is asked when its backup is encrypted.
///
/// # Errors
///
/// When it is no MobileSync folder, its `Manifest.db` cannot be read, or the password is wrong.
pub fn named(saved: &SavedTree, password: impl FnOnce() -> Result<Revealed>) -> Result<Named> {
    const HINT: &str = "With --raw the point is shown as it is stored.";
    let folder = Folder::find(saved).hint(HINT)?;
    let keys = match folder.manifest_plist().hint(HINT)? {
        Some(plist) if keybag::is_encrypted(&plist).hint(HINT)? => Some(Keys::unlock(&plist, &password()?).hint(HINT)?),
        _ => None,
    };
    let table = folder.table(keys.as_ref()).hint(HINT)?;
    let (problems, refused) = (table.problems.clone(), table.refused);
    let view = Names { table, bodies: folder.bodies, keys };
    Ok(Named { saved: saved.seen_as(Arc::new(view)), problems, refused })
}

/// Whether a point of a device is an encrypted backup.
///
/// # Errors
///
/// When it is no MobileSync folder, or cannot be read.
pub fn is_encrypted(saved: &SavedTree) -> Result<bool> {
    let plist = Folder::find(saved)?.manifest_plist()?;
    plist.map_or(Ok(false), |plist| keybag::is_encrypted(&plist))
}

/// The identifier of the device whose backup is in a point.
///
/// # Errors
///
/// When it is no MobileSync folder, or cannot be read.
pub(super) fn device_of(saved: &SavedTree) -> Result<String> {
    let folder = Folder::find(saved)?;
    let name = folder.path.file_name().and_then(OsStr::to_str);
    name.map(str::to_owned).context("the folder of the backup has no name that a device could have")
}

/// The folder of a backup in a point.
struct Folder<'s> {
    saved: &'s SavedTree,
    path: PathBuf,
    bodies: Bodies,
}

impl<'s> Folder<'s> {
    fn find(saved: &'s SavedTree) -> Result<Self> {
        let root = saved.root_tree().context("the point has no tree")?;
        let mut found = None;
        for directory in saved.known(&root)? {
            let Some(tree) = directory.subtree().filter(|_| directory.is_dir()) else { continue };
            let entries = saved.known(&tree)?;
            if entries.iter().any(|entry| entry.name() == b"Manifest.mbdb") {
                bail!("the backup is that of a device before iOS 10, whose names cannot be read");
            }
            if entries.iter().any(|entry| entry.name() == b"Manifest.db") {
                ensure!(found.is_none(), "there are several backups in the point");
                found = Some((directory, entries));
            }
        }
        let (directory, entries) =
            found.context("there is no Manifest.db in the point, which has the names of its files")?;
        let path = Path::new("/").join(OsStr::from_bytes(directory.name()));
        let folders = entries.iter().filter_map(|entry| Some((entry.name().to_vec(), entry.subtree()?)));
        Ok(Self { saved, path, bodies: Bodies::new(saved.clone(), folders) })
    }

    fn file(&self, name: &str) -> Result<Option<(Node, u64)>> {
        let Some(node) = self.saved.find(&self.path.join(name))?.filter(Node::is_file) else { return Ok(None) };
        let size = self.saved.piece_sizes(&node)?.into_iter().fold(0, u64::saturating_add);
        Ok(Some((node, size)))
    }

    fn manifest_plist(&self) -> Result<Option<Vec<u8>>> {
        let Some((node, size)) = self.file("Manifest.plist").context("read Manifest.plist")? else { return Ok(None) };
        ensure!(size <= MOST_PLIST, "Manifest.plist is larger than any device makes it");
        let mut plist = Vec::new();
        for piece in self.saved.read(&node)? {
            plist.extend_from_slice(&piece.context("read Manifest.plist")?);
        }
        Ok(Some(plist))
    }

    fn table(&self, keys: Option<&Keys>) -> Result<Table> {
        let (node, size) = self.file("Manifest.db").context("read Manifest.db")?.context("Manifest.db is no file")?;
        let mut content = Reading::of_pieces(self.saved.read(&node)?);
        let manifest = Manifest::read(&mut content, size, keys)?;
        let mut builder = Builder::new();
        manifest.each(&mut |record| builder.add(record))?;
        Ok(builder.finish())
    }
}

/// The view of a point that shows the names.
struct Names {
    table: Table,
    bodies: Bodies,
    /// What deciphers the contents, when the backup is encrypted.
    keys: Option<Keys>,
}

impl Names {
    fn seen(&self, number: usize, row: &Row) -> Seen {
        let (node_type, size, content) = match &row.what {
            What::Directory { .. } => (NodeType::Dir, 0, None),
            What::Link { target } => (NodeType::from_link(Path::new(&**target)), 0, None),
            What::Damaged { .. } => (NodeType::File, 0, None),
            What::File { id, size, .. } => {
                let content = match self.bodies.find(id) {
                    Found::Here(blobs) => Some(blobs),
                    Found::Missing | Found::Unreadable(_) => None,
                };
                (NodeType::File, *size, content)
            }
        };
        let number = match row.what {
            What::Directory { number } => number.into(),
            _ => number as u64,
        };
        let kind = match node_type {
            NodeType::Dir => 0o040_000,
            NodeType::Symlink { .. } => 0o120_000,
            _ => 0o100_000,
        };
        let is_dated = row.mode.is_some();
        let time = |seconds: i64| node::timestamp(seconds, 0).filter(|_| is_dated);
        let meta = Metadata {
            mode: row.mode.map(|mode| node::mode_to_node(mode & 0o7777 | kind)),
            mtime: time(row.mtime),
            ctime: time(row.ctime),
            size,
            ..Metadata::default()
        };
        let name = OsString::from_vec(self.table.name(row).to_vec());
        Seen { name, node_type, meta, number, content }
    }
}

impl View for Names {
    fn children(&self, directory: u64) -> Result<Vec<Seen>> {
        Ok(self.table.children(directory).map(|(number, row)| self.seen(number, row)).collect())
    }

    fn decoder(&self, file: u64, stored: &dyn Stored) -> Result<Option<Box<dyn Decode>>> {
        let (id, size, key) = match self.table.row(file).map(|row| &row.what) {
            Some(What::File { id, size, key }) => (id, *size, key),
            Some(What::Damaged { why }) => bail!("{why}"),
            _ => return Ok(None),
        };
        match self.bodies.find(id) {
            Found::Here(_) => {}
            // Nothing of it is lost.
            Found::Missing if size == 0 => return Ok(None),
            Found::Missing => bail!("its content, {id}, is not in the point"),
            Found::Unreadable(why) => bail!("{why}"),
        }
        match (key, &self.keys) {
            (None, _) => Ok(None),
            (Some(key), Some(keys)) => Ok(Some(Box::new(Body::new(&keys.key(key)?, size, stored)?))),
            (Some(_), None) => bail!("it is enciphered, though the backup is said not to be encrypted"),
        }
    }
}

/// A content that is deciphered.
struct Body {
    decipher: Decipher,
    size: u64,
    left: u64,
}

impl Body {
    /// The last block is filled up with bytes that say how many they are (PKCS #7), so that at least one is. A size that fits is believed; but devices are known to say
    /// another one of databases that are in use (github.com/avibrazil/iOSbackup, pull request 26), and then the filling tells. Nothing else is ever cut off.
    fn new(key: &Key, size: u64, stored: &dyn Stored) -> Result<Self> {
        let whole = stored.size();
        let fits = whole.checked_sub(size).is_some_and(|filling| (1..=BLOCK as u64).contains(&filling));
        let size = if fits { size } else { whole - filling(key, &stored.last(2 * BLOCK)?)? };
        Ok(Self { decipher: Decipher::new(key)?, size, left: size })
    }
}

/// How many bytes fill up the last block, of which the one before it is needed as well; none when it is not filled up as it should be.
fn filling(key: &Key, end: &[u8]) -> Result<u64> {
    let mut decipher = Decipher::new(key)?;
    let plain = decipher.push(end)?;
    let Some(length) = plain.last().copied().filter(|length| (1..=BLOCK as u8).contains(length)) else { return Ok(0) };
    let filling = plain.get(plain.len() - usize::from(length)..).unwrap_or_default();
    let is_filled = plain.len() == end.len() && filling.iter().all(|byte| *byte == length);
    Ok(if is_filled { length.into() } else { 0 })
}

impl Decode for Body {
    fn size(&self) -> u64 {
        self.size
    }

    fn decode(&mut self, stored: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = self.decipher.push(stored)?;
        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }

    fn finish(&mut self) -> Result<()> {
        self.decipher.finish()?;
        ensure!(self.left == 0, "{} bytes of it are missing", self.left);
        Ok(())
    }
}
