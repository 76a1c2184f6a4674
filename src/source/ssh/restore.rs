//! Puts a saved tree, or a part of it, onto a machine: streamed as an archive into the machine's own tar.
//!
//! What is sent, and what of it is told and counted, is decided in [`choice`]; what tar complains of becomes problems in [`complaints`]; and what was
//! restored can be read back ([`verify`]). Nothing above what was backed up is changed, and nothing is written outside of the target: the
//! archive has plain names only, and tar replaces links where the point has directories. That somebody on the machine exchanges directories
//! for links *while* tar works is not prevented.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use super::commands::{self, Argv};
use super::connection::Ended;
use super::listing::Stat;
use super::pipe;
use super::shell::Shell;
use crate::archive::{self, Archive};
use crate::error::{Annotate, ExitCode};
use crate::extract::{self, Extracted, Layout, RestoreOptions};
use crate::monitor::{Monitor, Unit};
use crate::store::{Node, SavedTree};

mod choice;
mod complaints;
#[cfg(test)]
mod tests;
mod verify;

use choice::Choice;

/// What stands at a path of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Missing,
    There(Stat),
    /// Nobody looked.
    Unknown,
}

/// What is to be restored, and where to.
#[derive(Clone, Copy)]
pub(super) struct Restore<'a> {
    pub(super) saved: &'a SavedTree,
    /// `/`: to where it came from. Else a directory of the machine, absolute and made of plain names; it need not be there.
    pub(super) target: &'a Path,
    pub(super) layout: Layout,
    pub(super) options: &'a RestoreOptions,
    /// What of the point did not come from files of the machine, and is not put back in place.
    pub(super) made: &'a [PathBuf],
    /// What reads files there, and what unpacks an archive.
    pub(super) reader: &'a Argv,
    pub(super) writer: &'a Argv,
    /// Whether tar runs there as root, who alone can give files to their owners.
    pub(super) is_root: bool,
    /// Whether nothing is in the target.
    pub(super) is_empty: bool,
    /// What stands at an absolute path of the machine. To be told of directories above what was backed up as well: of one of which it is unknown
    /// whether it is there, neither owner nor mode are restored.
    pub(super) standing: &'a (dyn Fn(&[u8]) -> Standing + Sync),
}

impl Restore<'_> {
    /// Restores; in a dry run only tells what it would do.
    ///
    /// # Errors
    ///
    /// When the wanted path is not in the point, or may not go there; when the target is not empty and may not be overwritten; when the
    /// store, the connection or tar as a whole fails. What goes wrong with single entries is in [`Extracted::problems`].
    pub(super) fn run(&self, shell: &mut dyn Shell, monitor: &dyn Monitor) -> Result<Extracted> {
        let wanted = self.wanted();
        let node = extract::find(self.saved, wanted)?;
        self.check(wanted)?;
        let task = monitor.start(&self.saved.point().item, "restore", Unit::Bytes);
        if let Some(total) = extract::total(self.saved, wanted)? {
            task.expect(total);
        }
        let mut choice = Choice::new(self, &*task)?;
        if self.options.dry_run {
            self.add_to(Archive::new(self.saved, io::sink(), &mut choice), &node)?;
            task.finish();
            return Ok(choice.done());
        }
        let ended = self.send(&mut choice, &node, shell);
        task.finish();
        choice.take_complaints(&ended?)?;
        let mut done = choice.done();
        if self.options.verify {
            verify::verify(self, &node, shell, monitor, &mut done)?;
        }
        Ok(done)
    }

    fn wanted(&self) -> &Path {
        self.options.path.as_deref().unwrap_or(Path::new("/"))
    }

    fn is_in_place(&self) -> bool {
        self.target == Path::new("/")
    }

    fn check(&self, wanted: &Path) -> Result<()> {
        if self.is_in_place() {
            if self.saved.roots().iter().any(|root| !root.is_absolute()) {
                bail!("the paths of this point are not absolute, so there is no place they came from");
            }
            if self.made.iter().any(|made| wanted.starts_with(made)) {
                return Err(anyhow!("{} was not a file of the machine, and has no place there", wanted.display()))
                    .hint("Restore it with --to.")
                    .exit(ExitCode::Usage);
            }
            return Ok(());
        }
        if !self.is_empty && !self.options.overwrite {
            return Err(anyhow!("the directory {} of the machine is not empty", self.target.display()))
                .hint("Name a new directory, or add --overwrite: what is there and not in the point is kept.");
        }
        Ok(())
    }

    /// Streams the archive into tar.
    fn send(&self, choice: &mut Choice<'_>, node: &Node, shell: &mut dyn Shell) -> Result<Ended> {
        let (input, mut output) = pipe::pipe();
        let script = commands::script(self.writer);
        thread::scope(|scope| {
            let writer = scope.spawn(move || -> Result<()> {
                let mut input = input;
                let mut archive = Archive::new(self.saved, &mut input, choice);
                if !self.is_root {
                    archive = archive.without_set_id();
                }
                self.add_to(archive, node)?;
                Ok(input.finish()?)
            });
            // What tar says on standard output is nothing to us.
            let ended = shell.run(&script, &mut output, &mut |_| Ok(()));
            // Whoever still writes finds out that nobody reads.
            drop(output);
            let written = writer.join().unwrap_or_else(|_| Err(anyhow!("the thread that writes the archive panicked")));
            match (ended, written) {
                (Ok(ended), Err(error)) if is_broken_pipe(&error) => Ok(ended),
                (Err(error), Err(broken)) if is_broken_pipe(&broken) => Err(error),
                (_, Err(error)) => Err(error),
                (ended, Ok(())) => ended,
            }
        })
        .with_context(|| format!("restore to {}", self.target.display()))
    }

    /// Adds what is wanted to an archive, with its end.
    fn add_to<W: io::Write>(&self, mut archive: Archive<'_, W>, node: &Node) -> Result<()> {
        let names = Names::new(self)?;
        if self.layout == Layout::WholePath {
            for above in names.above(self) {
                archive.add_directory(&names.name(&above)?, &extract::find(self.saved, &above)?)?;
            }
        }
        match self.layout {
            Layout::Contents if node.is_dir() => archive.add_content(names.prefix.clone(), node)?,
            _ => {
                let name = names.name(self.wanted())?;
                // The root itself is where the archive begins.
                let is_target = name == names.prefix;
                if is_target { archive.add_content(name, node)? } else { archive.add(name, node)? }
            }
        }
        Ok(archive.finish()?)
    }
}

/// How paths in the point and names in the archive belong together.
#[derive(Debug, Clone)]
struct Names {
    /// The target, as the beginning of names; empty: the root.
    prefix: Vec<u8>,
    /// How many bytes of a path are not in the name, without a slash at their end.
    base: Vec<u8>,
}

impl Names {
    fn new(restore: &Restore<'_>) -> Result<Self> {
        let wanted = restore.wanted();
        let base = match restore.layout {
            Layout::WholePath => Vec::new(),
            Layout::Contents => {
                let is_dir = extract::find(restore.saved, wanted)?.is_dir();
                let base = if is_dir { wanted } else { wanted.parent().unwrap_or(wanted) };
                archive::name(base)?
            }
        };
        Ok(Self { prefix: archive::name(restore.target)?, base })
    }

    /// The name of a path of the point.
    fn name(&self, path: &Path) -> Result<Vec<u8>> {
        let path = archive::name(path)?;
        let below = path.strip_prefix(&*self.base).unwrap_or(&path);
        Ok(joined(&self.prefix, below))
    }

    /// The path in the point of something with this name.
    fn path(&self, name: &[u8]) -> PathBuf {
        let below = name.strip_prefix(&*self.prefix).unwrap_or(name);
        let path = joined(&self.base, below);
        PathBuf::from(os([b"/", &*path].concat()))
    }

    /// The directories of the point above what is wanted, but the root.
    fn above(&self, restore: &Restore<'_>) -> Vec<PathBuf> {
        let mut above: Vec<PathBuf> = restore.wanted().ancestors().skip(1).map(Path::to_path_buf).collect();
        above.retain(|path| path.file_name().is_some());
        above.reverse();
        above
    }
}

/// Two parts of a path, either of which may be empty, with one slash between them.
fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    let second = second.strip_prefix(b"/").unwrap_or(second);
    let slash: &[u8] = if first.is_empty() || second.is_empty() { b"" } else { b"/" };
    [first, slash, second].concat()
}

fn os(bytes: Vec<u8>) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::BrokenPipe)
}
