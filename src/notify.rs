//! Tells monitors and people how a run went; never fails the run.
//!
//! What cannot be told is a warning in the log, without addresses that are secrets: a ping URL is one. When a run is told of is decided by its caller; to
//! whom and what is said, and how often it is tried, in the modules below. They are told one after another, each for a bounded time: first who notices when
//! nothing comes, then files, then people.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Error, Result};
use chrono::Utc;

use crate::config::{Config, HealthchecksConfig, NotifyConfig, notify_of_broken};
use crate::error::{ExitCode, chain, hints};
use crate::report::{Report, Verdict};

pub mod healthchecks;
pub mod http;
pub mod letter;
pub mod mail;
pub mod metrics;
pub mod news;
mod previous;
pub mod standing;
pub mod webhook;

use healthchecks::Healthchecks;
use http::Effort;
use mail::Mail;
use metrics::Metrics;
use news::{End, News};
use standing::Standing;
use webhook::Webhook;

/// Everybody who is told how a run goes.
///
/// Every method returns when everybody was told or it was given up; it may be called from any thread.
#[derive(Debug, Default)]
pub struct Notifier {
    healthchecks: Option<Healthchecks>,
    metrics: Option<Metrics>,
    mail: Option<Mail>,
    webhooks: Vec<Webhook>,
    config: std::path::PathBuf,
    previous: Option<Verdict>,
    ended: AtomicBool,
}

impl Notifier {
    /// Tells those of the configuration.
    pub fn new(config: &Config) -> Self {
        let previous = config.report_file.as_deref().and_then(previous::verdict);
        Self { previous, ..Self::of(&config.notify, &config.file) }
    }

    /// Tells those who can be found in a configuration that is not valid, that it is not.
    pub fn for_broken_config(file: &Path, text: &str) -> Self {
        // What is measured are items, and there are none.
        Self::of(&NotifyConfig { metrics: None, ..notify_of_broken(text) }, file)
    }

    /// Tells nobody: for dry runs.
    pub fn silent() -> Self {
        Self::default()
    }

    /// Tells these, of runs with the configuration in `file`.
    pub fn of(notify: &NotifyConfig, file: &Path) -> Self {
        let healthchecks = notify.healthchecks.as_ref().and_then(|config| match connect(config) {
            Ok(healthchecks) => Some(healthchecks),
            Err(error) => {
                warn(&error.context("the monitor is not told of this run"));
                None
            }
        });
        Self {
            healthchecks,
            metrics: notify.metrics.as_ref().map(Metrics::new),
            mail: notify.mail.as_ref().map(Mail::new),
            webhooks: notify.webhooks.iter().map(Webhook::new).collect(),
            config: file.to_path_buf(),
            ..Self::default()
        }
    }

    /// Whether somebody is told how every item stands.
    pub fn wants_standing(&self) -> bool {
        self.metrics.is_some() || self.mail.is_some() || !self.webhooks.is_empty()
    }

    /// The run has something to do. To be called when the first item turns out to be due, and not before: what was told to have
    /// started is waited for. Further calls do nothing.
    pub fn start(&self) {
        self.healthchecks.iter().for_each(Healthchecks::start);
    }

    /// The run has ended. When nothing was due and [`Notifier::start`] was not called, this is only a line in the monitor's log.
    pub fn finish(&self, report: &Report, standing: Option<&Standing>) {
        self.ended.store(true, Ordering::Relaxed);
        self.healthchecks.iter().for_each(|healthchecks| healthchecks.finish(report));
        self.tell(End::Report(report), standing);
    }

    /// The run cannot begin or go on: a broken configuration, no store, a lock.
    pub fn fail(&self, error: &Error, code: ExitCode) {
        self.ended.store(true, Ordering::Relaxed);
        self.healthchecks.iter().for_each(|healthchecks| healthchecks.fail(error, code));
        self.tell(End::Error(error, code), None);
    }

    /// The run is ended by a signal. Tried once and only for a short time; does nothing once the end was told.
    pub fn signal(&self, code: ExitCode) {
        self.healthchecks.iter().for_each(|healthchecks| healthchecks.signal(code));
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.tell(End::Signal(code), None);
        }
    }

    fn tell(&self, end: End<'_>, standing: Option<&Standing>) {
        let news = News {
            end,
            standing,
            host: host(),
            config: self.config.clone(),
            time: Utc::now(),
            previous: self.previous,
        };
        self.metrics.iter().for_each(|metrics| metrics.tell(&news));
        self.mail.iter().for_each(|mail| mail.tell(&news));
        self.webhooks.iter().for_each(|webhook| webhook.tell(&news));
    }
}

fn connect(config: &HealthchecksConfig) -> Result<Healthchecks> {
    let url = config.url.read().context("read the URL of notify.healthchecks")?;
    Healthchecks::new(&url, Effort::default()).context("use the URL of notify.healthchecks")
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Says what could not be told.
fn warn(error: &Error) {
    let hint = hints(error).join("\n");
    tracing::warn!(hint, "{}", chain(error));
}
