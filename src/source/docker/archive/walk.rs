//! The members of an engine's archive as entries of a tree.
//!
//! Engines write them in the order of a tree: each directory before what is in it, the names in byte order (moby, `pkg/archive`, which walks with
//! Go's `filepath.Walk`). That is checked, and anything else breaks the item off: the engine may be another machine, and what it
//! sends is not trusted.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

use crate::output::printable;
use crate::source::Failure;
use crate::source::docker::helper::DATA;
use crate::source::stream::{Kind, Member, Members, in_tree_order};
use crate::source::{Content, Entries, Entry, Problem, Severity};
use crate::store::{Metadata, Node, NodeType, node};

/// The device of all files of an archive: that it is none says that their numbers mean nothing elsewhere.
const DEVICE: u64 = 1;

/// Reads one file once more, by its path below what is archived.
type Fetch = dyn Fn(&Path) -> Result<Box<dyn Read + Send>> + Send + Sync;

/// Where an archive comes from.
#[derive(Clone)]
pub(super) struct Origin {
    /// What is named when there is nothing in it, which then is no fault.
    pub(super) may_be_nothing: Option<PathBuf>,
    pub(super) fetch: Arc<Fetch>,
    /// Who hears when it is not whole.
    pub(super) failure: Failure,
}

/// The entries of an archive, on their way.
pub(super) struct Walk {
    origin: Origin,
    /// `None` when it is over.
    members: Option<Members>,
    at: PathBuf,
    /// What all names in the archive begin with.
    root: PathBuf,
    /// The path of the last member below what is archived, in the order of a tree.
    last: Option<Vec<u8>>,
    /// The directories that the last member is in, or is.
    directories: Vec<PathBuf>,
    /// The numbers and sizes of files by their paths, for their further names.
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
    /// The entries of this archive, of which all names begin with the last one of [`DATA`]; they are at `at` and below.
    pub(super) fn entries(stream: Box<dyn Read + Send>, at: &Path, origin: Origin) -> Entries {
        match Members::read(stream) {
            Ok(members) => Box::new(Self {
                origin,
                members: Some(members),
                at: at.to_path_buf(),
                root: PathBuf::new(),
                last: None,
                directories: Vec::new(),
                files: HashMap::new(),
                count: 0,
                problem: None,
            }),
            Err(error) => {
                origin.failure.set(error);
                Box::new(std::iter::empty())
            }
        }
    }

    fn fail<T>(&mut self, error: anyhow::Error) -> Option<T> {
        self.members = None;
        self.origin.failure.set(error);
        None
    }

    /// There is nothing in the archive, not even the thing itself: as engines give a socket.
    fn nothing(&mut self) -> Option<Result<Entry, Problem>> {
        let Some(path) = self.origin.may_be_nothing.take() else {
            return self.fail(anyhow!("the engine sends an archive of nothing"));
        };
        self.members = None;
        let error = "is nothing that an archive can hold".to_owned();
        Some(Err(Problem { path, error, severity: Severity::Warning }))
    }

    /// The entry of a member; `None` when it is nothing that can be saved, which is told.
    fn entry(&mut self, member: Member) -> Result<Option<Entry>> {
        let below = self.place(&member)?;
        let path = if below.as_os_str().is_empty() { self.at.clone() } else { self.at.join(&below) };
        if let Some(complaint) = &member.complaint {
            self.problem = Some(Problem { path: path.clone(), error: complaint.clone(), severity: Severity::Unread });
        }
        let (node_type, size, number) = match member.kind {
            Kind::File => (NodeType::File, member.size, Some(self.number(below, member.size))),
            Kind::Directory => (NodeType::Dir, 0, None),
            Kind::Symlink => (NodeType::from_link(Path::new(OsStr::from_bytes(&member.target))), 0, None),
            Kind::Fifo => (NodeType::Fifo, 0, None),
            Kind::CharDevice => (NodeType::Chardev { device: member.rdev }, 0, None),
            Kind::BlockDevice => (NodeType::Dev { device: member.rdev }, 0, None),
            Kind::HardLink => {
                let first = self.below(&member.target).unwrap_or_default();
                // Another name of a link or device is one of its own in a snapshot, and the archive does not say of what.
                let Some(&(number, size)) = self.files.get(&first) else {
                    let first = printable(OsStr::from_bytes(&member.target));
                    let error = format!("is another name of {first}, which is no file");
                    self.problem = Some(Problem { path, error, severity: Severity::Unread });
                    return Ok(None);
                };
                let content = self.asked_for(&below);
                let node = node_of(&path, NodeType::File, &member, size, Some(number));
                return Ok(Some(Entry { path, node, content: Some(read_in_any_case(content)) }));
            }
            Kind::Other => {
                let error = "is something that holdall does not know".to_owned();
                self.problem = Some(Problem { path, error, severity: Severity::Unread });
                return Ok(None);
            }
        };
        let node = node_of(&path, node_type, &member, size, number);
        Ok(Some(Entry { path, node, content: member.content.map(read_in_any_case) }))
    }

    /// The path of a name of the archive below what is archived, if it is there. Docker begins names with the last one of the path that was asked for, podman
    /// those of a mount with a slash.
    fn below(&self, name: &[u8]) -> Option<PathBuf> {
        let name = Path::new(OsStr::from_bytes(name));
        let below = name.strip_prefix(&self.root).ok()?;
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        // Nothing was left out of it, neither dots nor slashes.
        let whole = if below.as_os_str().is_empty() { self.root.clone() } else { self.root.join(below) };
        (is_plain && whole.as_os_str().len() == name.as_os_str().len()).then(|| below.to_path_buf())
    }

    /// Sees that a member is plain, comes where it must, and is in a directory that came; where it is below what is archived.
    fn place(&mut self, member: &Member) -> Result<PathBuf> {
        let shown = || printable(OsStr::from_bytes(&member.path));
        if self.last.is_none() {
            match member.path.as_slice() {
                b"/" => self.root = "/".into(),
                name if name == &DATA.as_bytes()[1..] => self.root = DATA[1..].into(),
                _ => bail!("the engine sends {}, which it was not asked for", shown()),
            }
        }
        let Some(below) = self.below(&member.path) else {
            bail!("the engine sends the name {}, which leads elsewhere", shown());
        };
        let place = in_tree_order(below.as_os_str().as_bytes());
        match &self.last {
            None => {}
            Some(last) if *last < place => {
                let parent = below.parent().unwrap_or(Path::new(""));
                self.directories.truncate(parent.components().count() + 1);
                if self.directories.last().map(PathBuf::as_path) != Some(parent) {
                    bail!("the engine sends {}, and not the directory that it is in", shown());
                }
            }
            Some(_) => bail!("the engine sends {} out of order", shown()),
        }
        if member.kind == Kind::Directory {
            self.directories.push(below.clone());
        }
        self.last = Some(place);
        Ok(below)
    }

    /// The number of a file.
    fn number(&mut self, name: PathBuf, size: u64) -> u64 {
        self.count += 1;
        self.files.insert(name, (self.count, size));
        self.count
    }

    /// The content of a further name of a file, which is asked for when it is read.
    fn asked_for(&self, name: &Path) -> Content {
        let (fetch, name) = (Arc::clone(&self.origin.fetch), name.to_path_buf());
        Content::new(move || fetch(&name).map_err(|error| io::Error::other(crate::error::chain(&error))))
    }
}

/// Content that is read even if its file looks as it did. An archive has whole seconds and no inodes: a file that was written twice in one second looks the same.
fn read_in_any_case(content: Content) -> Content {
    match content {
        Content::Read(opener) => Content::Unsized(opener),
        other => other,
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tar::{Builder, EntryType, Header};

    use super::*;

    /// The name of a member, what it is, and its content or where it leads.
    type Told = (&'static str, EntryType, &'static str);

    fn archive(members: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        for (name, kind, text) in members {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_uid(7);
            header.set_gid(8);
            header.set_mtime(9);
            let is_link = matches!(kind, EntryType::Link | EntryType::Symlink);
            header.set_size(if is_link { 0 } else { text.len() as u64 });
            // As it is, also where it leads upwards.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if is_link {
                header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_cksum();
            archive.append(&header, if is_link { &[] } else { text.as_bytes() }).unwrap();
        }
        archive.into_inner().unwrap()
    }

    /// What comes of an archive: paths, or problems, and why it is not whole.
    fn walk(bytes: Vec<u8>) -> (Vec<String>, Result<()>) {
        let failure = Failure::default();
        let fetch = Arc::new(|path: &Path| Ok(Box::new(Cursor::new(format!("again {}", path.display()))) as Box<_>));
        let origin = Origin { may_be_nothing: None, fetch, failure: failure.clone() };
        let entries = Walk::entries(Box::new(Cursor::new(bytes)), Path::new("/data"), origin);
        let told = entries.map(|entry| match entry {
            Ok(entry) => {
                let mut text = String::new();
                if let Some(Content::Unsized(opener)) = entry.content {
                    opener.open().unwrap().read_to_string(&mut text).unwrap();
                }
                format!("{} {text}", entry.path.display())
            }
            Err(problem) => format!("{}: {}", problem.path.display(), problem.error),
        });
        (told.collect(), failure.take())
    }

    const DIRECTORY: (&str, EntryType, &str) = ("data/", EntryType::Directory, "");

    #[test]
    fn archive_becomes_entries_also_when_its_names_begin_with_a_slash() {
        let members =
            [("", EntryType::Directory, ""), ("/a", EntryType::Directory, ""), ("/a/x", EntryType::Regular, "one")];
        let with = |root: &str| {
            let names: Vec<String> = members.iter().map(|(name, ..)| format!("{root}{name}")).collect();
            let all: Vec<_> =
                members.iter().zip(&names).map(|((_, kind, text), name)| (name.as_str(), *kind, *text)).collect();
            archive(&all)
        };
        let (mut told, failure) = walk(with("data"));
        failure.unwrap();
        assert_eq!(told, ["/data ", "/data/a ", "/data/a/x one"]);
        let slash =
            [("/", EntryType::Directory, ""), ("/a", EntryType::Directory, ""), ("/a/x", EntryType::Regular, "one")];
        let (slashed, failure) = walk(archive(&slash));
        failure.unwrap();
        assert_eq!(std::mem::take(&mut told), slashed);
    }

    #[test]
    fn further_name_of_a_file_is_asked_for_once_more() {
        let members = [DIRECTORY, ("data/a", EntryType::Regular, "one"), ("data/b", EntryType::Link, "data/a")];
        let (told, failure) = walk(archive(&members));
        failure.unwrap();
        assert_eq!(told, ["/data ", "/data/a one", "/data/b again b"]);
        for target in ["data/none", "../etc/passwd", "/etc/passwd", "data/../data/a"] {
            let (told, failure) = walk(archive(&[DIRECTORY, ("data/b", EntryType::Link, target)]));
            failure.unwrap();
            assert_eq!(told[1], format!("/data/b: is another name of {target}, which is no file"));
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_come_out_of_order_break_it_off() {
        let lies: [(&[Told], &str); 8] = [
            (&[("etc", EntryType::Directory, "")], "not asked for"),
            (&[DIRECTORY, ("data/../etc", EntryType::Regular, "x")], "leads elsewhere"),
            (&[DIRECTORY, ("/etc/passwd", EntryType::Regular, "x")], "leads elsewhere"),
            (&[DIRECTORY, ("data//a", EntryType::Regular, "x")], "leads elsewhere"),
            (&[DIRECTORY, ("database", EntryType::Regular, "x")], "leads elsewhere"),
            (&[DIRECTORY, ("data/b", EntryType::Regular, "x"), ("data/a", EntryType::Regular, "x")], "out of order"),
            (&[DIRECTORY, ("data/a", EntryType::Regular, "x"), ("data/a", EntryType::Regular, "y")], "out of order"),
            (&[DIRECTORY, ("data/a/x", EntryType::Regular, "x")], "not the directory that it is in"),
        ];
        for (members, why) in lies {
            let (_, failure) = walk(archive(members));
            let error = failure.unwrap_err().to_string();
            assert!(error.contains(why), "{members:?}: {error}");
        }
        let link = [DIRECTORY, ("data/l", EntryType::Symlink, "/etc"), ("data/l/x", EntryType::Regular, "x")];
        assert!(walk(archive(&link)).1.unwrap_err().to_string().contains("not the directory that it is in"));
    }

    #[test]
    fn archive_that_is_cut_or_empty_is_not_whole() {
        let whole = archive(&[DIRECTORY, ("data/a", EntryType::Regular, "one")]);
        for length in [0, 100, 512, 1024, 1536, whole.len() - 1024] {
            assert!(walk(whole[..length].to_vec()).1.is_err(), "{length}");
        }
        assert!(walk(archive(&[])).1.is_err());
        walk(whole).1.unwrap();
    }
}
