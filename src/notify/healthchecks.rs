//! Pings a healthchecks server: `<url>/start`, `<url>/<exit code>`, `<url>/log`.
//!
//! All pings of a run carry the same `rid`, so that the server can tell overlapping runs apart. `/start` makes the server wait for an end;
//! a run in which nothing is due therefore sends none, and ends with `/log`, which leaves the state of the check as it is.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Error, Result};
use reqwest::blocking::{Client, Response};
use reqwest::{Url, header};
use uuid::Uuid;

use super::http::{self, Effort, Refusal};
use super::news::signal_name;
use crate::error::ExitCode;
use crate::report::{Report, text};

/// Bytes of a body that a server keeps when it does not say how many: the default of a self-hosted one.
const USUAL_BODY_LIMIT: usize = 10_000;

const CUT: &str = "\n… cut";

/// One check on a healthchecks server, for one run.
pub struct Healthchecks {
    url: Url,
    client: Client,
    effort: Effort,
    run: Uuid,
    body_limit: AtomicUsize,
    started: AtomicBool,
    ended: AtomicBool,
}

impl Healthchecks {
    /// The check with this ping URL: with an UUID, or with a ping key and a slug, perhaps with a query (`?create=1`).
    ///
    /// # Errors
    ///
    /// When it is not an http or https URL. The message does not contain it.
    pub fn new(url: &str, effort: Effort) -> Result<Self> {
        Ok(Self {
            url: http::parse_url(url)?,
            client: http::client(true)?,
            effort,
            run: Uuid::new_v4(),
            body_limit: AtomicUsize::new(USUAL_BODY_LIMIT),
            started: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// Pings `/start`, the first time it is called.
    pub fn start(&self) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.ping("start", "");
        }
    }

    /// Pings `/<exit code>`, or `/log` when nothing was due and no start was told; the body is the report.
    pub fn finish(&self, report: &Report) {
        let idle = report.nothing_was_due() && !self.started.load(Ordering::Relaxed);
        let status = if idle { "log".to_owned() } else { (report.exit_code() as u8).to_string() };
        self.ping(&status, &text::for_ping(report));
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Pings `/<exit code>`; the body is the error with its causes and hints.
    ///
    /// When another run holds the lock this is only `/log`: that run is watched itself, and tells how it ends.
    pub fn fail(&self, error: &Error, code: ExitCode) {
        let locked = code == ExitCode::Locked;
        let status = if locked { "log".to_owned() } else { (code as u8).to_string() };
        self.ping(&status, &text::error(error));
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Pings `/<exit code>` once, unless the end was told.
    pub fn signal(&self, code: ExitCode) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let name = signal_name(code);
        let status = (code as u8).to_string();
        if let Err(refusal) = self.send(&status, &format!("failed: ended by {name}\n"), self.effort.signal_timeout) {
            self.warn(&status, &refusal.why, 1);
        }
    }

    fn ping(&self, status: &str, body: &str) {
        let pinged = http::persist(&self.effort, || self.send(status, body, self.effort.timeout));
        if let Err((refusal, tries)) = pinged {
            self.warn(status, &refusal.why, tries);
        }
    }

    fn send(&self, status: &str, body: &str, timeout: Duration) -> Result<(), Refusal> {
        let request = self
            .client
            .post(self.address(status))
            .timeout(timeout)
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(cut(body, self.body_limit.load(Ordering::Relaxed)));
        let sent = http::send(request);
        sent.map(|response| self.learn_body_limit(&response))
    }

    fn learn_body_limit(&self, response: &Response) {
        let limit =
            response.headers().get("Ping-Body-Limit").and_then(|limit| limit.to_str().ok()?.trim().parse().ok());
        if let Some(limit) = limit {
            self.body_limit.store(limit, Ordering::Relaxed);
        }
    }

    fn address(&self, status: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(status);
        }
        url.query_pairs_mut().append_pair("rid", &self.run.to_string());
        url
    }

    fn warn(&self, status: &str, why: &str, tries: u32) {
        tracing::warn!("ping /{status} at {} given up, tries {tries}: {why}", self.server());
    }

    fn server(&self) -> String {
        http::server(&self.url)
    }
}

impl fmt::Debug for Healthchecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Healthchecks({})", self.server())
    }
}

/// The beginning of the text in at most `limit` bytes, with a last line that says so.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    match limit.checked_sub(CUT.len()) {
        Some(room) => format!("{}{CUT}", &text[..text.floor_char_boundary(room)]),
        None => text[..text.floor_char_boundary(limit)].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    fn check(url: &str) -> Healthchecks {
        Healthchecks::new(url, Effort::default()).unwrap()
    }

    #[test]
    fn status_goes_before_the_query_and_rid_into_it() {
        let address = |url: &str| {
            let check = check(url);
            check.address("start").to_string().replace(&check.run.to_string(), "RID")
        };
        assert_eq!(address("https://hc-ping.com/uuid"), "https://hc-ping.com/uuid/start?rid=RID");
        assert_eq!(address("https://hc-ping.com/uuid/\n"), "https://hc-ping.com/uuid/start?rid=RID");
        assert_eq!(address("http://h:8000/key/slug?create=1"), "http://h:8000/key/slug/start?create=1&rid=RID");
    }

    #[test]
    fn address_in_the_log_is_without_its_secret() {
        assert_eq!(format!("{:?}", check("http://me:pw@h:8000/key/slug?create=1")), "Healthchecks(http://h:8000)");
        assert_eq!(check("https://hc-ping.com/uuid").server(), "https://hc-ping.com");
    }

    #[test]
    fn text_that_is_no_http_url_is_refused_without_showing_it() {
        for url in ["", "hc-ping.com/secret", "ftp://h/secret", "https://"] {
            let error = Healthchecks::new(url, Effort::default()).unwrap_err();
            assert!(!chain(&error).contains("secret"), "{error:#}");
        }
    }

    #[test]
    fn cut_text_fits_ends_on_a_character_and_says_so() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("ok: 1 saved\nfiles.höst", 22), "ok: 1 saved\nfi\n… cut");
        assert_eq!(cut("äöü and more text", 11), "ä\n… cut");
        assert_eq!(cut("äöü", 5), "äö");
        assert_eq!(cut("äöü", 0), "");
    }
}
