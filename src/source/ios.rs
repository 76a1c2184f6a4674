//! `[ios.NAME]`: an iPhone or iPad, as one item: a MobileSync folder, as Finder and iTunes write it.
//!
//! The device drives a backup: it asks for files of the last one, sends what is new, and moves and removes. What it sends is staged on disk and goes into the
//! store at the same time; everything else is taken over from the point before without being read.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{Item, OpenOptions, Readiness, Source, Tree};
use crate::config::IosConfig;
use crate::extract::{Extracted, RestoreOptions};
use crate::monitor::Monitor;
use crate::store::SavedTree;

mod decrypt;
mod keybag;
mod manifest;
pub mod names;
mod objects;
mod record_file;

/// The driver.
#[derive(Debug)]
pub struct Ios {
    id: String,
    config: IosConfig,
    /// Where the pairing records are.
    credentials: PathBuf,
}

impl Ios {
    /// The source of this configuration, which stands in `file`.
    pub fn new(config: &IosConfig, file: &Path) -> Self {
        let beside = || file.with_file_name("ios");
        Self {
            id: format!("ios.{}", config.common.name),
            credentials: config.credentials.clone().unwrap_or_else(beside),
            config: config.clone(),
        }
    }

    /// The directory with the pairing records, which open the device.
    pub fn credentials(&self) -> &Path {
        &self.credentials
    }
}

impl Source for Ios {
    fn preflight(&self) -> Result<Readiness> {
        bail!("{} cannot be reached yet", self.id)
    }

    fn items(&self) -> Result<Vec<Item>> {
        let root = Path::new("/").join(&self.config.udid);
        Ok(vec![Item { id: self.id.clone(), source: self.id.clone(), paths: vec![root] }])
    }

    fn wants_previous(&self) -> bool {
        true
    }

    fn open(&self, item: &Item, _options: &OpenOptions<'_>, _monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
        bail!("{} cannot be backed up yet", item.id)
    }

    fn overwritten(&self, item: &Item, _saved: &SavedTree, _path: Option<&Path>) -> Result<Option<Box<dyn Tree>>> {
        bail!("{} cannot be restored yet", item.id)
    }

    fn restore(
        &self,
        item: &Item,
        _saved: &SavedTree,
        _options: &RestoreOptions,
        _monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        bail!("{} cannot be restored yet", item.id)
    }
}
