//! A volume, or a path of the engine's machine, as the engine gives it: an archive of what is mounted in a helper container.
//!
//! Engines write it in the order of a tree: each directory before what is in it, the names in byte order (moby, `pkg/archive`, which walks with
//! Go's `filepath.Walk`). That is checked, and anything else breaks the item off: the engine may be another machine, and what it
//! sends is not trusted.
//!
//! An archive has no inodes, and of a file with several names the further ones without content. So every file gets a number of its own, and
//! each counts as one that may have more names; what a further name holds is asked for once more, over another helper.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};

use super::Failure;
use super::engine::Engine;
use super::helper::{DATA, Helper, Mounted};
use crate::output::printable;
use crate::source::parts::Part;
use crate::source::stream::{Kind, Member, Members, in_tree_order};
use crate::source::{Content, Entries, Entry, Problem, Severity};
use crate::store::{Metadata, Node, NodeType, node};

/// The device of all files of an archive: that it is none says that their numbers mean nothing elsewhere.
const DEVICE: u64 = 1;

/// What the engine gives of something that is mounted in a helper container.
pub(super) struct Archived(Arc<Shared>);

struct Shared {
    engine: Engine,
    source: String,
    mounted: Mounted,
    /// As long as it is there, nobody removes the volume.
    helper: Helper,
    /// For what is asked for beside the archive: a container gives one archive at a time.
    second: Mutex<Option<Arc<Helper>>>,
    failure: Failure,
}

impl Archived {
    /// Makes the helper container. When what it gives is not whole, `failure` hears of it.
    pub(super) fn new(engine: &Engine, source: &str, mounted: Mounted, failure: &Failure) -> Result<Self> {
        let helper = Helper::new(engine, source, &mounted, false)?;
        let (engine, source, failure) = (engine.clone(), source.to_owned(), failure.clone());
        Ok(Self(Arc::new(Shared { engine, source, mounted, helper, second: Mutex::default(), failure })))
    }
}

impl Part for Archived {
    fn entries(&self, at: &Path) -> Entries {
        let stream = self.0.engine.archive(self.0.helper.id(), DATA);
        let walk = Members::read(stream).map(|members| Walk {
            shared: Arc::clone(&self.0),
            members: Some(members),
            at: at.to_path_buf(),
            last: None,
            directories: Vec::new(),
            files: HashMap::new(),
            count: 0,
            problem: None,
        });
        match walk {
            Ok(walk) => Box::new(walk),
            Err(error) => {
                self.0.failure.set(error);
                Box::new(std::iter::empty())
            }
        }
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

/// The entries of an archive, on their way.
struct Walk {
    shared: Arc<Shared>,
    /// `None` when it is over.
    members: Option<Members>,
    at: PathBuf,
    /// The name of the last member, in the order of a tree.
    last: Option<Vec<u8>>,
    /// The directories that the last member is in, or is: their names in the archive.
    directories: Vec<PathBuf>,
    /// The numbers and sizes of files by their names in the archive, for their further names.
    files: HashMap<PathBuf, (u64, u64)>,
    count: u64,
    /// What is told next.
    problem: Option<Problem>,
}

impl Iterator for Walk {
    type Item = Result<Entry, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(problem) = self.problem.take() {
            return Some(Err(problem));
        }
        loop {
            let member = match self.members.as_mut()?.next() {
                Ok(Some(member)) => member,
                Ok(None) if self.last.is_some() => {
                    self.members = None;
                    return None;
                }
                Ok(None) => return self.nothing(),
                Err(error) => return self.fail(error),
            };
            match self.entry(member) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
            if let Some(problem) = self.problem.take() {
                return Some(Err(problem));
            }
        }
    }
}

impl Walk {
    fn fail<T>(&mut self, error: anyhow::Error) -> Option<T> {
        self.members = None;
        self.shared.failure.set(error);
        None
    }

    /// There is nothing in the archive, not even the thing itself: as engines give a socket.
    fn nothing(&mut self) -> Option<Result<Entry, Problem>> {
        let Mounted::Bind(path) = &self.shared.mounted else {
            return self.fail(anyhow!("the engine sends an archive of nothing"));
        };
        self.members = None;
        let error = "is nothing that an archive can hold".to_owned();
        Some(Err(Problem { path: path.clone(), error, severity: Severity::Warning }))
    }

    /// The entry of a member; `None` when it is nothing that can be saved, which is told.
    fn entry(&mut self, member: Member) -> Result<Option<Entry>> {
        let name = PathBuf::from(OsStr::from_bytes(&member.path));
        self.check(&name, member.kind)?;
        let below: PathBuf = name.components().skip(1).collect();
        let path = if below.as_os_str().is_empty() { self.at.clone() } else { self.at.join(below) };
        if let Some(complaint) = &member.complaint {
            self.problem = Some(Problem { path: path.clone(), error: complaint.clone(), severity: Severity::Unread });
        }
        let (node_type, size, number) = match member.kind {
            Kind::File => (NodeType::File, member.size, Some(self.number(name, member.size))),
            Kind::Directory => (NodeType::Dir, 0, None),
            Kind::Symlink => (NodeType::from_link(Path::new(OsStr::from_bytes(&member.target))), 0, None),
            Kind::Fifo => (NodeType::Fifo, 0, None),
            Kind::CharDevice => (NodeType::Chardev { device: member.rdev }, 0, None),
            Kind::BlockDevice => (NodeType::Dev { device: member.rdev }, 0, None),
            Kind::HardLink => {
                let first = PathBuf::from(OsStr::from_bytes(&member.target));
                // Another name of a link or device is one of its own in a snapshot, and the archive does not say of what.
                let Some(&(number, size)) = self.files.get(&first) else {
                    let first = printable(first.as_os_str());
                    let error = format!("is another name of {first}, which is no file");
                    self.problem = Some(Problem { path, error, severity: Severity::Unread });
                    return Ok(None);
                };
                let content = self.asked_for(&name);
                let node = node_of(&path, NodeType::File, &member, size, Some(number));
                return Ok(Some(Entry { path, node, content: Some(content) }));
            }
            Kind::Other => {
                let error = "is something that holdall does not know".to_owned();
                self.problem = Some(Problem { path, error, severity: Severity::Unread });
                return Ok(None);
            }
        };
        let node = node_of(&path, node_type, &member, size, number);
        Ok(Some(Entry { path, node, content: member.content }))
    }

    /// Sees that a name is plain, comes where it must, and is in a directory that came.
    fn check(&mut self, name: &Path, kind: Kind) -> Result<()> {
        let shown = || printable(name.as_os_str());
        let is_plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        let joined: PathBuf = name.components().collect();
        if !is_plain || joined.as_os_str() != name.as_os_str() {
            bail!("the engine sends the name {}, which leads elsewhere", shown());
        }
        let place = in_tree_order(name.as_os_str().as_bytes());
        match (&self.last, name.parent()) {
            (None, Some(parent)) if name == Path::new(&DATA[1..]) && parent.as_os_str().is_empty() => {}
            (Some(last), Some(parent)) if *last < place => {
                self.directories.truncate(parent.components().count());
                if self.directories.last().map(PathBuf::as_path) != Some(parent) {
                    bail!("the engine sends {}, and not the directory that it is in", shown());
                }
            }
            _ => bail!("the engine sends {} out of order", shown()),
        }
        if kind == Kind::Directory {
            self.directories.push(name.to_path_buf());
        }
        self.last = Some(place);
        Ok(())
    }

    /// The number of a file.
    fn number(&mut self, name: PathBuf, size: u64) -> u64 {
        self.count += 1;
        self.files.insert(name, (self.count, size));
        self.count
    }

    /// The content of a further name of a file, which is asked for when it is read.
    fn asked_for(&self, name: &Path) -> Content {
        let (shared, name) = (Arc::clone(&self.shared), name.to_path_buf());
        Content::new(move || shared.fetch(&name).map_err(|error| io::Error::other(crate::error::chain(&error))))
    }
}

impl Shared {
    /// Reads one file, by its name in the archive.
    fn fetch(&self, name: &Path) -> Result<Box<dyn io::Read + Send>> {
        let helper = {
            let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
            match &*second {
                Some(helper) => Arc::clone(helper),
                None => {
                    let helper = Helper::new(&self.engine, &self.source, &self.mounted, false)?;
                    Arc::clone(second.insert(Arc::new(helper)))
                }
            }
        };
        let path = Path::new("/").join(name);
        let path = path.to_str().context("its name is not UTF-8, and cannot be asked for once more")?;
        let mut members = Members::read(self.engine.archive(helper.id(), path))?;
        let content = members.next()?.filter(|member| member.kind == Kind::File).and_then(|member| member.content);
        let Some(Content::Read(opener)) = content else { bail!("was replaced while it was being backed up") };
        let content = opener.open()?;
        Ok(Box::new(Fetched { content, _helper: helper, _members: members }))
    }
}

/// A content with what it comes from.
struct Fetched {
    content: Box<dyn io::Read + Send>,
    _members: Members,
    _helper: Arc<Helper>,
}

impl io::Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

/// The node of a member; `number` stands for the inode of a file.
fn node_of(path: &Path, node_type: NodeType, member: &Member, size: u64, number: Option<u64>) -> Node {
    let kind = if member.kind == Kind::HardLink { Kind::File } else { member.kind };
    let mtime = node::timestamp(member.stat.mtime.0, member.stat.mtime.1.into());
    let mut meta = Metadata {
        mode: Some(node::mode_to_node(member.stat.mode | kind.mode())),
        mtime,
        atime: mtime,
        uid: Some(member.stat.uid),
        gid: Some(member.stat.gid),
        size,
        ..Metadata::default()
    };
    if let Some(number) = number {
        (meta.inode, meta.device_id, meta.links) = (number, DEVICE, 2);
    }
    if !member.xattrs.is_empty() {
        node::set_xattrs(&mut meta, &member.xattrs);
    }
    node::named(path.file_name().unwrap_or_default(), node_type, meta)
}
