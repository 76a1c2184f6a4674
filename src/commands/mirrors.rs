//! The mirrors of the configuration, as commands use them: one that is named, all of them at once, or each to be written to.
//!
//! The store needs none of them, and none needs the store: what is read from a mirror is read when the store is lost.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow};

use super::{Context, hold_store, lock, open_store};
use crate::config::{Config, MirrorConfig, nearest};
use crate::error::{Annotate, ExitCode};
use crate::lock::Lock;
use crate::store::Store;
use crate::store::locks::{Held, Purpose};
use crate::timeline::{Point, Timeline};

/// How long a command that only shows something waits for mirrors, which may be far away or away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of the commands that read one repository.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FromArgs {
    /// Read from this mirror; the store is not needed then
    #[arg(long, value_name = "MIRROR")]
    pub from: Option<String>,
}

impl FromArgs {
    /// Opens the repository that is meant: the store, or the mirror that was named.
    pub fn open(&self, context: &Context, config: &Config) -> Result<Store> {
        match self.from.as_deref() {
            None | Some("store") => open_store(context, config),
            Some(name) => open(context, named(config, name)?),
        }
    }
}

/// The mirror of this name.
///
/// # Errors
///
/// Exit code [`ExitCode::Usage`] when there is none.
pub fn named<'c>(config: &'c Config, name: &str) -> Result<&'c MirrorConfig> {
    let names = || config.mirrors.iter().map(|mirror| mirror.name);
    let hint = match (nearest(name, names()), config.mirrors.is_empty()) {
        (Some(near), _) => format!("Did you mean `{near}`?"),
        (None, true) => "Make one with `holdall onboard store --mirror NAME REPOSITORY`.".to_owned(),
        (None, false) => format!("There is: {}.", names().collect::<Vec<_>>().join(", ")),
    };
    let found = config.mirrors.iter().find(|mirror| mirror.name == name);
    found.ok_or_else(|| anyhow!("no mirror is called `{name}`")).hint(hint).exit(ExitCode::Usage)
}

/// Opens a mirror.
pub fn open(context: &Context, mirror: &MirrorConfig) -> Result<Store> {
    Store::open_mirror(mirror, context.monitor.clone()).with_context(|| about(mirror))
}

/// Takes the lock of a mirror on this machine, as [`super::lock_store`] takes that of the store.
pub fn lock_mirror(context: &Context, mirror: &MirrorConfig) -> Result<Lock> {
    lock(context, &format!("store {}", mirror.store.repository))
}

/// What an error is about.
pub fn about(mirror: &MirrorConfig) -> String {
    format!("mirror {}", mirror.name)
}

/// What a mirror has told: itself and its points, or why it could not.
pub type Answer<'c> = (&'c MirrorConfig, Result<(Store, Vec<Point>)>);

/// Asks all mirrors at the same time, and none for longer than there is patience.
pub fn ask_all<'c>(context: &Context, config: &'c Config) -> Vec<Answer<'c>> {
    let begun = Instant::now();
    let asked: Vec<_> = config
        .mirrors
        .iter()
        .map(|mirror| {
            let (sender, receiver) = mpsc::channel();
            let (asked, monitor) = (mirror.clone(), context.monitor.clone());
            let ask = move || {
                let answer = Store::open_mirror(&asked, monitor).and_then(|store| Ok((store.points()?, store)));
                drop(sender.send(answer.map(|(points, store)| (store, points))));
            };
            let started = thread::Builder::new().name("ask".to_owned()).spawn(ask).context("start a thread");
            (mirror, started.map(|_| receiver))
        })
        .collect();
    let answers = asked.into_iter().map(|(mirror, receiver)| {
        let answer = receiver.and_then(|receiver| {
            let late = || anyhow!("no answer within {} s", PATIENCE.as_secs());
            receiver.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())).map_err(|_| late())?
        });
        (mirror, answer.with_context(|| about(mirror)))
    });
    answers.collect()
}

/// A mirror that is going to be written to.
#[derive(Debug)]
pub struct Opened<'c> {
    /// Taken when points are going to be removed; let go of before the repository is.
    _held: Option<Held>,
    /// Its repository.
    pub store: Store,
    /// Which one it is.
    pub config: &'c MirrorConfig,
    /// What it has.
    pub points: Vec<Point>,
    _lock: Option<Lock>,
}

/// Opens these mirrors, and with a purpose locks and holds them; those that cannot be are told by their errors.
pub fn open_each<'c>(
    context: &Context,
    mirrors: impl IntoIterator<Item = &'c MirrorConfig>,
    purpose: Option<Purpose>,
) -> (Vec<Opened<'c>>, Vec<Error>) {
    let (mut opened, mut errors) = (Vec::new(), Vec::new());
    for mirror in mirrors {
        match open_one(context, mirror, purpose) {
            Ok(one) => opened.push(one),
            Err(error) => errors.push(error),
        }
    }
    (opened, errors)
}

fn open_one<'c>(context: &Context, mirror: &'c MirrorConfig, purpose: Option<Purpose>) -> Result<Opened<'c>> {
    let doing = || about(mirror);
    let lock = purpose.map(|_| lock_mirror(context, mirror)).transpose().with_context(doing)?;
    let store = open(context, mirror)?;
    let held = purpose.map(|purpose| hold_store(context, &store, purpose)).transpose().with_context(doing)?;
    let points = store.points().with_context(doing)?;
    Ok(Opened { _held: held, store, config: mirror, points, _lock: lock })
}
