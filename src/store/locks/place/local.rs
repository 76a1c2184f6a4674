//! Lock files in a directory on this machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Failure, Place, is_name};
use crate::durable::sync_directory;

/// `locks/` below the directory of a repository.
pub(super) struct Local {
    directory: PathBuf,
}

impl Local {
    pub(super) fn new(root: &Path) -> Self {
        Self { directory: root.join("locks") }
    }

    fn failure(&self, doing: &str, error: io::Error) -> Failure {
        Failure::new(&format!("{doing} in `{}` failed", self.directory.display()), error, false)
    }

    fn try_list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        Ok(names.into_iter().flatten().filter(|name| is_name(name)).collect())
    }

    fn try_write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // holdall and rustic make a repository without it.
        fs::create_dir_all(&self.directory)?;
        // restic passes over such a name too; it is gone, or has become the lock, unless power is lost in between.
        let temporary = self.directory.join(format!("{name}-tmp-{}", Uuid::new_v4().simple()));
        let mut file = File::create_new(&temporary)?;
        let written = file
            .write_all(content)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, self.directory.join(name)))
            .and_then(|()| sync_directory(&self.directory));
        if written.is_err() {
            // That it could not be written matters more.
            drop(fs::remove_file(&temporary));
        }
        written
    }
}

impl Place for Local {
    fn list(&self) -> Result<Vec<String>, Failure> {
        match self.try_list() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| self.failure("Listing the locks", error)),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        match fs::read(self.directory.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failure("Reading a lock", error)),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        self.try_write(name, content).map_err(|error| self.failure("Writing a lock", error))
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failure("Deleting a lock", error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_and_go_and_others_are_not_seen() {
        let root = tempfile::tempdir().unwrap();
        let local = Local::new(root.path());
        assert!(local.list().unwrap().is_empty());
        let name = "0123456789abcdef".repeat(4);
        local.write(&name, b"abc").unwrap();
        fs::write(root.path().join("locks").join(format!("{name}-tmp-1")), "half").unwrap();
        assert_eq!(local.list().unwrap(), [name.as_str()]);
        assert_eq!(local.read(&name).unwrap(), Some(b"abc".to_vec()));
        local.remove(&name).unwrap();
        local.remove(&name).unwrap();
        assert_eq!(local.read(&name).unwrap(), None);
        assert!(local.list().unwrap().is_empty());
    }
}
