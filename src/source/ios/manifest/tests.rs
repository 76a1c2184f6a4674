//! Databases that are right, damaged and forged.

use plist::{Dictionary, Uid, Value};
use rusqlite::{Connection, params};

use super::*;
use crate::error::chain;

const TABLE: &str =
    "CREATE TABLE Files (fileID TEXT PRIMARY KEY, domain TEXT, relativePath TEXT, flags INTEGER, file BLOB)";

/// A database that these statements make, as bytes.
fn database(make: impl FnOnce(&Connection)) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Manifest.db");
    let connection = Connection::open(&path).unwrap();
    make(&connection);
    drop(connection);
    std::fs::read(path).unwrap()
}

/// The archive of a file, as `NSKeyedArchiver` writes it.
pub(in crate::source::ios) fn archive(size: u64, target: Option<&str>) -> Vec<u8> {
    let mut file = Dictionary::new();
    for (key, number) in [("Size", size), ("Mode", 0o100_644), ("LastModified", 1_700_000_000), ("LastStatusChange", 5)]
    {
        file.insert(key.into(), number.into());
    }
    file.insert("$class".into(), Value::Uid(Uid::new(2)));
    let mut objects = vec!["$null".into(), "".into(), Value::Dictionary(Dictionary::new())];
    if let Some(target) = target {
        file.insert("Target".into(), Value::Uid(Uid::new(3)));
        objects.push(target.into());
    }
    objects[1] = Value::Dictionary(file);
    let mut top = Dictionary::new();
    top.insert("root".into(), Value::Uid(Uid::new(1)));
    let mut archive = Dictionary::new();
    archive.insert("$version".into(), 100_000.into());
    archive.insert("$archiver".into(), "NSKeyedArchiver".into());
    archive.insert("$top".into(), Value::Dictionary(top));
    archive.insert("$objects".into(), Value::Array(objects));
    let mut bytes = Vec::new();
    Value::Dictionary(archive).to_writer_binary(&mut bytes).unwrap();
    bytes
}

fn insert(connection: &Connection, id: &str, path: &str, flags: i64, file: &[u8]) {
    let values = params![id, "HomeDomain", path, flags, file];
    connection.execute("INSERT INTO Files VALUES (?, ?, ?, ?, ?)", values).unwrap();
}

fn read(bytes: &[u8]) -> Result<Vec<Result<Record, Damaged>>> {
    let manifest = Manifest::read(&mut &*bytes, bytes.len() as u64, None)?;
    let mut rows = Vec::new();
    manifest.each(&mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn error(bytes: &[u8]) -> String {
    chain(&read(bytes).unwrap_err())
}

#[test]
fn rows_are_read_with_what_the_archive_says() {
    let ids = ["ab", "cd", "ef"].map(|pair| pair.repeat(20));
    let bytes = database(|connection| {
        connection.execute(TABLE, []).unwrap();
        insert(connection, &ids[0], "a/b", 1, &archive(7, None));
        insert(connection, &ids[1], "a", 2, &archive(0, None));
        insert(connection, &ids[2], "l", 4, &archive(0, Some("a/b")));
    });
    let rows: Vec<Record> = read(&bytes).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>(), ids);
    assert_eq!(rows.iter().map(|row| row.kind).collect::<Vec<_>>(), [Kind::File, Kind::Directory, Kind::Link]);
    let file = MbFile { size: 7, mode: 0o100_644, mtime: 1_700_000_000, ctime: 5, target: None, key: None };
    assert_eq!((rows[0].domain.as_str(), rows[0].path.as_str(), &rows[0].file), ("HomeDomain", "a/b", &file));
    assert_eq!(rows[2].file.target.as_deref(), Some("a/b"));
}

#[test]
fn write_ahead_mode_needs_no_companions() {
    let bytes = database(|connection| {
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.execute(TABLE, []).unwrap();
        insert(connection, &"ab".repeat(20), "a", 1, &archive(7, None));
    });
    assert_eq!(bytes[18..20], [2, 2]);
    assert_eq!(read(&bytes).unwrap().len(), 1);
}

#[test]
fn damaged_rows_are_told_and_the_others_are_read() {
    let bytes = database(|connection| {
        connection.execute(TABLE, []).unwrap();
        let good = archive(7, None);
        insert(connection, "short", "id", 1, &good);
        insert(connection, &"ab".repeat(20), "flags", 9, &good);
        insert(connection, &"ac".repeat(20), "archive", 1, b"bplist00");
        insert(connection, &"ad".repeat(20), &"x".repeat(LONGEST_NAME + 1), 1, &good);
        connection
            .execute("INSERT INTO Files VALUES (?, 'd', 'cell', 1, zeroblob(100000000))", ["ae".repeat(20)])
            .unwrap();
        connection.execute("INSERT INTO Files VALUES (?, NULL, 'p', 1, NULL)", ["af".repeat(20)]).unwrap();
        connection.execute("INSERT INTO Files VALUES (?, 7, 'p', 1, NULL)", ["b0".repeat(20)]).unwrap();
        insert(connection, &"b1".repeat(20), "good", 1, &good);
    });
    let rows = read(&bytes).unwrap();
    let told: Vec<String> = rows.iter().filter_map(|row| row.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "row 1 of Manifest.db is damaged: its id is not forty hexadecimal digits",
            "row 2 of Manifest.db is damaged: its type, 9, is none that is known",
            "row 3 of Manifest.db is damaged: it is cut short",
            "row 4 of Manifest.db is damaged: its path is missing or too long",
            "row 5 of Manifest.db is damaged: its attributes are missing or too long",
            "row 6 of Manifest.db is damaged: its domain is missing or too long",
            "row 7 of Manifest.db is damaged: its attributes are missing or too long",
        ]
    );
    assert_eq!(rows[7].as_ref().unwrap().path, "good");
}

#[test]
fn what_is_no_whole_database_says_so() {
    let whole = database(|connection| {
        connection.execute(TABLE, []).unwrap();
    });
    assert_eq!(error(b""), "read Manifest.db: it is empty");
    assert_eq!(error(&[7; 5000]), "read Manifest.db: it is no SQLite database");
    assert_eq!(error(&whole[..20]), "read Manifest.db: it is cut short");
    let expected = format!("read Manifest.db: it is cut short: 4096 of {} bytes", whole.len());
    assert_eq!(error(&whole[..4096]), expected);
    let mut huge = &whole[..];
    let told = Manifest::read(&mut huge, u64::MAX, None).unwrap_err();
    assert!(chain(&told).contains("more than any device makes it"), "{told:#}");
    let mut short = &whole[..];
    let longer = whole.len() as u64 + 1;
    let error = Manifest::read(&mut short, longer, None).unwrap_err();
    assert_eq!(chain(&error), format!("read Manifest.db: it is cut short: {} of {longer} bytes", whole.len()));
}

#[test]
fn table_that_is_none_is_refused() {
    assert_eq!(
        error(&database(|db| db.execute_batch("CREATE TABLE Other (a)").unwrap())),
        "read Manifest.db: it has no table `Files`"
    );
    let view = "CREATE VIEW Files AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) \
                SELECT i AS fileID, i AS domain, i AS relativePath, i AS flags, i AS file FROM n";
    assert_eq!(
        error(&database(|db| db.execute_batch(view).unwrap())),
        "read Manifest.db: its `Files` is no table but a view"
    );
    let computed = "CREATE TABLE Files (fileID, domain, relativePath AS (hex(zeroblob(100000000))), flags, file)";
    assert_eq!(
        error(&database(|db| db.execute_batch(computed).unwrap())),
        "read Manifest.db: its table `Files` has columns that are computed"
    );
    let lacks = error(&database(|db| db.execute_batch("CREATE TABLE Files (fileID)").unwrap()));
    assert!(lacks.starts_with("read Manifest.db: SQLite says: no such column: domain"), "{lacks}");
}

/// Interior pages whose children are all the same page give its rows again and again.
#[test]
fn pages_that_lead_in_circles_come_to_an_end() {
    let mut bytes = database(|connection| {
        connection.pragma_update(None, "page_size", 512).unwrap();
        connection.execute(&TABLE.replace("TEXT PRIMARY KEY", "TEXT"), []).unwrap();
        for row in 0..4000 {
            connection.execute("INSERT INTO Files VALUES (?, 'd', ?, 1, 'x')", params!["ab", row]).unwrap();
        }
    });
    // Every interior page of a table (sqlite.org/fileformat2.html, 1.6) gets one leaf as all of its children.
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
    let leaf = (1..bytes.len() / 512).find(|page| bytes[page * 512] == 0x0D).unwrap() + 1;
    for page in 1..bytes.len() / 512 {
        let start = page * 512;
        if bytes[start] == 0x05 {
            for cell in 0..number(&bytes[start + 3..start + 5]) {
                let at = start + number(&bytes[start + 12 + 2 * cell..start + 14 + 2 * cell]);
                let child = number(&bytes[at..at + 4]);
                if bytes[(child - 1) * 512] == 0x0D {
                    bytes[at..at + 4].copy_from_slice(&(leaf as u32).to_be_bytes());
                }
            }
        }
    }
    let told = error(&bytes);
    assert!(told.contains("gives more rows than there is room for") || told.contains("malformed"), "{told}");
}

#[test]
fn no_damage_of_the_database_makes_it_panic() {
    let bytes = database(|connection| {
        connection.execute(TABLE, []).unwrap();
        insert(connection, &"ab".repeat(20), "a", 1, &archive(7, None));
    });
    for place in (0..bytes.len()).step_by(13).chain(0..HEADER) {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[place] = value;
            let _ = read(&damaged);
        }
    }
}
