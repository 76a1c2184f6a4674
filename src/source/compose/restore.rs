//! Brings a stack back: its files, its volumes, what was mounted from elsewhere, and at last its containers, if they are there.
//!
//! Containers are never made here: Compose does that from the files, and what to type is said. With another name a stack is put beside the original
//! ([`copy`]).

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use anyhow::{Context, Result, anyhow};

use super::record::Record;
use super::stacks::Stack;
use super::{Compose, EngineTree, labels};
use crate::config::LeaveOut;
use crate::error::{Annotate, ExitCode};
use crate::extract::{Extracted, RestoreOptions, extract_as};
use crate::monitor::{Monitor, Silent};
use crate::source::Failure;
use crate::source::docker::engine::{Container, Engine, State};
use crate::source::docker::helper;
use crate::source::docker::hold::Holding;
use crate::source::docker::restore::plan::{self, Fill, Place};
use crate::source::docker::restore::users::{all_started, is_used_by};
use crate::source::docker::restore::{Back, check_name};
use crate::source::files::Local;
use crate::source::parts::{Parts, Text};
use crate::source::{Item, Tree};
use crate::store::SavedTree;

mod copy;
mod start;

/// What of a point goes where.
pub(super) struct Plan {
    pub(super) record: Record,
    pub(super) fills: Vec<Fill>,
    /// Those of them that are files of this machine, by what they are in the point.
    files: Vec<PathBuf>,
}

impl Plan {
    /// What the options ask for of a point.
    fn new(back: &Back<'_>) -> Result<Self> {
        let record = Record::read(back)?;
        let files: Vec<PathBuf> = record.files.iter().map(|placed| placed.path.clone()).collect();
        let mut fills = Vec::new();
        for placed in record.files.iter().chain(&record.binds) {
            if back.saved.find(&placed.path)?.is_some() {
                fills.push(fill(&placed.path, Place::Path(placed.source.clone()), None));
            }
        }
        for name in volumes(back)? {
            let at = Path::new("/volumes").join(&name);
            fills.push(fill(&at.join("data"), Place::Volume(name), Some(at.join("volume.json"))));
        }
        let fills = match back.options.rename.as_deref() {
            Some(name) => copy::moved(&record, fills, name)?,
            None => fills,
        };
        let fills = plan::wanted(back.saved, fills, back.options.path.as_deref())?;
        Ok(Self { record, fills, files })
    }

    /// Whether something is a file of this machine, wherever the engine is.
    fn is_file(&self, fill: &Fill) -> bool {
        self.files.contains(&fill.base)
    }

    /// Whether a container that runs is in the way. Who has a folder above mounted looks at stacks, and does not work on them.
    fn is_used_by(&self, container: &Container) -> bool {
        self.fills.iter().any(|fill| match &fill.place {
            Place::Path(folder) if self.is_file(fill) => {
                let below = fill.part.as_ref().and_then(|part| part.strip_prefix(&fill.base).ok());
                let path = below.map_or_else(|| folder.clone(), |below| folder.join(below));
                let meets = |mounted: &Path| mounted.starts_with(&path) || path.starts_with(mounted);
                let is_below = |mounted: &Path| mounted.starts_with(folder);
                container.binds().any(|(mounted, _)| is_below(mounted) && meets(mounted))
            }
            place => is_used_by(place, container),
        })
    }
}

fn fill(base: &Path, place: Place, described: Option<PathBuf>) -> Fill {
    Fill { base: base.to_path_buf(), part: None, place, described, is_copy: false }
}

/// The volumes whose content is in a point.
fn volumes(back: &Back<'_>) -> Result<Vec<String>> {
    let Some(all) = back.saved.find(Path::new("/volumes"))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for node in back.saved.children(&all)? {
        let name = node.name().to_string_lossy().into_owned();
        check_name(&name)
            .with_context(|| format!("read the volumes of the point {}", back.saved.point().short_id()))?;
        if back.saved.find(&Path::new("/volumes").join(&name).join("data"))?.is_some() {
            names.push(name);
        }
    }
    Ok(names)
}

impl Compose {
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

    /// The stack as it is now.
    fn now(&self, engine: &Engine, name: &str) -> Result<Option<Stack>> {
        Ok(self.stacks(&engine.containers()?)?.into_iter().find(|stack| stack.name == name))
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
        let name = self.stack_of(item)?;
        let back = self.back(&engine, saved, options, monitor);
        if !options.dry_run {
            helper::sweep(&engine, &self.id)?;
        }
        let plan = Plan::new(&back)?;
        if plan.record.project != name {
            return Err(anyhow!("the point is one of the stack {}, and not of {name}", plan.record.project))
                .exit(ExitCode::Usage);
        }
        if let Some(rename) = &options.rename {
            let taken = self.now(&engine, rename)?.is_some();
            return copy::check(&back, &plan, rename, taken);
        }
        let now = self.now(&engine, name)?;
        let depends = now.as_ref().map(|stack| stack.depends(&stack.project())).unwrap_or_default();
        // A part may be put back under those who do not use it.
        let is_own = |container: &Container| options.path.is_none() && labels::project(container) == Some(name);
        let uses = |container: &Container| is_own(container) || plan.is_used_by(container);
        let held = back.stop_whoever(&uses, &depends, &self.config.hold)?;
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// See [`crate::source::Source::overwritten`].
    pub(super) fn to_be_overwritten(&self, saved: &SavedTree, path: Option<&Path>) -> Result<Option<Box<dyn Tree>>> {
        let engine = self.engine()?;
        let options = RestoreOptions { path: path.map(Path::to_path_buf), ..RestoreOptions::default() };
        let back = self.back(&engine, saved, &options, &Silent);
        let plan = Plan::new(&back)?;
        let (failure, mut parts, mut is_anything) = (Failure::default(), Parts::default(), false);
        let reader = back.reader(&failure);
        for fill in &plan.fills {
            match &fill.place {
                Place::Volume(name) => {
                    let Some(volume) = engine.volume(name)? else { continue };
                    reader.put(&volume, fill.base.parent().unwrap_or(&fill.base), &mut parts)?;
                }
                Place::Path(source) if self.is_missing(&plan, fill, source, &back)? => continue,
                Place::Path(source) if plan.is_file(fill) => {
                    let exclude = self.excludes().below(source).unwrap_or_default();
                    let local = Local::new(source, &LeaveOut { exclude, ..LeaveOut::default() }, &self.never);
                    parts.put(&fill.base, local.with_context(|| format!("read {}", source.display()))?);
                }
                Place::Path(source) => reader.put_bind(source, &fill.base, &mut parts),
            }
            is_anything = true;
        }
        // So that it is a point of the stack, and can be put back itself.
        for table in ["/stack.json", "/binds.json"] {
            if let Some(told) = back.described(Path::new(table))? {
                parts.put(table, Text::json(&told));
            }
        }
        Ok(is_anything.then(|| Box::new(EngineTree { parts, failure, holding: Holding::default() }) as Box<dyn Tree>))
    }

    fn is_missing(&self, plan: &Plan, fill: &Fill, source: &Path, back: &Back<'_>) -> Result<bool> {
        if plan.is_file(fill) { Ok(source.symlink_metadata().is_err()) } else { back.is_there(source).map(|is| !is) }
    }

    /// See [`crate::source::Source::restore`].
    pub(super) fn bring_back(
        &self,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        let engine = self.engine()?;
        let back = self.back(&engine, saved, options, monitor);
        let plan = Plan::new(&back)?;
        let restored = self.fill_all(&back, &plan);
        let extracted = all_started(restored, stopped, monitor)?;
        match &options.rename {
            Some(name) => copy::tell(&back, &plan.record, name)?,
            None if options.path.is_none() => {
                let now = self.now(&engine, &plan.record.project)?;
                start::start(&back, &plan.record, now.as_ref())?;
            }
            None => {}
        }
        Ok(extracted)
    }

    fn fill_all(&self, back: &Back<'_>, plan: &Plan) -> Result<Extracted> {
        let mut done = Extracted::default();
        for fill in &plan.fills {
            if let Place::Volume(volume) = &fill.place {
                match &back.options.rename {
                    Some(name) => copy::make_volume(back, fill, &plan.record.project, name, volume)?,
                    None => warn_of_nameless(back, volume)?,
                }
            }
            done.take_in(match &fill.place {
                Place::Path(target) if plan.is_file(fill) => put_file(back, fill, target)?,
                _ => back.fill(fill)?,
            });
        }
        Ok(done)
    }
}

/// Puts a file or directory of the stack to its place on this machine.
fn put_file(back: &Back<'_>, fill: &Fill, target: &Path) -> Result<Extracted> {
    let options = RestoreOptions { path: fill.part.clone(), overwrite: true, ..back.options.clone() };
    if let Some(above) = target.parent().filter(|_| !options.dry_run) {
        std::fs::create_dir_all(above).with_context(|| format!("make the directory {}", above.display()))?;
    }
    extract_as(back.saved, &fill.base, target, &options, back.monitor)
        .with_context(|| format!("restore {}", target.display()))
}

/// Says when content comes back where nobody will look for it.
fn warn_of_nameless(back: &Back<'_>, volume: &str) -> Result<()> {
    if plan::is_anonymous(volume) && back.engine.volume(volume)?.is_none() {
        tracing::warn!(
            "the volume {volume} never had a name in the compose files, and its container is gone: it is brought back, but Compose will make another one"
        );
    }
    Ok(())
}

/// Whether a container runs.
fn runs(container: &Container) -> bool {
    container.state != State::Stopped
}
