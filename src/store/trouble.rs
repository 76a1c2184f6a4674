//! Errors of rustic_core, as one of ours: the message, then its causes, without banner and advertisement.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;

use anyhow::{Error, anyhow};
use rustic_core::RusticError;

use crate::config::locate;
use crate::error::Annotate;

/// What rustic_core calls an error of decryption.
const NOT_AUTHENTIC: &str = "C001";

/// An error of rustic_core as a chain of message and causes, with what to do about it where that is known.
pub(super) fn explain(error: RusticError) -> Error {
    let causes = Causes::of(error.source());
    let mut messages = vec![message(&error)];
    messages.extend(causes.messages);
    let last = messages.pop().unwrap_or_default();
    let explained = messages.into_iter().rev().fold(anyhow!(last), |error, message| error.context(message));
    if causes.is_full {
        hinted(explained, "Make room where the store is, then run it again. The points it has are intact.")
    } else if causes.is_damaged || error.is_code(NOT_AUTHENTIC) {
        let cache = locate::cache_dir().map(|cache| format!(" {}", cache.display())).unwrap_or_default();
        let text =
            format!("Run `holdall verify --read-data`. If the store is whole, its cache{cache} is not: remove that.");
        hinted(explained, &text)
    } else {
        explained
    }
}

/// What rustic_core found wrong in a repository, with its causes, in one line.
pub(super) fn explain_finding(finding: &(dyn StdError + 'static)) -> String {
    let text = finding.to_string();
    // It quotes its cause with everything, and advises a command of another program.
    let own = text.split(" : `rustic_core` ").next().unwrap_or(&text);
    let own = own.split(" To repair: ").next().unwrap_or(own);
    let mut parts = vec![one_line(own)];
    parts.extend(Causes::of(finding.source()).messages);
    parts.join(": ")
}

/// The causes of an error, outermost first.
struct Causes {
    messages: Vec<String>,
    is_full: bool,
    is_damaged: bool,
}

impl Causes {
    fn of(mut cause: Option<&(dyn StdError + 'static)>) -> Self {
        let mut causes = Self { messages: Vec::new(), is_full: false, is_damaged: false };
        while let Some(next) = cause {
            let kind = next.downcast_ref::<io::Error>().map(io::Error::kind);
            causes.is_full |= matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            let boxed = next.downcast_ref::<Box<RusticError>>().map(|boxed| &**boxed);
            let inner = next.downcast_ref::<RusticError>().or(boxed);
            causes.is_damaged |= inner.is_some_and(|inner| inner.is_code(NOT_AUTHENTIC));
            causes.messages.push(inner.map_or_else(|| one_line(&next.to_string()), message));
            cause = next.source();
        }
        causes
    }
}

fn hinted(error: Error, hint: &str) -> Error {
    let hinted: Result<Infallible, Error> = Err(error).hint(hint);
    match hinted {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// The message alone, with its placeholders filled in.
fn message(error: &RusticError) -> String {
    // `display_log` is the only way to it. It reads `Error: MESSAGE (kind: related to KIND, code: CODE): caused by: …`.
    let log = error.display_log();
    let message = log.strip_prefix("Error: ").unwrap_or(&log);
    let message = message.split(" (kind: related to ").next().unwrap_or(message);
    one_line(message).trim_end_matches('.').to_owned()
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use rustic_core::ErrorKind;

    use super::*;
    use crate::error::{chain, hints};

    #[test]
    fn message_and_cause_remain_and_the_banner_goes() {
        let error = RusticError::with_source(
            ErrorKind::Backend,
            "Failed to open the file `{path}`.",
            io::Error::other("disk on fire"),
        )
        .attach_context("path", "/srv/x");
        assert_eq!(chain(&explain(*error)), "Failed to open the file `/srv/x`: disk on fire");
    }

    #[test]
    fn full_disk_is_told_with_what_to_do() {
        let full = |kind: io::ErrorKind| {
            explain(*RusticError::with_source(ErrorKind::Backend, "write", io::Error::from(kind)))
        };
        assert_eq!(hints(&full(io::ErrorKind::StorageFull)).len(), 1);
        assert_eq!(hints(&full(io::ErrorKind::NotFound)).len(), 0);
    }
}
