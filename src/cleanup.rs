//! Guards: what must be put right however the run ends, also on SIGINT and SIGTERM.
//!
//! A guard's work runs once: when the guard is dropped, or, when a signal comes first, on the signal thread before the program ends.
//! The second signal ends the program at once.
//!
//! SIGHUP counts as SIGTERM, until the program has a lock in a store: then it may be no more than a question. `restic unlock` asks the process
//! that a lock names in this way whether it is alive, and restic's programs pass over it. From then on only the loss of its terminal,
//! if it had one, ends the program.

use std::collections::BTreeMap;
use std::fs::File;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::ExitCode;

/// What to do, given the code the program is about to end with if it was a signal.
type Work = Box<dyn FnOnce(Option<ExitCode>) + Send>;

struct Registry {
    next: u64,
    works: BTreeMap<u64, Work>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, works: BTreeMap::new() });

/// The code of the signal that is ending the program; 0 while there is none.
static ENDING: AtomicU8 = AtomicU8::new(0);

/// Whether SIGHUP may be a question.
static MAY_BE_ASKED: AtomicBool = AtomicBool::new(false);

/// Work that is done when this is dropped, or when a signal ends the program.
#[derive(Debug)]
#[must_use = "the work is done when the guard is dropped"]
pub struct Guard {
    id: u64,
}

impl Guard {
    /// Arms a guard. Its work is told the exit code when a signal is the cause, and `None` otherwise.
    pub fn new(work: impl FnOnce(Option<ExitCode>) + Send + 'static) -> Self {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        let id = registry.next;
        registry.next += 1;
        registry.works.insert(id, Box::new(work));
        Self { id }
    }

    /// Lets go without doing the work.
    pub fn disarm(self) {
        REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).works.remove(&self.id);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let work = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).works.remove(&self.id);
        if let Some(work) = work {
            work(None);
        }
    }
}

/// From now on SIGHUP ends the program only when it has lost its terminal.
pub fn outlive_hangups() {
    MAY_BE_ASKED.store(true, Ordering::SeqCst);
}

/// Whether this process has a terminal that it is controlled from; none can be opened in its place once it is lost.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Starts to watch for SIGINT and SIGTERM, and for SIGHUP, which counts as SIGTERM unless it may be a question.
pub fn watch_signals() {
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!("signals are not watched: {error}");
            return;
        }
    };
    let had_terminal = has_terminal();
    thread::spawn(move || {
        for signal in signals.forever() {
            let is_question = || MAY_BE_ASKED.load(Ordering::SeqCst) && (!had_terminal || has_terminal());
            if signal == SIGHUP && is_question() {
                tracing::debug!("SIGHUP is passed over");
                continue;
            }
            let (code, name) = match signal {
                SIGINT => (ExitCode::Interrupted, "SIGINT"),
                SIGHUP => (ExitCode::Terminated, "SIGHUP"),
                _ => (ExitCode::Terminated, "SIGTERM"),
            };
            if ENDING.swap(code as u8, Ordering::SeqCst) != 0 {
                process::exit(code as i32);
            }
            // What must be put right first may take its time.
            tracing::warn!("stopping on {name}; a second one ends it at once");
            thread::spawn(move || {
                run_all(code);
                process::exit(code as i32);
            });
        }
    });
}

/// Does the work of all guards, the last one armed first.
fn run_all(code: ExitCode) {
    loop {
        let work = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).works.pop_last();
        match work {
            Some((_, work)) => work(Some(code)),
            None => return,
        }
    }
}

/// When a signal is ending the program, waits for its thread to do so, and does not return. Not for the work of a guard.
pub fn wait_if_ending() {
    while ENDING.load(Ordering::SeqCst) != 0 {
        thread::park();
    }
}

/// The code to end with: when a signal is ending the program, waits for its thread to do so.
pub fn finish(code: ExitCode) -> ExitCode {
    wait_if_ending();
    code
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn work_is_done_once_on_drop_and_never_when_disarmed() {
        let done = Arc::new(AtomicUsize::new(0));
        let count = || {
            let done = done.clone();
            move |_| {
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        drop(Guard::new(count()));
        assert_eq!(done.load(Ordering::SeqCst), 1);
        Guard::new(count()).disarm();
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}
