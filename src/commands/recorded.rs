//! Commands that leave a line in the report file, and have no report of items: `prune`, `verify`.

use std::fs;
use std::sync::Arc;

use anyhow::Result;

use super::Context;
use crate::config::Config;
use crate::error::{ExitCode, exit_code};
use crate::report::file::{Ended, Recorder, file_in_broken_config};

/// Runs a command, and writes down how it went: also when it could not begin, or is ended by a signal. A run `for_real` is one that does
/// something, and not only says what it would do.
pub(super) fn run(
    context: &Context,
    command: &'static str,
    for_real: bool,
    work: impl FnOnce(&Config) -> Result<Ended>,
) -> Result<ExitCode> {
    let time = context.now();
    let config = context.config().inspect_err(|error| {
        let text = fs::read_to_string(context.config_file()).unwrap_or_default();
        let file = file_in_broken_config(&text).filter(|_| for_real);
        Recorder::new(file.as_deref(), command, time).fail(error, exit_code(error));
    })?;
    let recorder = Arc::new(Recorder::new(config.report_file.as_deref().filter(|_| for_real), command, time));
    let guard = recorder.guard();
    let result = work(&config);
    guard.disarm();
    match result {
        Ok(ended) => {
            recorder.end(&ended);
            Ok(ended.code)
        }
        Err(error) => {
            recorder.fail(&error, exit_code(&error));
            Err(error)
        }
    }
}
