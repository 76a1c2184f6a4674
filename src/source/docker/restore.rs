//! Puts volumes, containers and images back into the engine.
//!
//! Which part of a point goes where is in [`plan`]; how it is written in [`volume`] and, where it does not lie on this machine, in [`through`]. Whoever
//! uses what is overwritten is in the way ([`users`]). Nothing of the engine is ever removed or replaced but the content of files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::engine::{Container, Engine};
use super::hold::Holding;
use super::volume::Reader;
use super::{Docker, EngineTree, Kind, helper};
use crate::config::ReadFrom;
use crate::error::{Annotate, ExitCode};
use crate::extract::{Extracted, RestoreOptions};
use crate::monitor::Monitor;
use crate::source::Failure;
use crate::source::parts::{Parts, Text};
use crate::source::{Item, Tree};
use crate::store::SavedTree;

pub(crate) mod body;
mod container;
mod image;
pub(crate) mod plan;
mod through;
pub(crate) mod users;
pub(crate) mod volume;

use plan::{Fill, Place};

/// How large a description of something in a point may be, in bytes.
const DESCRIPTION: u64 = 16 << 20;

/// A restore into an engine.
#[derive(Clone, Copy)]
pub(crate) struct Back<'b> {
    pub(crate) engine: &'b Engine,
    /// The source that it is for.
    pub(crate) source: &'b str,
    /// How volumes are read, and written.
    pub(crate) from: ReadFrom,
    /// Paths of this machine that no backup may contain.
    pub(crate) never: &'b [PathBuf],
    pub(crate) saved: &'b SavedTree,
    pub(crate) options: &'b RestoreOptions,
    pub(crate) monitor: &'b dyn Monitor,
}

impl Back<'_> {
    /// What reads volumes in the same way.
    pub(crate) fn reader<'r>(&'r self, failure: &'r Failure) -> Reader<'r> {
        let Self { engine, source, from, never, .. } = *self;
        Reader { engine, source, from, never, is_dry_run: false, failure }
    }

    /// What the engine had said of something, out of a file of the point; `None` when there is no such file.
    pub(crate) fn described(&self, path: &Path) -> Result<Option<Value>> {
        described(self.saved, path)
    }

    /// Says what is done, or in a dry run would be.
    pub(crate) fn say(&self, would: &str, does: &str, what: &str) {
        let verb = if self.options.dry_run { would } else { does };
        self.monitor.say(&format!("{verb} {what}"));
    }
}

/// Reads a file of JSON in a point.
fn described(saved: &SavedTree, path: &Path) -> Result<Option<Value>> {
    let Some(node) = saved.find(path)?.filter(|node| node.is_file()) else { return Ok(None) };
    let doing = || format!("understand {} of the point", path.display());
    let mut text = Vec::new();
    for piece in saved.read(&node)? {
        text.extend_from_slice(&piece?);
        if text.len() as u64 > DESCRIPTION {
            return Err(anyhow!("it is longer than any engine writes it")).with_context(doing);
        }
    }
    serde_json::from_slice(&text).map(Some).with_context(doing)
}

/// Says why something cannot have this name: engines take letters, digits and `_.-`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain) && name.len() <= 255 {
        return Ok(());
    }
    let shown = crate::output::printable(name.as_ref());
    Err(anyhow!("`{shown}` is no name that a volume or container can have"))
        .hint("Letters, digits and, but not first, `_`, `.` and `-`.")
        .exit(ExitCode::Usage)
}

impl Docker {
    fn back<'b>(
        &'b self,
        engine: &'b Engine,
        saved: &'b SavedTree,
        options: &'b RestoreOptions,
        monitor: &'b dyn Monitor,
    ) -> Back<'b> {
        let (source, from, never) = (&*self.id, self.config.read, &*self.never);
        Back { engine, source, from, never, saved, options, monitor }
    }

    /// See [`crate::source::Source::make_way`].
    pub(super) fn clear_way(
        &self,
        item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let engine = self.engine()?;
        let (kind, name) = self.parse(item)?;
        let back = self.back(&engine, saved, options, monitor);
        if !options.dry_run {
            helper::sweep(&engine, &self.id)?;
        }
        if kind == Kind::Image {
            return back.check_image();
        }
        check_name(options.rename.as_deref().unwrap_or(name))?;
        let existing = back.existing(kind, name)?;
        let fills = back.plan(kind, name, existing.as_ref())?;
        if options.rename.is_some() {
            back.check_free(kind, &fills)?;
        }
        if kind == Kind::Container && options.path.is_none() && existing.is_none() {
            back.check_container()?;
        }
        let places: Vec<&Place> = fills.iter().map(|fill| &fill.place).collect();
        let held = back.stop_users(&places, &self.config.hold)?;
        *self.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = held;
        Ok(())
    }

    /// See [`crate::source::Source::overwritten`].
    pub(super) fn to_be_overwritten(
        &self,
        item: &Item,
        saved: &SavedTree,
        path: Option<&Path>,
    ) -> Result<Option<Box<dyn Tree>>> {
        let engine = self.engine()?;
        let (kind, name) = self.parse(item)?;
        let options = RestoreOptions { path: path.map(Path::to_path_buf), ..RestoreOptions::default() };
        let back = self.back(&engine, saved, &options, &crate::monitor::Silent);
        if kind == Kind::Image {
            return Ok(None);
        }
        let existing = back.existing(kind, name)?;
        let (failure, mut parts, mut is_anything) = (Failure::default(), Parts::default(), false);
        let reader = back.reader(&failure);
        let mut binds = false;
        for fill in back.plan(kind, name, existing.as_ref())? {
            let at = fill.base.as_path();
            match &fill.place {
                Place::Volume(name) => {
                    let Some(volume) = engine.volume(name)?.filter(|volume| !reader.is_empty(volume)) else { continue };
                    reader.put(&volume, at.parent().unwrap_or(at), &mut parts)?;
                }
                Place::Path(source) if !back.is_there(source)? => continue,
                Place::Path(source) => {
                    reader.put_bind(source, at, &mut parts);
                    binds = true;
                }
            }
            is_anything = true;
        }
        if binds && let Some(table) = back.described(Path::new(plan::BINDS))? {
            parts.put(plan::BINDS, Text::json(&table));
        }
        if let Some(container) = existing {
            parts.put(plan::CONTAINER, Text::json(&container.inspect));
        }
        Ok(is_anything.then(|| Box::new(EngineTree { parts, failure, holding: Holding::default() }) as Box<dyn Tree>))
    }

    /// See [`crate::source::Source::restore`].
    pub(super) fn bring_back(
        &self,
        item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        let stopped = self.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let engine = self.engine()?;
        let (kind, name) = self.parse(item)?;
        let back = self.back(&engine, saved, options, monitor);
        let restored = match kind {
            Kind::Image => back.image(name),
            Kind::Volume => back.fills(&back.plan(kind, name, None)?),
            Kind::Container => back.container(name),
        };
        users::all_started(restored, stopped, monitor)
    }
}

impl Back<'_> {
    /// The container that is there already, if it is one that is restored.
    fn existing(&self, kind: Kind, name: &str) -> Result<Option<Container>> {
        match (kind, &self.options.rename) {
            (Kind::Container, None) => self.engine.container(name),
            _ => Ok(None),
        }
    }

    fn plan(&self, kind: Kind, name: &str, existing: Option<&Container>) -> Result<Vec<Fill>> {
        let rename = self.options.rename.as_deref();
        let path = self.options.path.as_deref();
        match kind {
            Kind::Volume => plan::of_volume(self.saved, name, rename, path),
            _ => plan::of_container(self.saved, rename, path, existing),
        }
    }

    /// Sees that what is made beside the original has a name that nothing has.
    fn check_free(&self, kind: Kind, fills: &[Fill]) -> Result<()> {
        let name = self.options.rename.as_deref().unwrap_or_default();
        let taken = |what: &str, name: &str| -> Result<()> {
            Err(anyhow!("there is a {what} {name} already"))
                .hint("With --as a name that is free is needed: nothing is overwritten.")
        };
        if kind == Kind::Container && self.engine.container(name)?.is_some() {
            return taken("container", name);
        }
        for fill in fills {
            if let Place::Volume(name) = &fill.place
                && self.engine.volume(name)?.is_some()
            {
                return taken("volume", name);
            }
        }
        Ok(())
    }

    /// Fills all places.
    pub(crate) fn fills(&self, fills: &[Fill]) -> Result<Extracted> {
        let mut done = Extracted::default();
        for fill in fills {
            done.take_in(self.fill(fill)?);
        }
        Ok(done)
    }
}
