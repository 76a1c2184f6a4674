//! `[ios.NAME]`: an iPhone or iPad, as one item: a MobileSync folder, as Finder and iTunes write it.
//!
//! The device drives a backup: it asks for files of the last one, sends what is new, and moves and removes. What it sends is staged on disk and goes into the
//! store at the same time; everything else is taken over from the point before without being read.
//!
//! All protocols are spoken by clients of our own, and not by the crate `idevice`. It takes what a device says for true: it makes room for any length, subtracts lengths, and its loop of a
//! backup panics on an empty path, makes `UDID/../x` into `UDID/x` before anybody can refuse it, takes a file that the device could not read for a whole one, and
//! cannot say that the disk is full. It accepts any device under any key, sends the private key of the pairing to it, and logs every message, passwords among them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

use super::{Item, OpenOptions, Readiness, Source, Tree};
use crate::config::IosConfig;
use crate::error::chain;
use crate::extract::{Extracted, RestoreOptions};
use crate::monitor::Monitor;
use crate::quantity::show_bytes;
use crate::secret::Revealed;
use crate::store::SavedTree;

pub mod about;
mod afc;
mod back;
mod backup;
mod bounds;
mod bus;
mod certificate;
mod complete;
mod decrypt;
pub mod discover;
pub mod encryption;
pub mod find;
mod frames;
mod heartbeat;
mod info;
mod keybag;
mod link;
mod lockdown;
mod manifest;
mod mdns;
mod muxer;
pub mod names;
mod notices;
mod objects;
pub mod onboarding;
mod overlay;
mod pairing;
mod phone;
mod place;
mod progress;
mod reading;
mod record;
mod record_file;
mod refusal;
mod refused;
mod serve;
mod session;
mod staging;
mod tls;
mod tree;
mod watched;
mod way;
mod wire;

use about::About;
use phone::{Found, Phone};

/// The driver.
#[derive(Debug)]
pub struct Ios {
    id: String,
    config: IosConfig,
    /// Where the pairing records are.
    credentials: PathBuf,
    runtime: OnceLock<Runtime>,
}

/// A runtime for talking to devices. It is whoever waits on it that reads and writes: a byte that had to go through another thread cost more than its decryption.
///
/// # Errors
///
/// When the system does not let it wait for anything.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("talk with a device")
}

impl Ios {
    /// The source of this configuration, which stands in `file`.
    pub fn new(config: &IosConfig, file: &Path) -> Self {
        let beside = || file.with_file_name("ios");
        Self {
            id: format!("ios.{}", config.common.name),
            credentials: config.credentials.clone().unwrap_or_else(beside),
            config: config.clone(),
            runtime: OnceLock::new(),
        }
    }

    /// The runtime of this driver, on which everything asynchronous runs.
    fn runtime(&self) -> Result<&Runtime> {
        if let Some(there) = self.runtime.get() {
            return Ok(there);
        }
        let new = runtime()?;
        Ok(self.runtime.get_or_init(|| new))
    }

    /// Looks for the device.
    fn find(&self) -> Result<Found> {
        self.runtime()?.block_on(Phone::find(&self.config, &self.credentials))
    }

    /// The password of the device's encrypted backups, if it is configured; else why it is not known.
    fn password(&self) -> std::result::Result<Revealed, String> {
        let configured = self.config.encryption_password.as_ref();
        let configured = configured.ok_or("`encryption-password-file` is not set")?;
        configured.read().map_err(|error| chain(&error))
    }

    /// The directory with the pairing records, which open the device.
    pub fn credentials(&self) -> &Path {
        &self.credentials
    }
}

impl Source for Ios {
    fn preflight(&self) -> Result<Readiness> {
        Ok(match self.find()? {
            Found::Here(_) => Readiness::Ready,
            Found::Away(why) => Readiness::Away(why),
        })
    }

    fn describe(&self) -> Result<Option<String>> {
        self.runtime()?.block_on(async {
            match Phone::find(&self.config, &self.credentials).await? {
                Found::Here(mut phone) => Ok(Some(About::of(&mut phone).await?.to_string())),
                Found::Away(_) => Ok(None),
            }
        })
    }

    fn items(&self) -> Result<Vec<Item>> {
        let root = Path::new("/").join(&self.config.udid);
        Ok(vec![Item { id: self.id.clone(), source: self.id.clone(), paths: vec![root] }])
    }

    fn wants_previous(&self) -> bool {
        true
    }

    fn needs_mending(&self) -> Result<bool> {
        Ok(staging::place(&self.config, &self.id).is_ok_and(|directory| staging::left(&directory) > 0))
    }

    fn mend(&self) -> Result<Vec<String>> {
        let Ok(directory) = staging::place(&self.config, &self.id) else { return Ok(Vec::new()) };
        let left = staging::left(&directory);
        staging::sweep(&directory)?;
        let line = || format!("removed {} that a run that was killed had received", show_bytes(left));
        Ok((left > 0).then(line).into_iter().collect())
    }

    fn open(&self, item: &Item, options: &OpenOptions<'_>, monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
        backup::open(self, item, options, monitor)
    }

    fn make_way(&self, item: &Item, saved: &SavedTree, options: &RestoreOptions, _monitor: &dyn Monitor) -> Result<()> {
        back::examine(self, item, saved, options)
    }

    fn caution(&self, options: &RestoreOptions) -> Result<Option<String>> {
        back::caution(self, &options.device).map(Some)
    }

    /// All of the device, as a backup of it.
    fn overwritten(
        &self,
        item: &Item,
        _saved: &SavedTree,
        _path: Option<&Path>,
        opening: &OpenOptions<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Option<Box<dyn Tree>>> {
        backup::open(self, item, opening, monitor).map(Some)
    }

    fn restore(
        &self,
        item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        back::restore(self, item, saved, options, monitor)
    }
}
