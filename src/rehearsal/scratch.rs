//! The folder into which files are restored for a moment. It is for its owner alone, and goes however the run ends; what a run that was killed has
//! left is removed by the next one.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cleanup::Guard;
use crate::error::Annotate;

/// What the name of every such folder begins with.
const NAME: &str = "holdall-rehearsal-";

/// The folder; removed when dropped, and on signals.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _guard: Guard,
}

impl Scratch {
    /// Makes one below `parent`. The caller sees to it that no other run of this user has one there.
    ///
    /// # Errors
    ///
    /// When nothing can be written there.
    pub fn below(parent: &Path) -> Result<Self> {
        sweep(parent);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent).and_then(|()| {
            let mut builder = tempfile::Builder::new();
            builder.prefix(NAME).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)
        });
        let path = made
            .with_context(|| format!("make a folder below {}", parent.display()))
            .hint("Name a directory that you can write with --scratch DIR.")?
            .keep();
        let doomed = path.clone();
        Ok(Self { path, _guard: Guard::new(move |_| remove(&doomed)) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much can be written there, in bytes.
    ///
    /// # Errors
    ///
    /// When the file system does not say.
    pub fn room(&self) -> Result<u64> {
        let system = rustix::fs::statvfs(&self.path)
            .with_context(|| format!("ask how much is free in {}", self.path.display()))?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

/// On a signal files may still be written there meanwhile, so once may not be enough.
fn remove(path: &Path) {
    const TRIES: usize = 5;
    let is_gone = |_: &usize| !matches!(fs::remove_dir_all(path), Err(error) if error.kind() != ErrorKind::NotFound);
    let _ = (0..TRIES).find(is_gone);
}

/// Removes what runs of this user have left that were killed. What cannot be removed is in nobody's way.
fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes())
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own);
        if is_ours {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_goes_with_its_guard_and_what_a_kill_left_with_the_next_one() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(format!("{NAME}killed"));
        fs::create_dir_all(left.join("0")).unwrap();
        fs::write(parent.path().join("other"), "").unwrap();
        let scratch = Scratch::below(parent.path()).unwrap();
        assert!(!left.exists() && scratch.path().is_dir() && scratch.room().unwrap() > 0);
        assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(scratch.path().join("file"), "x").unwrap();
        drop(scratch);
        let names: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["other"]);
    }
}
