//! `Manifest.db`: the list of all files of a backup, as the phone writes it, and as it reads it back from the host.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::content::Sha1;
use super::faults::BadManifest;
use super::record::Record;

/// A manifest on its way to the host.
pub struct Writer {
    database: Connection,
    file: tempfile::NamedTempFile,
    bad: Option<BadManifest>,
    /// What is not in the database yet.
    rows: Vec<(String, String, String, i64, Vec<u8>)>,
}

impl Writer {
    /// An empty one; `bad` is what the test wants to be wrong with it.
    pub fn new(bad: Option<BadManifest>) -> Self {
        let file = tempfile::NamedTempFile::new().expect("there is room for a file");
        let database = Connection::open(file.path()).expect("a database can be made");
        database
            .execute_batch(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
                CREATE TABLE Files (fileID TEXT PRIMARY KEY, domain TEXT, relativePath TEXT, flags INTEGER, file BLOB);
                CREATE INDEX FilesDomainIdx ON Files(domain);
                CREATE INDEX FilesRelativePathIdx ON Files(relativePath);
                CREATE INDEX FilesFlagsIdx ON Files(flags);
                CREATE TABLE Properties (key TEXT PRIMARY KEY, value BLOB);
                INSERT INTO Properties VALUES ('version', '1');
                BEGIN;",
            )
            .expect("tables can be made");
        Self { database, file, bad, rows: Vec::new() }
    }

    /// Adds an entry.
    pub fn add(&mut self, id: &Sha1, domain: &str, path: &str, flags: i64, record: &[u8]) {
        let climbing = format!("../../../{path}");
        let path = if self.bad == Some(BadManifest::Hostile) && flags == 1 {
            if id[0] & 1 == 0 { &climbing } else { "/etc/shadow" }
        } else {
            path
        };
        let record = if self.bad == Some(BadManifest::BadRecords) { b"bplist00 and nothing" } else { record };
        self.rows.push((hex(id), domain.to_owned(), path.to_owned(), flags, record.to_vec()));
        if self.rows.len() == 1000 {
            self.write();
        }
    }

    fn write(&mut self) {
        let insert = self.database.prepare("INSERT OR REPLACE INTO Files VALUES (?1, ?2, ?3, ?4, ?5)");
        let mut insert = insert.expect("the table is there");
        for (id, domain, path, flags, record) in self.rows.drain(..) {
            insert.execute(params![id, domain, path, flags, record]).expect("a row can be added");
        }
    }

    /// The bytes of the whole.
    pub fn finish(mut self) -> Vec<u8> {
        self.write();
        self.database.execute_batch("COMMIT").expect("the rows can be written");
        if self.bad == Some(BadManifest::NoTable) {
            self.database.execute_batch("ALTER TABLE Files RENAME TO Others").expect("a table can be renamed");
        }
        self.database.close().expect("the database can be closed");
        let mut bytes = fs::read(self.file.path()).expect("the database can be read");
        match self.bad {
            Some(BadManifest::Truncated) => bytes.truncate(bytes.len() / 2),
            Some(BadManifest::NotSqlite) => bytes = b"this is no database\n".repeat(500),
            Some(BadManifest::Empty) => bytes.clear(),
            _ => {}
        }
        bytes
    }
}

/// An entry of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The domain.
    pub domain: String,
    /// The path in it.
    pub path: String,
    /// 1: a file, 2: a directory, 4: a link.
    pub flags: i64,
    /// All the rest.
    pub record: Record,
}

/// Reads a manifest. `None`: it is none.
///
/// # Errors
/// The bytes cannot be put into a file, where SQLite finds them.
pub fn read(bytes: &[u8]) -> io::Result<Option<HashMap<Sha1, Row>>> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    Ok(rows(file.path()).ok().flatten())
}

fn rows(path: &Path) -> rusqlite::Result<Option<HashMap<Sha1, Row>>> {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut select = database.prepare("SELECT fileID, domain, relativePath, flags, file FROM Files")?;
    let mut rows = select.query([])?;
    let mut all = HashMap::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let record: Vec<u8> = row.get(4)?;
        let (Some(id), Some(record)) = (unhex(&id), Record::read(&record)) else { return Ok(None) };
        all.insert(id, Row { domain: row.get(1)?, path: row.get(2)?, flags: row.get(3)?, record });
    }
    Ok(Some(all))
}

/// Forty hexadecimal digits.
pub fn hex(id: &Sha1) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What forty hexadecimal digits say.
pub fn unhex(text: &str) -> Option<Sha1> {
    let mut id = [0; 20];
    if text.len() != 40 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(id)
}

/// Where the body of a file lies below a folder of the host.
pub fn place(below: &str, id: &Sha1) -> String {
    let id = hex(id);
    format!("{below}/{}/{id}", &id[..2])
}
