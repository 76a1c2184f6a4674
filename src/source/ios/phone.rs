//! A device that was found: its lockdownd, and the way to its services.
//!
//! Whoever has a [`Phone`] talks to the device of the pairing record and to nobody else: the session was opened under the key that the record names. The session
//! is opened anew when it was closed in between; other clients close it before a backup, and so do we.

use std::path::Path;

use anyhow::Result;
use plist::Value;

use super::find;
use super::heartbeat::Heartbeat;
use super::link::Link;
use super::lockdown::Lockdown;
use super::refused::Refused;
use super::way::Socket;
use crate::config::IosConfig;

/// A device that was found, and whose lockdownd has shown that it is the one of the pairing record.
#[derive(Debug)]
pub(super) struct Phone {
    udid: String,
    name: String,
    link: Link,
    lockdown: Option<Lockdown>,
    /// Over the network only, for as long as this is in use.
    _heartbeat: Option<Heartbeat>,
}

/// What came of looking for a device.
#[derive(Debug)]
pub(super) enum Found {
    /// It is there, and lets us in.
    Here(Box<Phone>),
    /// It is not there, or locked: why, in words for a table.
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
    pub(super) async fn find(config: &IosConfig, credentials: &Path) -> Result<Found> {
        find::find(config, credentials).await
    }

    /// A device at the other end of a link, with a session that was just opened; what it says of itself.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub(super) async fn new(mut link: Link, mut lockdown: Lockdown, udid: String) -> Result<Self> {
        let name = lockdown.value(None, Some("DeviceName")).await?;
        let name = name.as_ref().and_then(Value::as_string).unwrap_or("the device").to_owned();
        link.patience.name = crate::output::printable(name.as_ref());
        let heartbeat = match link.way.is_wireless() {
            true => Heartbeat::start(&link).await.map(Some),
            false => Ok(None),
        };
        let heartbeat = match heartbeat {
            // One that has no such service does not wait for it.
            Err(error) if Refused::is(&error, "InvalidService") => None,
            other => other?,
        };
        Ok(Self { udid, name, link, lockdown: Some(lockdown), _heartbeat: heartbeat })
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
        self.link.way.is_wireless()
    }

    /// A value that lockdownd knows; all of the domain without a key. `None` when it has none.
    ///
    /// # Errors
    ///
    /// When it does not tell, or the connection breaks.
    pub(super) async fn value(&mut self, domain: Option<&str>, key: Option<&str>) -> Result<Option<Value>> {
        self.with_lockdown(async |lockdown, _| lockdown.value(domain, key).await).await
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// When the device does not let it be set, or the connection breaks.
    pub(super) async fn set_value(&mut self, domain: Option<&str>, key: &str, value: Value) -> Result<()> {
        self.with_lockdown(async |lockdown, _| lockdown.set_value(domain, key, value).await).await
    }

    /// Starts a service, and connects to it by the way that the device was found by, encrypted if the device says so. Silence of the service while
    /// something is expected of it is an error: for backups after the `idle-timeout` of the configuration, else after a minute, but for services that
    /// have nothing to say for hours.
    ///
    /// # Errors
    ///
    /// When the device does not start it, somebody else answers at its port, or the connection breaks.
    pub(super) async fn service(&mut self, name: &str, escrow: Escrow) -> Result<Socket> {
        let start = async |lockdown: &mut Lockdown, link: &Link| {
            let escrow_bag = link.record.escrow_bag().filter(|_| escrow == Escrow::With);
            link.service(lockdown, name, escrow_bag).await
        };
        self.with_lockdown(start).await
    }

    /// Forgets the pairing, on the device.
    ///
    /// # Errors
    ///
    /// When the device does not, or the connection breaks.
    pub(super) async fn unpair(&mut self) -> Result<()> {
        self.with_lockdown(async |lockdown, link| lockdown.unpair(&link.record).await).await
    }

    /// Ends the session with lockdownd; the next question opens another one.
    pub(super) async fn close_lockdown(&mut self) {
        if let Some(lockdown) = self.lockdown.take() {
            lockdown.stop_session().await;
        }
    }

    /// Does something in the session, which is opened anew if need be. What broke in the middle is not used again.
    async fn with_lockdown<T>(&mut self, work: impl AsyncFnOnce(&mut Lockdown, &Link) -> Result<T>) -> Result<T> {
        let mut lockdown = match self.lockdown.take() {
            Some(there) => there,
            None => self.link.session().await?,
        };
        let outcome = work(&mut lockdown, &self.link).await;
        if outcome.as_ref().map_or_else(|error| Refused::code(error).is_some(), |_| true) {
            self.lockdown = Some(lockdown);
        }
        outcome
    }
}
