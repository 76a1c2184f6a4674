//! The commands: one file each, with its arguments and a `run` that reads as the algorithm.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use chrono::{DateTime, Utc};

use crate::cli::{Command, Global};
use crate::config::{self, Config, StoreConfig};
use crate::error::{Annotate, ExitCode, chain, exit_code};
use crate::lock::Lock;
use crate::monitor::{Monitor, Silent};
use crate::output::Output;
use crate::report::{Report, Verdict, json, text};
use crate::store::Store;
use crate::store::locks::{Held, Purpose};
use crate::timeline::{Point, SAFETY_SUFFIX};
use crate::ui;

pub mod backup;
pub mod check;
pub mod completions;
pub mod diff;
pub mod discover;
pub mod dump;
pub mod history;
pub mod list;
pub mod ls;
pub mod man;
pub mod mirror;
pub mod mirrors;
mod names;
pub mod onboard;
pub mod pair;
pub mod places;
pub mod prune;
mod recorded;
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
}

impl Context {
    /// This moment. Asked when it matters and not once at the start: a run may wait for a lock, or take hours.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// The configuration file this run uses, whether or not it exists.
    pub fn config_file(&self) -> PathBuf {
        config::locate::config_file(self.global.config.as_deref())
    }

    /// Reads and checks the configuration.
    pub fn config(&self) -> Result<Config> {
        config::load(&self.config_file())
    }
}

/// Opens the configured store.
pub fn open_store(context: &Context, config: &Config) -> Result<Store> {
    let opened = Store::open(store_config(config)?, context.monitor.clone());
    // Who finds the store lost may not know at this moment that it has been copied.
    match config.mirrors.first() {
        Some(mirror) => opened.hint(format!(
            "If it is lost: a mirror has copies; `holdall list --from {0}`, `holdall restore SPEC --from {0} --to DIR`.",
            mirror.name
        )),
        None => opened,
    }
}

/// Takes the lock of the store: nothing else of holdall writes to it from this machine until the lock is dropped.
pub fn lock_store(context: &Context, config: &Config) -> Result<Lock> {
    lock(context, &format!("store {}", store_config(config)?.repository))
}

/// Takes a lock in the store itself, which restic and other machines see too.
pub fn hold_store(context: &Context, store: &Store, purpose: Purpose) -> Result<Held> {
    store.hold(purpose, context.global.lock_wait, &*context.monitor)
}

/// Keeps others from pruning while much of a repository is read, which would look like damage. One that can only be read is read all the same.
fn hold_to_read(context: &Context, store: &Store) -> Result<Option<Held>> {
    match hold_store(context, store, Purpose::Share) {
        Ok(held) => Ok(Some(held)),
        Err(error) if exit_code(&error) == ExitCode::Locked => Err(error),
        Err(error) => {
            tracing::warn!("going on without a lock; a prune beside it would look like damage: {}", chain(&error));
            Ok(None)
        }
    }
}

/// Takes the lock of a source.
pub fn lock_source(context: &Context, source: &str) -> Result<Lock> {
    lock(context, source)
}

/// Takes the lock of a source if nobody has it.
pub fn try_lock_source(source: &str) -> Result<Lock> {
    Lock::acquire(&config::locate::runtime_dir()?, source, Duration::ZERO, &Silent)
}

fn lock(context: &Context, name: &str) -> Result<Lock> {
    Lock::acquire(&config::locate::runtime_dir()?, name, context.global.lock_wait, &*context.monitor)
}

fn store_config(config: &Config) -> Result<&StoreConfig> {
    let missing = || anyhow!("{} has no [store]", config.file.display());
    config.store.as_ref().ok_or_else(missing).hint("Set one up with `holdall onboard store`.").exit(ExitCode::NoStore)
}

/// The items a selector can mean: those that have points, and every configured source of which no item has any.
pub fn known_items(config: &Config, points: &[Point]) -> Vec<String> {
    known_among(config, points.iter().map(|point| point.item.clone()).collect())
}

/// These items, each once, and every configured source of which none is among them.
fn known_among(config: &Config, mut items: Vec<String>) -> Vec<String> {
    items.sort_unstable();
    items.dedup();
    for source in &config.sources {
        let id = source.id();
        let below = format!("{id}/");
        let is_safety = |item: &String| item.ends_with(SAFETY_SUFFIX);
        if !items.iter().any(|item| *item == id || item.starts_with(&below) && !is_safety(item)) {
            items.push(id);
        }
    }
    items
}

/// Shows how a run went: as the last line of JSON, in silence unless something went wrong (`unwell` says what), or as a table. `rehearsed` says that it was a dry run.
fn show_report(report: &Report, unwell: &str, rehearsed: Option<&str>, context: &Context) -> Result<()> {
    if context.output.json {
        return context.output.json_line(&json::summary_json(report));
    }
    if context.global.quiet {
        if report.verdict() != Verdict::Ok {
            tracing::error!(detail = text::for_terminal(report, None).trim_end(), "{unwell}");
        }
        return Ok(());
    }
    context.monitor.say(text::for_terminal(report, ui::width()).trim_end());
    rehearsed.into_iter().for_each(|line| context.monitor.say(line));
    Ok(())
}

/// Runs the command.
pub fn run(command: &Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Onboard(args) => onboard::run(args, context),
        Command::Pair(args) => pair::run(args, context),
        Command::Discover(args) => discover::run(args, context),
        Command::Backup(args) => backup::run(args, context),
        Command::Prune(args) => prune::run(args, context),
        Command::Mirror(args) => mirror::run(args, context),
        Command::Restore(args) => restore::run(args, context),
        Command::List(args) => list::run(args, context),
        Command::Ls(args) => ls::run(args, context),
        Command::Dump(args) => dump::run(args, context),
        Command::Diff(args) => diff::run(args, context),
        Command::Status(args) => status::run(args, context),
        Command::History(args) => history::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Man(args) => man::run(args, context),
    }
}
