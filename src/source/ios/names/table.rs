//! The names of a backup as a tree, in memory: about 150 bytes a file.
//!
//! Everything in it comes from the device and is kept as it came: `..`, empty names, names that stand twice. Whoever makes files of it refuses those, as with any saved
//! tree. What cannot even be shown is a problem of the table.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::source::ios::manifest::{Damaged, FileId, Kind, Record};
use crate::source::ios::record_file::WrappedKey;
use crate::source::{Problem, Severity};

/// How deep a tree may be; a device has paths of 1,024 bytes.
const DEEPEST: usize = 512;

/// How many directories there may be: no device has as many, and a few bytes of a path make one.
const MOST_DIRECTORIES: usize = 1 << 20;

/// How many problems are kept; the rest are counted.
const KEPT: usize = 1000;

/// The number of the root.
pub(super) const ROOT: u32 = 0;

/// All names, sorted.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// All names, one behind the other.
    names: Vec<u8>,
    /// Of each directory the rows in it, when the table is finished.
    ranges: Vec<Range<usize>>,
    /// What cannot be shown.
    pub(super) problems: Vec<Problem>,
    /// How many problems there were in all.
    pub(super) refused: u64,
}

/// One name.
#[derive(Debug)]
pub(super) struct Row {
    parent: u32,
    name: Range<u32>,
    pub(super) what: What,
    pub(super) mode: Option<u32>,
    pub(super) mtime: i64,
    pub(super) ctime: i64,
}

/// What it is a name of.
#[derive(Debug)]
pub(super) enum What {
    Directory {
        number: u32,
    },
    File {
        id: FileId,
        size: u64,
        key: Option<Box<WrappedKey>>,
    },
    Link {
        target: Box<str>,
    },
    /// Its record cannot be read.
    Damaged {
        why: Box<str>,
    },
}

/// Puts a table together, in any order.
#[derive(Debug, Default)]
pub(super) struct Builder {
    table: Table,
    /// The row of each directory.
    directories: Vec<usize>,
    by_name: HashMap<(u32, Box<[u8]>), u32>,
}

impl Builder {
    pub(super) fn new() -> Self {
        // The root has no row.
        Self { directories: vec![usize::MAX], ..Self::default() }
    }

    /// Adds a row of `Manifest.db`.
    ///
    /// # Errors
    ///
    /// When there are more names than any device has.
    pub(super) fn add(&mut self, record: Result<Record, Damaged>) -> Result<()> {
        let (place, what, attributes) = match record {
            Ok(Record { id, domain, path, kind, file }) => {
                let attributes = (Some(file.mode), file.mtime, file.ctime);
                let what = match kind {
                    Kind::Directory => None,
                    Kind::File => Some(What::File { id, size: file.size, key: file.key.map(Box::new) }),
                    Kind::Link => Some(What::Link { target: file.target.unwrap_or_default().into() }),
                };
                ((domain, path), what, attributes)
            }
            Err(damaged) => {
                let why = damaged.to_string();
                let Some(place) = damaged.place else {
                    self.problem(PathBuf::from("/"), why);
                    return Ok(());
                };
                (place, Some(What::Damaged { why: why.into() }), (None, 0, 0))
            }
        };
        let (domain, path) = place;
        let below = (!path.is_empty()).then(|| path.split('/'));
        let mut names: Vec<&str> = std::iter::once(domain.as_str()).chain(below.into_iter().flatten()).collect();
        if names.len() > DEEPEST {
            self.problem(
                PathBuf::from(format!("/{domain}")),
                format!("something is more than {DEEPEST} directories deep"),
            );
            return Ok(());
        }
        let last = match &what {
            Some(_) => names.pop(),
            None => None,
        };
        let mut parent = ROOT;
        for name in names {
            parent = self.directory(parent, name.as_bytes())?;
        }
        match (what, last) {
            (Some(what), Some(name)) => {
                let (mode, mtime, ctime) = attributes;
                self.push(parent, name.as_bytes(), what, (mode, mtime, ctime))?;
            }
            _ => self.describe(parent, attributes, || PathBuf::from(format!("/{domain}/{path}"))),
        }
        Ok(())
    }

    fn push(&mut self, parent: u32, name: &[u8], what: What, (mode, mtime, ctime): Attributes) -> Result<()> {
        let start = u32::try_from(self.table.names.len());
        self.table.names.extend_from_slice(name);
        let end = u32::try_from(self.table.names.len());
        let (Ok(start), Ok(end)) = (start, end) else {
            anyhow::bail!("Manifest.db has more names than any device has")
        };
        self.table.rows.push(Row { parent, name: start..end, what, mode, mtime, ctime });
        Ok(())
    }

    /// The directory of this name, which is made when there is none yet.
    fn directory(&mut self, parent: u32, name: &[u8]) -> Result<u32> {
        if let Some(number) = self.by_name.get(&(parent, Box::from(name))) {
            return Ok(*number);
        }
        ensure!(self.directories.len() < MOST_DIRECTORIES, "Manifest.db has more directories than any device has");
        let number = u32::try_from(self.directories.len())?;
        self.directories.push(self.table.rows.len());
        self.by_name.insert((parent, Box::from(name)), number);
        self.push(parent, name, What::Directory { number }, (None, 0, 0))?;
        Ok(number)
    }

    /// Gives a directory what its own record says.
    fn describe(&mut self, number: u32, (mode, mtime, ctime): Attributes, path: impl Fn() -> PathBuf) {
        let row = self.directories.get(number as usize).and_then(|row| self.table.rows.get_mut(*row));
        match row {
            Some(row) if row.mode.is_none() => (row.mode, row.mtime, row.ctime) = (mode, mtime, ctime),
            Some(_) => self.problem(path(), "it stands more than once in Manifest.db".to_owned()),
            None => {}
        }
    }

    fn problem(&mut self, path: PathBuf, error: String) {
        self.table.refused += 1;
        if self.table.problems.len() < KEPT {
            self.table.problems.push(Problem { path, error, severity: Severity::Unread });
        }
    }

    /// Sorts the names.
    pub(super) fn finish(self) -> Table {
        let Self { mut table, directories, .. } = self;
        let Table { rows, names, ranges, .. } = &mut table;
        // Of two with one name, the directory comes first: what is in it comes with it.
        let is_no_directory = |row: &Row| !matches!(row.what, What::Directory { .. });
        rows.sort_by(|a, b| {
            let key = |row: &Row| (row.parent, is_no_directory(row));
            let ((parent_a, last_a), (parent_b, last_b)) = (key(a), key(b));
            parent_a.cmp(&parent_b).then_with(|| a.name_in(names).cmp(b.name_in(names))).then(last_a.cmp(&last_b))
        });
        *ranges = vec![0..0; directories.len()];
        let mut start = 0;
        for children in rows.chunk_by(|a, b| a.parent == b.parent) {
            let end = start + children.len();
            if let Some(range) = children.first().and_then(|row| ranges.get_mut(row.parent as usize)) {
                *range = start..end;
            }
            start = end;
        }
        table
    }
}

/// Mode, time of the last change of the content, and of anything.
type Attributes = (Option<u32>, i64, i64);

impl Row {
    fn name_in<'n>(&self, names: &'n [u8]) -> &'n [u8] {
        names.get(self.name.start as usize..self.name.end as usize).unwrap_or_default()
    }
}

impl Table {
    /// The rows in a directory with their numbers, sorted by name.
    pub(super) fn children(&self, directory: u64) -> impl Iterator<Item = (usize, &Row)> {
        let range = usize::try_from(directory).ok().and_then(|directory| self.ranges.get(directory)).cloned();
        let range = range.unwrap_or_default();
        range.clone().zip(self.rows.get(range).unwrap_or_default())
    }

    /// The row of this number.
    pub(super) fn row(&self, number: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(number).ok()?)
    }

    /// The name of a row.
    pub(super) fn name(&self, row: &Row) -> &[u8] {
        row.name_in(&self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ios::record_file::MbFile;

    fn record(domain: &str, path: &str, kind: Kind) -> Result<Record, Damaged> {
        let file = MbFile { mode: 0o700, mtime: 5, ..MbFile::default() };
        Ok(Record { id: FileId([1; 20]), domain: domain.into(), path: path.into(), kind, file })
    }

    fn build(records: impl IntoIterator<Item = Result<Record, Damaged>>) -> Table {
        let mut builder = Builder::new();
        records.into_iter().for_each(|record| builder.add(record).unwrap());
        builder.finish()
    }

    /// Every path, a directory with a slash at its end and with a star when it has a record of its own.
    fn paths(table: &Table) -> Vec<String> {
        let mut found = Vec::new();
        let mut ahead = vec![(String::new(), u64::from(ROOT))];
        while let Some((above, directory)) = ahead.pop() {
            for (_, row) in table.children(directory) {
                let path = format!("{above}/{}", String::from_utf8_lossy(table.name(row)));
                if let What::Directory { number } = row.what {
                    found.push(format!("{path}/{}", if row.mode.is_some() { "*" } else { "" }));
                    ahead.push((path, number.into()));
                } else {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn directories_are_there_with_and_without_a_record_in_any_order() {
        let table = build([
            record("B", "x/y/file", Kind::File),
            record("A", "", Kind::Directory),
            record("B", "x", Kind::Directory),
            record("B", "a", Kind::Link),
        ]);
        assert_eq!(paths(&table), ["/A/*", "/B/", "/B/a", "/B/x/*", "/B/x/y/", "/B/x/y/file"]);
        assert_eq!(table.refused, 0);
    }

    #[test]
    fn hostile_names_are_kept_for_those_who_refuse_them() {
        let table = build([
            record("B", "../up", Kind::File),
            record("B", "/absolute", Kind::File),
            record("B", "a", Kind::File),
            record("B", "a/b", Kind::File),
            record("B", "a", Kind::File),
        ]);
        assert_eq!(
            paths(&table),
            ["/B/", "/B/../", "/B/../up", "/B//", "/B//absolute", "/B/a", "/B/a", "/B/a/", "/B/a/b"]
        );
        let (_, domain) = table.children(0).next().unwrap();
        let What::Directory { number } = domain.what else { panic!("no directory") };
        let first = table.children(number.into()).find(|(_, row)| table.name(row) == b"a").unwrap();
        assert!(matches!(first.1.what, What::Directory { .. }));
    }

    #[test]
    fn what_cannot_be_shown_is_told() {
        let damaged = |place| Err(Damaged { row: 7, place, why: "its domain is no text".into() });
        let table = build([
            record("A", "d", Kind::Directory),
            record("A", "d", Kind::Directory),
            damaged(None),
            damaged(Some(("A".into(), "file".into()))),
            record("A", &"x/".repeat(DEEPEST), Kind::File),
        ]);
        assert_eq!(paths(&table), ["/A/", "/A/d/*", "/A/file"]);
        let told: Vec<String> =
            table.problems.iter().map(|problem| format!("{}: {}", problem.path.display(), problem.error)).collect();
        assert_eq!(
            told,
            [
                "/A/d: it stands more than once in Manifest.db",
                "/: row 7 of Manifest.db is damaged: its domain is no text",
                "/A: something is more than 512 directories deep",
            ]
        );
    }
}
