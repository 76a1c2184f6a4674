//! Streams that a server is sent: archives that it makes instances and volumes of.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::blocking::Body;

use super::{Call, Operation, answer};

impl Call<'_> {
    /// Sends so many bytes, with further headers, and has it begun what is done with them. Nothing is done with half of them.
    ///
    /// # Errors
    ///
    /// When they cannot be read, the server breaks off, or refuses them.
    pub fn upload(
        self,
        headers: &[(&'static str, &str)],
        size: u64,
        content: impl Read + Send + 'static,
    ) -> Result<Operation> {
        let server = self.server;
        let doing = self.doing();
        // The bound is not for the whole of it.
        let mut request = self.request()?.timeout(Duration::from_secs(365 * 24 * 3600));
        request = request.header("Content-Type", "application/octet-stream").body(Body::sized(content, size));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answered = request.send().map_err(|error| server.unsent(error)).and_then(answer);
        answered.and_then(|answer| Operation::of(server, answer.metadata)).context(doing)
    }
}
