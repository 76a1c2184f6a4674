//! Lock files on an SFTP server, over the connections that serve the rest of the repository.

use std::io;

use rustic_core::RusticResult;
use uuid::Uuid;

use super::Sftp;
use super::connection::{Connection, Failure as Lost};
use crate::store::locks::{Failure, Place, is_name};

impl Sftp {
    fn locks(&self) -> String {
        format!("{}/locks", self.address.path)
    }

    /// Does `work` on the file with this name; `None` when there is none.
    fn on_lock<T>(
        &self,
        what: &str,
        name: &str,
        work: impl Fn(&mut Connection, &str) -> Result<T, Lost>,
    ) -> Result<Option<T>, Failure> {
        let path = format!("{}/{name}", self.locks());
        let done: RusticResult<_> = self.with(what, |connection| match work(connection, &path) {
            Ok(done) => Ok(Some(done)),
            Err(Lost::Answer(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(failure) => Err(failure),
        });
        done.map_err(|error| Failure::last(*error))
    }
}

impl Place for Sftp {
    fn list(&self) -> Result<Vec<String>, Failure> {
        let directory = [self.locks()];
        let listed = self.with("Listing the locks failed", |connection| connection.list(&directory));
        let names = listed.map_err(|error| Failure::last(*error))?.into_iter();
        Ok(names.filter_map(|(name, _)| String::from_utf8(name).ok().filter(|name| is_name(name))).collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.on_lock("Reading a lock failed", name, |connection, path| connection.read(path, None))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let written = self.on_lock("Writing a lock failed", name, |connection, path| {
            let temporary = format!("{path}-holdall-{}", Uuid::new_v4().simple());
            let written = connection
                .write(&temporary, std::iter::once(content))
                .and_then(|()| connection.rename(&temporary, path));
            if matches!(written, Err(Lost::Answer(_))) {
                // What is half written is of no use; that it failed matters more than that it stays.
                drop(connection.remove(&temporary));
            }
            written
        })?;
        let nowhere = || Failure::new("Writing a lock failed", io::Error::from(io::ErrorKind::NotFound), false);
        written.ok_or_else(nowhere)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        self.on_lock("Deleting a lock failed", name, Connection::remove).map(drop)
    }
}
