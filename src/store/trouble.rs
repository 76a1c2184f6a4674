//! Errors of rustic_core, as one of ours: the message, then its causes, without banner, advertisement and debug output, and with
//! a hint where the cause is one that people can mend.
//!
//! Addresses lose what stands behind their `?`: storage services sign with it.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;

use anyhow::{Error, anyhow};
use rustic_core::RusticError;

use crate::config::locate;
use crate::error::Annotate;

/// rustic_core's code for what was read and is not what was written.
pub(super) const NOT_AUTHENTIC: &str = "C001";

/// What a cause contains, and what whoever reads it can do. The first that fits is shown.
const HINTS: [(&[&str], &str); 9] = [
    (&["`rclone version`"], "Install rclone, which does the work for `rclone:` repositories."),
    (&["rclone exited"], "Run `rclone lsd REMOTE:` as the same user; it says what is wrong with the remote."),
    (&["another host key"], "Find out why before you trust it. If it is right, replace the line in `known_hosts`."),
    (&["ost key verification failed"], "Connect once with `ssh`, compare the fingerprint, and accept the host key."),
    (&NO_BUCKET, "Make the bucket first, or correct `repository` in the configuration."),
    (&["RequestTimeTooSkewed"], "The clocks of this machine and of the server differ too much: set them."),
    (
        &[
            "401 Unauthorized",
            "403 Forbidden",
            "status: 401",
            "status: 403",
            "AccessDenied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "load signing credential",
            "Permission denied (",
        ],
        "Check the login under [store.options], and that it may list, read, write and delete there.",
    ),
    (
        &["ertificate", "InvalidContentType"],
        "Check that the server speaks https there, with a certificate that is valid.",
    ),
    (
        &[
            "error sending request",
            "body error",
            "onnection",
            "resolve hostname",
            "No route to host",
            "timed out",
            "no answer",
        ],
        "Is the server running and within reach? Then correct `repository`; `retry` under [store.options] says how often to try.",
    ),
];

/// How storage services say that the bucket itself is missing; for them that is "not found" as well.
const NO_BUCKET: [&str; 4] = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist", "bucket doesn't exist"];

/// Sentences of rustic's messages that say nothing, or something else than what happened.
const EMPTY: [&str; 4] = ["Please ", "Backoff failed", "Path `config` does not exist", "Could not load the backend"];

/// An error of rustic_core as a chain of message and causes, with what to do about it where that is known.
pub(super) fn explain(error: RusticError) -> Error {
    let hint = hint(&error);
    let mut messages: Vec<String> = Vec::new();
    for text in std::iter::once(message(&error)).chain(causes_of(&error)) {
        // A cause is often quoted by its effect.
        if !text.is_empty() && !messages.last().is_some_and(|effect| effect.ends_with(&text)) {
            messages.push(text);
        }
    }
    let last = messages.pop().unwrap_or_else(|| one_line(&error.display_log()));
    let explained = messages.into_iter().rev().fold(anyhow!(last), |error, message| error.context(message));
    match hint {
        Some(hint) => {
            let Err(hinted) = Err::<Infallible, _>(explained).hint(hint);
            hinted
        }
        None => explained,
    }
}

/// What rustic_core found wrong in a repository, with its causes, in one line.
pub(super) fn explain_finding(finding: &(dyn StdError + 'static)) -> String {
    let text = finding.to_string();
    // It quotes its cause with everything, and advises a command of another program.
    let own = text.split(" : `rustic_core` ").next().unwrap_or(&text);
    let own = own.split(" To repair: ").next().unwrap_or(own);
    let mut parts = vec![one_line(own)];
    parts.extend(causes_of(finding));
    parts.join(": ")
}

fn hint(error: &RusticError) -> Option<String> {
    let mut is_damaged = error.is_code(NOT_AUTHENTIC);
    for cause in chain_below(error) {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return Some("Make room where the store is, then run it again. The points it has are intact.".to_owned());
        }
        is_damaged |= rustic(cause).is_some_and(|inner| inner.is_code(NOT_AUTHENTIC));
    }
    if is_damaged {
        let cache = locate::cache_dir().map(|cache| format!(" {}", cache.display())).unwrap_or_default();
        return Some(format!(
            "Run `holdall verify --read-data`. If the store is whole, its cache{cache} is not: remove that."
        ));
    }
    let raw = raw(error).join("\n");
    HINTS.iter().find(|(signs, _)| signs.iter().any(|sign| raw.contains(sign))).map(|(_, hint)| (*hint).to_owned())
}

/// Whether the place was reached and what was asked for is not there.
pub(super) fn is_missing(error: &RusticError) -> bool {
    let raw = raw(error);
    if raw.iter().any(|text| NO_BUCKET.iter().any(|sign| text.contains(sign))) {
        return false;
    }
    let is_not_found = |cause: &(dyn StdError + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    if chain_below(error).any(is_not_found) {
        return true;
    }
    raw.iter().any(|text| text.starts_with("NotFound (") || text.contains("(404 Not Found)"))
}

/// The texts of all causes, as they come.
fn raw(error: &RusticError) -> Vec<String> {
    std::iter::once(error.display_log()).chain(chain_below(error).map(ToString::to_string)).collect()
}

/// The causes of an error, outermost first, in words.
fn causes_of(error: &(dyn StdError + 'static)) -> Vec<String> {
    chain_below(error).map(|cause| rustic(cause).map_or_else(|| brief(&cause.to_string()), message)).collect()
}

fn chain_below<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause: &&'e (dyn StdError + 'static)| (*cause).source())
}

/// The cause, if it is one of rustic_core's own, boxed or not.
fn rustic<'e>(cause: &'e (dyn StdError + 'static)) -> Option<&'e RusticError> {
    let boxed = cause.downcast_ref::<Box<RusticError>>().map(|boxed| &**boxed);
    cause.downcast_ref::<RusticError>().or(boxed)
}

/// The message alone, with its placeholders filled in.
fn message(error: &RusticError) -> String {
    // `display_log` is the only way to it. It reads `Error: MESSAGE (kind: related to KIND, code: CODE): caused by: …`.
    let log = error.display_log();
    let message = log.strip_prefix("Error: ").unwrap_or(&log);
    let message = one_line(message.split(" (kind: related to ").next().unwrap_or(message));
    let says_something =
        |sentence: &&str| !EMPTY.iter().any(|empty| sentence.starts_with(empty)) && !sentence.contains("lease check");
    let sentences: Vec<&str> =
        message.split(". ").map(|sentence| sentence.trim_end_matches('.')).filter(says_something).collect();
    sentences.join(". ")
}

/// A cause in one line; one of opendal's without the context it was in, and without its own cause, which follows.
fn brief(text: &str) -> String {
    one_line(&of_opendal(text).unwrap_or_else(|| text.to_owned()))
}

/// What an error of opendal says: `KIND (STATUS) at OPERATION, context: { … } => MESSAGE, source: SOURCE`.
fn of_opendal(text: &str) -> Option<String> {
    let (head, rest) = text.split_once(") at ")?;
    let (kind, status) = head.rsplit_once(" (")?;
    if !["permanent", "temporary", "persistent"].contains(&status) {
        return None;
    }
    let message = rest.split_once(" => ").map_or("", |(_, message)| message);
    let message = message.split(", source: ").next().unwrap_or(message).trim();
    if let Some(fields) = message.strip_prefix("S3Error {") {
        let field = |name: &str| fields.split_once(&format!("{name}: \""))?.1.split('"').next();
        return Some(format!("{}: {}", field("code")?, field("message")?));
    }
    if ["send http request", "signing http request"].contains(&message) {
        return Some(String::new());
    }
    if !message.is_empty() {
        return Some(message.to_owned());
    }
    let status = rest.split_once("status: ").and_then(|(_, status)| status.split(',').next());
    Some(status.map_or_else(|| kind.to_owned(), |status| format!("the server answered with HTTP status {status}")))
}

/// In one line, and without the queries of addresses.
fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let mut shown = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find([' ', ')', ',', '"', '`']).unwrap_or(after.len());
        shown.push_str(before);
        shown.push_str("://");
        shown.push_str(after[..end].split('?').next().unwrap_or_default());
        rest = &after[end..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use rustic_core::ErrorKind;

    use super::*;
    use crate::error::{chain, hints};

    fn caused_by(text: &str) -> RusticError {
        *RusticError::with_source(ErrorKind::Backend, "Reading failed. Please check.", io::Error::other(text))
    }

    #[test]
    fn message_and_cause_remain_and_the_banner_goes() {
        let error = RusticError::with_source(
            ErrorKind::Backend,
            "Failed to open the file `{path}`. Please make sure that it exists.",
            io::Error::other("disk on fire"),
        )
        .attach_context("path", "/srv/x");
        assert_eq!(chain(&explain(*error)), "Failed to open the file `/srv/x`: disk on fire");
    }

    #[test]
    fn answer_of_an_s3_server_is_its_code_and_message() {
        let error = explain(caused_by(
            "PermissionDenied (persistent) at read, context: { uri: http://h/b/config, response: Parts { status: 403, version: \
             HTTP/1.1, headers: {\"server\": \"x\"} }, service: s3 } => S3Error { code: \"SignatureDoesNotMatch\", message: \
             \"The signature is wrong\", resource: \"/b\", request_id: \"1\" }",
        ));
        assert_eq!(chain(&error), "Reading failed: SignatureDoesNotMatch: The signature is wrong");
        assert!(hints(&error)[0].starts_with("Check the login"), "{:?}", hints(&error));
    }

    #[test]
    fn answer_without_words_is_its_status() {
        let text = "Unexpected (persistent) at stat, context: { response: Parts { status: 418, version: HTTP/1.1 } }";
        assert_eq!(chain(&explain(caused_by(text))), "Reading failed: the server answered with HTTP status 418");
        assert_eq!(chain(&explain(caused_by("NotFound (permanent) at stat"))), "Reading failed: NotFound");
    }

    #[test]
    fn signature_in_an_address_is_not_shown() {
        let text = "error sending request for url (https://h/c/config?sv=1&sig=hunter2): refused";
        assert_eq!(
            chain(&explain(caused_by(text))),
            "Reading failed: error sending request for url (https://h/c/config): refused"
        );
    }

    #[test]
    fn missing_file_is_told_from_a_missing_bucket_and_from_a_refusal() {
        let not_found = io::Error::from(io::ErrorKind::NotFound);
        assert!(is_missing(&RusticError::with_source(ErrorKind::Backend, "x", not_found)));
        assert!(is_missing(&caused_by("NotFound (persistent) at read => S3Error { code: \"NoSuchKey\" }")));
        assert!(is_missing(&caused_by("HTTP status client error (404 Not Found) for url (http://h/config)")));
        assert!(!is_missing(&caused_by("NotFound (persistent) at read => S3Error { code: \"NoSuchBucket\" }")));
        assert!(!is_missing(&caused_by("HTTP status client error (401 Unauthorized) for url (http://h/config)")));
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
