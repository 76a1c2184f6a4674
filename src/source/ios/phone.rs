//! A device that was found: its lockdownd, and the way to its services.
//!
//! Whoever has a [`Phone`] talks to the device of the pairing record and to nobody else: the session was opened under the key that the record names. The session
//! is opened anew when it was closed in between; other clients close it before a backup, and so do we.

use std::path::Path;

use anyhow::{Result, bail};
use idevice::{Idevice, IdeviceError};

use crate::config::IosConfig;

/// A device that was found, and whose lockdownd has shown that it is the one of the pairing record.
#[derive(Debug)]
pub(super) struct Phone {
    udid: String,
    name: String,
}

/// What came of looking for a device.
#[derive(Debug)]
pub(super) enum Found {
    /// It is there, and lets us in.
    Here(Box<Phone>),
    /// It is not there: why, in words for a table.
    Away(String),
}

/// Whether a service is given the escrow bag, with which it reads what is protected while the device is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escrow {
    /// With the bag of the pairing record, if it has one.
    With,
    /// Without it.
    Without,
}

impl Phone {
    /// Looks for the device, by the ways that the configuration allows, and opens a session.
    ///
    /// # Errors
    ///
    /// When it is there and does not let us in, somebody else pretends to be it, there is no pairing, or what stands in between is broken.
    pub(super) async fn find(_config: &IosConfig, _credentials: &Path) -> Result<Found> {
        bail!("no device can be reached yet")
    }

    /// Its identifier, as lockdownd has it.
    pub(super) fn udid(&self) -> &str {
        &self.udid
    }

    /// What its owner calls it. Whoever shows it makes it printable.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is reached over the network.
    pub(super) fn is_wireless(&self) -> bool {
        false
    }

    /// A value that lockdownd knows; all of the domain without a key. `None` when it has none.
    pub(super) async fn value(&mut self, _domain: Option<&str>, _key: Option<&str>) -> Result<Option<plist::Value>> {
        bail!("no device can be reached yet")
    }

    /// Sets a value.
    pub(super) async fn set_value(&mut self, _domain: Option<&str>, _key: &str, _value: plist::Value) -> Result<()> {
        bail!("no device can be reached yet")
    }

    /// Starts a service, and connects to it by the way that the device was found by.
    pub(super) async fn service(&mut self, _name: &str, _escrow: Escrow) -> Result<Idevice> {
        bail!("no device can be reached yet")
    }

    /// Ends the session with lockdownd; the next question opens another one.
    pub(super) async fn close_lockdown(&mut self) {}
}

/// What an error of the library means for people, and what to do about it.
pub(super) fn explain(error: IdeviceError) -> anyhow::Error {
    error.into()
}
