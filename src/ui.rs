//! The terminal: progress bars, messages and errors for people. The only user of indicatif.

use std::sync::Arc;

use anyhow::Error;

use crate::cli::{Command, Global};
use crate::error::ExitCode;
use crate::monitor::{Monitor, Silent};

/// The monitor that suits the terminal and the flags.
pub fn monitor(_global: &Global, _command: &Command) -> Arc<dyn Monitor> {
    Arc::new(Silent)
}

/// Prints an error with its causes and hints, and returns the code to end with.
pub fn print_error(_error: &Error) -> ExitCode {
    ExitCode::Failed
}
