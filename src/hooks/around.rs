//! What is run around some work: before it, and after it however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Error;

use super::{Answer, Came, Event, Occasion, Ran, run};
use crate::cleanup::{self, Guard};
use crate::config::HookSet;
use crate::error::{ExitCode, complain};
use crate::report::Verdict;

/// How long an `after` may take when a signal ends the program: service managers wait for some minutes.
const SIGNAL_LIMIT: Duration = Duration::from_secs(120);

/// The hooks around some work. Dropped without [`Around::finish`] after [`Around::before`], it runs `after` all the same.
#[derive(Debug)]
pub struct Around {
    shared: Arc<Shared>,
    guard: Option<Guard>,
}

#[derive(Debug)]
struct Shared {
    set: HookSet,
    occasion: Occasion,
    /// Whether `after` was begun: it is run once.
    is_over: AtomicBool,
}

/// Whether the work begins.
#[derive(Debug)]
pub enum Start {
    /// It does.
    Go,
    /// A hook says that this is not the time: why.
    NotNow(String),
    /// A hook failed.
    Failed(Error),
}

impl Around {
    /// Nothing is run yet.
    pub fn new(set: HookSet, occasion: Occasion) -> Self {
        Self { shared: Arc::new(Shared { set, occasion, is_over: AtomicBool::new(false) }), guard: None }
    }

    /// What is configured.
    pub fn set(&self) -> &HookSet {
        &self.shared.set
    }

    /// Whether [`Around::before`] was called and did not find at once that this is not the time.
    pub fn has_begun(&self) -> bool {
        self.guard.is_some()
    }

    /// Runs `before`, as far as it goes well, and tells of each hook.
    ///
    /// From then on `after` is due, unless the first hook itself says that this is not the time: then nothing was done.
    pub fn before(&mut self, mut tell: impl FnMut(&Ran)) -> Start {
        let shared = self.shared.clone();
        self.guard = Some(Guard::new(move |signal| shared.after_all(signal)));
        for (place, command) in self.shared.set.before.iter().enumerate() {
            let ran = run(command, &self.shared.occasion, Event::Before, None, self.shared.set.timeout, true);
            // A signal has ended it: `after` is the signal thread's work now.
            cleanup::wait_if_ending();
            tell(&ran);
            match ran.result {
                Ok(Answer::Done) => {}
                Ok(Answer::NotNow) => {
                    if place == 0 {
                        self.guard.take().into_iter().for_each(Guard::disarm);
                    }
                    let program = command.first().map(String::as_str).unwrap_or_default();
                    return Start::NotNow(match ran.output.last() {
                        Some(said) => format!("its hook {program:?} says: {said}"),
                        None => format!("its hook {program:?} says: not now"),
                    });
                }
                Err(error) => return Start::Failed(error),
            }
        }
        Start::Go
    }

    /// Runs `after` if the work had begun, and then `on-failure` if it or one of these failed. Gives what failed.
    pub fn finish(mut self, came: Came, mut tell: impl FnMut(&Ran)) -> Vec<Error> {
        let mut errors = Vec::new();
        if let Some(guard) = self.guard.take() {
            guard.disarm();
            if self.shared.is_over.swap(true, Ordering::SeqCst) {
                // The signal thread was faster.
                cleanup::wait_if_ending();
            }
            errors.extend(self.shared.run_all(Event::After, &came, &mut tell));
        }
        let came = if errors.is_empty() { came } else { came.but_failed() };
        if came.is_bad() {
            errors.extend(self.shared.run_all(Event::OnFailure, &came, &mut tell));
        }
        errors
    }
}

impl Shared {
    /// Runs all hooks of an event, whatever becomes of each, and gives what failed.
    fn run_all(&self, event: Event, came: &Came, tell: &mut impl FnMut(&Ran)) -> Vec<Error> {
        let commands = if event == Event::After { &self.set.after } else { &self.set.on_failure };
        let mut errors = Vec::new();
        for command in commands {
            let ran = run(command, &self.occasion, event, Some(came), self.set.timeout, true);
            cleanup::wait_if_ending();
            tell(&ran);
            errors.extend(ran.result.err());
        }
        errors
    }

    /// What is left to do when nobody comes back to [`Around::finish`].
    fn after_all(&self, signal: Option<ExitCode>) {
        if self.is_over.swap(true, Ordering::SeqCst) {
            return;
        }
        let came = Came {
            outcome: Verdict::Failed.word(),
            exit_code: signal.unwrap_or(ExitCode::Failed),
            failed: Vec::new(),
            summary: "failed: it was broken off".to_owned(),
        };
        let limit = if signal.is_some() { self.set.timeout.min(SIGNAL_LIMIT) } else { self.set.timeout };
        let after = self.set.after.iter().map(|command| (Event::After, command));
        let on_failure = self.set.on_failure.iter().map(|command| (Event::OnFailure, command));
        for (event, command) in after.chain(on_failure) {
            if let Err(error) = run(command, &self.occasion, event, Some(&came), limit, false).result {
                complain(&error);
            }
        }
    }
}
