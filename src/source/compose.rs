//! `[compose.NAME]`: the Compose stacks of a container engine, each an item of its own: `compose.NAME/paperless`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};

use super::docker::engine::Engine;
use super::docker::hold;
use super::{Item, OpenOptions, Readiness, Source, Tree};
use crate::config::ComposeConfig;
use crate::extract::{Extracted, RestoreOptions};
use crate::monitor::Monitor;
use crate::store::SavedTree;

mod env;
mod folder;
mod interpolate;
mod labels;
mod paths;
mod project;
mod stacks;
mod yaml;

/// The driver.
#[derive(Debug)]
pub struct Compose {
    id: String,
    config: ComposeConfig,
    /// Paths of this machine that no backup may contain.
    never: Vec<PathBuf>,
    engine: Mutex<Option<Engine>>,
}

impl Compose {
    /// The source of this configuration. What is at the paths `never` of this machine is not part of it.
    pub fn new(config: &ComposeConfig, never: &[PathBuf]) -> Result<Self> {
        let id = format!("compose.{}", config.common.name);
        Ok(Self { id, config: config.clone(), never: never.to_vec(), engine: Mutex::default() })
    }

    /// The engine, which is connected to once.
    fn engine(&self) -> Result<Engine> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        Ok(engine.insert(Engine::connect(&self.config.engine)?).clone())
    }
}

impl Source for Compose {
    fn preflight(&self) -> Result<Readiness> {
        self.engine()?;
        Ok(Readiness::Ready)
    }

    fn items(&self) -> Result<Vec<Item>> {
        Ok(Vec::new())
    }

    fn open(&self, item: &Item, _options: &OpenOptions<'_>, _monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
        Err(anyhow!("{} is no item of {} ({:?})", item.id, self.id, self.never))
    }

    fn needs_mending(&self) -> Result<bool> {
        hold::needs_mending(&self.engine()?, &self.id)
    }

    fn mend(&self) -> Result<Vec<String>> {
        hold::mend(&self.engine()?, &self.id)
    }

    fn overwritten(&self, _item: &Item, _saved: &SavedTree, _path: Option<&Path>) -> Result<Option<Box<dyn Tree>>> {
        Ok(None)
    }

    fn restore(
        &self,
        item: &Item,
        _saved: &SavedTree,
        _options: &RestoreOptions,
        _monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        Err(anyhow!("{} is no item of {}", item.id, self.id))
    }
}
