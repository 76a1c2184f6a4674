//! Writes an export into a directory of this machine: for who has no store, or wants what a server has.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use crate::cleanup::Guard;
use crate::error::Annotate;
use crate::monitor::Task;
use crate::source::{Content, Tree};

/// How many bytes are written at once.
const PIECE: usize = 1 << 20;

/// Writes all files of a tree that has no directories, and answers how many bytes that were. Every file gets its name when it is whole.
///
/// # Errors
///
/// When one is there already and may not be replaced, cannot be read to its end, or there is no room.
pub fn write(tree: Box<dyn Tree>, directory: &Path, overwrite: bool, task: &Arc<dyn Task>) -> Result<u64> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let mut bytes = 0;
    let mut whole = Vec::new();
    for entry in tree.entries() {
        let entry = entry.map_err(|problem| anyhow!("{}: {}", problem.path.display(), problem.error))?;
        let Some(name) = entry.path.file_name() else { continue };
        let file = directory.join(name);
        let doing = || format!("write {}", file.display());
        if !overwrite && file.symlink_metadata().is_ok() {
            return Err(anyhow!("there is such a file already"))
                .with_context(doing)
                .hint("With --overwrite it is replaced.");
        }
        let part = directory.join(format!("{}.part", name.to_string_lossy()));
        let guard = Guard::new({
            let part = part.clone();
            move |_| drop(fs::remove_file(part))
        });
        if let Some(content) = entry.content {
            bytes += copy(content, &part, task).with_context(doing)?;
        }
        whole.push((part, file, guard));
    }
    tree.finish()?;
    for (part, file, guard) in whole {
        fs::rename(&part, &file).with_context(|| format!("write {}", file.display()))?;
        guard.disarm();
    }
    crate::durable::sync_directory(directory).with_context(|| format!("write {}", directory.display()))?;
    Ok(bytes)
}

fn copy(content: Content, part: &PathBuf, task: &Arc<dyn Task>) -> Result<u64> {
    let (Content::Read(opener) | Content::Unsized(opener)) = content else {
        return Err(anyhow!("it is not to be read"));
    };
    let mut options = OpenOptions::new();
    // What is left of a restore that was killed is replaced, and a link that was put there is not followed.
    drop(fs::remove_file(part));
    let mut file = options.write(true).create_new(true).mode(0o600).open(part)?;
    let mut from = opener.open()?;
    let (mut piece, mut bytes) = (vec![0; PIECE], 0);
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        file.write_all(&piece[..count])?;
        bytes += count as u64;
        task.advance(count as u64);
    }
    file.sync_all()?;
    Ok(bytes)
}
