//! Errors of rustic_core, as one of ours: the message, then its causes, without banner and advertisement.

use std::error::Error as _;

use anyhow::{Error, anyhow};
use rustic_core::RusticError;

/// An error of rustic_core as a chain of message and causes.
pub(super) fn explain(error: RusticError) -> Error {
    let mut causes = vec![message(&error)];
    let mut cause = error.source();
    while let Some(next) = cause {
        match next.downcast_ref::<RusticError>() {
            Some(inner) => causes.push(message(inner)),
            None => causes.push(one_line(&next.to_string())),
        }
        cause = next.source();
    }
    let last = causes.pop().unwrap_or_default();
    causes.into_iter().rev().fold(anyhow!(last), |error, cause| error.context(cause))
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
    use std::io;

    use rustic_core::ErrorKind;

    use super::*;
    use crate::error::chain;

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
}
