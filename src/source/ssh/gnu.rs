//! Lists a machine with GNU find: one command, whose output is compressed there if it can be.
//!
//! ```text
//!  A 1234/4096/…/d/755/… \0 link \0 /path \0   a directory above a configured path
//!  R                                          the configured paths begin
//!  1235/17/…/f/644/… \0 link \0 /path \0        an entry
//!  E 0                                        the end, with find's exit status
//! ```
//! Each line is three strings that end with a NUL, so that names may hold anything that names can hold.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::commands::{self, Argv, FORMAT};
use super::complaints;
use super::connection::Ended;
use super::listing::{BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, Found, Listing, SYMLINK, Stat};
use super::probe::Tools;
use super::shell::{Shell, command};
use super::unpack::{self, Unpacker};
use crate::config::LeaveOut;
use crate::source::Problem;

/// What a string may have at most, in bytes: more than a path and a link can.
const LONGEST: usize = 64 << 10;

/// How much is passed over behind something that is no listing, in bytes.
const MOST_BEHIND: usize = 64 << 10;

/// What to list.
pub(super) struct Request<'r> {
    pub(super) tools: &'r Tools,
    pub(super) sudo: bool,
    /// Absolute, none below another, sorted.
    pub(super) roots: &'r [PathBuf],
    pub(super) leave_out: &'r LeaveOut,
    /// Whether what is in directories below the roots is of no interest.
    pub(super) is_shallow: bool,
    /// What is left out, asked of every entry but the configured paths themselves.
    pub(super) leaves_out: &'r dyn Fn(&Path, &Stat) -> bool,
}

/// Lists everything below the configured paths. Those that are not there are not in the listing.
pub(super) fn list(shell: &mut dyn Shell, request: &Request<'_>) -> Result<(Listing, Vec<Problem>)> {
    let Request { tools, sudo, roots, leave_out, .. } = *request;
    let mut find = commands::list(tools, roots, leave_out, sudo);
    if request.is_shallow {
        find.splice(1 + roots.len()..1 + roots.len(), ["-maxdepth", "1"].map(|word| word.as_bytes().to_vec()));
    }
    let find = commands::privileged(tools, sudo, find);
    let script = script(tools, &above(roots), &find);
    let mut reader = Reader::new(request);
    let mut unpacker = Unpacker::new(tools);
    let (mut failure, mut behind) = (None, 0);
    let ran = shell.run(&script, &mut io::empty(), &mut |bytes| {
        if failure.is_none() {
            failure = unpacker.push(bytes, &mut |bytes| reader.take(bytes)).err();
        } else {
            behind += bytes.len();
        }
        // What is said of find that was ended in the middle comes right behind it.
        ensure!(behind <= MOST_BEHIND, "the machine does not end");
        Ok(())
    });
    let failure = failure.or_else(|| unpacker.finish(&mut |bytes| reader.take(bytes)).err().filter(|_| ran.is_ok()));
    let ended = match (failure, ran) {
        (None, ran) => ran?,
        (Some(error), Ok(ended)) if !ended.complaint().is_empty() => {
            return Err(anyhow!(ended.complaint()).context(format!("{error:#}")));
        }
        (Some(error), _) => return Err(error),
    };
    match reader.end {
        // 1: it could not look at everything, and has said at what.
        Some(0 | 1) => {}
        Some(status) => {
            return Err(complaints::refused(&Ended { status, ..ended }, "find"));
        }
        None if ended.complaints.is_empty() => bail!("the listing ended in the middle (status {})", ended.status),
        None => return Err(complaints::refused(&ended, "find").context("the listing ended in the middle")),
    }
    // What sudo says when it did run find is no more than a warning.
    if let Some(error) = complaints::of_sudo(&ended)
        && !reader.has_found
    {
        return Err(error);
    }
    let mut listing = reader.listing;
    listing.sort();
    Ok((listing, complaints::problems(&ended.complaints, "find")))
}

/// The directories above the configured paths, from the top.
fn above(roots: &[PathBuf]) -> Vec<&Path> {
    let mut above: Vec<&Path> = roots.iter().flat_map(|root| root.ancestors().skip(1)).collect();
    above.retain(|path| path.file_name().is_some());
    above.sort_unstable();
    above.dedup();
    above
}

fn script(tools: &Tools, above: &[&Path], find: &Argv) -> Vec<u8> {
    let mut script = b"{\n".to_vec();
    if !above.is_empty() {
        // Links on the way count as what they lead to.
        let mut argv: Argv = vec![tools.find.clone().unwrap_or_default().into_bytes(), b"-L".to_vec()];
        argv.extend(above.iter().map(|path| path.as_os_str().as_bytes().to_vec()));
        argv.extend(["-maxdepth", "0", "-printf", &format!("A{FORMAT}")].map(|word| word.as_bytes().to_vec()));
        script.extend(command(&argv));
        script.extend_from_slice(b" 2>/dev/null\n");
    }
    script.extend_from_slice(b"printf 'R\\0\\0\\0'\n");
    script.extend(command(find));
    script.extend_from_slice(b"\nprintf 'E%s\\0\\0\\0' $?\n}");
    if let Some(packer) = unpack::packer(tools) {
        script.extend_from_slice(b" | ");
        script.extend(command(&packer));
    }
    script.push(b'\n');
    script
}

/// Takes what find prints, in pieces of any length.
struct Reader<'r> {
    request: &'r Request<'r>,
    listing: Listing,
    /// The strings of an entry that is not complete.
    strings: [Vec<u8>; 3],
    which: usize,
    has_begun: bool,
    /// Whether anything was listed since.
    has_found: bool,
    /// Find's exit status, at the end.
    end: Option<i32>,
}

impl<'r> Reader<'r> {
    fn new(request: &'r Request<'r>) -> Self {
        let (strings, which, has_begun, has_found) = Default::default();
        Self { request, listing: Listing::new(), strings, which, has_begun, has_found, end: None }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            self.strings[self.which].extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.which += 1;
            if self.which == 3 {
                self.which = 0;
                self.entry()?;
                self.strings.iter_mut().for_each(Vec::clear);
            }
        }
        let string = &mut self.strings[self.which];
        string.extend_from_slice(bytes);
        if string.len() > LONGEST {
            bail!("the machine lists a name that is too long");
        }
        Ok(())
    }

    fn entry(&mut self) -> Result<()> {
        if self.end.is_some() {
            bail!("the machine goes on behind the end of its listing");
        }
        let [head, target, path] = &mut self.strings;
        match head.split_first() {
            Some((b'E', status)) => {
                let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
                self.end = Some(status.context("understand the end of the listing")?);
                return Ok(());
            }
            Some((b'R', [])) => {
                self.has_begun = true;
                return Ok(());
            }
            Some((b'A', head)) if !self.has_begun => {
                let path = Path::new(std::ffi::OsStr::from_bytes(path));
                if self.request.roots.iter().any(|root| root.starts_with(path)) {
                    self.listing.add_above(path, stat(head))?;
                }
                return Ok(());
            }
            _ => {}
        }
        // Sockets and what nobody knows are told with letters that are not understood.
        let Some(stat) = stat(head) else {
            let kind = head.split(|&byte| byte == b'/').nth(4);
            if kind == Some(b"s") || kind == Some(b"D") {
                return Ok(());
            }
            bail!("the machine lists something that is not understood: {}", String::from_utf8_lossy(head));
        };
        self.has_found = true;
        let found = Found { path: std::mem::take(path), stat, target: std::mem::take(target) };
        self.listing.take(&found, self.request.roots, self.request.leaves_out)
    }
}

/// Understands the head of an entry: [`FORMAT`] up to its first NUL.
fn stat(head: &[u8]) -> Option<Stat> {
    let mut fields = std::str::from_utf8(head).ok()?.split('/');
    let mut next = || fields.next();
    let (inode, size) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let (mtime, ctime) = (moment(next()?)?, moment(next()?)?);
    let kind = match next()? {
        "f" => FILE,
        "d" => DIRECTORY,
        "l" => SYMLINK,
        "p" => FIFO,
        "b" => BLOCK,
        "c" => CHARACTER,
        _ => return None,
    };
    let mode = kind | u32::from_str_radix(next()?, 8).ok()? & 0o7777;
    let (uid, gid) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let (links, device) = (next()?.parse().ok()?, next()?.parse().ok()?);
    if fields.next().is_some() {
        return None;
    }
    let size = if kind == FILE { size } else { 0 };
    Some(Stat { mode, uid, gid, size, mtime, ctime: Some(ctime), inode, links, device })
}

/// A moment as find prints it: seconds since 1970, and a fraction of ten digits, or none.
fn moment(text: &str) -> Option<(i64, u32)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some((seconds.parse().ok()?, digits.parse().ok()?))
}
