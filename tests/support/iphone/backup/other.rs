//! What a phone answers besides making and restoring backups: versions, results, `Info` and `List`.

use std::fmt::Write;
use std::io;

use plist::{Dictionary, Value};

use super::around::{Around, End};
use super::link::Link;
use super::manifest::{self, hex};
use super::plists;

/// Agrees on the version of mobilebackup2: 2.1.
///
/// # Errors
/// The connection's.
pub fn hello(link: &mut Link, request: &Dictionary) -> io::Result<()> {
    let versions = request.get("SupportedProtocolVersions").and_then(Value::as_array);
    let known = versions.into_iter().flatten().filter_map(Value::as_real).any(|version| (version - 2.1).abs() < 0.01);
    let mut answer = Dictionary::new();
    answer.insert("MessageName".to_owned(), Value::String("Response".to_owned()));
    answer.insert("ErrorCode".to_owned(), u64::from(!known).into());
    answer.insert("ProtocolVersion".to_owned(), Value::Real(2.1));
    process_message(link, answer)
}

/// Ends a request: 0 is success.
///
/// # Errors
/// The connection's.
pub fn respond(link: &mut Link, code: u64, text: &str, content: Option<String>) -> io::Result<()> {
    let mut answer = Dictionary::new();
    answer.insert("MessageName".to_owned(), Value::String("Response".to_owned()));
    answer.insert("ErrorCode".to_owned(), code.into());
    answer.insert("ErrorDescription".to_owned(), Value::String(text.to_owned()));
    if let Some(content) = content {
        answer.insert("Content".to_owned(), Value::String(content));
    }
    process_message(link, answer)
}

/// Goes away as if that were an answer.
///
/// # Errors
/// The connection's.
pub fn leave(link: &mut Link) -> io::Result<()> {
    let words = ["DLMessageDisconnect", "___EmptyParameterString___"];
    link.wire.send(&Value::Array(words.map(|word| Value::String(word.to_owned())).into()))?;
    link.wire.flush()
}

fn process_message(link: &mut Link, answer: Dictionary) -> io::Result<()> {
    let message = vec![Value::String("DLMessageProcessMessage".to_owned()), Value::Dictionary(answer)];
    link.wire.send(&Value::Array(message))?;
    link.wire.flush()
}

/// The folder of the host that a request is about.
pub fn source(around: &dyn Around, request: &Dictionary) -> String {
    let source = request.get("SourceIdentifier").and_then(Value::as_string);
    source.map_or_else(|| around.udid(), str::to_owned)
}

/// What the host has, in a few lines.
///
/// # Errors
/// The connection's; 205: there is no backup.
pub fn info(link: &mut Link, around: &dyn Around, request: &Dictionary) -> Result<Option<String>, End> {
    let source = source(around, request);
    let status = link.fetch(&format!("{source}/Status.plist"))?;
    let state = status.as_deref().and_then(plists::state).ok_or_else(|| End::code(205, "Backup not found"))?;
    let manifest = link.fetch(&format!("{source}/Manifest.plist"))?;
    let manifest = manifest.as_deref().and_then(plists::read_manifest);
    let encrypted = manifest.ok_or_else(|| End::code(205, "Invalid manifest"))?.encrypted;
    Ok(Some(format!("Source: {source}\nState: {state}\nEncrypted: {encrypted}\n")))
}

/// The files of the host's backup, one a line, if it is not encrypted.
///
/// # Errors
/// The connection's; 205: there is no backup that can be read.
pub fn list(link: &mut Link, around: &dyn Around, request: &Dictionary) -> Result<Option<String>, End> {
    let source = source(around, request);
    let database = link.fetch(&format!("{source}/Manifest.db"))?;
    let rows = manifest::read(&database.unwrap_or_default())?.ok_or_else(|| End::code(205, "Invalid manifest"))?;
    let mut text = "Domain,Path,Identifier,Length\n".to_owned();
    for (id, row) in &rows {
        writeln!(text, "{},{},{},{}", row.domain, row.path, hex(id), row.record.size).expect("it is in memory");
    }
    Ok(Some(text))
}
