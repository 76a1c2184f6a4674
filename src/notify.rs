//! Tells monitors how a run went; never fails the run.
//!
//! What cannot be told is a warning in the log, without the address: a ping URL is a secret. When a run is told of is decided by its caller,
//! what is said and how often it is tried in the modules below.

use anyhow::{Context as _, Error, Result};
use toml::de::DeTable;

use crate::config::{HealthchecksConfig, NotifyConfig};
use crate::error::{ExitCode, chain};
use crate::report::Report;
use crate::secret::Secret;

pub mod healthchecks;

use healthchecks::{Effort, Healthchecks};

/// Everybody who is told how a run goes.
///
/// Every method returns when everybody was told or it was given up; it may be called from any thread.
#[derive(Debug)]
pub struct Notifier {
    healthchecks: Option<Healthchecks>,
}

impl Notifier {
    /// Tells those of the configuration.
    pub fn new(config: &NotifyConfig) -> Self {
        let healthchecks = config.healthchecks.as_ref().and_then(|config| match connect(config) {
            Ok(healthchecks) => Some(healthchecks),
            Err(error) => {
                tracing::warn!("the monitor is not told of this run: {}", chain(&error));
                None
            }
        });
        Self { healthchecks }
    }

    /// Tells those who can be found in a configuration that is not valid, that it is not: see [`url_from_broken_config`].
    pub fn for_broken_config(text: &str) -> Self {
        Self::new(&NotifyConfig { healthchecks: url_from_broken_config(text).map(|url| HealthchecksConfig { url }) })
    }

    /// Tells nobody: for dry runs.
    pub fn silent() -> Self {
        Self { healthchecks: None }
    }

    /// The run has something to do. To be called when the first item turns out to be due, and not before: what was told to have
    /// started is waited for. Further calls do nothing.
    pub fn start(&self) {
        self.each(Healthchecks::start);
    }

    /// The run has ended. When nothing was due and [`Notifier::start`] was not called, this is only a line in the monitor's log.
    pub fn finish(&self, report: &Report) {
        self.each(|healthchecks| healthchecks.finish(report));
    }

    /// The run cannot begin or go on: a broken configuration, no store, a lock.
    pub fn fail(&self, error: &Error, code: ExitCode) {
        self.each(|healthchecks| healthchecks.fail(error, code));
    }

    /// The run is ended by a signal. Tried once and only for a short time; does nothing once the end was told.
    pub fn signal(&self, code: ExitCode) {
        self.each(|healthchecks| healthchecks.signal(code));
    }

    fn each(&self, tell: impl Fn(&Healthchecks)) {
        self.healthchecks.iter().for_each(tell);
    }
}

fn connect(config: &HealthchecksConfig) -> Result<Healthchecks> {
    let url = config.url.read().context("read the URL of notify.healthchecks")?;
    Healthchecks::new(&url, Effort::default()).context("use the URL of notify.healthchecks")
}

/// The ping URL in a configuration that may be invalid, or not even TOML, as far as it can be made out: a monitor should learn also of
/// the typing error that keeps every backup from running.
pub fn url_from_broken_config(text: &str) -> Option<Secret> {
    // An open bracket or quote swallows what comes after it, also for a parser that recovers; so the section is tried alone, too.
    let starts = text.match_indices("\n[").map(|(newline, _)| newline + 1).chain([text.len()]);
    let sections = starts.scan(0, |start, end| Some(&text[std::mem::replace(start, end)..end]));
    let sections = sections.filter(|section| section.starts_with("[notify"));
    std::iter::once(text).chain(sections).find_map(url_in)
}

fn url_in(text: &str) -> Option<Secret> {
    let (document, _) = DeTable::parse_recoverable(text);
    let notify = document.get_ref().get("notify")?.get_ref().as_table()?;
    let healthchecks = notify.get("healthchecks")?.get_ref().as_table()?;
    let string = |key: &str| healthchecks.get(key)?.get_ref().as_str().filter(|text| !text.trim().is_empty());
    string("url").map(Secret::literal).or_else(|| string("url-file").map(Secret::file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        url_from_broken_config(text).map(|url| (*url.read().unwrap()).to_owned())
    }

    #[test]
    fn url_is_found_in_a_config_with_unknown_keys_and_wrong_types() {
        let text = "[store]\nrepo = 7\n[notify.healthchecks]\nurll = 1\nurl = \"https://hc.example/x\"\n[files.a]\npaths = 3\n";
        assert_eq!(found(text).as_deref(), Some("https://hc.example/x"));
    }

    #[test]
    fn url_is_found_in_a_config_that_is_not_toml() {
        let text = "\n\n[store\nrepository = /srv\n[notify.healthchecks]\nurl = \"https://hc.example/x\"\n[files.a]\npaths = [\"/etc\"\n";
        assert_eq!(found(text).as_deref(), Some("https://hc.example/x"));
    }

    #[test]
    fn url_file_is_read_when_there_is_no_url() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "https://hc.example/y").unwrap();
        let text = format!("[files.a]\npaths = [\"/etc\n[notify]\nhealthchecks = {{ url-file = {:?} }}\n", file.path());
        assert_eq!(found(&text).as_deref(), Some("https://hc.example/y"));
    }

    #[test]
    fn config_without_a_monitor_has_no_url() {
        for text in ["", "notify = 1", "[notify.healthchecks]\nurl = 3", "[notify.healthchecks]\nurl = \" \"", "\0[[[["]
        {
            assert!(url_from_broken_config(text).is_none(), "{text}");
        }
    }
}
