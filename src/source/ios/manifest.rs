//! `Manifest.db`: which files a backup has, under which names, and where their contents are.
//!
//! An SQLite database with one table that counts, `Files (fileID, domain, relativePath, flags, file)`, since iOS 10. It comes from a device, or from whatever pretended
//! to be one: the schema is not trusted, no cell is read that is too large, and there is an end to the rows. It is copied to a file without a name first, deciphered
//! when it is enciphered: nothing of it stays behind, however the program ends.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::decrypt::Decipher;
use super::keybag::Keys;
use super::record_file::MbFile;
use crate::config::locate;

#[cfg(test)]
mod tests;

/// What every SQLite database begins with, and how long its header is.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;

/// The largest that is read, in bytes: a device with a million files has one of about a gigabyte.
const LARGEST: u64 = 16 << 30;

/// The most bytes of a domain and of a path; a device has paths of 1,024.
const LONGEST_NAME: usize = 8192;

/// The most bytes of the archive of one file; real ones have about 600, with extended attributes some thousands.
const LONGEST_FILE: usize = 1 << 20;

/// The least bytes that a row takes: its id alone has forty digits.
const SHORTEST_ROW: u64 = 40;

/// An opened `Manifest.db`.
#[derive(Debug)]
pub(super) struct Manifest {
    database: Connection,
    size: u64,
}

/// Names the content of a file: the SHA-1 of its domain and path. `Display` gives the forty digits that are its name in the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId(pub(super) [u8; 20]);

/// What something in a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Link,
}

/// One row: something that the device had. Its names are as hostile as the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: FileId,
    /// `CameraRollDomain`
    pub(super) domain: String,
    /// Below the domain, with `/` between the names; empty for the domain itself.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Size, mode, times, key.
    pub(super) file: MbFile,
}

/// A row that is no record: where it is, as far as that can be told, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damaged {
    /// Counted from 1 in the order of the table.
    pub(super) row: u64,
    /// Its domain and path.
    pub(super) place: Option<(String, String)>,
    pub(super) why: String,
}

impl Manifest {
    /// Reads a `Manifest.db` of `size` bytes. `keys` are those of its backup when that is encrypted.
    ///
    /// # Errors
    ///
    /// When it is no database with that table, cut short, or enciphered without a key.
    pub(super) fn read(content: &mut dyn Read, size: u64, keys: Option<&Keys>) -> Result<Self> {
        Self::open(content, size, keys).context("read Manifest.db")
    }

    fn open(content: &mut dyn Read, size: u64, keys: Option<&Keys>) -> Result<Self> {
        ensure!(size <= LARGEST, "it has {size} bytes, more than any device makes it");
        let directory = locate::cache_dir().filter(|directory| std::fs::create_dir_all(directory).is_ok());
        let directory = directory.unwrap_or_else(std::env::temp_dir);
        let doing = || format!("make a file in {}", directory.display());
        let temporary = tempfile::Builder::new().prefix("manifest-").tempfile_in(&directory).with_context(doing)?;
        // SQLite asks for the size when it opens the file, and for nothing else: so the file has no name any more when it gets its content.
        temporary.as_file().set_len(size).with_context(doing)?;
        let database = open_immutable(temporary.path()).with_context(doing)?;
        let (mut file, path) = temporary.into_parts();
        path.close().with_context(doing)?;
        copy(content, size, keys, &mut file)?;
        harden(&database).context("set up SQLite")?;
        let manifest = Self { database, size };
        manifest.check_table()?;
        Ok(manifest)
    }

    /// `Files` must be a table that just stores what it gives: no view, nothing that is computed.
    fn check_table(&self) -> Result<()> {
        let kind =
            self.database.query_row("SELECT type FROM pragma_table_list('Files') WHERE schema = 'main'", [], |row| {
                row.get::<_, String>(0)
            });
        match kind {
            Ok(kind) if kind == "table" => {}
            Ok(kind) => bail!("its `Files` is no table but a {kind}"),
            Err(rusqlite::Error::QueryReturnedNoRows) => bail!("it has no table `Files`"),
            Err(error) => return Err(explain(error)),
        }
        let computed = "SELECT count(*) FROM pragma_table_xinfo('Files') WHERE hidden <> 0";
        let computed: i64 = self.database.query_row(computed, [], |row| row.get(0)).map_err(explain)?;
        ensure!(computed == 0, "its table `Files` has columns that are computed");
        Ok(())
    }

    /// Gives every row to `take`, in the order of the table. An error of `take` ends it.
    ///
    /// # Errors
    ///
    /// When the database breaks off, and when `take` failed.
    pub(super) fn each(&self, take: &mut dyn FnMut(Result<Record, Damaged>) -> Result<()>) -> Result<()> {
        // The length is asked first: SQLite tells it without reading the cell. `NOT INDEXED`: what an index says could be something else.
        let cell = |name: &str, most: usize| format!("CASE WHEN octet_length({name}) <= {most} THEN {name} END");
        let columns = [
            ("fileID", 64),
            ("domain", LONGEST_NAME),
            ("relativePath", LONGEST_NAME),
            ("flags", 64),
            ("file", LONGEST_FILE),
        ];
        let columns = columns.map(|(name, most)| cell(name, most)).join(", ");
        let doing = "read Manifest.db";
        let statement = self.database.prepare(&format!("SELECT {columns} FROM main.Files NOT INDEXED"));
        let mut statement = statement.map_err(explain).context(doing)?;
        let mut rows = statement.query([]).map_err(explain).context(doing)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(explain).context(doing)? {
            count += 1;
            // Pages that lead to each other in a circle give rows without end.
            ensure!(
                count <= self.size / SHORTEST_ROW,
                "Manifest.db is damaged: it gives more rows than there is room for"
            );
            take(record(row, count))?;
        }
        Ok(())
    }
}

fn record(row: &rusqlite::Row<'_>, number: u64) -> Result<Record, Damaged> {
    let text = |index: usize, what: &str| match row.get_ref(index) {
        Ok(ValueRef::Text(bytes)) => {
            std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| format!("its {what} is not UTF-8"))
        }
        Ok(ValueRef::Null) => Err(format!("its {what} is missing or too long")),
        _ => Err(format!("its {what} is no text")),
    };
    let place = text(1, "domain").and_then(|domain| Ok((domain, text(2, "path")?)));
    let (domain, path) = place.map_err(|why| Damaged { row: number, place: None, why })?;
    let rest = || {
        let id = text(0, "id")?;
        let id = FileId::parse(&id).ok_or("its id is not forty hexadecimal digits")?;
        let file = match row.get_ref(4) {
            Ok(ValueRef::Blob(bytes)) => MbFile::parse(bytes).map_err(|error| crate::error::chain(&error))?,
            Ok(ValueRef::Null) => return Err("its attributes are missing or too long".to_owned()),
            _ => return Err("its attributes are no archive".to_owned()),
        };
        let flags = match row.get_ref(3) {
            Ok(ValueRef::Integer(flags)) => flags,
            _ => return Err("its type is no number".to_owned()),
        };
        let kind = Kind::of(flags).ok_or_else(|| format!("its type, {flags}, is none that is known"))?;
        Ok((id, kind, file))
    };
    match rest() {
        Ok((id, kind, file)) => Ok(Record { id, domain, path, kind, file }),
        Err(why) => Err(Damaged { row: number, place: Some((domain, path)), why }),
    }
}

impl Kind {
    fn of(flags: i64) -> Option<Self> {
        match flags {
            1 => Some(Self::File),
            2 => Some(Self::Directory),
            4 => Some(Self::Link),
            _ => None,
        }
    }
}

impl FileId {
    /// Reads forty hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 20];
        if text.len() != 40 {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of Manifest.db is damaged: {}", self.row, self.why)
    }
}

/// Opens a file of which SQLite may believe that nobody changes it: no locks, no journals, no companions.
fn open_immutable(path: &Path) -> Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'_' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(uri, flags)?)
}

/// What a forged schema could do is switched off, and no value becomes larger than the largest that is read.
fn harden(database: &Connection) -> rusqlite::Result<()> {
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    let largest = i32::try_from(2 * LONGEST_FILE).unwrap_or(i32::MAX);
    database.set_limit(Limit::SQLITE_LIMIT_LENGTH, largest)?;
    database.pragma_update(None, "cell_size_check", true)
}

/// Copies the database, deciphered when it is enciphered, and makes sure that it is one.
fn copy(content: &mut dyn Read, size: u64, keys: Option<&Keys>, file: &mut File) -> Result<()> {
    let mut piece = vec![0; 1 << 20];
    let mut decipher = None;
    let mut copied = 0;
    loop {
        let length = fill(content, &mut piece)?;
        let bytes = &piece[..length];
        if copied == 0 && !bytes.starts_with(MAGIC) {
            ensure!(!bytes.is_empty(), "it is empty");
            let key = keys.map(Keys::manifest).transpose()?.flatten();
            decipher = Some(Decipher::new(&key.context("it is no SQLite database")?)?);
        }
        copied += length as u64;
        ensure!(copied <= size, "it is longer than it is said to be");
        let deciphered = decipher.as_mut().map(|decipher| decipher.push(bytes)).transpose()?;
        let plain = deciphered.as_deref().unwrap_or(bytes);
        if copied == length as u64 {
            check_header(plain, size)?;
        }
        file.write_all(plain).context("write it to a temporary file")?;
        if length < piece.len() {
            break;
        }
    }
    ensure!(copied == size, "it is cut short: {copied} of {size} bytes");
    decipher.map_or(Ok(()), |decipher| decipher.finish())
}

fn fill(content: &mut dyn Read, piece: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match content.read(&mut piece[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(length)
}

/// Tells a database that is cut short before SQLite meets pages that are not there.
fn check_header(start: &[u8], size: u64) -> Result<()> {
    ensure!(start.starts_with(MAGIC), "it does not become an SQLite database when it is deciphered: it is damaged");
    let header = start.get(..HEADER).context("it is cut short")?;
    let page = match u64::from(header[16]) << 8 | u64::from(header[17]) {
        1 => 65_536,
        page => page,
    };
    let number = |at: usize| header[at..at + 4].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // How many pages there are counts only when the last one to write it also knew of it (sqlite.org/fileformat2.html, 1.3.7).
    let is_counted = number(24) == number(92);
    let expected = number(28) * page;
    ensure!(!is_counted || expected <= size, "it is cut short: {size} of {expected} bytes");
    Ok(())
}

fn explain(error: rusqlite::Error) -> anyhow::Error {
    let message = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    };
    anyhow!("SQLite says: {message}")
}
