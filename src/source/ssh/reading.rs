//! The content of files, out of one stream: of what has to travel, or of a few files.

use std::ffi::OsStr;
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use super::commands;
use super::connection::Connection;
use super::host::{Host, Way};
use super::listing::{Found, Stat};
use super::plan::Names;
use super::posix::{Contents, Wanted};
use super::transfer::Transfer;
use super::tree::Shared;
use crate::source::Content;
use crate::source::stream::Members;

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
    let script = commands::script(&commands::privileged(&host.tools, host.needs_sudo(), commands::read(&host.tools)));
    let (transfer, output) = Transfer::start(connection, script, names)?;
    Ok((transfer, Members::read(Box::new(output))?))
}

/// The files that have to travel from a machine without tar.
fn wanted(shared: &Shared) -> Vec<Wanted> {
    let (plan, mut steps, mut wanted) = (&shared.plan, shared.plan.listing.steps(), Vec::new());
    while let Some(row) = steps.next(&plan.listing) {
        let stat = plan.listing.stat(row);
        if stat.is_file() && !plan.is_same(row) && !shared.dumps.contains_key(&row) {
            wanted.push(Wanted { path: steps.path().to_vec(), size: stat.size, identity: identity(stat) });
        }
    }
    wanted
}

/// Reads a few files, which are given in the order of a tree, as they were listed. What `take` is given it must have read when it ends. Gives the
/// connection back.
pub(super) fn read_some(
    host: &Host,
    connection: Connection,
    files: &[Found],
    take: &mut dyn FnMut(&Path, Content),
) -> Result<Connection> {
    match host.way {
        Way::Gnu => {
            let names: Vec<u8> = files.iter().flat_map(name).collect();
            let (transfer, mut members) = tar(host, connection, Box::new(Cursor::new(names)))?;
            while let Some(member) = members.next()? {
                if let Some(content) = member.content {
                    take(Path::new(OsStr::from_bytes(&member.path)), content);
                }
            }
            drop(members);
            let (ended, connection) = transfer.finish();
            ended?;
            connection.map_or_else(|| host.connect(), Ok)
        }
        Way::Posix => {
            let wanted = files.iter().map(|file| wanted_file(file, file.stat.size)).collect();
            let mut contents = Contents::read(connection, wanted, &host.prefix())?;
            while let Some((path, content)) = contents.next()? {
                if let Ok(content) = content {
                    take(Path::new(OsStr::from_bytes(&path)), content);
                }
            }
            contents.into_shell().map_or_else(|| host.connect(), Ok)
        }
        Way::Sftp => {
            for file in files {
                take(Path::new(OsStr::from_bytes(&file.path)), host.content(file)?);
            }
            Ok(connection)
        }
    }
}

/// Reads one file, over a connection of its own.
pub(super) fn fetch(host: &Host, file: &Found) -> Result<Box<dyn Read + Send>> {
    const MISSING: &str = "it did not come";
    match host.way {
        Way::Gnu => {
            let (transfer, mut members) = tar(host, host.connect()?, Box::new(Cursor::new(name(file))))?;
            let content = members.next()?.and_then(|member| member.content).context(MISSING)?;
            Ok(Box::new(Kept { reader: open(content)?, _stream: (transfer, members) }))
        }
        Way::Posix => {
            // Of a size that is not small, so that it is not gathered first.
            let mut contents = Contents::read(host.connect()?, vec![wanted_file(file, u64::MAX)], &host.prefix())?;
            let (_, content) = contents.next()?.context(MISSING)?;
            Ok(Box::new(Kept { reader: open(content?)?, _stream: contents }))
        }
        Way::Sftp => open(host.content(file)?),
    }
}

fn name(file: &Found) -> Vec<u8> {
    [&*file.path, &[0]].concat()
}

fn wanted_file(file: &Found, size: u64) -> Wanted {
    Wanted { path: file.path.clone(), size, identity: identity(&file.stat) }
}

/// What tells a file from another one that was put in its place.
fn identity(stat: &Stat) -> Option<(u64, u64)> {
    (stat.inode != 0).then_some((stat.device, stat.inode))
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
