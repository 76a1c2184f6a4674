//! `[files.NAME]`: directories and files of this machine.
//!
//! One item, with the original absolute paths. Walking is in [`walk`], making entries of what it comes by in [`seen`], on threads that [`ahead`]
//! keeps; what an entry looks like in [`inode`].
//! This file says what belongs to the source and how it is put back.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, statat};

use super::{Entries, Item, OpenOptions, Readiness, Source, Tree, outermost};
use crate::config::FilesConfig;
use crate::error::Annotate;
use crate::extract::{self, Extracted, Layout, RestoreOptions};
use crate::monitor::Monitor;
use crate::store::SavedTree;

mod ahead;
mod descriptors;
mod inode;
mod listing;
mod live;
mod part;
mod rules;
mod seen;
mod walk;
mod xattrs;

pub(crate) use part::Local;

use live::Live;
use rules::Rules;
use walk::Walk;

/// The driver.
#[derive(Debug)]
pub struct Files {
    id: String,
    roots: Vec<PathBuf>,
    rules: std::sync::Arc<Rules>,
}

impl Files {
    /// The source of this configuration. What is at the paths `never` is not part of it: the store itself, and what opens it.
    pub fn new(config: &FilesConfig, never: &[PathBuf]) -> Result<Self> {
        let id = format!("files.{}", config.common.name);
        let rules = Rules::new(&config.leave_out, never).with_context(|| format!("understand the excludes of {id}"))?;
        Ok(Self { id, roots: outermost(&config.paths), rules: rules.into() })
    }

    /// Every path must be there: a missing one is a disk that is not mounted or a name that is mistyped, and the rest would make a
    /// point that looks whole.
    fn look_at_roots(&self) -> Result<()> {
        for root in &self.roots {
            statat(CWD, root, AtFlags::SYMLINK_NOFOLLOW).with_context(|| format!("look at {}", root.display())).hint(
                format!("Is something not mounted? Else take {} out of `paths` of {}.", root.display(), self.id),
            )?;
        }
        Ok(())
    }
}

impl Source for Files {
    fn preflight(&self) -> Result<Readiness> {
        self.look_at_roots()?;
        Ok(Readiness::Ready)
    }

    fn items(&self) -> Result<Vec<Item>> {
        Ok(vec![Item { id: self.id.clone(), source: self.id.clone(), paths: self.roots.clone() }])
    }

    fn open(&self, _item: &Item, _options: &OpenOptions<'_>, _monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
        self.look_at_roots()?;
        Ok(Box::new(FilesTree { roots: self.roots.clone(), rules: self.rules.clone() }))
    }

    fn overwritten(
        &self,
        _item: &Item,
        saved: &SavedTree,
        path: Option<&Path>,
        _opening: &OpenOptions<'_>,
        _monitor: &dyn Monitor,
    ) -> Result<Option<Box<dyn Tree>>> {
        let live = Live::new(saved.clone(), path.unwrap_or(Path::new("/")));
        Ok(live.is_anything_there()?.then(|| Box::new(live) as Box<dyn Tree>))
    }

    fn restore(
        &self,
        _item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        if saved.roots().iter().any(|root| !root.is_absolute()) {
            bail!("the paths of this point are not absolute, so there is no place they came from");
        }
        extract::extract(saved, Path::new("/"), Layout::WholePath, options, monitor)
    }
}

/// Files are not held still: what changes while it is read is told entry by entry.
#[derive(Debug)]
struct FilesTree {
    roots: Vec<PathBuf>,
    rules: std::sync::Arc<Rules>,
}

impl Tree for FilesTree {
    fn entries(&self) -> Entries {
        let (roots, rules) = (self.roots.clone(), self.rules.clone());
        let first = roots.first().cloned().unwrap_or_default();
        ahead::ahead(first, roots, rules)
    }

    fn size(&self) -> Option<u64> {
        Some(Walk::new(self.roots.clone(), self.rules.clone()).size())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
