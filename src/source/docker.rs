//! `[docker.NAME]`: volumes, containers and images of a container engine.
//!
//! Each is an item of its own: `docker.NAME/volume/pgdata`, `docker.NAME/container/web`, `docker.NAME/image/app:1.2`. The engine is asked
//! through [`engine`]. What is in a volume is read where it lies when that can be done ([`volume`]), and what a snapshot has is put together
//! in [`container`] and [`image`].

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Error, Result, anyhow};
use serde_json::Value;

use super::parts::{Parts, Text};
use super::{Entries, Failure, Item, OpenOptions, Readiness, Source, Tree};
use crate::config::{DockerConfig, NameGlob, nearest};
use crate::error::Annotate;
use crate::extract::{Extracted, RestoreOptions};
use crate::monitor::{Monitor, Silent};
use crate::store::SavedTree;

mod archive;
mod container;
pub mod discover;
pub(crate) mod dump;
pub(crate) mod engine;
pub(crate) mod helper;
pub(crate) mod hold;
mod image;
pub(crate) mod leftovers;
pub mod onboarding;
pub(crate) mod ours;
pub(crate) mod restore;
pub(crate) mod volume;

use engine::{Container, Engine, Lazy, Volume};
use hold::{Failures, Held, Holder, Holding};
use volume::Reader;

/// The driver.
#[derive(Debug)]
pub struct Docker {
    id: String,
    config: DockerConfig,
    /// Paths of this machine that no backup may contain.
    never: Vec<PathBuf>,
    engine: Lazy,
    /// Who was stopped for a restore.
    stopped: Mutex<Option<Held>>,
    /// Who did not come back after it was held.
    failures: Failures,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Volume,
    Container,
    Image,
}

impl Kind {
    const ALL: [(Self, &str); 3] = [(Self::Volume, "volume"), (Self::Container, "container"), (Self::Image, "image")];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl Docker {
    /// The source of this configuration. What is at the paths `never` of this machine is not part of it.
    pub fn new(config: &DockerConfig, never: &[PathBuf]) -> Self {
        let id = format!("docker.{}", config.common.name);
        Self {
            id,
            config: config.clone(),
            never: never.to_vec(),
            engine: Lazy::new(&config.engine),
            stopped: Mutex::default(),
            failures: Failures::default(),
        }
    }

    fn engine(&self) -> Result<Engine> {
        self.engine.get()
    }

    /// The names of what there is of a kind.
    fn there_are(engine: &Engine, kind: Kind) -> Result<Vec<String>> {
        Ok(match kind {
            Kind::Volume => {
                let volumes = engine.volumes()?.into_iter().filter(|volume| !volume.is_ours());
                volumes.map(|volume| volume.name).collect()
            }
            Kind::Container => {
                let containers = engine.containers()?.into_iter().filter(|container| !container.is_ours());
                containers.map(|container| container.name).collect()
            }
            Kind::Image => {
                let images = engine.images()?.into_iter().filter(|image| !image.is_ours());
                images.map(|image| image.name).collect()
            }
        })
    }

    /// The names of what is backed up of a kind: all that the globs match, and every name that was written out, there or not.
    fn wanted(&self, engine: &Engine, kind: Kind) -> Result<Vec<String>> {
        let names = names_of(&self.config, kind);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let is_glob = |name: &&NameGlob| name.glob.is_some();
        let mut wanted: Vec<String> = Vec::new();
        if names.iter().any(|name| is_glob(&name)) {
            wanted = Self::there_are(engine, kind)?;
        }
        wanted.extend(names.iter().filter(|name| !is_glob(name)).map(|name| name.text.clone()));
        wanted.retain(|name| Self::covers(&self.config, kind, name));
        wanted.sort();
        wanted.dedup();
        Ok(wanted)
    }

    /// Whether something of this name is an item of its own.
    fn covers(config: &DockerConfig, kind: Kind, name: &str) -> bool {
        let path = format!("{}/{name}", kind.name());
        names_of(config, kind).iter().any(|wanted| wanted.matches(name))
            && !config.exclude.iter().any(|exclude| exclude.matches(&path))
    }

    /// What an item of this source is, and its name.
    fn parse<'i>(&self, item: &'i Item) -> Result<(Kind, &'i str)> {
        let rest = item.id.strip_prefix(&self.id).and_then(|rest| rest.strip_prefix('/'));
        let (kind, name) = rest.and_then(|rest| rest.split_once('/')).unwrap_or_default();
        let kind = Kind::ALL.iter().find(|(_, known)| *known == kind).map(|(kind, _)| *kind);
        kind.map(|kind| (kind, name)).with_context(|| format!("{} is no item of {}", item.id, self.id))
    }
}

/// Which things of a kind are wanted.
fn names_of(config: &DockerConfig, kind: Kind) -> &[NameGlob] {
    match kind {
        Kind::Volume => &config.volumes,
        Kind::Container => &config.containers,
        Kind::Image => &config.images,
    }
}

/// There is no such thing; names what is near.
fn missing<T>(engine: &Engine, kind: Kind, name: &str) -> Result<T> {
    let there_are = Docker::there_are(engine, kind).unwrap_or_default();
    let near = nearest(name, there_are.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("Did you mean `{near}`? "));
    let kind = kind.name();
    Err(anyhow!("there is no {kind} `{name}`"))
        .hint(format!("{near}If it is gone for good, take it out of `{kind}s`; its points stay."))
}

/// What an item is made of, as the engine knows it now.
enum Subject {
    Volume(Volume),
    Container(Container),
    /// What the engine says of an image.
    Image(Value),
}

impl Subject {
    fn find(engine: &Engine, kind: Kind, name: &str) -> Result<Self> {
        let found = match kind {
            Kind::Volume => engine.volume(name)?.map(Self::Volume),
            Kind::Container => engine.container(name)?.map(Self::Container),
            Kind::Image => engine.image(name)?.map(Self::Image),
        };
        found.map_or_else(|| missing(engine, kind, name), Ok)
    }

    /// Whoever writes to what is read of it.
    fn users(&self, engine: &Engine) -> Result<Vec<Container>> {
        let (mut users, volumes) = match self {
            Self::Volume(volume) => (Vec::new(), vec![volume.name.as_str()]),
            Self::Container(container) => (vec![container.clone()], container.volumes().collect()),
            Self::Image(_) => return Ok(Vec::new()),
        };
        for volume in volumes {
            users.extend(engine.users(volume)?);
        }
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users.dedup_by(|a, b| a.id == b.id);
        Ok(users)
    }
}

impl Source for Docker {
    fn preflight(&self) -> Result<Readiness> {
        self.engine()?;
        Ok(Readiness::Ready)
    }

    fn examine(&self) -> Result<Vec<(String, Error)>> {
        let engine = self.engine()?;
        let mut failing = Vec::new();
        for (kind, word) in Kind::ALL {
            let there_are = Self::there_are(&engine, kind)?;
            let wanted = self.wanted(&engine, kind)?.into_iter().filter(|name| !there_are.contains(name));
            failing.extend(wanted.filter_map(|name| {
                let error = Subject::find(&engine, kind, &name).err()?;
                Some((format!("{}/{word}/{name}", self.id), error))
            }));
        }
        Ok(failing)
    }

    fn items(&self) -> Result<Vec<Item>> {
        let engine = self.engine()?;
        let mut items = Vec::new();
        for (kind, word) in Kind::ALL {
            for name in self.wanted(&engine, kind)? {
                let id = format!("{}/{word}/{name}", self.id);
                items.push(Item { id, source: self.id.clone(), paths: vec![Path::new("/").join(word).join(&name)] });
            }
        }
        Ok(items)
    }

    fn open(&self, item: &Item, options: &OpenOptions<'_>, monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
        let engine = self.engine()?;
        let (kind, name) = self.parse(item)?;
        let subject = Subject::find(&engine, kind, name)?;
        let (mut parts, failure) = (Parts::default(), Failure::default());
        let users = subject.users(&engine)?;
        let holder = Holder { engine: &engine, source: &self.id, config: &self.config.hold };
        // Most are not held, and then there is no need to ask for everybody.
        let all = if holder.is_needed(&users)? { engine.containers()? } else { Vec::new() };
        let held = if all.is_empty() { Vec::new() } else { holder.would_hold(&users, &all, &[])? };
        let reader = Reader {
            engine: &engine,
            source: &self.id,
            from: self.config.read,
            never: &self.never,
            is_dry_run: options.dry_run,
            failure: &failure,
        };
        if let Subject::Container(container) = &subject {
            container::put_dumps(container, &reader, &self.config, held.contains(&container.id), &mut parts)?;
        }
        let holding = if held.is_empty() {
            Holding::default()
        } else if options.dry_run {
            hold::say_in_dry_run(&item.id, &held, &all, monitor);
            Holding::default()
        } else {
            Holding::new(holder.hold(&users, &all, &[], monitor)?, &self.failures)
        };
        // Only now: with the last that uses it the engine may take away what is mounted for a volume.
        match subject {
            Subject::Volume(volume) => reader.put(&volume, Path::new("/"), &mut parts)?,
            Subject::Container(container) => container::put(&container, &reader, &mut parts)?,
            Subject::Image(inspect) => {
                parts.put("/image.json", Text::json(&inspect));
                parts.put("/image.tar", image::part(&engine, name, &failure));
            }
        }
        Ok(Box::new(EngineTree { parts, failure, holding }))
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
        item: &Item,
        saved: &SavedTree,
        path: Option<&Path>,
        _opening: &OpenOptions<'_>,
        _monitor: &dyn Monitor,
    ) -> Result<Option<Box<dyn Tree>>> {
        self.to_be_overwritten(item, saved, path)
    }

    fn restore(
        &self,
        item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        self.bring_back(item, saved, options, monitor)
    }
}

/// What is read of an engine.
pub(crate) struct EngineTree {
    pub(crate) parts: Parts,
    pub(crate) failure: Failure,
    pub(crate) holding: Holding,
}

impl Tree for EngineTree {
    fn entries(&self) -> Entries {
        self.parts.entries()
    }

    fn size(&self) -> Option<u64> {
        self.parts.size()
    }

    fn made_up(&self) -> u64 {
        self.parts.texts()
    }

    fn let_go(&self, monitor: &dyn Monitor) {
        self.holding.let_go(monitor);
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.holding.let_go(&Silent);
        self.failure.take()
    }
}
