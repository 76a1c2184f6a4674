//! Why not: what a host answers to a device that asks for what cannot be done, and what a device means that gives up.

use std::io;

use anyhow::{Error, anyhow};

use super::staging;
use crate::error::{chain, hinted};
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
    /// Files that the device could not read, and why.
    pub(super) unread: Vec<(String, String)>,
}
