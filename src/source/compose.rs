//! `[compose.NAME]`: the Compose stacks of a container engine, each an item of its own: `compose.NAME/paperless`.
//!
//! Which stacks there are is found in [`stacks`], what belongs to each in [`project`] and [`places`], and a point is put together in [`stack`]. Volumes,
//! dumps and whoever is held are the business of the driver for engines.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Error, Result, anyhow};

use super::Failure;
use super::docker::EngineTree;
use super::docker::engine::{Container, Engine, Lazy};
use super::docker::hold::{Failures, Held};
use super::docker::leftovers;
use super::docker::volume::Reader;
use super::{Item, OpenOptions, Readiness, Source, Tree};
use crate::config::{ComposeConfig, nearest};
use crate::error::Annotate;
use crate::extract::{Extracted, RestoreOptions};
use crate::monitor::Monitor;
use crate::store::SavedTree;

mod describe;
mod env;
mod excludes;
mod folder;
mod interpolate;
mod labels;
mod paths;
mod places;
mod project;
mod record;
mod restore;
mod stack;
mod stacks;
mod yaml;

use excludes::Excludes;
use stack::Reading;
use stacks::Stack;

/// The driver.
#[derive(Debug)]
pub struct Compose {
    id: String,
    config: ComposeConfig,
    /// Paths of this machine that no backup may contain.
    never: Vec<PathBuf>,
    engine: Lazy,
    /// Who did not come back after it was held.
    failures: Failures,
    /// Who was stopped for a restore.
    stopped: Mutex<Option<Held>>,
}

impl Compose {
    /// The source of this configuration. What is at the paths `never` of this machine is not part of it.
    pub fn new(config: &ComposeConfig, never: &[PathBuf]) -> Result<Self> {
        let id = format!("compose.{}", config.common.name);
        let excludes = super::globs::Globs::new(&config.exclude);
        excludes.with_context(|| format!("understand the excludes of {id}"))?;
        Ok(Self {
            id,
            config: config.clone(),
            never: never.to_vec(),
            engine: Lazy::new(&config.engine),
            failures: Failures::default(),
            stopped: Mutex::default(),
        })
    }

    fn engine(&self) -> Result<Engine> {
        self.engine.get()
    }

    fn excludes(&self) -> Excludes<'_> {
        Excludes { lines: &self.config.exclude, directory: self.config.directory.as_deref() }
    }

    fn stacks(&self, containers: &[Container]) -> Result<Vec<Stack>> {
        stacks::find(containers, self.config.directory.as_deref())
    }

    /// The names of what is backed up: all stacks that the globs match, and every name that was written out, there or not.
    fn wanted(&self, stacks: &[Stack]) -> Vec<String> {
        let there = stacks.iter().map(|stack| &stack.name);
        let mut wanted: Vec<String> =
            there.filter(|name| self.config.stacks.iter().any(|glob| glob.matches(name))).cloned().collect();
        let written = self.config.stacks.iter().filter(|name| name.glob.is_none());
        wanted.extend(written.map(|name| name.text.clone()));
        wanted.sort();
        wanted.dedup();
        wanted
    }

    /// The name of the stack that an item is.
    fn stack_of<'i>(&self, item: &'i Item) -> Result<&'i str> {
        let name = item.id.strip_prefix(&self.id).and_then(|rest| rest.strip_prefix('/'));
        name.with_context(|| format!("{} is no item of {}", item.id, self.id))
    }
}

/// There is no such stack; names what is near.
fn missing<T>(stacks: &[Stack], name: &str) -> Result<T> {
    let near = nearest(name, stacks.iter().map(|stack| stack.name.as_str()));
    let near = near.map_or_else(String::new, |near| format!("Did you mean `{near}`? "));
    Err(anyhow!("there is no stack `{name}`"))
        .hint(format!("{near}If it is gone for good, take it out of `stacks`; its points stay."))
}

impl Source for Compose {
    fn preflight(&self) -> Result<Readiness> {
        self.engine()?;
        Ok(Readiness::Ready)
    }

    fn items(&self) -> Result<Vec<Item>> {
        let stacks = self.stacks(&self.engine()?.containers()?)?;
        let item = |name: String| Item {
            id: format!("{}/{name}", self.id),
            source: self.id.clone(),
            paths: vec![Path::new("/stack").join(&name)],
        };
        Ok(self.wanted(&stacks).into_iter().map(item).collect())
    }

    fn open(&self, item: &Item, options: &OpenOptions<'_>, monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
        let engine = self.engine()?;
        let name = self.stack_of(item)?;
        let all = engine.containers()?;
        let stacks = self.stacks(&all)?;
        let Some(stack) = stacks.iter().find(|stack| stack.name == name) else { return missing(&stacks, name) };
        let failure = Failure::default();
        let reader = Reader {
            engine: &engine,
            source: &self.id,
            from: self.config.read,
            never: &self.never,
            is_dry_run: options.dry_run,
            failure: &failure,
        };
        let (config, failures) = (&self.config, &self.failures);
        let excludes = self.excludes();
        let reading =
            Reading { item: &item.id, stack, config, excludes, reader: &reader, all: &all, failures, monitor };
        let (parts, holding) = reading.open()?;
        Ok(Box::new(EngineTree { parts, failure, holding }))
    }

    fn examine(&self) -> Result<Vec<(String, Error)>> {
        let stacks = self.stacks(&self.engine()?.containers()?)?;
        let of = |name: String| {
            let stack = stacks.iter().find(|stack| stack.name == name);
            let error = stack.map_or_else(|| missing(&stacks, &name), Stack::is_one).err()?;
            Some((format!("{}/{name}", self.id), error))
        };
        Ok(self.wanted(&stacks).into_iter().filter_map(of).collect())
    }

    fn needs_mending(&self) -> Result<bool> {
        leftovers::are_there(&self.engine()?, &self.id)
    }

    fn mend(&self) -> Result<Vec<String>> {
        leftovers::put_right(&self.engine()?, &self.id)
    }

    fn close(&self) -> Result<()> {
        self.failures.tell()
    }

    fn make_way(&self, item: &Item, saved: &SavedTree, options: &RestoreOptions, monitor: &dyn Monitor) -> Result<()> {
        self.clear_way(item, saved, options, monitor)
    }

    fn overwritten(
        &self,
        _item: &Item,
        saved: &SavedTree,
        path: Option<&Path>,
        _opening: &OpenOptions<'_>,
        _monitor: &dyn Monitor,
    ) -> Result<Option<Box<dyn Tree>>> {
        self.to_be_overwritten(saved, path)
    }

    fn restore(
        &self,
        _item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        self.bring_back(saved, options, monitor)
    }
}
