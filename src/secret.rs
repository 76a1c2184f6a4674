//! Secrets: read from a file, a command or a systemd credential when they are needed; never shown.
//!
//! A [`Secret`] says where the value is to be had and is safe to print. A [`Revealed`] is the value, and cannot be printed by
//! accident: it has no `Display`, and its `Debug` shows stars. Also makes new secret files, for `holdall onboard`.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::geteuid;
use tempfile::NamedTempFile;

use crate::config::locate;
use crate::durable::sync_directory;
use crate::error::Annotate;
use crate::process::{self, shell_word};

/// How long a command that gives a secret may take: long enough to ask a person.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// More than any secret has, in bytes; a path that names something else by mistake is noticed.
const LARGEST: u64 = 1 << 20;

/// How many random bytes a secret of our making has: as many as the keys it protects.
const RANDOM: usize = 32;

/// What is shorter is not looked for in texts of others, in bytes: it would be found everywhere.
const SHORTEST_MASKED: usize = 6;

/// What was read so far, to be found in texts of others.
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Where a secret is to be had; it is read when it is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Command(Vec<String>),
    Credential(String),
    Literal(String),
}

/// The value of a secret.
pub struct Revealed(String);

impl Secret {
    /// The content of a file that only its owner can read.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// What a program writes to standard output: its path or name, then its arguments.
    pub fn command(argv: Vec<String>) -> Self {
        Self(Place::Command(argv))
    }

    /// A credential that systemd passes to the unit, by name.
    pub fn credential(name: impl Into<String>) -> Self {
        Self(Place::Credential(name.into()))
    }

    /// A value that stands in the configuration: for URLs only, which may have to be kept to oneself without being passwords.
    pub fn literal(value: impl Into<String>) -> Self {
        Self(Place::Literal(value.into()))
    }

    /// The file it is read from, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            _ => None,
        }
    }

    /// Reads the value, without the line break at its end.
    ///
    /// # Errors
    ///
    /// When it is not there, empty, not UTF-8, or in a file that others can read.
    pub fn read(&self) -> Result<Revealed> {
        self.read_with(locate::credentials_dir().as_deref())
    }

    fn read_with(&self, credentials: Option<&Path>) -> Result<Revealed> {
        let bytes = match &self.0 {
            Place::Literal(value) => return Ok(Revealed(value.clone()).remembered()),
            Place::File(path) => read_file(path, credentials),
            Place::Credential(name) => read_credential(name, credentials),
            Place::Command(argv) => process::output(argv, COMMAND_LIMIT),
        };
        let value = bytes.and_then(reveal).with_context(|| format!("read the secret from {self}"))?;
        Ok(value.remembered())
    }
}

impl Revealed {
    /// The same, known to [`masked`] from now on.
    fn remembered(self) -> Self {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.len() >= SHORTEST_MASKED && !known.contains(&self.0) {
            known.push(self.0.clone());
            // One may be the beginning of another.
            known.sort_by_key(|value| std::cmp::Reverse(value.len()));
        }
        self
    }
}

/// Makes these known to [`masked`], as far as they are at hand: commands, which may ask a person, are not run for it.
pub fn know<'s>(secrets: impl IntoIterator<Item = &'s Secret>) {
    for secret in secrets.into_iter().filter(|secret| !matches!(secret.0, Place::Command(_))) {
        // Why it cannot be read is told by whoever needs it.
        drop(secret.read());
    }
}

/// A text of another program or server, with stars for every secret in it that this process has read.
pub fn masked(text: &str) -> String {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "***"))
}

impl fmt::Display for Secret {
    /// Where the secret is, for messages: `the file /etc/holdall/store.password`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "the file {}", path.display()),
            // The program alone: somebody may have written a secret into the arguments all the same.
            Place::Command(argv) => write!(f, "the command {}", argv.first().map_or("", String::as_str)),
            Place::Credential(name) => write!(f, "the systemd credential {name}"),
            Place::Literal(_) => f.write_str("the configuration"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(in {self})")
    }
}

impl Deref for Revealed {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Makes a file with a new random secret that only its owner can read. It is whole and on disk when this returns, and never
/// takes the place of another file.
///
/// # Errors
///
/// When there is a file already, or none can be made.
pub fn make_file(path: &Path) -> Result<()> {
    let mut random = [0; RANDOM];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).context("read random bytes")?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write_new(path, format!("{digits}\n").as_bytes()).with_context(|| format!("make password file {path:?}"))
}

/// Writes a file that only its owner can read, and the directory it is in. It is whole and on disk when this returns, and never takes the
/// place of another file.
///
/// # Errors
///
/// When there is a file already, or none can be made.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let (directory, temporary) = prepare(path, content)?;
    temporary.persist_noclobber(path)?;
    Ok(sync_directory(directory)?)
}

/// The same, in the place of a file that may be there.
pub(crate) fn write_over(path: &Path, content: &[u8]) -> Result<()> {
    let (directory, temporary) = prepare(path, content)?;
    temporary.persist(path)?;
    Ok(sync_directory(directory)?)
}

fn prepare<'p>(path: &'p Path, content: &[u8]) -> Result<(&'p Path, NamedTempFile)> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_private_dir(directory)?;
    let mut temporary = NamedTempFile::with_prefix_in(".secret-", directory)?;
    temporary.write_all(content)?;
    temporary.as_file().sync_all()?;
    Ok((directory, temporary))
}

/// Makes a directory that only its owner can enter, and those above it, where they are missing.
pub(crate) fn make_private_dir(directory: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(|| format!("make {directory:?}"))
}

/// The content of a file that only its owner can read, which need not be text.
///
/// # Errors
///
/// When it is not there, too large for a secret, or others can read it.
pub(crate) fn read_private(path: &Path) -> Result<Vec<u8>> {
    read_file(path, locate::credentials_dir().as_deref())
}

fn read_file(path: &Path, credentials: Option<&Path>) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("open {path:?}"))?;
    // systemd decides about modes and owners in its directory of credentials; only this unit can enter it.
    if !credentials.is_some_and(|directory| path.starts_with(directory)) {
        private(path, &file)?;
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).with_context(|| format!("read {path:?}"))?;
    if bytes.len() as u64 > LARGEST {
        bail!("it is larger than a secret can be");
    }
    Ok(bytes)
}

/// Refuses a file that others can read, or that somebody else could replace the content of.
fn private(path: &Path, file: &File) -> Result<()> {
    let metadata = file.metadata().with_context(|| format!("look at {path:?}"))?;
    match objection(metadata.mode(), metadata.uid(), geteuid().as_raw()) {
        None => Ok(()),
        Some((error, command)) => Err(anyhow!(error)).hint(format!("{command} {}", shell_word(path))),
    }
}

/// What is wrong with the mode and owner of a secret file that `user` reads, and the command that mends it.
fn objection(mode: u32, owner: u32, user: u32) -> Option<(String, String)> {
    if owner != 0 && owner != user {
        return Some((format!("it belongs to another user (uid {owner})"), format!("chown {user}")));
    }
    let open = mode & 0o077 != 0;
    open.then(|| {
        let error = format!("others than its owner can read or write it (mode {:04o})", mode & 0o7777);
        (error, "chmod 600".to_owned())
    })
}

fn read_credential(name: &str, credentials: Option<&Path>) -> Result<Vec<u8>> {
    let Some(directory) = credentials else {
        return Err(anyhow!("systemd passes none ($CREDENTIALS_DIRECTORY is not set)")).hint(format!(
            "Name a file or a command for it in the configuration, or add `LoadCredential={name}:FILE` to the systemd unit."
        ));
    };
    read_file(&directory.join(name), credentials).hint(format!("Add `LoadCredential={name}:FILE` to the systemd unit."))
}

fn reveal(bytes: Vec<u8>) -> Result<Revealed> {
    // The error of the conversion holds the bytes, so it does not go into ours.
    let Ok(text) = String::from_utf8(bytes) else { bail!("it is not UTF-8 text") };
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() {
        bail!("it is empty");
    }
    Ok(Revealed(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::{chain, hints};

    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn command(script: &str) -> Secret {
        Secret::command(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[test]
    fn one_line_break_at_the_end_is_trimmed() {
        let scratch = Scratch::new();
        for (content, value) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("a\r", "a\r")] {
            let path = scratch.file("s", content.as_bytes(), 0o600);
            assert_eq!(&*Secret::file(path).read().unwrap(), value);
        }
    }

    #[test]
    fn empty_secret_is_an_error() {
        let scratch = Scratch::new();
        let path = scratch.file("s", b"\n", 0o600);
        let error = Secret::file(&path).read().unwrap_err();
        assert_eq!(chain(&error), format!("read the secret from the file {}: it is empty", path.display()));
        assert!(command("true").read().is_err());
    }

    #[test]
    fn file_that_others_can_read_is_refused_with_the_chmod_to_type() {
        let scratch = Scratch::new();
        let path = scratch.file("it's", b"x", 0o640);
        let error = Secret::file(&path).read().unwrap_err();
        assert!(chain(&error).ends_with("others than its owner can read or write it (mode 0640)"), "{error:#}");
        let directory = scratch.0.path().display();
        assert_eq!(hints(&error), [format!(r"chmod 600 '{directory}/it'\''s'")]);
        assert!(Secret::file(scratch.file("s", b"x", 0o400)).read().is_ok());
    }

    #[test]
    fn file_of_another_user_is_refused_unless_that_is_root() {
        assert_eq!(objection(0o100_600, 1000, 1000), None);
        assert_eq!(objection(0o100_600, 0, 1000), None);
        let expected = ("it belongs to another user (uid 1000)".to_owned(), "chown 0".to_owned());
        assert_eq!(objection(0o100_600, 1000, 0), Some(expected));
    }

    #[test]
    fn credential_is_read_whatever_its_mode() {
        let scratch = Scratch::new();
        let path = scratch.file("store-password", b"p\n", 0o440);
        let directory = Some(scratch.0.path());
        assert_eq!(&*Secret::credential("store-password").read_with(directory).unwrap(), "p");
        assert_eq!(&*Secret::file(path).read_with(directory).unwrap(), "p");
    }

    #[test]
    fn credential_outside_of_systemd_says_what_to_do() {
        let error = Secret::credential("store-password").read_with(None).unwrap_err();
        assert_eq!(
            chain(&error),
            "read the secret from the systemd credential store-password: systemd passes none ($CREDENTIALS_DIRECTORY is not set)"
        );
        assert!(hints(&error)[0].contains("`LoadCredential=store-password:FILE`"));
    }

    #[test]
    fn command_gives_the_secret_and_its_failure_does_not_show_it() {
        assert_eq!(&*command("echo hunter2").read().unwrap(), "hunter2");
        let error = command("echo hunter2; echo locked >&2; exit 1").read().unwrap_err();
        assert_eq!(chain(&error), "read the secret from the command sh: \"sh\" ended with 1: locked");
    }

    #[test]
    fn bytes_that_are_not_text_are_not_shown() {
        let scratch = Scratch::new();
        let error = Secret::file(scratch.file("s", b"\xff\xfehunter2", 0o600)).read().unwrap_err();
        assert!(chain(&error).ends_with("it is not UTF-8 text"), "{error:#}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn nothing_that_can_be_printed_holds_the_value() {
        let secret = Secret::literal("https://example.org/hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", secret.read().unwrap()),
            "the configuration Secret(in the configuration) ***"
        );
    }

    #[test]
    fn secret_that_was_read_is_found_in_texts_of_others() {
        let scratch = Scratch::new();
        let longer = Secret::file(scratch.file("t", b"grapefruit-7-and-more\n", 0o600));
        Secret::file(scratch.file("s", b"grapefruit-7\n", 0o600)).read().unwrap();
        longer.read().unwrap();
        assert_eq!(masked("a grapefruit-7 b grapefruit-7-and-more c"), "a *** b *** c");
        Secret::file(scratch.file("u", b"abc", 0o600)).read().unwrap();
        assert_eq!(masked("abc"), "abc", "too short to be told from other words");
    }

    #[test]
    fn new_secret_is_random_private_and_never_overwritten() {
        let scratch = Scratch::new();
        let (one, two) = (scratch.0.path().join("new/one"), scratch.0.path().join("two"));
        make_file(&one).unwrap();
        make_file(&two).unwrap();
        let first = Secret::file(&one).read().unwrap();
        assert_eq!(first.len(), 64);
        assert_ne!(&*first, &*Secret::file(&two).read().unwrap());
        assert_eq!(fs::metadata(&one).unwrap().mode() & 0o777, 0o600);
        assert!(make_file(&one).is_err());
        assert_eq!(&*Secret::file(&one).read().unwrap(), &*first);
        assert_eq!(fs::read_dir(scratch.0.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_too_large_for_a_secret_is_refused() {
        let error = Secret::file("/dev/zero").read_with(Some(Path::new("/dev"))).unwrap_err();
        assert!(chain(&error).ends_with("it is larger than a secret can be"), "{error:#}");
    }
}
