//! A repository on a server that is reached by SFTP through the system's `ssh`, as restic does it.
//!
//! `ssh` brings the user's configuration, agents and jump hosts. It is the child of each connection and speaks over pipes: when
//! this process ends, however it ends, so does `ssh`. A file appears under its name when it is whole, never before.
//!
//! What goes over the wire is in [`packet`], one connection in [`connection`], the spelling in [`address`].

use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use rustic_core::{
    ALL_FILE_TYPES, BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};
use uuid::Uuid;

mod address;
mod connection;
mod locks;
mod packet;

pub(super) use address::Address;
use connection::{Connection, Failure};

/// How many connections there are at most, unless the options say otherwise; sshd drops more than ten that have not logged in yet.
const CONNECTIONS: usize = 4;
/// How often work is tried again when the connection is lost, unless the options say otherwise.
const RETRY: u32 = 5;
/// How long to wait before the first time; twice as long before each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Options of `[store.options]` that this backend takes.
const OPTIONS: [&str; 6] = ["connections", "key", "known-hosts", "port", "retry", "user"];

/// The backend.
#[derive(Debug)]
pub(super) struct Sftp {
    address: Address,
    retry: u32,
    first_delay: Duration,
    pool: Mutex<Pool>,
    freed: Condvar,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<Connection>,
    /// How many more may be opened.
    left: usize,
}

impl Sftp {
    /// Gets ready; the server is not asked yet.
    pub(super) fn new(mut address: Address, options: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(unknown) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
            bail!("SFTP has no option `{unknown}`; it has {}", OPTIONS.join(", "));
        }
        let number = |key: &str| {
            let parse = |text: &String| {
                text.parse::<u16>().with_context(|| format!("understand `{key}` under [store.options]"))
            };
            options.get(key).map(parse).transpose()
        };
        address.user = address.user.or_else(|| options.get("user").cloned());
        address.port = address.port.or(number("port")?);
        address.key = options.get("key").map(Into::into);
        address.known_hosts = options.get("known-hosts").map(Into::into);
        let connections = number("connections")?.map_or(CONNECTIONS, usize::from).max(1);
        Ok(Self {
            address,
            retry: number("retry")?.map_or(RETRY, u32::from),
            first_delay: FIRST_DELAY,
            pool: Mutex::new(Pool { idle: Vec::new(), left: connections }),
            freed: Condvar::new(),
        })
    }

    fn path(&self, tpe: FileType, id: &Id) -> String {
        let root = &self.address.path;
        let hex = id.to_hex();
        match tpe {
            FileType::Config => format!("{root}/config"),
            FileType::Pack => format!("{root}/data/{}/{}", &hex[..2], &hex[..]),
            _ => format!("{root}/{}/{}", tpe.dirname(), &hex[..]),
        }
    }

    /// Does `work` on a connection, with a new one when that is lost, until it is done or has been tried often enough.
    fn with<T>(&self, what: &str, work: impl Fn(&mut Connection) -> Result<T, Failure>) -> RusticResult<T> {
        let mut tried = 0;
        let error = loop {
            match self.once(&work) {
                Ok(done) => return Ok(done),
                Err(Failure::Answer(error) | Failure::Refused(error)) => break error,
                Err(Failure::Lost(error)) if tried == self.retry => break error,
                Err(Failure::Lost(error)) => {
                    let delay = self.first_delay * 2_u32.saturating_pow(tried);
                    tracing::info!(%error, "the connection to {} is lost; trying again in {} s", self.address.host, delay.as_secs());
                    thread::sleep(delay);
                    tried += 1;
                }
            }
        };
        Err(RusticError::with_source(ErrorKind::Backend, what.to_owned(), error))
    }

    fn once<T>(&self, work: impl Fn(&mut Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut slot = self.take();
        let connection = match &mut slot.connection {
            Some(connection) => connection,
            empty => empty.insert(Connection::open(&self.address)?),
        };
        let done = work(connection);
        if matches!(done, Err(Failure::Lost(_) | Failure::Refused(_))) {
            slot.connection = None;
        }
        done
    }

    fn take(&self) -> Slot<'_> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = pool.idle.pop() {
                return Slot { of: self, connection: Some(connection) };
            }
            if pool.left > 0 {
                pool.left -= 1;
                return Slot { of: self, connection: None };
            }
            pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The right to use one connection, and the connection if it is open. Given back when dropped.
struct Slot<'s> {
    of: &'s Sftp,
    connection: Option<Connection>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut pool = self.of.pool.lock().unwrap_or_else(PoisonError::into_inner);
        match self.connection.take() {
            Some(connection) => pool.idle.push(connection),
            None => pool.left += 1,
        }
        self.of.freed.notify_one();
    }
}

impl ReadBackend for Sftp {
    fn location(&self) -> String {
        format!("sftp:{}:{}", self.address.host, self.address.path)
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let root = &self.address.path;
        if tpe == FileType::Config {
            let path = self.path(tpe, &Id::default());
            return self.with("Looking for `config` failed", |connection| match connection.size(&path) {
                Ok(size) => Ok(vec![(Id::default(), to_u32(size)?)]),
                Err(Failure::Answer(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(failure) => Err(failure),
            });
        }
        let directories = match tpe {
            FileType::Pack => (0..=255).map(|byte| format!("{root}/data/{byte:02x}")).collect(),
            _ => vec![format!("{root}/{}", tpe.dirname())],
        };
        self.with(&format!("Listing `{}` failed", tpe.dirname()), |connection| {
            let listed = connection.list(&directories)?;
            let ours = listed.into_iter().filter_map(|(name, size)| {
                let id = std::str::from_utf8(&name).ok().and_then(|name| Id::parse_some(name, tpe))?;
                Some(to_u32(size).map(|size| (id, size)))
            });
            ours.collect()
        })
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        let path = self.path(tpe, id);
        self.with(&format!("Reading `{path}` failed"), |connection| connection.read(&path, None)).map(Bytes::from)
    }

    fn read_partial(&self, tpe: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let path = self.path(tpe, id);
        let range = (u64::from(offset), u64::from(length));
        self.with(&format!("Reading `{path}` failed"), |connection| connection.read(&path, Some(range)))
            .map(Bytes::from)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.path(tpe, id)
    }
}

impl WriteBackend for Sftp {
    fn create(&self) -> RusticResult<()> {
        let root = &self.address.path;
        let below = ALL_FILE_TYPES.iter().map(|tpe| format!("{root}/{}", tpe.dirname()));
        let packs = (0..=255).map(|byte| format!("{root}/data/{byte:02x}"));
        let directories: Vec<String> = ancestors(root).into_iter().chain(below).chain(packs).collect();
        self.with(&format!("Making `{root}` failed"), |connection| connection.make_directories(&directories))
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        let path = self.path(tpe, id);
        self.with(&format!("Writing `{path}` failed"), |connection| {
            // Beside it, and no reader takes it for a file of a repository.
            let temporary = format!("{path}-holdall-{}", Uuid::new_v4().simple());
            let written = connection
                .write(&temporary, content.slice().iter().map(|part| &part[..]))
                .and_then(|()| connection.rename(&temporary, &path));
            if matches!(written, Err(Failure::Answer(_))) {
                // What is half written is of no use; that it failed matters more than that it stays.
                drop(connection.remove(&temporary));
            }
            written
        })
    }

    fn remove(&self, tpe: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let path = self.path(tpe, id);
        self.with(&format!("Deleting `{path}` failed"), |connection| match connection.remove(&path) {
            // Gone already, for instance by a try whose answer was lost.
            Err(Failure::Answer(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
    }
}

/// A directory with all that is above it, topmost first.
fn ancestors(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0).chain([path.len()]);
    ends.map(|end| path[..end].to_owned()).collect()
}

fn to_u32(size: u64) -> Result<u32, Failure> {
    u32::try_from(size)
        .map_err(|_| Failure::Answer(io::Error::other(format!("a file of {size} bytes is none of a repository"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_above_comes_first() {
        assert_eq!(ancestors("/a/b"), ["/a", "/a/b"]);
        assert_eq!(ancestors("a/b/c"), ["a", "a/b", "a/b/c"]);
        assert_eq!(ancestors("."), ["."]);
    }

    #[test]
    fn option_that_does_not_exist_is_refused() {
        let address: Address = "me@host:/x".parse().unwrap();
        let options = BTreeMap::from([("keyfile".to_owned(), "/k".to_owned())]);
        let error = Sftp::new(address, &options).unwrap_err().to_string();
        assert_eq!(error, "SFTP has no option `keyfile`; it has connections, key, known-hosts, port, retry, user");
    }
}
