//! Guards: what must be put right however the run ends, also on SIGINT and SIGTERM.

use crate::error::ExitCode;

/// Starts to watch for SIGINT and SIGTERM.
pub fn watch_signals() {}

/// Runs what is left to run and returns the code to end with.
pub fn finish(code: ExitCode) -> ExitCode {
    code
}
