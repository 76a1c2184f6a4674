//! The tree of a backup: the listing, with the content of what has changed out of one stream.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Error, Result, anyhow, bail};

use super::complaints;
use super::connection::Connection;
use super::dump;
use super::host::{Host, Way};
use super::listing::{BLOCK, CHARACTER, Found, Row, Steps};
use super::node::{Extra, node_of};
use super::plan::Plan;
use super::reading::{self, Stream, start};
use crate::config::SshDump;
use crate::error::Annotate;
use crate::source::stream::{Member, in_tree_order};
use crate::source::{Content, Entries, Entry, Problem, Severity, Tree};

/// What all looks at a tree share.
pub(super) struct Shared {
    pub(super) host: Host,
    pub(super) plan: Plan,
    /// What could not be listed.
    pub(super) problems: Vec<Problem>,
    /// Whether the point before is complete: then the next run compares with that one again, if this one is not.
    pub(super) follows_whole: bool,
    /// Files that are the output of a command.
    pub(super) dumps: HashMap<Row, SshDump>,
    /// A connection that nobody uses.
    pub(super) connection: Mutex<Option<Connection>>,
    /// Why the tree is not whole.
    pub(super) failure: Mutex<Option<Error>>,
}

impl Shared {
    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// A connection for one piece of work.
    pub(super) fn connection(&self) -> Result<Connection> {
        let kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.filter(Connection::is_fresh).map_or_else(|| self.host.connect(), Ok)
    }
}

/// A machine's files, as they were listed.
pub(super) struct SshTree(pub(super) Arc<Shared>);

impl fmt::Debug for SshTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SshTree")
    }
}

impl Tree for SshTree {
    fn entries(&self) -> Entries {
        let shared = Arc::clone(&self.0);
        let problems = shared.problems.clone();
        let walk = Walk {
            steps: shared.plan.listing.steps(),
            told: problems.iter().map(|problem| problem.path.clone()).collect(),
            shared,
            stream: None,
            ahead: None,
            missing: Vec::new(),
            is_over: false,
            last: Vec::new(),
        };
        let mut walk = problems.into_iter().map(Err).chain(walk);
        Box::new(std::iter::from_fn(move || walk.next()))
    }

    fn size(&self) -> Option<u64> {
        Some(self.0.plan.listing.size())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        match self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// By how much a file may have grown since it was listed, in bytes: a hole costs nothing to send, and may say to be as long as it likes.
const MOST_GROWTH: u64 = 64 << 30;

/// A look at the tree.
struct Walk {
    shared: Arc<Shared>,
    steps: Steps,
    stream: Option<Stream>,
    /// The next member of the stream, when it is not that of the entry that was asked for.
    ahead: Option<Member>,
    /// What was asked for and is not in the stream.
    missing: Vec<PathBuf>,
    /// What was told already.
    told: HashSet<PathBuf>,
    is_over: bool,
    /// What is told at the end.
    last: Vec<Problem>,
}

impl Iterator for Walk {
    type Item = Result<Entry, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let step = match self.steps.next(&self.shared.plan.listing) {
                Some(row) => self.entry(row),
                None => {
                    self.is_over = true;
                    self.end().map(|()| None)
                }
            };
            match step {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => {
                    self.is_over = true;
                    let why = self.why(error);
                    self.shared.fail(why);
                }
            }
        }
        self.last.pop().map(Err)
    }
}

/// An entry that lacks something: without the time of its status it is not taken for unchanged by the next run, which then tells of it as well.
fn asked_for_again(mut entry: Entry) -> Entry {
    entry.node.meta.ctime = None;
    entry
}

impl Walk {
    /// The entry of a row; `None` when it did not come.
    fn entry(&mut self, row: Row) -> Result<Option<Entry>> {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.plan;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(self.steps.path()));
        if let Some(dump) = shared.dumps.get(&row) {
            return Ok(Some(self.dump(row, path, dump)));
        }
        if plan.need_not_travel(row) {
            let content = plan.listing.stat(row).is_file().then(|| self.unchanged(row));
            return Ok(Some(self.with(row, path, plan.extra(row), content)));
        }
        if shared.host.way == Way::Sftp {
            if matches!(plan.listing.stat(row).kind(), BLOCK | CHARACTER) {
                self.tell(path, "is a device, and SFTP does not tell which", Severity::Unread);
                return Ok(None);
            }
            let content = plan.listing.stat(row).is_file().then(|| shared.host.content(&self.found(row)));
            return Ok(Some(self.with(row, path, &Extra::default(), content.transpose()?)));
        }
        if shared.host.way == Way::Posix {
            return self.plain(row, path);
        }
        match self.member(path.as_os_str().as_bytes())? {
            Some(member) => {
                let stat = plan.listing.stat(row);
                if stat.is_file() != member.content.is_some() || stat.kind() != member.kind.mode() {
                    self.tell(path, "was replaced while it was being backed up", Severity::Unread);
                    return Ok(None);
                }
                if member.size.saturating_sub(stat.size) > MOST_GROWTH {
                    let error = format!("is {} bytes long all at once, and was {}", member.size, stat.size);
                    self.tell(path, &error, Severity::Unread);
                    return Ok(None);
                }
                if member.target != plan.listing.target(row) {
                    self.tell(path.clone(), "leads elsewhere since it was listed", Severity::Warning);
                }
                if let Some(complaint) = &member.complaint {
                    self.tell(path.clone(), complaint, Severity::Unread);
                }
                let is_whole = member.complaint.is_none();
                let extra = Extra { xattrs: member.xattrs, device: member.rdev };
                let entry = self.with(row, path, &extra, member.content);
                Ok(Some(if is_whole { entry } else { asked_for_again(entry) }))
            }
            None => {
                self.missing.push(path.clone());
                // What is in it may have come.
                let is_dir = plan.listing.stat(row).is_dir();
                Ok(is_dir.then(|| asked_for_again(self.with(row, path, &Extra::default(), None))))
            }
        }
    }

    /// An entry of a machine that has no tar that could tell more.
    fn plain(&mut self, row: Row, path: PathBuf) -> Result<Option<Entry>> {
        let shared = Arc::clone(&self.shared);
        let extra = shared.plan.extra(row);
        if !shared.plan.listing.stat(row).is_file() {
            return Ok(Some(self.with(row, path, extra, None)));
        }
        if self.stream.is_none() {
            self.stream = Some(start(&self.shared)?);
        }
        let Some(Stream::Posix(contents)) = &mut self.stream else { return Ok(None) };
        match contents.next()? {
            Some((name, content)) if name == path.as_os_str().as_bytes() => match content {
                Ok(content) => Ok(Some(self.with(row, path, extra, Some(content)))),
                Err(error) => {
                    let problem = Problem::of_io(path, &error);
                    self.tell(problem.path, &problem.error, problem.severity);
                    Ok(None)
                }
            },
            _ => bail!("{} did not come", crate::output::printable(path.as_os_str())),
        }
    }

    fn with(&self, row: Row, path: PathBuf, extra: &Extra, content: Option<Content>) -> Entry {
        let listing = &self.shared.plan.listing;
        let node = node_of(listing.name(row), listing.stat(row), listing.target(row), extra);
        Entry { path, node, content }
    }

    /// The content of a file that is as it was saved.
    fn unchanged(&self, row: Row) -> Content {
        if let Some(blobs) = self.shared.plan.blobs(row) {
            return Content::Stored(blobs.to_vec());
        }
        // Whoever saves finds that, too, and only asks for it when the store has lost it.
        let (shared, file) = (Arc::clone(&self.shared), self.found(row));
        Content::new(move || reading::fetch(&shared.host, &file).map_err(io::Error::other))
    }

    /// The entry that the walk is at, as it was listed.
    fn found(&self, row: Row) -> Found {
        Found { path: self.steps.path().to_vec(), stat: *self.shared.plan.listing.stat(row), target: Vec::new() }
    }

    fn dump(&self, row: Row, path: PathBuf, dump: &SshDump) -> Entry {
        let (shared, dump) = (Arc::clone(&self.shared), dump.clone());
        let content = Content::unsized_stream(move || {
            let tell = Arc::clone(&shared);
            let failed = move |error: Error| tell.fail(error);
            dump::open(&shared.host, &dump, Box::new(failed)).map_err(io::Error::other)
        });
        self.with(row, path, &Extra::default(), Some(content))
    }

    /// The member of the stream at a path that was asked for, if it is there.
    fn member(&mut self, path: &[u8]) -> Result<Option<Member>> {
        if self.stream.is_none() {
            self.stream = Some(start(&self.shared)?);
        }
        let member = match self.ahead.take() {
            Some(member) => Some(member),
            None => match &mut self.stream {
                Some(Stream::Tar(_, members)) => members.next()?,
                _ => None,
            },
        };
        let Some(member) = member else { return Ok(None) };
        let name = member.path.strip_suffix(b"/").unwrap_or(&member.path);
        if name == path {
            return Ok(Some(member));
        }
        let plan = &self.shared.plan;
        let shown = Path::new(std::ffi::OsStr::from_bytes(name));
        let is_wanted = plan.listing.find(shown).is_some_and(|row| !plan.need_not_travel(row));
        if !is_wanted || in_tree_order(name) < in_tree_order(path) {
            bail!("the machine sends {}, which it was not asked for now", crate::output::printable(shown.as_os_str()));
        }
        self.ahead = Some(member);
        Ok(None)
    }

    /// Everything was asked for: is the stream over, and how did it end?
    fn end(&mut self) -> Result<()> {
        let (transfer, mut members) = match self.stream.take() {
            None => return Ok(()),
            Some(Stream::Tar(transfer, members)) => (transfer, members),
            Some(Stream::Posix(mut contents)) => {
                if contents.next()?.is_some() {
                    bail!("the machine sends more than it was asked for");
                }
                self.keep(contents.into_shell());
                return Ok(());
            }
        };
        if let Some(member) = self.ahead.take().map_or_else(|| members.next(), |ahead| Ok(Some(ahead)))? {
            let path = crate::output::printable(std::ffi::OsStr::from_bytes(&member.path));
            bail!("the machine sends {path}, which it was not asked for");
        }
        drop(members);
        let (ended, connection) = transfer.finish();
        let ended = ended?;
        self.keep(connection);
        // 1: something has changed while it was read; 2: something could not be read. Both say what.
        if !(0..=2).contains(&ended.status) {
            return Err(complaints::refused(&ended, "tar"));
        }
        let mut reasons: HashMap<PathBuf, Problem> = HashMap::new();
        for problem in complaints::problems(&ended.complaints, "tar") {
            reasons.entry(problem.path.clone()).or_insert(problem);
        }
        // What vanished is a reason, too, and what was told while it was listed.
        let is_explained = !reasons.is_empty() || !self.missing.is_empty();
        // There are zeros in their place, under the times of what they should be: the next run would take them for it.
        let is_damaged = |problem: &&Problem| problem.error.starts_with("Read error");
        if let Some(Problem { path, error, .. }) =
            reasons.values().find(is_damaged).filter(|_| !self.shared.follows_whole)
        {
            let path = crate::output::printable(path.as_os_str());
            return Err(anyhow!("{path}: {error}")).hint(
                "Mend the disk, or leave this file out with `exclude`. It makes a point incomplete, and no worse, once there is a complete one.",
            );
        }
        for path in std::mem::take(&mut self.missing) {
            let reason = reasons.remove(&path);
            let (error, severity) = reason.map_or_else(
                || ("did not come; the machine does not say why".to_owned(), Severity::Unread),
                |problem| (problem.error, problem.severity),
            );
            self.tell(path, &error, severity);
        }
        for (_, problem) in reasons {
            self.tell(problem.path, &problem.error, problem.severity);
        }
        if ended.status == 2 && !is_explained {
            return Err(complaints::refused(&ended, "tar"));
        }
        Ok(())
    }

    fn keep(&self, connection: Option<Connection>) {
        *self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    fn tell(&mut self, path: PathBuf, error: &str, severity: Severity) {
        if self.told.insert(path.clone()) {
            self.last.push(Problem { path, error: error.to_owned(), severity });
        }
    }

    /// Why the stream broke off: whoever moves it knows better than whoever understands it.
    fn why(&mut self, error: Error) -> Error {
        let Some(Stream::Tar(transfer, members)) = self.stream.take() else { return error };
        drop(members);
        match transfer.finish().0 {
            Ok(ended) if ended.status > 2 || !ended.complaints.is_empty() => {
                complaints::refused(&ended, "tar").context(error)
            }
            Ok(_) => error,
            Err(cause) if cause.to_string() == super::transfer::NOT_WANTED => error,
            Err(cause) => cause,
        }
    }
}
