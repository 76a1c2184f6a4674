//! The content of files, out of one stream: of what has to travel, or of a few files.

use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use super::commands;
use super::connection::Connection;
use super::host::{Host, Way};
use super::plan::Names;
use super::posix::{Contents, Wanted};
use super::shell::command;
use super::stream::Members;
use super::transfer::Transfer;
use super::tree::Shared;
use crate::source::Content;

/// The stream, while it is read.
pub(super) enum Stream {
    Tar(Transfer, Members),
    Posix(Contents<Connection>),
}

/// Starts to read what has to travel.
pub(super) fn start(shared: &Arc<Shared>) -> Result<Stream> {
    let (host, connection) = (&shared.host, shared.connection()?);
    if host.way == Way::Posix {
        return Ok(Stream::Posix(Contents::read(connection, wanted(shared), &host.prefix())?));
    }
    let (transfer, members) = tar(host, connection, Box::new(Names::new(Arc::clone(shared))))?;
    Ok(Stream::Tar(transfer, members))
}

/// Starts tar, which reads the files of these names, each with a NUL behind it.
fn tar(host: &Host, connection: Connection, names: Box<dyn Read + Send>) -> Result<(Transfer, Members)> {
    let mut script = command(&commands::privileged(&host.tools, host.needs_sudo(), commands::read(&host.tools)));
    script.push(b'\n');
    let (transfer, output) = Transfer::start(connection, script, names)?;
    Ok((transfer, Members::read(Box::new(output))?))
}

/// The files that have to travel from a machine without tar.
fn wanted(shared: &Shared) -> Vec<Wanted> {
    let (plan, mut steps, mut wanted) = (&shared.plan, shared.plan.listing.steps(), Vec::new());
    while let Some(row) = steps.next(&plan.listing) {
        let stat = plan.listing.stat(row);
        if stat.is_file() && !plan.is_same(row) && !shared.dumps.contains_key(&row) {
            let identity = (stat.inode != 0).then_some((stat.device, stat.inode));
            wanted.push(Wanted { path: steps.path().to_vec(), size: stat.size, identity });
        }
    }
    wanted
}

/// Reads a few files, which are given in the order of a tree, each with its size. What `take` is given it must have read when it ends. Gives the
/// connection back.
pub(super) fn read_some(
    host: &Host,
    connection: Connection,
    files: &[(PathBuf, u64)],
    take: &mut dyn FnMut(&Path, Content),
) -> Result<Connection> {
    match host.way {
        Way::Gnu => {
            let names: Vec<u8> = files.iter().flat_map(|(path, _)| name(path)).collect();
            let (transfer, mut members) = tar(host, connection, Box::new(Cursor::new(names)))?;
            while let Some(member) = members.next()? {
                if let Some(content) = member.content {
                    take(Path::new(std::ffi::OsStr::from_bytes(&member.path)), content);
                }
            }
            drop(members);
            let (ended, connection) = transfer.finish();
            ended?;
            connection.map_or_else(|| host.connect(), Ok)
        }
        Way::Posix => {
            let wanted = files.iter().map(|(path, size)| wanted_file(path, *size)).collect();
            let mut contents = Contents::read(connection, wanted, &host.prefix())?;
            while let Some((path, content)) = contents.next()? {
                if let Ok(content) = content {
                    take(Path::new(std::ffi::OsStr::from_bytes(&path)), content);
                }
            }
            contents.into_shell().map_or_else(|| host.connect(), Ok)
        }
        Way::Sftp => {
            for (path, _) in files {
                take(path, host.content(path)?);
            }
            Ok(connection)
        }
    }
}

/// Reads one file, over a connection of its own.
pub(super) fn fetch(host: &Host, path: &Path) -> Result<Box<dyn Read + Send>> {
    const MISSING: &str = "it did not come";
    match host.way {
        Way::Gnu => {
            let (transfer, mut members) = tar(host, host.connect()?, Box::new(Cursor::new(name(path))))?;
            let content = members.next()?.and_then(|member| member.content).context(MISSING)?;
            Ok(Box::new(Kept { reader: open(content)?, _stream: (transfer, members) }))
        }
        Way::Posix => {
            // Of a size that is not small, so that it is not gathered first.
            let mut contents = Contents::read(host.connect()?, vec![wanted_file(path, u64::MAX)], &host.prefix())?;
            let (_, content) = contents.next()?.context(MISSING)?;
            Ok(Box::new(Kept { reader: open(content?)?, _stream: contents }))
        }
        Way::Sftp => open(host.content(path)?),
    }
}

fn name(path: &Path) -> Vec<u8> {
    [path.as_os_str().as_bytes(), &[0]].concat()
}

fn wanted_file(path: &Path, size: u64) -> Wanted {
    Wanted { path: path.as_os_str().as_bytes().to_vec(), size, identity: None }
}

fn open(content: Content) -> Result<Box<dyn Read + Send>> {
    match content {
        Content::Read(opener) | Content::Unsized(opener) => Ok(opener.open()?),
        Content::Stored(_) => Err(anyhow!("it is not there to be read")),
    }
}

/// A content with the stream that it comes out of.
struct Kept<T> {
    reader: Box<dyn Read + Send>,
    _stream: T,
}

impl<T> Read for Kept<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
