//! How servers are told something over HTTP: the client, how often it is tried, and what is said of a try that went wrong.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};

use crate::error::chain;

/// How hard it is tried to reach the server.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How long one try may take.
    pub timeout: Duration,
    /// How often it is tried, at least 1.
    pub tries: u32,
    /// How long to wait before the second try; twice as long before each further one.
    pub backoff: Duration,
    /// How long the only try may take when the run is ended by a signal.
    pub signal_timeout: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            tries: 4,
            backoff: Duration::from_secs(1),
            signal_timeout: Duration::from_secs(3),
        }
    }
}

/// Why a try did not succeed.
pub(super) struct Refusal {
    pub(super) why: String,
    /// Whether a further try may succeed.
    pub(super) passing: bool,
}

impl Refusal {
    /// No answer came; the message is without the URL.
    fn unsent(error: reqwest::Error) -> Self {
        let passing = !error.is_builder() && !error.is_redirect();
        Self { why: chain(&Error::new(error.without_url())), passing }
    }

    fn answered(status: StatusCode) -> Self {
        let leads_elsewhere = if status.is_redirection() { ", which leads elsewhere" } else { "" };
        let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Self { why: format!("the server answers {status}{leads_elsewhere}"), passing }
    }
}

/// A client; of one that follows nobody a token reaches only the server that was named.
pub(super) fn client(follows: bool) -> Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("holdall/", env!("CARGO_PKG_VERSION")))
        // Runs are hours apart; a connection kept open would have been closed by the server.
        .pool_max_idle_per_host(0);
    let builder = if follows { builder } else { builder.redirect(Policy::none()) };
    builder.build().context("set up HTTP")
}

/// The URL that a text is.
///
/// # Errors
///
/// When it is none, or not of http or https. The message does not contain it.
pub(super) fn parse_url(text: &str) -> Result<Url> {
    let url = Url::parse(text.trim()).context("read the URL")?;
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "the URL begins with `{}:`, not with http or https",
        url.scheme()
    );
    Ok(url)
}

/// Sends a request. What the server has to say besides its status and headers is not read.
pub(super) fn send(request: RequestBuilder) -> Result<Response, Refusal> {
    let response = request.send().map_err(Refusal::unsent)?;
    let status = response.status();
    if status.is_success() { Ok(response) } else { Err(Refusal::answered(status)) }
}

/// Tries until it succeeds, cannot succeed, or was tried often enough; then says why, and how often it was tried.
pub(super) fn persist(effort: &Effort, mut attempt: impl FnMut() -> Result<(), Refusal>) -> Result<(), (Refusal, u32)> {
    let mut pause = effort.backoff;
    let mut tries = 1;
    while let Err(refusal) = attempt() {
        if !refusal.passing || tries >= effort.tries {
            return Err((refusal, tries));
        }
        tracing::debug!("tried again, since {}", refusal.why);
        thread::sleep(pause);
        pause = pause.saturating_mul(2);
        tries += 1;
    }
    Ok(())
}

/// What of a URL is not secret: scheme, host and port.
pub(super) fn server(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
