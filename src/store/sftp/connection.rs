//! One connection: an `ssh` with the server's SFTP at its other end.
//!
//! Many requests are under way at once, so that a distant server does not make each piece of a file wait for the one before.

use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::thread::{self, JoinHandle};

use super::address::Address;
use super::packet::{self, Reply, Request};

/// How much is read or written with one request; every server takes this much.
pub(super) const PIECE: usize = 32 << 10;
/// How many requests may be under way. Requests to read, and answers to requests to write, are small: as many fit into the pipes,
/// so that neither side waits for the other to read.
const UNDER_WAY: usize = 64;
/// How many directories are read at once: less than a server lets be open.
const DIRECTORIES: usize = 32;
/// How much is kept of what `ssh` says.
const SAID: u64 = 16 << 10;

const OK: u32 = 0;
const END: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;

/// What `ssh` says when another try would not help.
const REFUSALS: [&str; 6] = [
    "ermission denied",
    "ost key verification failed",
    "HOST IDENTIFICATION HAS CHANGED",
    "ubsystem request failed",
    "Bad configuration option",
    "Bad owner or permissions",
];

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server says no; the connection is good.
    Answer(io::Error),
    /// The connection is gone, or never was; another may do.
    Lost(io::Error),
    /// There will be no connection.
    Refused(io::Error),
}

/// An open connection; closed when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    ssh: Child,
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
    said: Option<JoinHandle<String>>,
    next: u32,
    can_replace: bool,
    can_sync: bool,
}

impl Connection {
    pub(super) fn open(address: &Address) -> Result<Self, Failure> {
        let mut ssh = address.ssh().spawn().map_err(|error| {
            Failure::Refused(io::Error::other(format!("cannot run `ssh`, which SFTP needs: {error}")))
        })?;
        let (Some(to), Some(from), Some(mut stderr)) = (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take()) else {
            return Err(Failure::Refused(io::Error::other("`ssh` has no pipes")));
        };
        let said = thread::spawn(move || {
            let mut text = Vec::new();
            drop(stderr.by_ref().take(SAID).read_to_end(&mut text));
            drop(io::copy(&mut stderr, &mut io::sink()));
            String::from_utf8_lossy(&text).into_owned()
        });
        let (to, from) = (BufWriter::with_capacity(2 * PIECE, to), BufReader::with_capacity(2 * PIECE, from));
        let mut connection = Self { ssh, to, from, said: Some(said), next: 0, can_replace: false, can_sync: false };
        match connection.greet() {
            Ok(()) => Ok(connection),
            Err(error) => Err(connection.lost(error)),
        }
    }

    fn greet(&mut self) -> io::Result<()> {
        self.to.write_all(&packet::hello())?;
        self.to.flush()?;
        let extensions = packet::read_hello(&mut self.from)?;
        let has = |name: &[u8]| extensions.iter().any(|extension| extension == name);
        self.can_replace = has(b"posix-rename@openssh.com");
        self.can_sync = has(b"fsync@openssh.com");
        Ok(())
    }

    /// The size of a file in bytes.
    pub(super) fn size(&mut self, path: &str) -> Result<u64, Failure> {
        self.one(&Request::Size(path)).and_then(size)
    }

    /// Reads a file, or of it what begins at an offset and has a length.
    pub(super) fn read(&mut self, path: &str, range: Option<(u64, u64)>) -> Result<Vec<u8>, Failure> {
        let handle = self.one(&Request::OpenToRead(path)).and_then(handle)?;
        let read = self.read_open(&handle, range);
        let closed = self.one(&Request::Close(&handle)).and_then(done);
        read.and_then(|bytes| closed.map(|()| bytes))
    }

    fn read_open(&mut self, handle: &[u8], range: Option<(u64, u64)>) -> Result<Vec<u8>, Failure> {
        let (start, length) = match range {
            Some(range) => range,
            None => (0, self.one(&Request::SizeOfOpen(handle)).and_then(size)?),
        };
        let length =
            usize::try_from(super::to_u32(length)?).map_err(|error| Failure::Answer(io::Error::other(error)))?;
        let mut bytes = vec![0; length];
        let mut wanted: Vec<(usize, usize)> =
            (0..length).step_by(PIECE).map(|begin| (begin, PIECE.min(length - begin))).collect();
        // A server may give less than it was asked for; the rest is asked for again.
        while !wanted.is_empty() {
            let mut missing = Vec::new();
            let mut failed = None;
            let requests = wanted.iter().map(|&(begin, length)| Request::Read {
                handle,
                offset: start + begin as u64,
                length: length as u32,
            });
            self.exchange(requests, |index, reply| {
                let (begin, length) = wanted[index];
                match reply {
                    Reply::Data(data) if !data.is_empty() && data.len() <= length => {
                        bytes[begin..begin + data.len()].copy_from_slice(&data);
                        if data.len() < length {
                            missing.push((begin + data.len(), length - data.len()));
                        }
                    }
                    other => failed = Some(unexpected(other)),
                }
            })?;
            if let Some(failure) = failed {
                return Err(failure);
            }
            wanted = missing;
        }
        Ok(bytes)
    }

    /// Writes a new file; what it is in is made if need be.
    pub(super) fn write<'d>(&mut self, path: &str, parts: impl Iterator<Item = &'d [u8]>) -> Result<(), Failure> {
        let opened = match self.one(&Request::OpenNew(path)).and_then(handle) {
            Err(Failure::Answer(error)) if error.kind() == io::ErrorKind::NotFound => {
                let directory = path.rsplit_once('/').map_or(".", |(directory, _)| directory);
                self.make_directories(&[directory.to_owned()])?;
                self.one(&Request::OpenNew(path)).and_then(handle)
            }
            opened => opened,
        };
        let handle = opened?;
        let mut offset = 0;
        let mut failed = None;
        let requests = parts.flat_map(|part| part.chunks(PIECE)).map(|data| {
            let request = Request::Write { handle: &handle, offset, data };
            offset += data.len() as u64;
            request
        });
        self.exchange(requests, |_, reply| {
            if let Err(failure) = done(reply) {
                failed = Some(failure);
            }
        })?;
        let synced =
            if self.can_sync && failed.is_none() { self.one(&Request::Sync(&handle)).and_then(done) } else { Ok(()) };
        let closed = self.one(&Request::Close(&handle)).and_then(done);
        failed.map_or(Ok(()), Err).and(synced).and(closed)
    }

    /// Gives a file another name; whatever had it is replaced where the server can.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        let request = if self.can_replace { Request::Replace { from, to } } else { Request::Rename { from, to } };
        self.one(&request).and_then(done)
    }

    pub(super) fn remove(&mut self, path: &str) -> Result<(), Failure> {
        self.one(&Request::Remove(path)).and_then(done)
    }

    /// Makes these directories in this order; those that are there stay.
    pub(super) fn make_directories(&mut self, paths: &[String]) -> Result<(), Failure> {
        let mut in_doubt = Vec::new();
        self.exchange(paths.iter().map(|path| Request::MakeDirectory(path)), |index, reply| {
            if let Err(failure) = done(reply) {
                in_doubt.push((index, failure));
            }
        })?;
        // "It is there" has no code of its own, and above a directory of ours may be one that nobody may write to.
        for (index, failure) in in_doubt {
            match self.size(&paths[index]) {
                Ok(_) => {}
                Err(Failure::Answer(_)) => return Err(failure),
                Err(lost) => return Err(lost),
            }
        }
        Ok(())
    }

    /// What is in these directories, in any order, with sizes in bytes; one that is not there is empty.
    pub(super) fn list(&mut self, directories: &[String]) -> Result<Vec<(Vec<u8>, u64)>, Failure> {
        let mut names = Vec::new();
        for some in directories.chunks(DIRECTORIES) {
            let mut handles = Vec::new();
            let mut failed = None;
            self.exchange(some.iter().map(|path| Request::OpenDirectory(path)), |_, reply| match handle(reply) {
                Ok(handle) => handles.push(handle),
                Err(Failure::Answer(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(failure) => failed = Some(failure),
            })?;
            let mut unread: Vec<&[u8]> = handles.iter().map(Vec::as_slice).collect();
            while !unread.is_empty() && failed.is_none() {
                let mut more = Vec::new();
                self.exchange(
                    unread.iter().map(|handle| Request::ReadDirectory(handle)),
                    |index, reply| match reply {
                        Reply::Names(some) => {
                            names.extend(some);
                            more.push(unread[index]);
                        }
                        Reply::Status { code: END, .. } => {}
                        other => failed = Some(unexpected(other)),
                    },
                )?;
                unread = more;
            }
            self.exchange(handles.iter().map(|handle| Request::Close(handle)), |_, _| {})?;
            if let Some(failure) = failed {
                return Err(failure);
            }
        }
        Ok(names)
    }

    fn one(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let mut answer = None;
        self.exchange([request], |_, reply| answer = Some(reply))?;
        answer.ok_or_else(|| Failure::Lost(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Sends requests and gives each reply, with the place of its request, to `each`, in the order in which they come.
    fn exchange<'r, R: std::borrow::Borrow<Request<'r>>>(
        &mut self,
        requests: impl IntoIterator<Item = R>,
        each: impl FnMut(usize, Reply),
    ) -> Result<(), Failure> {
        self.try_exchange(requests.into_iter(), each).map_err(|error| self.lost(error))
    }

    fn try_exchange<'r, R: std::borrow::Borrow<Request<'r>>>(
        &mut self,
        requests: impl Iterator<Item = R>,
        mut each: impl FnMut(usize, Reply),
    ) -> io::Result<()> {
        let mut requests = requests.enumerate();
        let mut under_way = HashMap::new();
        loop {
            while under_way.len() < UNDER_WAY {
                let Some((index, request)) = requests.next() else { break };
                self.next = self.next.wrapping_add(1);
                self.to.write_all(&request.borrow().encode(self.next))?;
                under_way.insert(self.next, index);
            }
            self.to.flush()?;
            if under_way.is_empty() {
                return Ok(());
            }
            let (id, reply) = Reply::read(&mut self.from)?;
            let answered = under_way.remove(&id);
            each(answered.ok_or_else(|| io::Error::other("the server answers what was not asked"))?, reply);
        }
    }

    /// The connection is over: what `ssh` said about it, or if it said nothing, `error`.
    fn lost(&mut self, error: io::Error) -> Failure {
        drop(self.ssh.kill());
        drop(self.ssh.wait());
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        if error.kind() == io::ErrorKind::InvalidData {
            return Failure::Refused(error);
        }
        let reason = io::Error::other(reason(&said).unwrap_or_else(|| format!("the connection broke off: {error}")));
        if REFUSALS.iter().any(|refusal| said.contains(refusal)) {
            Failure::Refused(reason)
        } else {
            Failure::Lost(reason)
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.ssh.kill());
        drop(self.ssh.wait());
    }
}

/// What `ssh` said, in one line.
fn reason(said: &str) -> Option<String> {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    if said.contains("HOST IDENTIFICATION HAS CHANGED") {
        let fingerprint = lines().find(|line| line.starts_with("SHA256:")).unwrap_or_default().trim_end_matches('.');
        return Some(format!("the server shows another host key than the known one: {fingerprint}"));
    }
    let last: Vec<&str> = lines().collect();
    (!last.is_empty()).then(|| last[last.len().saturating_sub(3)..].join(" "))
}

fn handle(reply: Reply) -> Result<Vec<u8>, Failure> {
    match reply {
        Reply::Handle(handle) => Ok(handle),
        other => Err(unexpected(other)),
    }
}

fn size(reply: Reply) -> Result<u64, Failure> {
    match reply {
        Reply::Size(size) => Ok(size),
        other => Err(unexpected(other)),
    }
}

fn done(reply: Reply) -> Result<(), Failure> {
    match reply {
        Reply::Status { code: OK, .. } => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// A reply that is not what was asked for.
fn unexpected(reply: Reply) -> Failure {
    Failure::Answer(match reply {
        Reply::Status { code: NO_SUCH_FILE, .. } => io::Error::new(io::ErrorKind::NotFound, "no such file"),
        Reply::Status { code: PERMISSION_DENIED, .. } => {
            io::Error::new(io::ErrorKind::PermissionDenied, "the server denies it")
        }
        Reply::Status { code: END, .. } => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it should be")
        }
        Reply::Status { code: FAILURE, message } if message.is_empty() || message == "Failure" => {
            io::Error::other("the server says that it failed, and not why; is its disk full?")
        }
        Reply::Status { code, message } => io::Error::other(format!("the server says: {message} (status {code})")),
        _ => io::Error::other("the server answers something else than what it was asked"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banner_about_a_changed_key_is_one_line_with_the_fingerprint() {
        let said = "@@@@@@\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\n@@@@@@\r\nThe fingerprint is\nSHA256:abc.\r\nmore\r\n";
        let expected = "the server shows another host key than the known one: SHA256:abc";
        assert_eq!(reason(said).as_deref(), Some(expected));
    }

    #[test]
    fn last_words_of_ssh_are_the_reason() {
        let said = "Welcome\r\n\r\nto\r\nthe\r\nserver\r\nme@host: Permission denied (publickey).\r\n";
        assert_eq!(reason(said).as_deref(), Some("the server me@host: Permission denied (publickey)."));
        assert_eq!(reason("\r\n"), None);
    }
}
