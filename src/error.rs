//! Errors as people meet them: what was being done, why it failed, what to type next, and the exit code.
//!
//! The application carries [`anyhow::Error`]. A hint and an [`ExitCode`] are annotations around such an error: they
//! leave its message and its chain of causes as they were, and are looked for by `main` only.

use std::fmt;

use anyhow::Error;

/// The exit codes of holdall, which are restic's where restic has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything was done.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was done.
    Usage = 2,
    /// Done, but some of a source could not be read.
    Incomplete = 3,
    /// There is no store at the configured place.
    NoStore = 10,
    /// Another run holds the store or the source.
    Locked = 11,
    /// The store does not open with this password.
    WrongPassword = 12,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// An error with a hint, an exit code, or both; its message and causes are those of the error inside.
struct Annotated {
    inner: Error,
    hint: Option<String>,
    code: Option<ExitCode>,
}

impl fmt::Display for Annotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl fmt::Debug for Annotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl std::error::Error for Annotated {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source()
    }
}

/// Adds to an error what the person who reads it can do about it, and how the program should end.
pub trait Annotate<T> {
    /// Says what to type or to look at next. Printed by `main` as a `hint:` line.
    fn hint(self, hint: impl fmt::Display) -> Result<T, Error>;

    /// Says with which code the program ends if this error reaches `main`.
    fn exit(self, code: ExitCode) -> Result<T, Error>;
}

impl<T, E: Into<Error>> Annotate<T> for Result<T, E> {
    fn hint(self, hint: impl fmt::Display) -> Result<T, Error> {
        self.map_err(|error| hinted(error, hint))
    }

    fn exit(self, code: ExitCode) -> Result<T, Error> {
        self.map_err(|error| Error::new(Annotated { inner: error.into(), hint: None, code: Some(code) }))
    }
}

/// An error with what the person who reads it can do about it; see [`Annotate::hint`].
pub fn hinted(error: impl Into<Error>, hint: impl fmt::Display) -> Error {
    Error::new(Annotated { inner: error.into(), hint: Some(hint.to_string()), code: None })
}

/// All hints of an error, outermost first.
pub fn hints(error: &Error) -> Vec<&str> {
    annotations(error).into_iter().filter_map(|annotated| annotated.hint.as_deref()).collect()
}

/// The exit code an error asks for: the outermost one, or [`ExitCode::Failed`].
pub fn exit_code(error: &Error) -> ExitCode {
    annotations(error).into_iter().find_map(|annotated| annotated.code).unwrap_or(ExitCode::Failed)
}

/// The message of an error with all its causes, in one line: `back up files.host: list "/etc": permission denied`.
///
/// A cause that its own effect already quotes is not repeated.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Logs an error with its hints, where no caller is left who could be told.
pub fn complain(error: &Error) {
    let hints = hints(error).join(" ");
    tracing::error!("{}{}{hints}", chain(error), if hints.is_empty() { "" } else { "; hint: " });
}

/// Whether an error is of this type, or was caused by one that is.
pub fn is_caused_by<E: std::error::Error + 'static>(error: &Error) -> bool {
    cause::<E>(error).is_some()
}

/// The first of an error and its causes that is of this type.
pub fn cause<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    error.chain().find_map(|link| {
        let within = || link.downcast_ref::<Annotated>().and_then(|annotated| cause::<E>(&annotated.inner));
        link.downcast_ref::<E>().or_else(within)
    })
}

fn annotations(error: &Error) -> Vec<&Annotated> {
    let mut found = Vec::new();
    for link in error.chain() {
        if let Some(annotated) = link.downcast_ref::<Annotated>() {
            found.push(annotated);
            // The chain goes on below the inner error and would miss annotations directly inside this one.
            found.extend(annotations(&annotated.inner));
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn hints_and_code_leave_message_and_causes_as_they_were() {
        let error = Err::<(), _>(anyhow!("no such file"))
            .context("read password file")
            .hint("make one")
            .exit(ExitCode::NoStore)
            .context("open the store")
            .hint("run `holdall onboard store`")
            .unwrap_err();
        assert_eq!(chain(&error), "open the store: read password file: no such file");
        assert_eq!(hints(&error), ["run `holdall onboard store`", "make one"]);
        assert_eq!(exit_code(&error), ExitCode::NoStore);
    }

    #[test]
    fn cause_is_found_behind_annotations_and_context() {
        let cause = || Err::<(), _>(std::io::Error::other("no route"));
        let hinted = cause().hint("look at the cable").context("connect").unwrap_err();
        assert!(is_caused_by::<std::io::Error>(&hinted));
        assert!(is_caused_by::<std::io::Error>(&cause().hint("x").exit(ExitCode::Usage).unwrap_err()));
        assert!(!is_caused_by::<std::io::Error>(&anyhow!("no route").context("connect")));
    }

    #[test]
    fn error_without_annotations_ends_with_failed() {
        assert_eq!(exit_code(&anyhow!("x")), ExitCode::Failed);
        assert!(hints(&anyhow!("x")).is_empty());
    }
}
