//! Why a tree is not whole, as whoever reads it finds out.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Error, Result};

use crate::error::chain;
use crate::source::Content;

/// Why a tree is not whole, once it is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    /// Keeps the first reason.
    pub(crate) fn set(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The reason, if there is one.
    pub(crate) fn take(&self) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// A content whose size shows at its end. An error in it is not only that of one file: without the whole of it the tree is worth nothing.
    pub(crate) fn watch<R: Read + Send + 'static>(
        &self,
        doing: String,
        open: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Content {
        let failure = self.clone();
        Content::unsized_stream(move || match open().with_context(|| doing.clone()) {
            Ok(content) => Ok(Box::new(Watched { content, doing, failure }) as Box<dyn Read + Send>),
            Err(error) => {
                let text = chain(&error);
                failure.set(error);
                Err(io::Error::other(text))
            }
        })
    }
}

/// A content that tells when it fails.
struct Watched<R> {
    content: R,
    doing: String,
    failure: Failure,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer).inspect_err(|error| {
            self.failure.set(Error::msg(error.to_string()).context(self.doing.clone()));
        })
    }
}
