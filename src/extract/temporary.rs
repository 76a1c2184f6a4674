//! Entries under names of ours, until they are whole and get the name they were made for.
//!
//! They never stay behind: not when something fails, and not when a signal ends the program. Only a kill leaves them, recognisable by
//! their name, `.holdall-…`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::directory::Directory;
use crate::cleanup::Guard;

/// The entries that are not in their place yet, by number.
type Unplaced = Arc<Mutex<BTreeMap<u64, (Directory, OsString)>>>;

/// Where temporary entries come from.
#[derive(Debug)]
pub(super) struct Workshop {
    /// What their names begin with. Random, so that no tree knows it before; short, since it makes directories larger.
    mark: String,
    made: u64,
    unplaced: Unplaced,
    _guard: Guard,
}

impl Workshop {
    pub(super) fn new() -> Self {
        let unplaced = Unplaced::default();
        let watched = unplaced.clone();
        let guard = Guard::new(move |signal| {
            let entries = watched.lock().unwrap_or_else(PoisonError::into_inner);
            for (directory, name) in entries.values() {
                let _ = directory.remove(name);
            }
            if signal.is_some() {
                // The program is about to end, and until then nobody may make another one.
                std::mem::forget(entries);
            }
        });
        let mark = format!(".holdall-{:012x}", Uuid::new_v4().as_u128() >> 80);
        Self { mark, made: 0, unplaced, _guard: guard }
    }

    /// Lets `make` make an entry in `directory` under the name it is given.
    pub(super) fn make<T>(
        &mut self,
        directory: &Directory,
        make: impl FnOnce(&OsStr) -> io::Result<T>,
    ) -> io::Result<(Temporary, T)> {
        self.made += 1;
        let number = self.made;
        let name = OsString::from(format!("{}-{number}", self.mark));
        let entry = (directory.clone(), name.clone());
        self.unplaced.lock().unwrap_or_else(PoisonError::into_inner).insert(number, entry);
        let temporary = Temporary { directory: directory.clone(), name, number, unplaced: self.unplaced.clone() };
        let made = make(&temporary.name)?;
        Ok((temporary, made))
    }
}

/// An entry under a name of ours, removed again unless it is put in its place.
#[derive(Debug)]
pub(super) struct Temporary {
    directory: Directory,
    name: OsString,
    number: u64,
    unplaced: Unplaced,
}

impl Temporary {
    /// The name it has for now.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Gives it the name it was made for.
    pub(super) fn put_in_place(&self, name: &OsStr, replace: bool) -> io::Result<()> {
        self.directory.rename(&self.name, name, replace)?;
        self.forget();
        Ok(())
    }

    /// Returns whether it was still to be put in its place.
    fn forget(&self) -> bool {
        self.unplaced.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number).is_some()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.forget() {
            // There is nobody left to tell, and the name says whose it is.
            let _ = self.directory.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(place: &tempfile::TempDir) -> Vec<OsString> {
        fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn entry_stays_only_when_it_was_put_in_its_place() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open_target(place.path()).unwrap();
        let mut workshop = Workshop::new();
        let (kept, _) = workshop.make(&directory, |name| directory.make_file(name)).unwrap();
        let (dropped, _) = workshop.make(&directory, |name| directory.make_file(name)).unwrap();
        assert_eq!(names(&place).len(), 2);
        kept.put_in_place(OsStr::new("a"), false).unwrap();
        drop((kept, dropped));
        assert_eq!(names(&place), ["a"]);
    }

    #[test]
    fn nothing_stays_when_the_workshop_ends_first() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open_target(place.path()).unwrap();
        let mut workshop = Workshop::new();
        let (_unfinished, _) = workshop.make(&directory, |name| directory.make_file(name)).unwrap();
        drop(workshop);
        assert_eq!(names(&place), [""; 0]);
    }
}
