//! Whether a backup is whole: the device says so, and everything that its manifest names is there.
//!
//! A device believes its manifest and not our disk: what is missing here it never sends again by itself. So what the manifest names is looked for in the folder,
//! each with its size, before a point counts as whole, and again before the next backup is based on it.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use plist::Value;

use super::bounds;
use super::decrypt::{self, Decipher};
use super::keybag::{Keys, is_encrypted};
use super::manifest::{Damaged, Kind, Manifest, Record};
use super::overlay::{Overlay, Stowed};
use crate::error::chain;
use crate::source::{Problem, Severity};

/// How long the small files that are about all others may be, in bytes.
pub(super) const MOST_PLIST: u64 = 64 << 20;

/// How much of a database is looked at, in bytes.
const HEAD: u64 = 112;

/// How many problems are kept by name; there is one for the others.
const KEPT: usize = 1000;

/// What came of looking.
#[derive(Debug)]
pub(super) enum Checked {
    /// All is there.
    Whole,
    /// Something is missing, or not as the manifest says.
    Lacking(Vec<Problem>),
    /// The manifest cannot be looked into without the password: why not.
    Unseen(String),
}

/// The password of encrypted backups, if it is known; else why not.
pub(super) type Password<'p> = Result<&'p str, &'p str>;

/// Whether the device has finished the backup in the folder.
///
/// # Errors
///
/// When it has not, or cannot have: says why.
pub(super) fn finished(folder: &Overlay) -> Result<()> {
    let status = folder.whole("Status.plist", MOST_PLIST)?.context("it has no Status.plist")?;
    let status = bounds::parse(&status).context("read Status.plist")?;
    let state = status.as_dictionary().and_then(|status| status.get("SnapshotState")).and_then(Value::as_string);
    match state {
        Some("finished") => Ok(()),
        Some(other) => bail!("the device left it in the state \"{}\"", crate::output::printable(other.as_ref())),
        None => bail!("its Status.plist does not say what state it is in"),
    }
}

/// Looks for everything that the manifest of the folder names.
///
/// # Errors
///
/// When the manifest is missing or cannot be read.
pub(super) fn check(folder: &Overlay, password: Password<'_>) -> Result<Checked> {
    let plist = folder.whole("Manifest.plist", MOST_PLIST)?.context("it has no Manifest.plist")?;
    let keys = if is_encrypted(&plist)? {
        let password = match password {
            Ok(password) => password,
            Err(why) => return Ok(Checked::Unseen(why.to_owned())),
        };
        match Keys::unlock(&plist, password) {
            Ok(keys) => Some(keys),
            Err(error) => return Ok(Checked::Unseen(chain(&error))),
        }
    } else {
        None
    };
    let database = folder.named("Manifest.db").context("it has no Manifest.db")?;
    let mut content = folder.read(database).context("read Manifest.db")?;
    let manifest = Manifest::read(&mut content, database.size(), keys.as_ref())?;
    let mut lacking = Lacking::default();
    manifest.each(&mut |record| {
        match record {
            Ok(record) if record.kind == Kind::File => lacking.compare(folder, &record, keys.as_ref()),
            Ok(_) => {}
            Err(damaged) => lacking.damaged(&damaged),
        }
        Ok(())
    })?;
    Ok(lacking.conclude())
}

#[derive(Default)]
struct Lacking {
    problems: Vec<Problem>,
    more: u64,
}

impl Lacking {
    fn compare(&mut self, folder: &Overlay, record: &Record, keys: Option<&Keys>) {
        let (size, is_enciphered) = (record.file.size, record.file.key.is_some());
        let error = match folder.body(&record.id) {
            None => "the device did not send it".to_owned(),
            Some(body) if is_right(body.size(), size, is_enciphered) => return,
            Some(body)
                if database_size(folder, body, record, keys)
                    .is_some_and(|size| is_right(body.size(), size, is_enciphered)) =>
            {
                tracing::debug!(
                    "{}/{} is a whole database, and not as long as the device says",
                    record.domain,
                    record.path
                );
                return;
            }
            Some(body) => format!("the device sent {} bytes, and says that it has {size}", body.size()),
        };
        self.add(place(&record.domain, &record.path), error);
    }

    fn damaged(&mut self, damaged: &Damaged) {
        let place =
            damaged.place.as_ref().map_or_else(|| PathBuf::from("/Manifest.db"), |(domain, path)| place(domain, path));
        self.add(place, damaged.to_string());
    }

    fn add(&mut self, path: PathBuf, error: String) {
        if self.problems.len() < KEPT {
            self.problems.push(Problem { path, error, severity: Severity::Unread });
        } else {
            self.more += 1;
        }
    }

    fn conclude(mut self) -> Checked {
        if self.more > 0 {
            let error = format!("{} more files are not as the manifest says", self.more);
            self.problems.push(Problem { path: PathBuf::from("/"), error, severity: Severity::Unread });
        }
        if self.problems.is_empty() { Checked::Whole } else { Checked::Lacking(self.problems) }
    }
}

/// Where people look for a file: below its domain.
fn place(domain: &str, path: &str) -> PathBuf {
    PathBuf::from(format!("/{domain}/{path}"))
}

/// How long a database of SQLite is by what it says itself; `None` when it is none, or its beginning cannot be read.
///
/// Devices write down the size of a database that is in use as it was at another moment than that of its content: what is sent is whole, and differs from the manifest in nearly
/// every backup (iphone_backup_decrypt, `utils.py`).
fn database_size(folder: &Overlay, body: &Stowed, record: &Record, keys: Option<&Keys>) -> Option<u64> {
    // As much of the header as tells, in whole blocks of the cipher.
    let mut head = Vec::with_capacity(HEAD as usize);
    folder.read(body).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    if let Some(key) = &record.file.key {
        head = Decipher::new(&keys?.key(key).ok()?).and_then(|mut decipher| decipher.push(&head)).ok()?;
    }
    size_in_header(&head)
}

/// The size of a database by its header: that of a page, and how many there are (SQLite, "Database File Format", 1.3).
fn size_in_header(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(b"SQLite format 3\0")?;
    let page = match u16::from_be_bytes(*rest.first_chunk()?) {
        1 => 1 << 16,
        page => u64::from(page),
    };
    let pages = u32::from_be_bytes(*rest.get(12..)?.first_chunk()?);
    (pages > 0).then(|| page * u64::from(pages))
}

/// Whether a content is as long as the manifest says. Enciphered, it is filled up to whole blocks of the cipher.
fn is_right(have: u64, size: u64, is_enciphered: bool) -> bool {
    if !is_enciphered {
        return have == size;
    }
    let block = decrypt::BLOCK as u64;
    let filled = size.div_ceil(block).saturating_mul(block);
    // With and without the block that is nothing but filling.
    have == filled || have == filled.saturating_add(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_says_itself_how_long_it_is() {
        let header = |page: u16, pages: u32| {
            let mut header = b"SQLite format 3\0".to_vec();
            header.extend(page.to_be_bytes());
            header.extend([0; 10]);
            header.extend(pages.to_be_bytes());
            header
        };
        assert_eq!(size_in_header(&header(4096, 3)), Some(12_288));
        assert_eq!(size_in_header(&header(1, 2)), Some(131_072));
        assert_eq!(size_in_header(&header(4096, 0)), None);
        assert_eq!(size_in_header(&header(4096, 3)[..30]), None);
        assert_eq!(size_in_header(b"another file, which is long enough"), None);
    }

    #[test]
    fn enciphered_content_is_filled_up_to_blocks() {
        assert!(is_right(5, 5, false) && !is_right(16, 5, false));
        for (have, size) in [(16, 5), (16, 16), (32, 16), (0, 0), (16, 0)] {
            assert!(is_right(have, size, true), "{have} {size}");
        }
        for (have, size) in [(5, 5), (0, 5), (16, 17), (64, 16)] {
            assert!(!is_right(have, size, true), "{have} {size}");
        }
    }
}
