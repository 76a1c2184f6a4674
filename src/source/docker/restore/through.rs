//! Puts a part of a point into something that is not on this machine: as an archive that the engine unpacks in a helper container.
//!
//! What stands there is read first, so that only what differs is sent, and nothing is put where a directory stands: engines would remove it. The archive has plain names
//! only, and the engine unpacks it inside of the helper, which has nothing but what is restored.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Back;
use super::plan::{Fill, Place};
use crate::archive::{Archive, Candidate, Sink};
use crate::error::{Annotate, chain};
use crate::extract::links::{Key, Role};
use crate::extract::{self, Action, Change, Extracted, RestoreOptions, name};
use crate::monitor::{Task, Unit};
use crate::source::Failure;
use crate::source::docker::archive::Archived;
use crate::source::docker::helper::{DATA, Helper, Mounted};
use crate::source::parts::Part;
use crate::source::{Content, Entry, Problem, Severity};
use crate::store::{Metadata, Node, NodeType};

/// What stands at a path.
struct Standing {
    node_type: NodeType,
    meta: Metadata,
}

impl Back<'_> {
    /// Fills something through the engine. `mounted` is what, and whether nothing was there before; `None` in a dry run when it is not there.
    pub(super) fn through(
        &self,
        fill: &Fill,
        options: &RestoreOptions,
        mounted: Option<(&Mounted, bool)>,
    ) -> Result<Extracted> {
        let wanted = fill.part.as_deref().unwrap_or(&fill.base);
        let node = extract::find(self.saved, wanted)?;
        let standing = match mounted {
            Some((mounted, false)) => self.standing(mounted)?,
            _ => HashMap::new(),
        };
        let task = self.monitor.start(&self.saved.point().item, "restore", Unit::Bytes);
        if let Some(total) = extract::total(self.saved, wanted)? {
            task.expect(total);
        }
        let (done, sent, written) = Default::default();
        let mut choice = Choice { fill, options, standing, task: &*task, done, sent, written };
        let before = mounted.map(|(mounted, _)| mounted).filter(|_| !options.dry_run);
        let Some(before) = before else {
            self.add_to(Archive::new(self.saved, io::sink(), &mut choice), fill, &node)?;
            task.finish();
            return Ok(choice.done);
        };
        let helper = Helper::new(self.engine, self.source, before, true)?;
        let sent = self
            .engine
            .unpack(helper.id(), "/", |output| self.add_to(Archive::new(self.saved, output, &mut choice), fill, &node));
        task.finish();
        sent.context("send it to the engine")
            .hint("What came before is there, and the rest as it was. Restoring once more sends what is missing.")?;
        let Choice { mut done, written, .. } = choice;
        if options.verify {
            // Engines take the time of its directory for that at which a volume was made.
            let after = match before {
                Mounted::Volume(volume) => self.engine.volume(&volume.name)?.map(Mounted::Volume),
                Mounted::Bind(_) => None,
            };
            self.verify(fill, after.as_ref().unwrap_or(before), written, &mut done)?;
        }
        Ok(done)
    }

    /// What is there, by its path below what is mounted.
    fn standing(&self, mounted: &Mounted) -> Result<HashMap<PathBuf, Standing>> {
        let mut standing = HashMap::new();
        self.look(mounted, &mut |below, entry| {
            let Node { node_type, meta, .. } = entry.node;
            standing.insert(below, Standing { node_type, meta });
            Ok(())
        })
        .context("look at what is there")?;
        Ok(standing)
    }

    /// Goes through what is mounted, in the order of a tree.
    fn look(&self, mounted: &Mounted, take: &mut dyn FnMut(PathBuf, Entry) -> Result<()>) -> Result<()> {
        let failure = Failure::default();
        let archived = Archived::new(self.engine, self.source, mounted.clone(), &failure)?;
        for entry in archived.entries(Path::new(DATA)).flatten() {
            let below = entry.path.strip_prefix(DATA).unwrap_or(&entry.path).to_path_buf();
            take(below, entry)?;
        }
        failure.take()
    }

    fn add_to<W: io::Write>(&self, mut archive: Archive<'_, W>, fill: &Fill, node: &Node) -> Result<()> {
        let wanted = fill.part.as_deref().unwrap_or(&fill.base);
        let mut above: Vec<&Path> =
            wanted.ancestors().skip(1).take_while(|path| path.starts_with(&fill.base)).collect();
        above.reverse();
        for above in above {
            archive.add_directory(&fill.name(above)?, &extract::find(self.saved, above)?)?;
        }
        archive.add(fill.name(wanted)?, node)?;
        Ok(archive.finish()?)
    }

    /// Reads back what was written, and compares it with the store.
    fn verify(
        &self,
        fill: &Fill,
        mounted: &Mounted,
        mut written: HashSet<PathBuf>,
        done: &mut Extracted,
    ) -> Result<()> {
        let task = self.monitor.start(&self.saved.point().item, "compare", Unit::Bytes);
        self.look(mounted, &mut |below, entry| {
            if !written.remove(&below) {
                return Ok(());
            }
            let path = fill.base.join(&below);
            let node = extract::find(self.saved, &path)?;
            task.advance(node.meta.size);
            if let Some(error) = self.difference(&node, entry)? {
                done.add(Problem { path, error, severity: Severity::Unread });
            }
            Ok(())
        })
        .context("read back what was restored")?;
        task.finish();
        for below in written {
            let error = "could not be read back".to_owned();
            done.add(Problem { path: fill.base.join(below), error, severity: Severity::Unread });
        }
        Ok(())
    }

    /// How what was read back of a file is not as in the point; `None`: not at all.
    fn difference(&self, node: &Node, entry: Entry) -> Result<Option<String>> {
        let Some(Content::Read(opener) | Content::Unsized(opener)) = entry.content else {
            return Ok(Some("was read back as something that is no file".to_owned()));
        };
        let mut content = opener.open()?;
        let mut buffer = Vec::new();
        for piece in self.saved.read(node)? {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Ok(Some(format!("compare it with the store: {}", chain(&error)))),
            };
            buffer.resize(piece.len(), 0);
            if content.read_exact(&mut buffer).is_err() || buffer != piece {
                return Ok(Some("was read back with other content than the point has".to_owned()));
            }
        }
        let is_longer = content.read(&mut [0])? > 0;
        Ok(is_longer.then(|| "was read back with more content than the point has".to_owned()))
    }
}

impl Fill {
    /// The name in the archive of something at a path of the point.
    fn name(&self, path: &Path) -> Result<Vec<u8>> {
        let below = path.strip_prefix(&self.base).unwrap_or(path);
        let names = name::components(&Path::new(DATA).join(below))?;
        Ok(names.join(OsStr::new("/")).into_encoded_bytes())
    }
}

/// Decides what is sent, and counts.
struct Choice<'c> {
    fill: &'c Fill,
    options: &'c RestoreOptions,
    standing: HashMap<PathBuf, Standing>,
    task: &'c dyn Task,
    done: Extracted,
    /// Files with several names of which the first was sent: the others must be linked to it anew.
    sent: HashSet<Key>,
    /// The files that were sent, by their paths below the place; only to be verified.
    written: HashSet<PathBuf>,
}

impl Choice<'_> {
    fn problem(&mut self, below: &Path, error: &str) {
        let path = self.fill.base.join(below);
        self.done.add(Problem { path, error: error.to_owned(), severity: Severity::Unread });
    }

    fn tell(&self, change: Change, below: &Path, node: &Node) -> Result<()> {
        let Some(watch) = &self.options.watch else { return Ok(()) };
        // As `docker cp` names it.
        let path = match &self.fill.place {
            Place::Volume(name) => PathBuf::from(format!("{name}:/")).join(below),
            Place::Path(path) => path.join(below),
        };
        watch.tell(&Action { change, path: &path, node })
    }

    /// What happens to an entry; `None`: nothing.
    fn change(&mut self, below: &Path, entry: &Candidate<'_>) -> Option<Change> {
        let Candidate { node, role, size, .. } = *entry;
        let Some(standing) = self.standing.get(below) else { return Some(Change::Added) };
        if standing.node_type == NodeType::Dir && !node.is_dir() {
            self.problem(below, "a directory stands in its place, and was left");
            return None;
        }
        let is_way = self.fill.part.as_deref().is_some_and(|part| {
            let path = self.fill.base.join(below);
            part != path && part.starts_with(&path)
        });
        if standing.node_type == NodeType::Dir && is_way {
            return None;
        }
        let is_same_type = std::mem::discriminant(&standing.node_type) == std::mem::discriminant(&node.node_type);
        if !is_same_type {
            return Some(Change::Retyped);
        }
        let has_metadata = has_metadata(&standing.meta, &node.meta, node.is_symlink());
        let is_linked_anew = matches!(role, Role::Further(key) if self.sent.contains(&key));
        match node.node_type {
            NodeType::Dir if has_metadata => None,
            NodeType::Dir => Some(Change::Adjusted),
            NodeType::File if has_metadata && standing.meta.size == size && !is_linked_anew => {
                self.done.unchanged += 1;
                self.task.advance(size);
                self.task.advance_files(1);
                None
            }
            _ => Some(Change::Modified),
        }
    }
}

/// Whether owner, mode and time are the same.
fn has_metadata(one: &Metadata, other: &Metadata, is_link: bool) -> bool {
    let is_same_moment = one.mtime.map(|time| time.as_nanosecond()) == other.mtime.map(|time| time.as_nanosecond());
    is_same_moment && one.uid == other.uid && one.gid == other.gid && (is_link || one.mode == other.mode)
}

impl Sink for Choice<'_> {
    fn wants(&mut self, entry: &Candidate<'_>) -> Result<bool> {
        let Candidate { name, node, role, size } = *entry;
        let below = below(name);
        if node.is_file() && size != node.meta.size {
            let told = node.meta.size;
            self.problem(&below, &format!("the point says that it has {told} bytes, its content has {size}"));
        }
        let Some(change) = self.change(&below, entry) else { return Ok(false) };
        self.tell(change, &below, node)?;
        match (&node.node_type, role) {
            (NodeType::Dir, _) => self.done.directories += 1,
            (NodeType::File, Role::Further(_)) => self.done.files += 1,
            (NodeType::File, role) => {
                self.done.files += 1;
                self.done.bytes += size;
                if let Role::First(key) = role {
                    self.sent.insert(key);
                }
            }
            _ => self.done.others += 1,
        }
        if node.is_file() && self.options.verify {
            self.written.insert(below);
        }
        self.task.advance_files(1);
        Ok(!self.options.dry_run)
    }

    fn leave_out(&mut self, name: &[u8], why: &str) {
        self.problem(&below(name), why);
    }

    fn advance(&mut self, bytes: u64) {
        self.task.advance(bytes);
    }
}

/// The path below the place of something with this name in the archive.
fn below(name: &[u8]) -> PathBuf {
    let below = name.strip_prefix(&DATA.as_bytes()[1..]).unwrap_or(name);
    PathBuf::from(OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below)))
}
