//! Stores on every kind of server, real ones; servers that fail; surroundings that lack something.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod outages;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod surroundings;

use support::env::{PASSWORD, TestEnv};
use support::outcome::Outcome;
use support::{rclone, seaweed};

/// A configuration with this store, options of the store, and one source.
fn configure(env: &TestEnv, repository: &str, options: &str) {
    env.config(&format!(
        "[store]\nrepository = \"{repository}\"\npassword-file = \"{{root}}/store.password\"\n[store.options]\n{options}\n\
         [files.home]\npaths = [\"{{root}}/source\"]\n[[retention]]\npolicy = \"1\"\n"
    ));
}

/// An error as people should meet it: one line that says this, and a hint; no debug output, no secret; exit code 1. A server that is gone
/// keeps the lock of the run, which is told as well.
#[track_caller]
fn is_clear(outcome: Outcome, says: &str, hints: &str) {
    let outcome = outcome.code(1).stderr_has(says).stderr_has(hints);
    let is_of_lock = |line: &&str| line.starts_with("warning: the lock of this run stays in the store until ");
    let lines: Vec<&str> = outcome.stderr.lines().filter(|line| !is_of_lock(line)).collect();
    let length: usize = lines.iter().map(|line| line.len()).sum();
    let outcome = outcome
        .clone()
        .stderr_lacks("Context:")
        .stderr_lacks("context: {")
        .stderr_lacks("headers")
        .stderr_lacks("Backtrace");
    assert!(lines.len() <= 3 && length < 700, "{}", outcome.stderr);
    assert!(lines[0].starts_with("error: ") || lines[0].contains("  failed  "), "{}", outcome.stderr);
    for secret in [PASSWORD, rclone::PASSWORD, seaweed::SECRET_ACCESS_KEY, "wrong-secret"] {
        assert!(!outcome.stderr.contains(secret) && !outcome.stdout.contains(secret), "{}", outcome.stderr);
    }
}
