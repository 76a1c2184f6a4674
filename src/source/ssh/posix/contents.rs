//! Reads the content of many files in one go: a thread sends their names and takes apart what comes back ([`super::frames`]).
//!
//! The machine's `sh` takes its program from standard input, so that neither the word that ends a content nor the names are arguments, which others
//! on that machine could see. With `sudo`, this line is run as root:
//!
//! ```text
//! cat -- NAME
//! ```
//!
//! What is no regular file any more is not opened, and what was opened must be what was listed: otherwise a link or a pipe that somebody put in
//! its place would be read. With `sudo` that cannot be told, since it is `cat` that opens it.
//!
//! Files that are listed as small come whole, and may be opened in any order and later; a large one is a channel that is filled while it is read.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};

use super::complaints;
use super::frames::{Frames, WORD};
use crate::source::Content;
use crate::source::content::{BUDGET, Budget};
use crate::source::ssh::shell::{Shell, quote};

mod delivery;

use delivery::Delivery;

/// A file that is to be read.
#[derive(Debug, Clone)]
pub(in super::super) struct Wanted {
    /// Absolute.
    pub(in super::super) path: Vec<u8>,
    /// Its size in bytes as it was listed.
    pub(in super::super) size: u64,
    /// Its device and inode number as they were listed; `None` when they are not known.
    pub(in super::super) identity: Option<(u64, u64)>,
}

/// How many files may be told of before somebody asks for the next.
const AHEAD: usize = 256;

/// What is told of a file: its number, and its content or why it could not be opened.
type Told = (usize, io::Result<Content>);

/// The contents of files, in the order in which they were wanted.
#[derive(Debug)]
pub(in super::super) struct Contents<S> {
    wanted: Arc<[Wanted]>,
    told: Option<Receiver<Told>>,
    thread: Option<JoinHandle<(S, Result<()>)>>,
    shell: Option<S>,
}

impl<S: Shell + Send + 'static> Contents<S> {
    /// Begins to read. `prefix` is put before what must see everything: `sudo -n `, or nothing.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(in super::super) fn read(mut shell: S, wanted: Vec<Wanted>, prefix: &[u8]) -> Result<Self> {
        let wanted: Arc<[Wanted]> = wanted.into();
        let (sender, told) = sync_channel(AHEAD);
        let mut delivery = Delivery::new(Arc::clone(&wanted), sender, Budget::new(BUDGET));
        let word: [u8; WORD] = word();
        let mut program = Program::new(Arc::clone(&wanted), &word, prefix);
        let thread = thread::Builder::new().name("ssh-contents".into()).spawn(move || {
            let mut frames = Frames::new(word);
            let ran =
                shell.run(b"exec sh", &mut program, &mut |bytes| frames.push(bytes, &mut |frame| delivery.take(frame)));
            let whole = ran.and_then(|ended| {
                let broke_off =
                    || anyhow!("it broke off with status {}{}", ended.status, complaints::text(&ended.complaints));
                if delivery.is_whole() { Ok(()) } else { Err(broke_off()) }
            });
            (shell, whole)
        })?;
        Ok(Self { wanted, told: Some(told), thread: Some(thread), shell: None })
    }

    /// The next file: its path, and its content or why it could not be opened. `None` when all were given.
    ///
    /// The content of a small file waits in memory, at most 32 MiB of them together: the next file may be asked for when those before it are read or
    /// dropped, or about to be on other threads.
    ///
    /// # Errors
    ///
    /// When the connection fails or the stream is not whole. What was not given then is not known to be there or not.
    pub(in super::super) fn next(&mut self) -> Result<Option<(Vec<u8>, io::Result<Content>)>> {
        if let Some((number, content)) = self.told.as_ref().and_then(|told| told.recv().ok()) {
            return Ok(Some((self.wanted[number].path.clone(), content)));
        }
        let Some(thread) = self.thread.take() else { return Ok(None) };
        let (shell, whole) = thread.join().map_err(|_| anyhow!("the thread that reads files panicked"))?;
        self.shell = Some(shell);
        whole.context("read files")?;
        Ok(None)
    }

    /// Gives back what scripts are run on, once [`Contents::next`] gave `None` or an error; before that, `None`.
    pub(in super::super) fn into_shell(mut self) -> Option<S> {
        self.shell.take()
    }
}

/// A word that nobody can know before.
fn word() -> [u8; WORD] {
    let mut word = [0; WORD];
    let text = format!("{:032x}", rand::random::<u128>());
    word.copy_from_slice(text.as_bytes());
    word
}

/// The functions that the program begins with; WORD is replaced. `f` is told a path.
///
/// A shell ends a group whose redirection fails without running it. Its words for the reason are asked for once more, apart, since they come before
/// its own standard error is redirected.
const OPENED_BY_SHELL: &str = r#"f() {
    if [ -L "$1" ] || { [ -e "$1" ] && [ ! -f "$1" ]; }; then
        printf '%s!was replaced while it was being backed up\0' WORD
        return
    fi
    {
        printf '%s+%s\0' WORD "$(stat -L -c '%d %i' /proc/self/fd/0 2>/dev/null)"
        m=$(cat 2>&1 >&3)
        printf '%s=%s %s\0' WORD $? "$m"
    } 2>/dev/null 3>&1 <"$1" || {
        m=$( { : <"$1"; } 2>&1 )
        printf '%s!%s\0' WORD "$m"
    }
}
"#;

const OPENED_BY_CAT: &str = r#"f() {
    printf '%s+\0' WORD
    { m=$(PREFIXcat -- "$1" 2>&1 >&3 </dev/null); } 3>&1
    printf '%s=%s %s\0' WORD $? "$m"
}
"#;

/// The program for `sh`, made as it is read: there may be millions of names.
struct Program {
    wanted: Arc<[Wanted]>,
    next: usize,
    last: Vec<u8>,
    /// What is made and not read yet.
    made: Vec<u8>,
    read: usize,
}

impl Program {
    fn new(wanted: Arc<[Wanted]>, word: &[u8; WORD], prefix: &[u8]) -> Self {
        let functions = if prefix.is_empty() { OPENED_BY_SHELL } else { OPENED_BY_CAT };
        let (word, prefix) = (String::from_utf8_lossy(word), String::from_utf8_lossy(prefix));
        let made = format!("LC_ALL=C\nexport LC_ALL\n{}", functions.replace("WORD", &word).replace("PREFIX", &prefix));
        let last = format!("printf '%s.\\0' {word}\nexit 0\n").into_bytes();
        Self { wanted, next: 0, last, made: made.into_bytes(), read: 0 }
    }
}

impl Read for Program {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.made.len() {
            self.made.clear();
            self.read = 0;
            while self.made.len() < 32 << 10 {
                let Some(wanted) = self.wanted.get(self.next) else {
                    self.made.append(&mut self.last);
                    break;
                };
                self.made.extend_from_slice(b"f ");
                self.made.extend(quote(&wanted.path));
                self.made.push(b'\n');
                self.next += 1;
            }
        }
        let read = (&self.made[self.read..]).read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
