//! Logging: where lines go and how they look. Standard error only; standard output is data.
//!
//! Under journald lines carry a priority (`<3>`) and no time, since journald adds its own (systemd.exec(5), `JOURNAL_STREAM`;
//! sd-daemon(3) for the prefixes).

use crate::cli::Global;

/// Starts logging.
pub fn start(_global: &Global) {}

/// How many errors rustic_core and rustic_backend have logged since the program began.
pub fn rustic_errors() -> u64 {
    0
}
