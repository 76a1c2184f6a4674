//! What a machine has: every entry below the configured paths, in little memory, in the order of a tree.
//!
//! About 100 bytes an entry: names and where links lead to stand one behind the other in one piece of memory, and paths are put together when they are
//! asked for. All that comes in is hostile: what is not below a configured path, or has no directory that was listed before, is refused.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::room::Room;
use crate::output::printable;

/// Type bits of `st_mode` (inode(7)).
pub(super) const TYPE: u32 = 0o170_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const FILE: u32 = 0o100_000;
pub(super) const SYMLINK: u32 = 0o120_000;
pub(super) const FIFO: u32 = 0o010_000;
pub(super) const BLOCK: u32 = 0o060_000;
pub(super) const CHARACTER: u32 = 0o020_000;

/// What `lstat` says of an entry, as far as a machine tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    /// Type and permissions, as `st_mode` on Linux.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In bytes.
    pub(super) size: u64,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// The same; `None` when it is not told.
    pub(super) ctime: Option<(i64, u32)>,
    /// 0 when it is not told, as with `links` and `device`.
    pub(super) inode: u64,
    pub(super) links: u64,
    pub(super) device: u64,
}

impl Stat {
    pub(super) fn kind(&self) -> u32 {
        self.mode & TYPE
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind() == DIRECTORY
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind() == FILE
    }

    /// Whether a snapshot can hold it. Sockets it cannot: whoever listens on one makes it anew.
    fn can_be_kept(&self) -> bool {
        matches!(self.kind(), DIRECTORY | FILE | SYMLINK | FIFO | BLOCK | CHARACTER)
    }
}

/// An entry as a machine lists it. All of it is hostile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// Absolute, without a slash at its end.
    pub(super) path: Vec<u8>,
    pub(super) stat: Stat,
    /// Where a symbolic link leads; empty for anything else.
    pub(super) target: Vec<u8>,
}

/// Which entry of a [`Listing`].
pub(super) type Row = u32;

/// The row of `/`.
const TOP: Row = 0;

/// An entry with where its name begins.
#[derive(Debug)]
struct Entry {
    stat: Stat,
    parent: Row,
    name: u64,
    name_length: u16,
    target_length: u16,
    /// It only leads to a configured path.
    is_above: bool,
}

/// All entries.
#[derive(Debug)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    names: Vec<u8>,
    /// The entries of each directory together, by name.
    order: Vec<Row>,
    /// Where in `order` those of each entry begin; one more than there are entries.
    begins: Vec<u32>,
    /// The configured paths that were found, and the directories above them.
    known: BTreeMap<Vec<u8>, Row>,
    /// The directories from a configured path down to the last entry, each with the length of its path.
    stack: Vec<(Row, usize)>,
    /// The path of the last directory.
    here: Vec<u8>,
    /// What is being left out: everything below it is refused silently.
    left_out: Option<Vec<u8>>,
    room: Room,
}

impl Listing {
    pub(super) fn new() -> Self {
        let top = Entry {
            stat: Stat { mode: DIRECTORY | 0o755, ..Stat::default() },
            parent: TOP,
            name: 0,
            name_length: 0,
            target_length: 0,
            is_above: true,
        };
        Self {
            entries: vec![top],
            names: Vec::new(),
            order: Vec::new(),
            begins: Vec::new(),
            known: BTreeMap::from([(Vec::new(), TOP)]),
            stack: Vec::new(),
            here: Vec::new(),
            left_out: None,
            room: Room::new(),
        }
    }

    /// Adds a directory on the way down to a configured path, and those above it; its `stat` if that is told.
    pub(super) fn add_above(&mut self, path: &Path, stat: Option<Stat>) -> Result<()> {
        let path = without_slash(path.as_os_str().as_bytes());
        let row = self.make_known(path)?;
        if let Some(stat) = stat.filter(Stat::is_dir)
            && row != TOP
        {
            self.entries[row as usize].stat = stat;
        }
        Ok(())
    }

    fn make_known(&mut self, path: &[u8]) -> Result<Row> {
        if let Some(&row) = self.known.get(path) {
            return Ok(row);
        }
        let slash = path.iter().rposition(|&byte| byte == b'/').context("a path that is not absolute")?;
        let parent = self.make_known(&path[..slash])?;
        let stat = Stat { mode: DIRECTORY | 0o755, ..Stat::default() };
        let row = self.push(parent, &path[slash + 1..], stat, b"")?;
        self.entries[row as usize].is_above = true;
        self.known.insert(path.to_vec(), row);
        Ok(row)
    }

    /// Adds a file that the machine does not have, and the directories above it.
    pub(super) fn add_file(&mut self, path: &Path, stat: Stat) -> Result<Row> {
        let row = self.make_known(path.as_os_str().as_bytes())?;
        let entry = &mut self.entries[row as usize];
        (entry.stat, entry.is_above) = (stat, false);
        Ok(row)
    }

    /// Adds a configured path: what is found from now on is it, or below it.
    pub(super) fn begin_root(&mut self, root: &Path, found: &Found) -> Result<()> {
        let path = without_slash(root.as_os_str().as_bytes());
        self.left_out = None;
        let row = self.make_known(path)?;
        if row != TOP {
            let (stat, target) = (found.stat, &found.target);
            if !stat.can_be_kept() {
                bail!("{} is neither file nor directory", root.display());
            }
            let parent = self.entries[row as usize].parent;
            let name = self.name(row).to_vec();
            // Its target must stand behind its name.
            let (name_at, _) = self.remember(&name, target)?;
            let target_length = u16::try_from(target.len()).context("a link that is too long")?;
            self.entries[row as usize] =
                Entry { stat, parent, name: name_at, name_length: name.len() as u16, target_length, is_above: false };
        }
        self.here = path.to_vec();
        self.stack = vec![(row, path.len())];
        Ok(())
    }

    /// Whether this path was found.
    pub(super) fn has_root(&self, root: &Path) -> bool {
        self.known.contains_key(without_slash(root.as_os_str().as_bytes()))
    }

    /// Adds what was found: one of the configured paths, or an entry below the one that was begun last.
    ///
    /// # Errors
    ///
    /// As [`Listing::add`].
    pub(super) fn take(
        &mut self,
        found: &Found,
        roots: &[PathBuf],
        leaves_out: &dyn Fn(&Path, &Stat) -> bool,
    ) -> Result<()> {
        let path = Path::new(std::ffi::OsStr::from_bytes(&found.path));
        match roots.iter().find(|root| *root == path) {
            Some(root) => self.begin_root(root, found),
            None => self.add(found, leaves_out),
        }
    }

    /// Adds an entry below the configured path that was begun last; directories come before what is in them. `leaves_out` says what is
    /// not wanted, with all that is below it.
    ///
    /// # Errors
    ///
    /// When it is none that can be there.
    fn add(&mut self, found: &Found, leaves_out: &dyn Fn(&Path, &Stat) -> bool) -> Result<()> {
        let path = found.path.as_slice();
        if let Some(left_out) = &self.left_out {
            if path.strip_prefix(left_out.as_slice()).is_some_and(|rest| rest.starts_with(b"/")) {
                return Ok(());
            }
            self.left_out = None;
        }
        let lies = || format!("the machine lists {}, which cannot be there", printable_bytes(path));
        let (parent, name) = loop {
            let Some(&(row, length)) = self.stack.last() else { bail!(lies()) };
            self.here.truncate(length);
            match path.strip_prefix(self.here.as_slice()).and_then(|rest| rest.strip_prefix(b"/")) {
                Some(name) => break (row, name),
                None => self.stack.pop(),
            };
        };
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
            bail!(lies());
        }
        if !found.stat.can_be_kept() {
            return Ok(());
        }
        if leaves_out(Path::new(std::ffi::OsStr::from_bytes(path)), &found.stat) {
            if found.stat.is_dir() {
                self.left_out = Some(path.to_vec());
            }
            return Ok(());
        }
        let row = self.push(parent, name, found.stat, &found.target).with_context(lies)?;
        if found.stat.is_dir() {
            self.here = path.to_vec();
            self.stack.push((row, path.len()));
        }
        Ok(())
    }

    fn push(&mut self, parent: Row, name: &[u8], stat: Stat, target: &[u8]) -> Result<Row> {
        let row = Row::try_from(self.entries.len()).context("more entries than can be counted")?;
        let (name_at, name_length) = self.remember(name, target)?;
        let target_length = u16::try_from(target.len()).context("a link that is too long")?;
        self.entries.push(Entry { stat, parent, name: name_at, name_length, target_length, is_above: false });
        Ok(row)
    }

    fn remember(&mut self, name: &[u8], target: &[u8]) -> Result<(u64, u16)> {
        let length = u16::try_from(name.len()).context("a name that is too long")?;
        self.room.take(size_of::<Entry>() + name.len() + target.len())?;
        let at = self.names.len() as u64;
        self.names.extend_from_slice(name);
        self.names.extend_from_slice(target);
        Ok((at, length))
    }

    /// Brings all entries into the order of a tree. A name that was listed twice in a directory counts once.
    pub(super) fn sort(&mut self) {
        let mut order: Vec<Row> = (1..self.entries.len() as Row).collect();
        let key = |row: &Row| (self.entries[*row as usize].parent, self.name(*row));
        order.sort_by(|a, b| key(a).cmp(&key(b)));
        order.dedup_by(|a, b| key(a) == key(b));
        self.set_order(order);
        (self.stack, self.here, self.left_out) = Default::default();
    }

    /// How many entries there are, `/` among them.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn stat(&self, row: Row) -> &Stat {
        &self.entries[row as usize].stat
    }

    pub(super) fn name(&self, row: Row) -> &[u8] {
        let entry = &self.entries[row as usize];
        let begin = entry.name as usize;
        &self.names[begin..begin + usize::from(entry.name_length)]
    }

    /// Whether it is a directory that only leads to a configured path.
    pub(super) fn is_above(&self, row: Row) -> bool {
        self.entries[row as usize].is_above
    }

    /// Where a symbolic link leads.
    pub(super) fn target(&self, row: Row) -> &[u8] {
        let entry = &self.entries[row as usize];
        let begin = entry.name as usize + usize::from(entry.name_length);
        &self.names[begin..begin + usize::from(entry.target_length)]
    }

    /// What is in a directory, by name.
    pub(super) fn children(&self, row: Row) -> &[Row] {
        let range = self.begins[row as usize] as usize..self.begins[row as usize + 1] as usize;
        &self.order[range]
    }

    /// The entry at a path.
    pub(super) fn find(&self, path: &Path) -> Option<Row> {
        let names = path.components().filter_map(|component| match component {
            std::path::Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        });
        names.into_iter().try_fold(TOP, |row, name| {
            let children = self.children(row);
            children.binary_search_by(|child| self.name(*child).cmp(name)).ok().map(|at| children[at])
        })
    }

    /// How many files there are at a path and below it, and the sum of their sizes in bytes.
    pub(super) fn amount(&self, path: &Path) -> (u64, u64) {
        let (mut files, mut bytes) = (0, 0_u64);
        let mut left: Vec<Row> = self.find(path).into_iter().collect();
        while let Some(row) = left.pop() {
            let stat = self.stat(row);
            if stat.is_file() {
                (files, bytes) = (files + 1, bytes.saturating_add(stat.size));
            }
            left.extend(self.children(row));
        }
        (files, bytes)
    }

    /// The sum of the sizes of all files in bytes.
    pub(super) fn size(&self) -> u64 {
        let files = self.order.iter().map(|&row| self.stat(row)).filter(|stat| stat.is_file());
        files.map(|stat| stat.size).fold(0, u64::saturating_add)
    }

    /// Keeps only what is wanted; what is left out is so with all below it.
    pub(super) fn keep(&mut self, is_wanted: &dyn Fn(&Self, Row) -> bool) {
        let order = std::mem::take(&mut self.order);
        let order = order.into_iter().filter(|&row| is_wanted(self, row)).collect();
        self.set_order(order);
    }

    /// The directory that an entry is in.
    pub(super) fn parent(&self, row: Row) -> Row {
        self.entries[row as usize].parent
    }

    fn set_order(&mut self, order: Vec<Row>) {
        let mut begins = vec![0; self.entries.len() + 1];
        for row in &order {
            begins[self.entries[*row as usize].parent as usize + 1] += 1;
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        (self.order, self.begins) = (order, begins);
    }

    /// Steps through everything in the order of a tree, parents before children.
    pub(super) fn steps(&self) -> Steps {
        Steps { stack: vec![(TOP, 0, 0)], path: Vec::new() }
    }
}

/// Where a walk through a [`Listing`] is. It does not hold the listing, so that it may go along with it.
#[derive(Debug)]
pub(super) struct Steps {
    /// Directories: which, how many of its entries were given, the length of its path.
    stack: Vec<(Row, usize, usize)>,
    /// The path of the last entry.
    path: Vec<u8>,
}

impl Steps {
    /// Goes on to the next entry.
    pub(super) fn next(&mut self, listing: &Listing) -> Option<Row> {
        loop {
            let (directory, given, length) = self.stack.last_mut()?;
            let Some(&row) = listing.children(*directory).get(*given) else {
                self.stack.pop();
                continue;
            };
            *given += 1;
            self.path.truncate(*length);
            self.path.push(b'/');
            self.path.extend_from_slice(listing.name(row));
            if listing.stat(row).is_dir() {
                self.stack.push((row, 0, self.path.len()));
            }
            return Some(row);
        }
    }

    /// The path of the entry that it went on to last.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }
}

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn printable_bytes(path: &[u8]) -> String {
    printable(std::ffi::OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, mode: u32) -> Found {
        Found { path: path.into(), stat: Stat { mode, ..Stat::default() }, target: Vec::new() }
    }

    fn listing(root: &str, paths: &[(&str, u32)]) -> Result<Listing> {
        let mut listing = Listing::new();
        listing.begin_root(Path::new(root), &found(root, DIRECTORY))?;
        for (path, mode) in paths {
            listing.add(&found(path, *mode), &|path, _| path.ends_with("left-out"))?;
        }
        listing.sort();
        Ok(listing)
    }

    fn paths(listing: &Listing) -> Vec<String> {
        let mut steps = listing.steps();
        let mut paths = Vec::new();
        while steps.next(listing).is_some() {
            paths.push(String::from_utf8_lossy(steps.path()).into_owned());
        }
        paths
    }

    #[test]
    fn order_is_that_of_a_tree() {
        let all = [
            ("/home/me/b", FILE),
            ("/home/me/a", DIRECTORY),
            ("/home/me/a/z", DIRECTORY),
            ("/home/me/a/z/1", FILE),
            ("/home/me/a/b", FILE),
            ("/home/me/a.txt", FILE),
            ("/home/me/a/b", FILE),
        ];
        // The last one is a directory that was left already.
        assert!(listing("/home/me", &all).is_err());
        let listing = listing("/home/me", &all[..6]).unwrap();
        let expected = [
            "/home",
            "/home/me",
            "/home/me/a",
            "/home/me/a/b",
            "/home/me/a/z",
            "/home/me/a/z/1",
            "/home/me/a.txt",
            "/home/me/b",
        ];
        assert_eq!(paths(&listing), expected);
        assert_eq!(listing.find(Path::new("/home/me/a/z/1")).map(|row| listing.name(row)), Some(&b"1"[..]));
        assert_eq!(listing.find(Path::new("/home/me/a/none")), None);
        let amounts = ["/", "/home/me/a", "/home/me/b", "/none"].map(|path| listing.amount(Path::new(path)).0);
        assert_eq!(amounts, [4, 2, 1, 0]);
    }

    #[test]
    fn root_of_the_file_system_has_no_entry_of_its_own() {
        let listing = listing("/", &[("/etc", DIRECTORY), ("/etc/hosts", FILE)]).unwrap();
        assert_eq!(paths(&listing), ["/etc", "/etc/hosts"]);
    }

    #[test]
    fn what_is_left_out_is_so_with_all_below_it() {
        let all =
            [("/r/left-out", DIRECTORY), ("/r/left-out/x", FILE), ("/r/left-outer", FILE), ("/r/socket", 0o140_000)];
        assert_eq!(paths(&listing("/r", &all).unwrap()), ["/r", "/r/left-outer"]);
    }

    #[test]
    fn lies_are_refused() {
        for path in ["/etc/shadow", "/r/../etc", "/r/a/b", "/r/", "/r", "r/x", "", "/r//x", "/r/.", "/r/x\0y", "/rx"] {
            assert!(listing("/r", &[(path, FILE)]).is_err(), "{path:?}");
        }
    }
}
