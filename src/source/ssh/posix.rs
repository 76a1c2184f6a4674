//! Machines without GNU find and tar: what every Linux has (busybox, toybox) must do. Lists by `find`, `xargs` and `stat`, reads by `cat`.
//!
//! No name can be taken for something else. Names travel between NULs, which they cannot contain, and apart from what is said of them: `find`
//! gives them, a shell passes them on, and `stat` prints numbers only, a line for each, in the same order. What a link points to is cut out by
//! its length. Content is followed by a random word that is sent over standard input, and so never seen by others on that machine.
//!
//! With `sudo` these programs are run as root: `find`, `stat`, `readlink` and `cat`, and `ls` where there is no `stat`. Their arguments are the
//! same at each run but for the paths, see [`script`] and [`contents`].

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::listing::Found;
use super::shell::Shell;
use crate::error::Annotate;
use crate::source::{Problem, Severity};

mod complaints;
mod contents;
mod describe;
mod frames;
mod links;
mod prune;
mod records;
mod script;
pub(super) mod sudo;
#[cfg(test)]
mod testing;

pub(super) use contents::{Contents, Wanted};
pub(super) use prune::prunable;

use records::{Fact, Records};

/// What is to be listed.
pub(super) struct Request<'a> {
    /// Absolute paths, none below another one.
    pub(super) roots: &'a [Vec<u8>],
    /// Put before what must see everything: `sudo -n `, or nothing.
    pub(super) prefix: &'a [u8],
    /// Do not cross into other file systems below each root.
    pub(super) one_file_system: bool,
    /// Whether what is in directories below the roots is of no interest.
    pub(super) is_shallow: bool,
    /// Paths that are not looked at there, with all below them: see [`prunable`].
    pub(super) pruned: &'a [Vec<u8>],
    /// Whether the entry at a path, a directory or not, is left out with all below it. Not asked for roots: what was named is wanted.
    pub(super) excludes: &'a dyn Fn(&[u8], bool) -> bool,
}

/// What a listing says besides the entries.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// What could not be listed.
    pub(super) problems: Vec<Problem>,
    /// The device (`st_rdev`) of each entry that is one.
    pub(super) devices: Vec<(Vec<u8>, u64)>,
}

/// Lists everything below the roots: parents before what is in them, else in any order. `/` itself is not given.
///
/// # Errors
///
/// When the connection or `take` fails, the listing breaks off, or a root is not there.
pub(super) fn list(
    shell: &mut dyn Shell,
    request: &Request<'_>,
    take: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<Listed> {
    let mut gathering = Gathering::new(request, take);
    let mut records = Records::default();
    let ended = shell.run(&script::list(request), &mut io::empty(), &mut |bytes| {
        records.push(bytes, &mut |fact| gathering.add(fact))
    })?;
    let told = complaints::problems(&ended.complaints, &request.roots[0]);
    let reasons = || complaints::text(&ended.complaints);
    let Some((find, xargs)) = records.end() else {
        bail!("the listing broke off with status {}{}", ended.status, reasons());
    };
    // 1 says that something could not be listed, and then it was said what.
    ensure!(
        xargs == 0 && (find == 0 || find == 1 && !told.is_empty()),
        "list by `find` and `xargs`: they ended with status {find} and {xargs}{}",
        reasons()
    );
    if let Some((root, _)) = request.roots.iter().zip(&gathering.seen).find(|(_, seen)| !**seen) {
        let root = String::from_utf8_lossy(root);
        let is_refused = !request.prefix.is_empty() && reasons().contains(": sudo: ");
        let hint = if is_refused {
            "Let this user run find, stat, readlink, cat and ls there with sudo, as root and without a password."
                .to_owned()
        } else {
            format!("Is something not mounted? Else take {root} out of `paths`.")
        };
        return Err(anyhow!("{root} is not listed{}", reasons())).hint(hint);
    }
    let told: Vec<Problem> = told.into_iter().filter(|problem| !gathering.is_left_out(problem)).collect();
    gathering.listed.problems.extend(told);
    gathering.follow(shell)?;
    Ok(gathering.listed)
}

/// A listing as far as it is known.
struct Gathering<'a> {
    request: &'a Request<'a>,
    take: &'a mut dyn FnMut(Found) -> Result<()>,
    listed: Listed,
    /// Which of the roots were listed.
    seen: Vec<bool>,
    /// The directory that was left out last, with a slash at its end: `find` goes through it before it goes on.
    left_out: Vec<u8>,
    /// Links of which it is not known yet where they lead.
    unread_links: Vec<Found>,
}

impl<'a> Gathering<'a> {
    fn new(request: &'a Request<'a>, take: &'a mut dyn FnMut(Found) -> Result<()>) -> Self {
        let seen = vec![false; request.roots.len()];
        Self { request, take, listed: Listed::default(), seen, left_out: Vec::new(), unread_links: Vec::new() }
    }

    fn add(&mut self, fact: Fact) -> Result<()> {
        match fact {
            Fact::Entry { found, device } => {
                if !self.is_wanted(&found.path, is_directory(found.stat.mode))? {
                    return Ok(());
                }
                if let Some(device) = device {
                    self.listed.devices.push((found.path.clone(), device));
                }
                (self.take)(found)
            }
            Fact::Link(found) => {
                if self.is_wanted(&found.path, false)? {
                    self.unread_links.push(found);
                }
                Ok(())
            }
            Fact::Failed { path, reason } => {
                if self.request.roots.contains(&path) {
                    bail!("look at {}: {reason}", String::from_utf8_lossy(&path));
                }
                if self.is_wanted(&path, false)? {
                    self.listed.problems.push(problem(&path, &reason));
                }
                Ok(())
            }
        }
    }

    /// Whether an entry is to be given.
    fn is_wanted(&mut self, path: &[u8], is_directory: bool) -> Result<bool> {
        let below = |root: &Vec<u8>| {
            path.strip_prefix(&root[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || root == b"/")
        };
        let at = self.request.roots.iter().position(below);
        let is_plain =
            path == b"/" || path.split(|&byte| byte == b'/').skip(1).all(|name| !matches!(name, b"" | b"." | b".."));
        let Some(root) = at.filter(|_| is_plain && path[0] == b'/') else {
            bail!("the listing names {}, which nobody asked for", String::from_utf8_lossy(path));
        };
        if self.request.roots[root] == path {
            self.seen[root] = true;
            return Ok(path != b"/");
        }
        if !self.left_out.is_empty() && path.starts_with(&self.left_out) {
            return Ok(false);
        }
        let is_left_out = (self.request.excludes)(path, is_directory);
        if is_left_out && is_directory {
            self.left_out = [path, b"/"].concat();
        }
        Ok(!is_left_out)
    }

    /// Whether a problem is one of something that is left out: `find` went through it all the same.
    fn is_left_out(&self, problem: &Problem) -> bool {
        let path = problem.path.as_os_str().as_bytes();
        let is_root = |path: &[u8]| self.request.roots.iter().any(|root| root == path);
        let ends = (1..=path.len()).rev().filter(|&end| end == path.len() || path[end] == b'/');
        ends.map(|end| &path[..end]).take_while(|path| !is_root(path)).any(|path| (self.request.excludes)(path, true))
    }

    /// Asks where the links lead that `stat` did not tell of in a way that is beyond doubt.
    fn follow(&mut self, shell: &mut dyn Shell) -> Result<()> {
        let links = std::mem::take(&mut self.unread_links);
        for (mut link, target) in links::read(shell, self.request.prefix, links).context("read where links lead")? {
            match target {
                Ok(target) => {
                    link.target = target;
                    (self.take)(link)?;
                }
                Err(reason) => self.listed.problems.push(problem(&link.path, &reason)),
            }
        }
        Ok(())
    }
}

fn is_directory(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}

/// What a program's complaint about one path means. What vanished in between is only worth a warning.
fn problem(path: &[u8], reason: &str) -> Problem {
    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
    if complaints::kind(reason) == io::ErrorKind::NotFound {
        Problem::vanished(path)
    } else {
        Problem { path, error: reason.to_owned(), severity: Severity::Unread }
    }
}

#[cfg(test)]
mod tests;
