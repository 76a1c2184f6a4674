//! Finds a device: over USB first, then over the network, as far as the configuration allows.
//!
//! Whoever answers is asked who it is, and then has to show that it has the key of the pairing record. What was tried in vain is told in one sentence when the
//! device is away; what is broken, or pretends to be the device, is an error.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use plist::Value;

use super::bus;
use super::link::Link;
use super::lockdown::Lockdown;
use super::mdns;
use super::muxer::{Absent, Gone, Line, Listed, Muxer};
use super::phone::{Found, Phone};
use super::record::Record;
use super::refused::Refused;
use super::tls::{Impostor, KeysRefused, Tls};
use super::watched::Patience;
use super::way::{LOCKDOWN_PORT, Way};
use crate::config::{Connect, IosConfig};
use crate::error::{chain, hinted, is_caused_by};

/// How long devices in the network may take to answer.
const MDNS_PATIENCE: Duration = Duration::from_secs(5);

const NOT_ON_USB: &str = "not on USB";

/// Whether two identifiers are of the same device: some programs leave out the dash, or write small letters.
pub fn same_device(one: &str, other: &str) -> bool {
    let plain = |udid: &str| udid.chars().filter(|c| *c != '-').map(|c| c.to_ascii_uppercase()).collect::<String>();
    plain(one) == plain(other)
}

/// Looks for the device of this configuration.
///
/// # Errors
///
/// See [`Phone::find`].
pub(super) async fn find(config: &IosConfig, credentials: &Path) -> Result<Found> {
    let muxer = Muxer::of_environment()?;
    let listed = muxer.devices().await;
    let records = records(&muxer, &listed, config, credentials).await?;
    let is_absent = listed.as_ref().is_err_and(|error| error.is::<Absent>());
    if records.is_empty() && !(is_absent && config.connect != Connect::Network) {
        return Err(unpaired(&config.udid));
    }
    let mut search = Search { config, records, refusal: None, reasons: Vec::new() };
    if config.connect != Connect::Network
        && let Some(phone) = search.over_usb(&muxer, &listed).await
    {
        return Ok(Found::Here(phone));
    }
    if config.connect != Connect::Usb
        && let Some(phone) = search.over_network(&muxer, &listed).await
    {
        return Ok(Found::Here(phone));
    }
    search.in_vain(is_absent)
}

/// The pairing records of the device, ours first.
async fn records(
    muxer: &Muxer,
    listed: &Result<Vec<Listed>>,
    config: &IosConfig,
    credentials: &Path,
) -> Result<Vec<Arc<Record>>> {
    let own = Record::load(credentials, &config.udid)?;
    let mut records: Vec<Arc<Record>> = own.into_iter().map(Arc::new).collect();
    if let Ok(listed) = listed {
        // The name that the muxer itself has for it comes first.
        let mut names: Vec<&str> = listed.iter().map(|device| device.udid.as_str()).collect();
        names.retain(|name| same_device(name, &config.udid));
        names.push(&config.udid);
        names.dedup();
        for name in names {
            match of_muxer(muxer, name).await {
                Ok(Some(record)) => {
                    records.push(Arc::new(record));
                    break;
                }
                Ok(None) => {}
                Err(error) => tracing::debug!("the pairing record of usbmuxd cannot be used: {error:#}"),
            }
        }
    }
    Ok(records)
}

/// The pairing record that a muxer has.
///
/// # Errors
///
/// When it cannot be asked, or what it has is none.
pub(super) async fn of_muxer(muxer: &Muxer, udid: &str) -> Result<Option<Record>> {
    let bytes = muxer.record(udid).await?;
    bytes.map(|bytes| Record::parse(&bytes)).transpose().context("read the pairing record of usbmuxd")
}

struct Search<'s> {
    config: &'s IosConfig,
    records: Vec<Arc<Record>>,
    /// The first thing that is more than an absence.
    refusal: Option<Error>,
    /// What was tried in vain.
    reasons: Vec<String>,
}

/// Why a device at the end of a way is not the one, or not to be had.
enum Obstacle {
    /// Nothing answers, or not to the end.
    Unreachable(Error),
    /// Another device.
    Other,
    /// It is the one, or says so, and something is wrong with it.
    Refused(Error),
}

impl Search<'_> {
    async fn over_usb(&mut self, muxer: &Muxer, listed: &Result<Vec<Listed>>) -> Option<Box<Phone>> {
        let listed = match listed {
            Ok(listed) => listed.as_slice(),
            Err(error) if error.is::<Absent>() => &[],
            Err(error) => {
                self.refuse(again(error));
                &[]
            }
        };
        let mut was_there = false;
        for device in
            listed.iter().filter(|device| device.line == Line::Usb && same_device(&device.udid, &self.config.udid))
        {
            was_there = true;
            let way = Way::Muxer { muxer: muxer.clone(), device: device.id, is_wireless: false };
            match self.attempt(&way, false).await {
                Ok(phone) => return Some(phone),
                Err(Obstacle::Unreachable(error)) if error.is::<Gone>() || is_caused_by::<Gone>(&error) => {
                    was_there = false
                }
                Err(Obstacle::Unreachable(error)) => {
                    self.refuse(hinted(error, "Unlock the device, plug it in again, and try again."));
                }
                Err(Obstacle::Other) => self.refuse(anyhow!("usbmuxd shows the device, but another one answers")),
                Err(Obstacle::Refused(error)) => self.refuse(error),
            }
        }
        if !was_there {
            self.reasons.push(NOT_ON_USB.to_owned());
        }
        None
    }

    async fn over_network(&mut self, muxer: &Muxer, listed: &Result<Vec<Listed>>) -> Option<Box<Phone>> {
        for device in listed.iter().flatten().filter(|device| same_device(&device.udid, &self.config.udid)) {
            let Line::Network(address) = device.line else { continue };
            let through = Way::Muxer { muxer: muxer.clone(), device: device.id, is_wireless: true };
            let direct = address.map(|ip| Way::Network(SocketAddr::new(ip, LOCKDOWN_PORT)));
            for way in std::iter::once(through).chain(direct) {
                if let Some(phone) = self.attempt_far(&way, false).await {
                    return Some(phone);
                }
            }
        }
        if let Some((host, port)) = &self.config.address {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(addresses) => {
                    for address in addresses {
                        if let Some(phone) = self.attempt_far(&Way::Network(address), false).await {
                            return Some(phone);
                        }
                    }
                }
                Err(error) => tracing::debug!("{host} has no address: {error}"),
            }
            self.reasons.push(format!("nothing answers at {host}, port {port}"));
            return None;
        }
        let mut answers = match mdns::browse(MDNS_PATIENCE) {
            Ok(answers) => answers,
            Err(error) => {
                self.reasons.push(format!("the network cannot be asked: {}", chain(&error)));
                return None;
            }
        };
        let mut tried = Vec::new();
        while let Some(address) = answers.recv().await {
            if tried.contains(&address) {
                continue;
            }
            tried.push(address);
            if let Some(phone) = self.attempt_far(&Way::Network(address), true).await {
                return Some(phone);
            }
        }
        self.reasons.push("nothing answers in the network".to_owned());
        None
    }

    async fn attempt_far(&mut self, way: &Way, is_anybody: bool) -> Option<Box<Phone>> {
        match self.attempt(way, is_anybody).await {
            Ok(phone) => return Some(phone),
            Err(Obstacle::Refused(error)) => self.refuse(error),
            Err(Obstacle::Unreachable(error)) => tracing::debug!("the device is not reached {way}: {error:#}"),
            Err(Obstacle::Other) => tracing::debug!("another device answers {way}"),
        }
        None
    }

    /// Tries a way with each record. `is_anybody`: whoever is there has not been said to be the device, so that a refusal means nothing unless it says so itself.
    async fn attempt(&self, way: &Way, is_anybody: bool) -> Result<Box<Phone>, Obstacle> {
        let mut last = None;
        for record in &self.records {
            match self.attempt_with(way, record, is_anybody).await {
                Err(Obstacle::Refused(error)) if is_of_record(&error) => {
                    last = last.or(Some(error));
                }
                other => return other,
            }
        }
        // Without a record nothing is tried.
        Err(last.map_or(Obstacle::Other, Obstacle::Refused))
    }

    async fn attempt_with(&self, way: &Way, record: &Arc<Record>, is_anybody: bool) -> Result<Box<Phone>, Obstacle> {
        let mut lockdown = Lockdown::new(way.to_lockdown().await.map_err(Obstacle::Unreachable)?);
        let udid = match lockdown.value(None, Some("UniqueDeviceID")).await {
            Ok(value) => value.as_ref().and_then(Value::as_string).map(ToOwned::to_owned),
            // Some tell it in a session only.
            Err(error) if Refused::code(&error).is_some() => None,
            Err(error) => return Err(Obstacle::Unreachable(error.context(format!("ask the device {way} who it is")))),
        };
        let is_meant = udid.as_ref().map(|udid| same_device(udid, &self.config.udid));
        if is_meant == Some(false) {
            return Err(Obstacle::Other);
        }
        let patience = Patience { name: "the device".to_owned(), limit: self.config.idle_timeout };
        let tls = Tls::new(record).map_err(Obstacle::Refused)?;
        let link = Link { way: way.clone(), record: record.clone(), tls, patience };
        if let Err(error) = lockdown.start_session(record, &link.tls).await {
            let context = format!("open a session with {} {way}", self.config.udid);
            let is_answer = Refused::code(&error).is_some()
                || is_caused_by::<Impostor>(&error)
                || is_caused_by::<KeysRefused>(&error);
            return Err(match is_answer {
                true if is_anybody && is_meant.is_none() => Obstacle::Other,
                true => Obstacle::Refused(error.context(context)),
                false => Obstacle::Unreachable(error.context(context)),
            });
        }
        let phone = async {
            let udid = lockdown.value(None, Some("UniqueDeviceID")).await?;
            let udid =
                udid.as_ref().and_then(Value::as_string).context("the device does not say who it is")?.to_owned();
            if !same_device(&udid, &self.config.udid) {
                return Err(anyhow!(
                    "the pairing record is of another device: {}",
                    crate::output::printable(udid.as_ref())
                ));
            }
            Phone::new(link, lockdown, udid).await
        };
        phone.await.map(Box::new).map_err(Obstacle::Refused)
    }

    fn refuse(&mut self, error: Error) {
        self.refusal.get_or_insert(error);
    }

    /// What came of it, when nothing was found.
    fn in_vain(mut self, is_absent: bool) -> Result<Found> {
        if let Some(error) = self.refusal {
            if Refused::is_locked(&error) {
                return Ok(Found::Away(format!("{} is locked; unlock it", self.config.udid)));
            }
            return Err(error);
        }
        if self.config.connect != Connect::Network {
            let plugged = bus::look().into_iter().find(|plugged| plugged.may_be(&self.config.udid));
            if let Some(plugged) = plugged {
                let reason = plugged.reason(is_absent);
                if plugged.serial.is_some() {
                    return Err(hinted(anyhow!(reason.why), reason.hint));
                }
                self.reasons.push(reason.why);
            } else if is_absent && let Some(reason) = self.reasons.iter_mut().find(|reason| *reason == NOT_ON_USB) {
                reason.push_str(" (usbmuxd does not run)");
            }
        }
        if self.records.is_empty() {
            self.reasons.push("it was not paired by holdall".to_owned());
        }
        Ok(Found::Away(self.reasons.join(", and ")))
    }
}

/// Whether another pairing record might do.
fn is_of_record(error: &Error) -> bool {
    Refused::is(error, "InvalidHostID") || is_caused_by::<Impostor>(error) || is_caused_by::<KeysRefused>(error)
}

/// An error that is told again.
fn again(error: &Error) -> Error {
    let hints = crate::error::hints(error).join("\n");
    hinted(anyhow!("{}", chain(error)), hints)
}

/// There is no pairing record of a device.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not paired with this computer")]
pub(super) struct NotPaired(String);

/// There is no pairing record.
pub(super) fn unpaired(udid: &str) -> Error {
    hinted(NotPaired(udid.to_owned()), format!("Connect it with a cable, and run `holdall pair {udid}`."))
}
