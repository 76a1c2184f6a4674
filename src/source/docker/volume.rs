//! The content of volumes and of what is mounted from the engine's machine.
//!
//! A volume is read where it lies when the engine is this machine's: then files that have not changed are not even opened. Otherwise the
//! engine makes an archive of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::archive::Archived;
use super::engine::{Engine, Volume};
use super::helper::Mounted;
use crate::config::{LeaveOut, ReadFrom};
use crate::error::Annotate;
use crate::source::Failure;
use crate::source::files::Local;
use crate::source::parts::{Missing, Parts, Text};
use crate::source::{Problem, Severity};

/// How volumes are read.
pub(crate) struct Reader<'r> {
    pub(crate) engine: &'r Engine,
    /// The source that it is for.
    pub(crate) source: &'r str,
    pub(crate) from: ReadFrom,
    /// Paths of this machine that no backup may contain.
    pub(crate) never: &'r [PathBuf],
    pub(crate) is_dry_run: bool,
    /// Who hears when something is not whole.
    pub(crate) failure: &'r Failure,
}

impl Reader<'_> {
    /// Puts a volume into a tree: what the engine says of it at `volume.json` below `at`, and what is in it at `data`.
    ///
    /// # Errors
    ///
    /// When it cannot be read as it should be.
    pub(crate) fn put(&self, volume: &Volume, at: &Path, parts: &mut Parts) -> Result<()> {
        parts.put(at.join("volume.json"), Text::json(&volume.inspect));
        let data = at.join("data");
        let direct = match self.from {
            ReadFrom::Api => Err(anyhow!("`read` says so")),
            _ => self.is_here(volume).and_then(|()| self.local(&volume.mountpoint)),
        };
        match direct {
            Ok(local) => parts.put(data, local),
            Err(error) if self.from == ReadFrom::Direct => {
                return Err(error)
                    .with_context(|| format!("read the volume {} at {}", volume.name, volume.mountpoint.display()))
                    .hint("With read = \"auto\" it is read through the engine when it cannot be read there.");
            }
            Err(why) => {
                tracing::debug!("the volume {} is read through the engine: {why:#}", volume.name);
                self.put_archive(Mounted::Volume(volume.clone()), &data, &volume.mountpoint, parts)?;
            }
        }
        Ok(())
    }

    /// Puts what a path of the engine's machine has into a tree. What cannot be read is a problem of the tree.
    pub(crate) fn put_bind(&self, source: &Path, at: &Path, parts: &mut Parts) {
        if is_the_machine(source) {
            let error = "is a part of the machine itself, and is not saved with a container".to_owned();
            parts.put(at, Missing(Problem { path: source.to_path_buf(), error, severity: Severity::Warning }));
            return;
        }
        let read = match self.from {
            ReadFrom::Api => self.put_archive(Mounted::Bind(source.to_path_buf()), at, source, parts),
            ReadFrom::Direct => self.local(source).map(|local| parts.put(at, local)),
            ReadFrom::Auto => match self.is_own().and_then(|()| self.local(source)) {
                Ok(local) => {
                    parts.put(at, local);
                    Ok(())
                }
                Err(_) => self.put_archive(Mounted::Bind(source.to_path_buf()), at, source, parts),
            },
        };
        if let Err(error) = read {
            let error = crate::error::chain(&error);
            parts.put(at, Missing(Problem { path: source.to_path_buf(), error, severity: Severity::Unread }));
        }
    }

    /// Puts what the engine gives of something into a tree; `shown` is where it is on the engine's machine.
    fn put_archive(&self, mounted: Mounted, at: &Path, shown: &Path, parts: &mut Parts) -> Result<()> {
        if self.is_dry_run {
            let error = "is not read in a dry run: the engine would need a helper container for it".to_owned();
            parts.put(at, Missing(Problem { path: shown.to_path_buf(), error, severity: Severity::Warning }));
            return Ok(());
        }
        parts.put(at, Archived::new(self.engine, self.source, mounted, self.failure)?);
        Ok(())
    }

    fn local(&self, path: &Path) -> Result<Local> {
        Local::new(path, &LeaveOut::default(), self.never)
    }

    /// Whether the engine is this machine's, and its owners have the numbers that they have here.
    pub(crate) fn is_own(&self) -> Result<()> {
        if !self.engine.is_here()? {
            return Err(anyhow!("the engine is not this machine's"));
        }
        if self.engine.info()?.shifts_ids {
            return Err(anyhow!("its owners have other numbers on this machine than in containers"));
        }
        Ok(())
    }

    /// Whether what lies at the mountpoint of a volume is the volume: the path is that of the engine's machine, which need not be this one, and some
    /// drivers mount something there only while it is used.
    pub(crate) fn is_here(&self, volume: &Volume) -> Result<()> {
        self.is_own()?;
        let mounts_something =
            volume.driver != "local" || ["type", "device"].iter().any(|o| volume.options.contains_key(*o));
        if mounts_something && !is_mountpoint(&volume.mountpoint)? {
            return Err(anyhow!("it is not mounted now"));
        }
        Ok(())
    }
}

/// Whether a path leads to what is no data of a container: all of the machine, or what its kernel makes up.
fn is_the_machine(path: &Path) -> bool {
    path == Path::new("/") || ["/proc", "/sys", "/dev"].iter().any(|made_up| path.starts_with(made_up))
}

/// Whether something is mounted at a path of this machine (`proc(5)`, `/proc/pid/mountinfo`: the fifth field, with octal escapes).
fn is_mountpoint(path: &Path) -> Result<bool> {
    let path = fs::canonicalize(path)?;
    let table = fs::read_to_string("/proc/self/mountinfo").context("read the table of mounts")?;
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|c| if matches!(c, ' ' | '\t' | '\n' | '\\') { format!("\\{:03o}", u32::from(c)) } else { c.to_string() })
        .collect();
    Ok(table.lines().filter_map(|line| line.split(' ').nth(4)).any(|at| at == escaped))
}
