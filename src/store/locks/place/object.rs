//! Lock files in a service that opendal knows: S3 and what else rustic_backend reaches through it.
//!
//! The operator is asynchronous; a runtime of its own carries it, so that each request can be given up after a while.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;

use anyhow::{Context, Result};
use opendal::{EntryMode, Error, ErrorKind, Operator};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::{Failure, PATIENCE, Place, is_name};

/// `locks/` below the root of a service.
pub(super) struct Object {
    operator: Operator,
    runtime: Runtime,
}

impl Object {
    pub(super) fn new(service: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let operator = Operator::via_iter(service, options.clone()).context("understand how to reach the locks")?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("locks").enable_all().build();
        Ok(Self { operator, runtime: runtime.context("start the thread that speaks with the store about locks")? })
    }

    /// Waits for an answer; `None` when there is no such file.
    fn ask<T>(&self, what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Failure> {
        match self.runtime.block_on(async { timeout(PATIENCE, work).await }) {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Ok(Err(error)) => {
                let passing = error.is_temporary();
                Err(Failure::new(what, error, passing))
            }
            Err(_) => {
                let text = format!("no answer within {} s", PATIENCE.as_secs());
                Err(Failure::new(what, io::Error::other(text), true))
            }
        }
    }
}

fn path(name: &str) -> String {
    format!("locks/{name}")
}

impl Place for Object {
    fn list(&self) -> Result<Vec<String>, Failure> {
        let listed = self.ask("Listing the locks failed", async { self.operator.list("locks/").await })?;
        let files = listed
            .into_iter()
            .flatten()
            .filter(|entry| entry.metadata().mode() == EntryMode::FILE && is_name(entry.name()));
        Ok(files.map(|entry| entry.name().to_owned()).collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let read = self.ask("Reading a lock failed", async { self.operator.read(&path(name)).await })?;
        Ok(read.map(|content| content.to_vec()))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let content = content.to_vec();
        let written = self.ask("Writing a lock failed", async { self.operator.write(&path(name), content).await })?;
        let nowhere = || Failure::new("Writing a lock failed", io::Error::from(io::ErrorKind::NotFound), false);
        written.map(drop).ok_or_else(nowhere)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        self.ask("Deleting a lock failed", async { self.operator.delete(&path(name)).await }).map(drop)
    }
}
