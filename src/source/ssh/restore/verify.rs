//! Reads back what was restored, and compares it with the store.
//!
//! The names go into the machine's tar as the tree is walked; the archive comes back beside it, and is compared in a second walk: it has the
//! same files in the same order, but for those that could not be read.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use super::choice::belongs;
use super::complaints::Complaints;
use super::{Names, Restore, is_broken_pipe};
use crate::archive::{Archive, Candidate, Sink};
use crate::error::chain;
use crate::extract::Extracted;
use crate::monitor::{Monitor, Task, Unit};
use crate::source::ssh::commands;
use crate::source::ssh::pipe::{Input, pipe};
use crate::source::ssh::shell::Shell;
use crate::source::stream::{Kind, Member, Members};
use crate::source::{Content, Problem, Severity};
use crate::store::{Node, SavedTree};

/// Compares all files that were restored. What is not as in the point is added to `done`.
pub(super) fn verify(
    restore: &Restore<'_>,
    node: &Node,
    shell: &mut dyn Shell,
    monitor: &dyn Monitor,
    done: &mut Extracted,
) -> Result<()> {
    let task = monitor.start(&restore.saved.point().item, "compare", Unit::Bytes);
    let failed = done.problems.iter().filter(|problem| problem.severity == Severity::Unread);
    let files =
        Files { restore, names: Names::new(restore)?, failed: failed.map(|problem| problem.path.clone()).collect() };
    let (input, mut names) = pipe();
    let (mut output, archive) = pipe();
    let script = commands::script(restore.reader);
    let compared = thread::scope(|scope| {
        let lister = scope.spawn(|| -> Result<()> {
            let mut list = List { files: &files, input };
            restore.add_to(Archive::new(restore.saved, io::sink(), &mut list), node)?;
            Ok(list.input.finish()?)
        });
        let comparer = scope.spawn(|| {
            let members = Members::read(Box::new(archive))?;
            let mut compare = Compare { files: &files, members, next: None, is_end: false, problems: Vec::new(), task };
            restore.add_to(Archive::new(restore.saved, io::sink(), &mut compare), node)?;
            compare.finish()
        });
        let ended = shell.run(&script, &mut names, &mut |bytes| Ok(output.write_all(bytes)?));
        drop(names);
        // What broke off is not taken for whole.
        let closed = match ended {
            Ok(_) => output.finish(),
            Err(_) => {
                drop(output);
                Ok(())
            }
        };
        let listed = lister.join().unwrap_or_else(|_| Err(anyhow!("the thread that names the files panicked")));
        let compared = comparer.join().unwrap_or_else(|_| Err(anyhow!("the thread that compares panicked")));
        let of_whole = |ended: &super::Ended| {
            let complaints = Complaints::read(&ended.complaints);
            complaints.of_the_whole(ended.status).filter(|_| ended.status != 0)
        };
        match (ended, listed, compared) {
            (_, Err(error), _) if !is_broken_pipe(&error) => Err(error),
            (Err(error), _, Err(compared)) if is_broken_pipe(&error) => Err(compared),
            (Err(error), ..) => Err(error),
            (Ok(ended), _, Err(error)) => match of_whole(&ended) {
                Some(why) => bail!("tar on the machine could not do it: {why}"),
                None => Err(error),
            },
            (Ok(_), _, Ok(problems)) => closed.map(|()| problems).map_err(Into::into),
        }
    })
    .context("read back what was restored")?;
    for problem in compared {
        done.add(problem);
    }
    Ok(())
}

/// Which files are read back.
struct Files<'a> {
    restore: &'a Restore<'a>,
    names: Names,
    /// What is not as in the point, as is known already.
    failed: HashSet<PathBuf>,
}

impl Files<'_> {
    fn are(&self, entry: &Candidate<'_>) -> bool {
        let path = self.names.path(entry.name);
        entry.node.is_file() && belongs(self.restore, &path) && !self.failed.contains(&path)
    }
}

/// Writes their names.
struct List<'a> {
    files: &'a Files<'a>,
    input: Input,
}

impl Sink for List<'_> {
    fn wants(&mut self, entry: &Candidate<'_>) -> Result<bool> {
        if self.files.are(entry) {
            self.input.write_all(b"/")?;
            self.input.write_all(entry.name)?;
            self.input.write_all(&[0])?;
        }
        Ok(false)
    }

    // Told when it was restored.
    fn leave_out(&mut self, _: &[u8], _: &str) {}
}

/// Compares them with what comes back.
struct Compare<'a> {
    files: &'a Files<'a>,
    members: Members,
    /// One that was read ahead.
    next: Option<Member>,
    is_end: bool,
    problems: Vec<Problem>,
    task: Arc<dyn Task>,
}

impl Compare<'_> {
    fn finish(mut self) -> Result<Vec<Problem>> {
        if self.look()?.is_some() {
            bail!("tar on the machine sends what was not asked for");
        }
        self.task.finish();
        Ok(self.problems)
    }

    /// What comes next.
    fn look(&mut self) -> Result<Option<&Member>> {
        if self.next.is_none() && !self.is_end {
            self.next = self.members.next()?;
            self.is_end = self.next.is_none();
        }
        Ok(self.next.as_ref())
    }
}

impl Sink for Compare<'_> {
    fn wants(&mut self, entry: &Candidate<'_>) -> Result<bool> {
        if !self.files.are(entry) {
            return Ok(false);
        }
        let path = [b"/", entry.name].concat();
        let is_there = self.look()?.is_some_and(|member| member.path == path);
        let member = if is_there { self.next.take() } else { None };
        let different = match member {
            None => Some("could not be read back".to_owned()),
            Some(member) => compare(self.files.restore.saved, entry, member)?,
        };
        if let Some(error) = different {
            let path = self.files.names.path(entry.name);
            self.problems.push(Problem { path, error, severity: Severity::Unread });
        }
        self.task.advance(entry.size);
        self.task.advance_files(1);
        Ok(false)
    }

    fn leave_out(&mut self, _: &[u8], _: &str) {}
}

/// What is different; `None`: nothing.
fn compare(saved: &SavedTree, entry: &Candidate<'_>, member: Member) -> Result<Option<String>> {
    let Some(Content::Read(opener)) = member.content.filter(|_| member.kind == Kind::File) else {
        return Ok(Some("was read back as something that is no file".to_owned()));
    };
    if member.size != entry.size {
        return Ok(Some(format!("was read back with {} bytes, the point has {}", member.size, entry.size)));
    }
    let mut content = opener.open()?;
    let mut buffer = Vec::new();
    for piece in saved.read(entry.node)? {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Ok(Some(format!("compare it with the store: {}", chain(&error)))),
        };
        buffer.resize(piece.len(), 0);
        content.read_exact(&mut buffer)?;
        if buffer != piece {
            return Ok(Some("was read back with other content than the point has".to_owned()));
        }
    }
    Ok(None)
}
