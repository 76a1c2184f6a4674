//! Where the lock files of a repository are, and what can be done with one.
//!
//! rustic_backend knows no lock files, so the directory `locks/` is reached beside it, with the same location and options, which
//! [`super::super::location`] has found out. What is kept open for the one is not shared with the other, but for SFTP, which is ours.
//!
//! `rclone:` stores have no locks: the server that rustic_backend starts for them is known to nobody else.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};
use rustic_core::{ErrorKind, RusticError};

use crate::store::explain;
use crate::store::sftp::Sftp;

mod local;
mod object;
mod rest;

/// How often work is tried again, unless the options say otherwise; as rustic_backend has it.
const RETRY: u32 = 5;
/// How long to wait before the first time; twice as long before each further one, up to the second.
const DELAY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How long a server may take for one request; a lock is a few hundred bytes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why something was not done.
#[derive(Debug)]
pub(in crate::store) struct Failure {
    error: Error,
    /// Whether another try may do.
    passing: bool,
}

impl Failure {
    pub(in crate::store) fn new(what: &str, source: impl StdError + Send + Sync + 'static, passing: bool) -> Self {
        let error = RusticError::with_source(ErrorKind::Backend, what.to_owned(), source);
        Self { error: explain(*error), passing }
    }

    /// One of rustic_core's, which has been tried often enough.
    pub(in crate::store) fn last(error: RusticError) -> Self {
        Self { error: explain(error), passing: false }
    }
}

/// The lock files of one repository. A name is 64 hexadecimal digits.
pub(in crate::store) trait Place: Send + Sync {
    /// Their names; none when there is no directory. Not their sizes: not every service tells them in a list.
    fn list(&self) -> Result<Vec<String>, Failure>;

    /// The content; `None` when it is gone.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure>;

    /// Writes a file that is new, and is on disk when this returns.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure>;

    /// Removes a file; that it is gone already is no failure.
    fn remove(&self, name: &str) -> Result<(), Failure>;
}

/// What it takes to get at the lock files.
pub(in crate::store) enum Where {
    /// A directory on this machine.
    Local(PathBuf),
    /// A service that opendal knows, with its options.
    Object { service: String, options: BTreeMap<String, String> },
    /// A REST server.
    Rest { url: String, options: BTreeMap<String, String> },
    /// An SFTP server.
    Sftp(Arc<Sftp>),
    /// There are none.
    Nowhere,
}

impl Where {
    /// From what is handed to rustic_backend.
    pub(in crate::store) fn from_rustic(location: &str, options: &BTreeMap<String, String>) -> Self {
        let options = options.clone();
        match location.split_once(':') {
            Some(("local", path)) => Self::Local(path.into()),
            Some(("opendal", service)) => Self::Object { service: service.to_owned(), options },
            Some(("rest", url)) => Self::Rest { url: url.to_owned(), options },
            _ => Self::Nowhere,
        }
    }

    /// Gets ready to use them; a server is not asked yet.
    pub(super) fn open(&self) -> Result<Option<Patient>> {
        let (place, retry): (Arc<dyn Place>, u32) = match self {
            Self::Local(root) => (Arc::new(local::Local::new(root)), 0),
            Self::Object { service, options } => (Arc::new(object::Object::new(service, options)?), retry(options)),
            Self::Rest { url, options } => (Arc::new(rest::Rest::new(url, options)?), retry(options)),
            // It tries again by itself.
            Self::Sftp(sftp) => (sftp.clone(), 0),
            Self::Nowhere => return Ok(None),
        };
        Ok(Some(Patient { place, retry }))
    }
}

fn retry(options: &BTreeMap<String, String>) -> u32 {
    match options.get("retry").map(String::as_str) {
        Some("false" | "off") => 0,
        // What is no number rustic_backend has refused.
        Some(number) => number.parse().unwrap_or(RETRY),
        None => RETRY,
    }
}

/// How long to wait when work has been tried again so often.
fn delay(tried: u32) -> Duration {
    let [first, longest] = DELAY;
    first.saturating_mul(2_u32.saturating_pow(tried)).min(longest)
}

/// Tries again what failed for a reason that may pass.
pub(super) struct Patient {
    place: Arc<dyn Place>,
    retry: u32,
}

impl Patient {
    fn insist<T>(&self, work: impl Fn(&dyn Place) -> Result<T, Failure>) -> Result<T> {
        let mut tried = 0;
        loop {
            match work(&*self.place) {
                Ok(done) => return Ok(done),
                Err(failure) if !failure.passing || tried == self.retry => return Err(failure.error),
                Err(failure) => {
                    tracing::debug!("trying again: {:#}", failure.error);
                    thread::sleep(delay(tried));
                    tried += 1;
                }
            }
        }
    }

    /// See [`Place::list`].
    pub(super) fn list(&self) -> Result<Vec<String>> {
        self.insist(|place| place.list())
    }

    /// See [`Place::read`].
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.insist(|place| place.read(name))
    }

    /// See [`Place::write`].
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        self.insist(|place| place.write(name, content))
    }

    /// See [`Place::remove`].
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.insist(|place| place.remove(name))
    }
}

/// Whether a file's name is that of a lock, and not of one that is half written or of something else.
pub(in crate::store) fn is_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_gets_longer_up_to_a_minute() {
        let seconds: Vec<u64> = [0, 1, 2, 5, 6, u32::MAX].map(|tried| delay(tried).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }
}
