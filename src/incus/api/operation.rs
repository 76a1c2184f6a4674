//! Operations: what a server does in the background, awaited with a bound, shown as progress, and cancelled when nobody waits for it any more.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{Server, refusal, refused};
use crate::cleanup::{self, Guard};
use crate::error::hinted;
use crate::monitor::Task;
use crate::output::printable;
use crate::quantity::show_duration;

/// How long a server is asked to wait before it says how far it is; seconds, as `/wait` takes them.
const STEP: u64 = 1;

/// How often a server may fail to answer in a row while it is waited for, a second apart: it may be restarting.
const SILENCES: u32 = 5;

/// How long the other one of two may take to say why it ended as well.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What a server says that was asked to wait, and has waited.
const GOES_ON: &str = "deadline exceeded";

/// As in `shared/api/status_code.go` of Incus.
const SUCCESS: u16 = 200;
const FAILURE: u16 = 400;
const CANCELLED: u16 = 401;

/// What the server says of an operation.
#[derive(Debug, Clone, Deserialize)]
struct State {
    id: String,
    #[serde(default)]
    status_code: u16,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    err: String,
    #[serde(default)]
    created_at: Option<DateTime<Utc>>,
}

/// An operation of a server. When it is dropped before its end, or a signal ends the program, it is cancelled.
pub struct Operation {
    server: Server,
    state: State,
    shown: Progress,
    alive: Instant,
    silences: u32,
    patience: Duration,
    guard: Option<Guard>,
}

impl Operation {
    /// The operation that an answer of the server has told of.
    pub(super) fn of(server: &Server, metadata: Value) -> Result<Self> {
        let state: State = serde_json::from_value(metadata)
            .map_err(|_| anyhow!("the server does not say which operation it began"))?;
        if state.id.is_empty() || !state.id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            bail!("`{}` is not the id of an operation", printable(state.id.as_ref()));
        }
        let guard = Guard::new({
            let (server, id) = (server.clone(), state.id.clone());
            move |_| cancel(&server, &id)
        });
        Ok(Self {
            server: server.clone(),
            state,
            shown: Progress::default(),
            alive: Instant::now(),
            silences: 0,
            patience: server.idle_timeout(),
            guard: Some(guard),
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// Where another server finds it: `https://host:port/1.0/operations/ID`.
    pub fn url(&self) -> String {
        format!("{}/1.0/operations/{}", self.server.address(), self.state.id)
    }

    /// What the server told of it when it began: for a migration the secrets of its websockets.
    pub fn metadata(&self) -> &Value {
        &self.state.metadata
    }

    /// When it began, by the server's clock.
    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        self.state.created_at
    }

    /// Lets it go on without progress for at least so long.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = self.patience.max(patience);
        self
    }

    /// Waits for its end; how far it is goes to `task`. Answers what is known of it then.
    ///
    /// # Errors
    ///
    /// When it fails, or goes on without progress for longer than the server's patience: then it is cancelled.
    pub fn wait(self, task: Option<&Arc<dyn Task>>) -> Result<Value> {
        let end = self.wait_in_guard(task);
        if end.is_err() {
            cleanup::wait_if_ending();
        }
        end
    }

    /// The same for the work of a guard, which a signal that ends the program waits for.
    ///
    /// # Errors
    ///
    /// As [`Operation::wait`].
    pub fn wait_in_guard(mut self, task: Option<&Arc<dyn Task>>) -> Result<Value> {
        loop {
            if let Some(end) = self.step(task)? {
                return Ok(end);
            }
        }
    }

    /// Waits for the end of two that depend on each other; how far the first is goes to `task`.
    ///
    /// # Errors
    ///
    /// What either of them says, when one fails; the other then has some seconds to say why before it is cancelled.
    pub fn wait_for_both(mut self, mut other: Self, task: Option<&Arc<dyn Task>>) -> Result<(), [Option<Error>; 2]> {
        let mut ends: [Option<Result<()>>; 2] = [None, None];
        let mut failed: Option<Instant> = None;
        loop {
            for (end, (operation, task)) in ends.iter_mut().zip([(&mut self, task), (&mut other, None)]) {
                if end.is_none() {
                    *end = operation.step(task).map(|end| end.map(|_| ())).transpose();
                }
            }
            if ends.iter().flatten().any(Result::is_err) {
                failed.get_or_insert_with(Instant::now);
            }
            let is_late = failed.is_some_and(|since| since.elapsed() >= LAST_WORDS);
            if ends.iter().all(Option::is_some) || is_late {
                break;
            }
        }
        if failed.is_none() {
            return Ok(());
        }
        cleanup::wait_if_ending();
        Err(ends.map(|end| end.and_then(Result::err)))
    }

    /// Asks once how it goes, which takes a second at most; what is known of it when it has ended.
    fn step(&mut self, task: Option<&Arc<dyn Task>>) -> Result<Option<Value>> {
        match self.state.status_code {
            SUCCESS => {
                self.let_go();
                return Ok(Some(self.state.metadata.clone()));
            }
            FAILURE | CANCELLED => {
                self.let_go();
                return Err(refused(FAILURE, &self.state.err).into());
            }
            _ => {}
        }
        if self.shown.update(&self.state.metadata, task) {
            self.alive = Instant::now();
        }
        if self.alive.elapsed() >= self.patience {
            // Dropping it cancels it.
            let text = format!("no progress for {}; cancelled", show_duration(self.patience));
            return Err(hinted(anyhow!(text), "`idle-timeout` says how long an operation may be silent."));
        }
        let left = self.patience.saturating_sub(self.alive.elapsed());
        match self.ask(left) {
            Ok(next) => (self.state, self.silences) = (next, 0),
            Err(error) if is_silence(&error) && self.silences < SILENCES => {
                self.silences += 1;
                thread::sleep(Duration::from_secs(1));
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Asks the server to tell when it is over, or after a while.
    fn ask(&self, left: Duration) -> Result<State> {
        let path = ["operations", &self.state.id, "wait"];
        let timeout = Duration::from_secs(STEP) + left.clamp(Duration::from_secs(1), super::ANSWER_TIMEOUT);
        let call = self.server.call("GET", &path).query("timeout", &STEP.to_string()).timeout(timeout);
        match call.get() {
            // Incus 6.0 answers so when it goes on after that time, and does not say how far it is.
            Err(error) if refusal(&error).is_some_and(|refused| refused.message.contains(GOES_ON)) => {
                self.server.call("GET", &path[..2]).timeout(timeout).get()
            }
            answer => answer,
        }
    }

    fn let_go(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("server", &self.server).field("id", &self.state.id).finish_non_exhaustive()
    }
}

/// Whether no answer came at all, so that the next one may.
fn is_silence(error: &Error) -> bool {
    refusal(error).is_none()
}

/// Cancels an operation; one that cannot be, or is over, is left alone.
fn cancel(server: &Server, id: &str) {
    let call = server.call("DELETE", &["operations", id]).timeout(Duration::from_secs(10));
    if let Err(error) = call.get::<Value>() {
        tracing::debug!("operation {id} was not cancelled: {error:#}");
    }
}

/// How far an operation is, as it was told last.
#[derive(Debug, Default)]
struct Progress {
    text: String,
    bytes: u64,
}

impl Progress {
    /// Takes what the server says; whether it is something new.
    ///
    /// Progress stands under keys that end with `_progress`: `"fs_progress": "vm1: 12.50MB (1.20MB/s)"` (`internal/migration/migration_io.go`).
    fn update(&mut self, metadata: &Value, task: Option<&Arc<dyn Task>>) -> bool {
        let all = metadata.as_object().into_iter().flatten().filter(|(key, _)| key.ends_with("progress"));
        let text: Vec<String> = all.map(|(_, value)| value.to_string()).collect();
        let text = text.join(" ");
        if text == self.text {
            return false;
        }
        self.text = text;
        let bytes = amount(&self.text).unwrap_or(0);
        if let Some(task) = task {
            // Each snapshot begins to count anew.
            task.advance(bytes.checked_sub(self.bytes).unwrap_or(bytes));
        }
        self.bytes = bytes;
        true
    }
}

/// The first amount of bytes in a text, as Incus shows it: decimal units, `12.50MB`.
fn amount(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 5] = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("B", 1.0)];
    text.split(|c: char| c.is_whitespace() || "\"()/".contains(c)).find_map(|word| {
        let (unit, factor) = UNITS.iter().find(|(unit, _)| word.ends_with(unit))?;
        let number: f64 = word.strip_suffix(unit)?.parse().ok()?;
        // Far below 2^53 bytes, and only shown.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size that is shown")]
        (number >= 0.0).then_some((number * factor) as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_what_incus_shows() {
        assert_eq!(amount("\"vm1: 12.50MB (1.20MB/s)\""), Some(12_500_000));
        assert_eq!(amount("\"v1: 512B (512B/s)\""), Some(512));
        assert_eq!(amount("\"2.00kB\""), Some(2000));
        assert_eq!(amount("\"waiting\""), None);
    }

    #[test]
    fn every_snapshot_that_is_sent_counts() {
        let recording = crate::monitor::Recording::default();
        let task: Arc<dyn Task> = Arc::new(recording.clone());
        let mut progress = Progress::default();
        for text in ["v/s: 1.00MB (1MB/s)", "v/s: 3.00MB (1MB/s)", "v: 1.00MB (1MB/s)", "v: 2.00MB (1MB/s)"] {
            progress.update(&serde_json::json!({ "fs_progress": text }), Some(&task));
        }
        assert_eq!(recording.amount(), 5_000_000);
    }

    #[test]
    fn only_what_is_new_counts_as_progress() {
        let mut progress = Progress::default();
        let told = |text: &str| serde_json::json!({ "fs_progress": text, "control": "secret" });
        assert!(progress.update(&told("v: 1.00MB (1MB/s)"), None));
        assert!(!progress.update(&told("v: 1.00MB (1MB/s)"), None));
        assert!(progress.update(&told("v: 2.00MB (1MB/s)"), None));
        assert!(!Progress::default().update(&Value::Null, None));
    }
}
