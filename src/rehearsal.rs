//! Rehearses a restore: a few files of a point, chosen at random, are restored into a scratch folder, read back from the disk, and compared with what
//! the store says they are.
//!
//! They go the way of every restore ([`crate::extract`]), one at a time, so that no more room is needed than the largest of them takes. The comparison
//! ([`compare`]) knows nothing of how they were written: it computes the ids of their pieces again. Which files are tried is decided in
//! [`choice`]; the scratch folder goes however the run ends.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::error::{Annotate, cause, chain};
use crate::extract::{Layout, RestoreOptions, extract};
use crate::monitor::{Monitor, Silent, Unit};
use crate::output::printable;
use crate::quantity::show_bytes;
use crate::store::{SavedNode, SavedTree};

mod choice;
mod compare;
mod scratch;

pub use choice::Draw;
pub use scratch::Scratch;

use choice::Choice;

/// What stays free on the disk of the scratch folder, in bytes.
const RESERVE: u64 = 32 << 20;

/// How many things that cannot be looked through are named.
const ERRORS: usize = 100;

/// What to do when there is no room.
const ROOM: &str = "Make room there, or name a directory on a larger disk with --scratch DIR.";

/// What came of the rehearsal of one point.
#[derive(Debug, Default)]
pub struct Rehearsed {
    /// The files that were restored, or were to be.
    pub tried: Vec<Tried>,
    /// How many files with content the point has.
    pub files: u64,
    /// How many of them there is no room for.
    pub too_large: u64,
    /// What of the point could not be looked through.
    pub errors: Vec<String>,
}

/// One file that was restored, or was to be.
#[derive(Debug)]
pub struct Tried {
    /// Where it is in the point.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is not as in the point; `None`: it came back as it was.
    pub fault: Option<String>,
}

impl Rehearsed {
    /// Whether everything that was tried came back as it was.
    pub fn is_well(&self) -> bool {
        self.errors.is_empty() && self.tried.iter().all(|tried| tried.fault.is_none())
    }
}

/// Restores `count` files of a point into `scratch`, or all if it has fewer, and compares them.
///
/// # Errors
///
/// When there is no room for any file of the point, or the disk gets full. What is not as it should be is in the answer.
pub fn rehearse(
    saved: &SavedTree,
    count: usize,
    draw: &Draw,
    scratch: &Scratch,
    monitor: &dyn Monitor,
) -> Result<Rehearsed> {
    let room = scratch.room()?.saturating_sub(RESERVE);
    let mut rehearsed = Rehearsed::default();
    let mut choice = Choice::new(count, draw);
    let (mut smallest_too_large, mut unread) = (u64::MAX, 0);
    for found in saved.walk(Path::new("/"))? {
        match found.and_then(|found| Ok((size(saved, &found)?, found))) {
            Ok((0, _)) => {}
            Ok((size, found)) => {
                rehearsed.files += 1;
                if size > room {
                    rehearsed.too_large += 1;
                    smallest_too_large = smallest_too_large.min(size);
                } else {
                    choice.offer(size, found);
                }
            }
            Err(error) => {
                unread += 1;
                if unread <= ERRORS {
                    rehearsed.errors.push(chain(&error));
                }
            }
        }
    }
    if unread > ERRORS {
        rehearsed.errors.push(format!("and {} more", unread - ERRORS));
    }
    if rehearsed.files > 0 && rehearsed.too_large == rehearsed.files {
        let (needed, free) = (show_bytes(smallest_too_large.saturating_add(RESERVE)), show_bytes(room + RESERVE));
        return Err(anyhow!(
            "no file of {} fits into {}: {free} are free, {needed} are needed",
            saved.point().item,
            scratch.path().display()
        ))
        .hint(ROOM);
    }
    let chosen = choice.finish();
    let task = monitor.start(&saved.point().item, "rehearse", Unit::Bytes);
    task.expect(chosen.iter().map(|(size, _)| *size).fold(0, u64::saturating_add));
    for (number, (bytes, file)) in chosen.into_iter().enumerate() {
        let fault = try_file(saved, &file, &scratch.path().join(number.to_string()));
        let fault = match fault {
            Err(error) if is_full(&error) => {
                return Err(error).context("the disk of the scratch folder is full").hint(ROOM);
            }
            Err(error) => Some(chain(&error)),
            Ok(fault) => fault,
        };
        task.advance(bytes);
        task.advance_files(1);
        rehearsed.tried.push(Tried { path: file.path, bytes, fault });
    }
    task.finish();
    Ok(rehearsed)
}

/// The size of a file's content in the store; 0 for everything that is no file. One of a device may differ from what the device said.
fn size(saved: &SavedTree, found: &SavedNode) -> Result<u64> {
    if !found.node.is_file() {
        return Ok(0);
    }
    let pieces = saved.pieces(&found.node).with_context(|| format!("look up {}", printable(found.path.as_os_str())))?;
    Ok(pieces.iter().map(|(_, size)| *size).fold(0, u64::saturating_add))
}

/// Restores one file below `directory`, and says what is not as in the point.
fn try_file(saved: &SavedTree, file: &SavedNode, directory: &Path) -> Result<Option<String>> {
    let options = RestoreOptions { path: Some(file.path.clone()), ..RestoreOptions::default() };
    let extracted = extract(saved, directory, Layout::Contents, &options, &Silent)?;
    let restored = directory.join(file.node.name());
    let fault = if fs::symlink_metadata(&restored).is_ok_and(|found| found.is_file()) {
        compare::fault(&saved.pieces(&file.node)?, &file.node, &restored)?
    } else {
        let why = extracted.problems.first().map_or("it is not there", |problem| problem.error.as_str());
        Some(format!("it could not be restored: {}", printable(OsStr::new(why))))
    };
    fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    Ok(fault)
}

fn is_full(error: &anyhow::Error) -> bool {
    cause::<io::Error>(error)
        .is_some_and(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}
