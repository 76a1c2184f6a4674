//! Stops instances while their snapshots are made, and starts them again whatever happens.
//!
//! Before an instance is asked to stop, a guard is armed and a [`mark`] is left on it: a run that fails, panics, or is told to end starts it before it ends, and
//! what a run that was killed has left stopped is started by the next one ([`mend`]). The mark says when the instance was started last and which generation of
//! it this is: one that somebody has started since, or that was put back from a snapshot with the mark in it, is not started by mistake.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};
use serde_json::{Value, json};

use super::api::{Server, is_not_found};
use super::mark;
use super::model::Instance;
use super::select::Subject;
use crate::cleanup::{self, Guard};
use crate::error::{chain, complain, hinted};

/// How much longer than it was given a server may take to say that an instance did not stop.
const GRACE: Duration = Duration::from_secs(30);

/// How long an instance may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a start is tried while the server is busy with the instance.
const BUSY_RETRY: Duration = Duration::from_millis(500);

/// Instances that are stopped. Dropping it starts them, too, and only logs who does not come back; so does a signal that ends the program.
#[derive(Debug)]
#[must_use = "dropping it starts what was stopped"]
pub(crate) struct Hold {
    stopped: Arc<Stopped>,
    guard: Guard,
}

#[derive(Debug)]
struct Stopped {
    server: Server,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing more may be stopped.
    is_over: bool,
    /// In the order in which they were asked to stop, with the operation that does it.
    asked: Vec<(Subject, Option<String>)>,
}

impl Hold {
    /// Stops instances that run.
    ///
    /// # Errors
    ///
    /// When one does not stop within `timeout`; then all are started again, and what failed with that is in the second place.
    pub(crate) fn stop(
        server: &Server,
        instances: &[(&Subject, &Instance)],
        timeout: Duration,
    ) -> Result<Self, (Error, Vec<Error>)> {
        let stopped = Arc::new(Stopped { server: server.clone(), timeout, state: Mutex::default() });
        let guard = Guard::new({
            let stopped = Arc::clone(&stopped);
            move |_| stopped.start_all().iter().for_each(complain)
        });
        let hold = Self { stopped, guard };
        let done = thread::scope(|scope| {
            let stop = |&(subject, instance): &(&Subject, &Instance)| hold.stopped.stop(subject, instance);
            let begun: Vec<_> = instances.iter().map(|one| scope.spawn(move || stop(one))).collect();
            let ends =
                begun.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            ends.collect::<Vec<_>>().into_iter().collect::<Result<()>>()
        });
        match done {
            Ok(()) => Ok(hold),
            Err(error) => {
                cleanup::wait_if_ending();
                Err((error, hold.let_go()))
            }
        }
    }

    /// Starts what was stopped; one error for each that does not come back. When a signal is ending the program, it does so in place of this.
    pub(crate) fn let_go(self) -> Vec<Error> {
        cleanup::wait_if_ending();
        let errors = self.stopped.start_all();
        self.guard.disarm();
        errors
    }
}

impl Stopped {
    fn stop(&self, subject: &Subject, instance: &Instance) -> Result<()> {
        let context = || format!("stop {}", subject.name);
        self.mark(subject, &token(instance)).with_context(context)?;
        let operation = {
            // Whoever starts it again waits here until it is known what the server was asked to do.
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_over {
                bail!("the run is ending");
            }
            state.asked.push((subject.clone(), None));
            let operation = self.begin(subject, "stop", self.timeout).with_context(context)?;
            if let Some((_, id)) = state.asked.last_mut() {
                *id = Some(operation.id().to_owned());
            }
            operation
        };
        let done = operation.patient(self.timeout + GRACE).wait(None);
        done.map(|_| ()).map_err(|error| {
            let hint = "`stop-timeout` says how long it may take; `incus console --show-log` on the source may say why it does not stop.";
            hinted(error, hint)
        }).with_context(context)
    }

    fn begin(&self, subject: &Subject, action: &str, timeout: Duration) -> Result<super::api::Operation> {
        let body = json!({ "action": action, "timeout": timeout.as_secs().max(1), "force": false, "stateful": false });
        self.server.call("PUT", &subject.path(&["state"])).project(&subject.project).body(body).begin()
    }

    fn mark(&self, subject: &Subject, value: &str) -> Result<()> {
        let body = json!({ "config": { mark::STOPPED: value } });
        self.server.call("PATCH", &subject.path(&[])).project(&subject.project).body(body).run().map(|_| ())
    }

    fn start_all(&self) -> Vec<Error> {
        let asked = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_over = true;
            std::mem::take(&mut state.asked)
        };
        asked.iter().filter_map(|(subject, operation)| self.come_back(subject, operation.as_deref()).err()).collect()
    }

    /// Starts an instance that was asked to stop, and takes the mark away.
    fn come_back(&self, subject: &Subject, operation: Option<&str>) -> Result<()> {
        let has_stopped = operation.is_none_or(|id| self.await_end(id));
        self.start(subject).map_err(|error| {
            let hint = format!(
                "Start it with `incus start {} --project {}`; the next run tries it, too.",
                subject.name, subject.project
            );
            hinted(error.context(format!("start {}, which was stopped for its backup", subject.name)), hint)
        })?;
        // What was asked to stop and has not may still do so: the next run looks.
        if has_stopped { self.mark(subject, "") } else { Ok(()) }
    }

    /// Whether the instance was stopped.
    fn await_end(&self, operation: &str) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < self.timeout + GRACE {
            let call = self.server.call("GET", &["operations", operation, "wait"]).query("timeout", "5");
            match call.get::<Value>() {
                Ok(state) => match state.get("status_code").and_then(Value::as_u64) {
                    Some(200) => return true,
                    Some(400..) => return false,
                    _ => {}
                },
                // It is over, and how it went is not known any more.
                Err(error) if is_not_found(&error) => return true,
                Err(_) => thread::sleep(BUSY_RETRY),
            }
        }
        false
    }

    fn start(&self, subject: &Subject) -> Result<()> {
        let begun = Instant::now();
        loop {
            let error = match self
                .begin(subject, "start", START_TIMEOUT)
                .and_then(|operation| operation.patient(START_TIMEOUT).wait_in_guard(None))
            {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let there: Result<Instance> = self.server.call("GET", &subject.path(&[])).project(&subject.project).get();
            if there.is_ok_and(|instance| instance.is_running()) {
                return Ok(());
            }
            let is_busy = chain(&error).to_lowercase().contains("busy");
            if !is_busy || begun.elapsed() > self.timeout + GRACE {
                return Err(error);
            }
            thread::sleep(BUSY_RETRY);
        }
    }
}

/// What tells this start of this generation of an instance from all others.
fn token(instance: &Instance) -> String {
    let generation = instance.config.get("volatile.uuid.generation").map_or("-", String::as_str);
    format!("{generation} {}", instance.last_used_at)
}

/// Whether a run that was killed may have left something to be put right.
pub(crate) fn needs_mending(instance: &Instance) -> bool {
    instance.config.get(mark::STOPPED).is_some_and(|value| !value.is_empty())
}

/// Whether a run that was killed has left it stopped, and nobody has started it since.
pub(crate) fn was_left_stopped(instance: &Instance) -> bool {
    needs_mending(instance) && !instance.is_running() && instance.config.get(mark::STOPPED) == Some(&token(instance))
}

/// Puts right what a run that was killed has left of an instance; what was done, when it was started. Only under the lock of the source.
///
/// # Errors
///
/// When it does not start.
pub(crate) fn mend(server: &Server, subject: &Subject, instance: &mut Instance) -> Result<Option<String>> {
    if !needs_mending(instance) {
        return Ok(None);
    }
    let stopped = Stopped { server: server.clone(), timeout: START_TIMEOUT, state: Mutex::default() };
    let mut line = None;
    if was_left_stopped(instance) {
        stopped
            .start(subject)
            .with_context(|| format!("start {}, which a run that was killed has left stopped", subject.name))?;
        "Running".clone_into(&mut instance.status);
        line = Some(format!("started {} again, which a run that was killed had left stopped", subject.name));
    }
    stopped.mark(subject, "").with_context(|| anyhow!("take the mark of a backup from {}", subject.name))?;
    instance.config.remove(mark::STOPPED);
    Ok(line)
}
