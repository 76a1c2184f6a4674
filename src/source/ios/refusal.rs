//! Why not: what a host answers to a device that asks for what cannot be done, and what a device means that gives up.

use std::io;

use anyhow::{Error, anyhow};

use super::{staging, way};
use crate::error::hinted;
use crate::quantity::show_bytes;
use crate::source::Away;

/// Errors as hosts tell them to devices (libimobiledevice: `tools/idevicebackup2.c`, `errno_to_device_error`).
pub(super) mod device {
    /// Nothing more is known.
    pub(in super::super) const OTHER: i64 = -1;
    /// There is no such file.
    pub(in super::super) const MISSING: i64 = -6;
    /// There is one already.
    pub(in super::super) const EXISTS: i64 = -7;
    /// A folder is no file.
    pub(in super::super) const IS_FOLDER: i64 = -9;
    /// It could not be read or written.
    pub(in super::super) const IO: i64 = -11;
    /// Some of the files of a list; which ones stands beside it.
    pub(in super::super) const SOME: i64 = -13;
    /// The disk is full.
    pub(in super::super) const FULL: i64 = -15;
}

/// What a device is told that asks for what cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// One of [`device`].
    pub(super) code: i64,
    /// In words.
    pub(super) text: String,
}

impl Refused {
    /// A refusal of this kind.
    pub(super) fn new(code: i64, text: &str) -> Self {
        Self { code, text: text.to_owned() }
    }

    /// There is no such file.
    pub(super) fn missing() -> Self {
        Self::new(device::MISSING, "No such file or directory")
    }

    /// No backup has such a file.
    pub(super) fn unknown() -> Self {
        Self::new(device::OTHER, "No backup has such a file")
    }

    /// A file could not be read or written here.
    pub(super) fn of_io(error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => device::MISSING,
            _ if staging::is_full(error) => device::FULL,
            _ => device::IO,
        };
        Self { code, text: error.to_string() }
    }
}

/// How a device ended a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// 0, or a number of its `MBErrorDomain`.
    pub(super) code: i64,
    /// What it says of it, which may be anything.
    pub(super) description: String,
}

/// What is known here of why a session went wrong.
#[derive(Debug, Default)]
pub(super) struct Circumstances {
    /// The staging directory that is full.
    pub(super) full: Option<std::path::PathBuf>,
    /// How much room the device was told there is, and how much more it wants, in bytes.
    pub(super) free: Option<u64>,
    /// See `free`.
    pub(super) wanted: Option<u64>,
    /// What else went wrong with the staging directory.
    pub(super) broken: Option<Error>,
    /// Files that the device could not read, and why.
    pub(super) unread: Vec<(String, String)>,
    /// Contents that the device asked for and did not get, and why.
    pub(super) unsent: Vec<(String, String)>,
}

/// Whether the session was a success; else what that means for whoever owns the device, named `name`.
///
/// The numbers are those that users of libimobiledevice and pymobiledevice3 met (`MBErrorDomain`); what else the device says is told as it says it.
///
/// # Errors
///
/// When it was none. What needs somebody at the device, before which nothing was read, is [`Away`].
pub(super) fn judge(ended: &Ended, circumstances: Circumstances, name: &str) -> anyhow::Result<Circumstances> {
    let said = || {
        let description = crate::output::printable(ended.description.as_ref());
        let shown: String = description.chars().take(300).collect();
        if shown.is_empty() { format!("error {}", ended.code) } else { format!("error {}: {shown}", ended.code) }
    };
    let lower = ended.description.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let error = match ended.code {
        0 => return Ok(circumstances),
        208 => return Err(Error::new(Away(format!("nobody entered the passcode on {name}, or it is locked")))),
        _ if circumstances.full.is_some() || circumstances.broken.is_some() => {
            return Err(broken(anyhow!("{name} ended the backup: {}", said()), circumstances, name, true));
        }
        105 => hinted(
            anyhow!("{name} needs more room than there is: {}", said()).context(room(&circumstances)),
            "Make room there, or set `staging` to a directory with more.",
        ),
        207 => hinted(
            anyhow!("{name} does not take the password: {}", said()),
            "It is the one that backups of it are encrypted with.",
        ),
        211 => hinted(
            anyhow!("\"Find My\" is on: {}", said()),
            format!("Turn it off on {name}: Settings, the owner's name, Find My. Turn it on again afterwards."),
        ),
        104 if !circumstances.unread.is_empty() => hinted(
            anyhow!("{name} could not read {}", named(&circumstances.unread)),
            "Restart the device, and try again.",
        ),
        104 => hinted(
            anyhow!("{name} could not send all files: {}", said()),
            "Keep it unlocked and on a charger meanwhile, and try again.",
        ),
        205 => hinted(
            anyhow!("{name} could not read the backup that it was to go on with: {}", said()),
            "Make a full one: holdall backup --full.",
        ),
        _ if has(&["battery"]) => {
            hinted(anyhow!("the battery of {name} is too low: {}", said()), "Put it on a charger, and try again.")
        }
        _ if has(&["airplane", "flight mode"]) => {
            hinted(anyhow!("{name} is in Airplane Mode: {}", said()), "Turn Airplane Mode off, and try again.")
        }
        _ if has(&["call"]) => {
            hinted(anyhow!("a call is in progress on {name}: {}", said()), "Try again when it is over.")
        }
        _ if has(&["find my"]) => hinted(anyhow!("\"Find My\" is on: {}", said()), format!("Turn it off on {name}.")),
        _ if has(&["locked"]) => return Err(Error::new(Away(format!("{name} is locked: {}", said())))),
        _ => anyhow!("{name} ended the session: {}", said()),
    };
    Err(error)
}

/// The room that there was.
fn room(circumstances: &Circumstances) -> String {
    match (circumstances.free, circumstances.wanted) {
        (Some(free), Some(wanted)) => {
            format!(
                "{} are free in the staging directory, and {} more are needed",
                show_bytes(free),
                show_bytes(wanted)
            )
        }
        (Some(free), None) => format!("{} are free in the staging directory", show_bytes(free)),
        (None, _) => "there is not enough room".to_owned(),
    }
}

/// Some files by name.
fn named(unread: &[(String, String)]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = unread
        .iter()
        .take(SHOWN)
        .map(|(path, why)| {
            format!("{} ({})", crate::output::printable(path.as_ref()), crate::output::printable(why.trim().as_ref()))
        })
        .collect();
    let more = unread.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more files") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// What it means that a session broke off. `has_sent`: whether anything of worth had come.
pub(super) fn broken(error: Error, circumstances: Circumstances, name: &str, has_sent: bool) -> Error {
    if let Some(directory) = circumstances.full {
        let full = anyhow!("staging directory {} is full", directory.display());
        return hinted(full, "Make room there, or set `staging` to a directory with more.");
    }
    if let Some(here) = circumstances.broken {
        return here;
    }
    if let Some(Away(why)) = error.downcast_ref::<Away>() {
        return Error::new(Away(why.clone()));
    }
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(way::is_gone)) {
        if !has_sent {
            tracing::debug!("{name} went away: {error:#}");
            return Error::new(Away(format!("{name} went away before it sent anything")));
        }
        let hint = "Connect it again, and run the backup again: it goes on from the newest point.";
        return hinted(error.context(format!("{name} went away in the middle")), hint);
    }
    error
}
