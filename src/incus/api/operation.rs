//! Operations: what a server does in the background, awaited with a bound, shown as progress, and cancelled when nobody waits for it any more.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow, bail};
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
}

/// An operation of a server. When it is dropped before its end, or a signal ends the program, it is cancelled.
pub struct Operation {
    server: Server,
    first: State,
    guard: Option<Guard>,
}

impl Operation {
    /// The operation that an answer of the server has told of.
    pub(super) fn of(server: &Server, metadata: Value) -> Result<Self> {
        let first: State = serde_json::from_value(metadata)
            .map_err(|_| anyhow!("the server does not say which operation it began"))?;
        if first.id.is_empty() || !first.id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            bail!("`{}` is not the id of an operation", printable(first.id.as_ref()));
        }
        let guard = Guard::new({
            let (server, id) = (server.clone(), first.id.clone());
            move |_| cancel(&server, &id)
        });
        Ok(Self { server: server.clone(), first, guard: Some(guard) })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.first.id
    }

    /// Where another server finds it: `https://host:port/1.0/operations/ID`.
    pub fn url(&self) -> String {
        format!("{}/1.0/operations/{}", self.server.address(), self.first.id)
    }

    /// What the server told of it when it began: for a migration the secrets of its websockets.
    pub fn metadata(&self) -> &Value {
        &self.first.metadata
    }

    /// Waits for its end; how far it is goes to `task`. Answers what is known of it then.
    ///
    /// # Errors
    ///
    /// When it fails, or goes on without progress for longer than the server's patience: then it is cancelled.
    pub fn wait(mut self, task: Option<&Arc<dyn Task>>) -> Result<Value> {
        let mut state = self.first.clone();
        let mut shown = Progress::default();
        let (mut alive, mut silences) = (Instant::now(), 0);
        loop {
            match state.status_code {
                SUCCESS => {
                    self.let_go();
                    return Ok(state.metadata);
                }
                FAILURE | CANCELLED => {
                    self.let_go();
                    cleanup::wait_if_ending();
                    return Err(refused(FAILURE, &state.err).into());
                }
                _ => {}
            }
            if shown.update(&state.metadata, task) {
                alive = Instant::now();
            }
            let patience = self.server.idle_timeout();
            if alive.elapsed() >= patience {
                // Dropping it cancels it.
                let text = format!("no progress for {}; cancelled", show_duration(patience));
                return Err(hinted(anyhow!(text), "`idle-timeout` says how long an operation may be silent."));
            }
            let left = patience.saturating_sub(alive.elapsed());
            match self.ask(left) {
                Ok(next) => (state, silences) = (next, 0),
                Err(error) if is_silence(&error) && silences < SILENCES => {
                    silences += 1;
                    cleanup::wait_if_ending();
                    thread::sleep(Duration::from_secs(1));
                }
                Err(error) => {
                    cleanup::wait_if_ending();
                    return Err(error);
                }
            }
        }
    }

    /// Asks the server to tell when it is over, or after a while.
    fn ask(&self, left: Duration) -> Result<State> {
        let call = self.server.call("GET", &["operations", &self.first.id, "wait"]);
        let timeout = Duration::from_secs(STEP) + left.clamp(Duration::from_secs(1), super::ANSWER_TIMEOUT);
        call.query("timeout", &STEP.to_string()).timeout(timeout).get()
    }

    fn let_go(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("server", &self.server).field("id", &self.first.id).finish_non_exhaustive()
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
        if let (Some(task), Some(more)) = (task, bytes.checked_sub(self.bytes)) {
            task.advance(more);
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
    fn only_what_is_new_counts_as_progress() {
        let mut progress = Progress::default();
        let told = |text: &str| serde_json::json!({ "fs_progress": text, "control": "secret" });
        assert!(progress.update(&told("v: 1.00MB (1MB/s)"), None));
        assert!(!progress.update(&told("v: 1.00MB (1MB/s)"), None));
        assert!(progress.update(&told("v: 2.00MB (1MB/s)"), None));
        assert!(!Progress::default().update(&Value::Null, None));
    }
}
