//! The commands: one file each, with its arguments and a `run` that reads as the algorithm.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::cli::{Command, Global};
use crate::config::{self, Config};
use crate::error::ExitCode;
use crate::monitor::Monitor;
use crate::output::Output;

pub mod backup;
pub mod check;
pub mod completions;
pub mod diff;
pub mod dump;
pub mod list;
pub mod ls;
pub mod man;
pub mod onboard;
pub mod prune;
pub mod restore;
pub mod status;
pub mod verify;

/// What every command is given: the global flags, and the world around the program.
#[derive(Debug)]
pub struct Context {
    /// The flags that every command takes.
    pub global: Global,
    /// Who watches.
    pub monitor: Arc<dyn Monitor>,
    /// Where data goes.
    pub output: Output,
    /// The moment the run began. Commands take time from here, so that tests can set it.
    pub now: DateTime<Utc>,
}

impl Context {
    /// The configuration file this run uses, whether or not it exists.
    pub fn config_file(&self) -> PathBuf {
        config::locate::config_file(self.global.config.as_deref())
    }

    /// Reads and checks the configuration.
    pub fn config(&self) -> Result<Config> {
        config::load(&self.config_file())
    }
}

/// Runs the command.
pub fn run(command: &Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Onboard(args) => onboard::run(args, context),
        Command::Backup(args) => backup::run(args, context),
        Command::Prune(args) => prune::run(args, context),
        Command::Restore(args) => restore::run(args, context),
        Command::List(args) => list::run(args, context),
        Command::Ls(args) => ls::run(args, context),
        Command::Dump(args) => dump::run(args, context),
        Command::Diff(args) => diff::run(args, context),
        Command::Status(args) => status::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Man(args) => man::run(args, context),
    }
}
