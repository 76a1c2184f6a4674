//! Pairing: a device and this machine exchange keys, once its owner has tapped *Trust*.
//!
//! We make all certificates, also the one that the device shows us from then on, and send them without any private key; other programs send the key of the root
//! along. Source: libimobiledevice, src/lockdown.c, `lockdownd_do_pair`.

use anyhow::{Context, Result};
use plist::{Dictionary, Value};
use uuid::Uuid;

use super::certificate::{self, Made};
use super::lockdown::{Lockdown, PROTOCOL};
use super::record::Record;
use super::refused::Refused;

/// A pairing that a device can be asked for, as often as need be: it is the same question each time.
pub(super) struct Proposal {
    /// What the device is told.
    public: Dictionary,
    /// What it is not.
    private: Dictionary,
}

/// What a device says to a proposal.
#[derive(Debug)]
pub(super) enum Answer {
    /// Yes.
    Paired(Box<Record>),
    /// Its owner is being asked.
    Asking,
    /// It asks nobody before it is unlocked.
    Locked,
}

impl Proposal {
    /// Makes the keys. `buid` is the name of this machine, which all its programs use.
    ///
    /// # Errors
    ///
    /// When the device does not tell its key, or the connection breaks.
    pub(super) async fn new(lockdown: &mut Lockdown, buid: Option<String>) -> Result<Self> {
        let key = lockdown.value(None, Some("DevicePublicKey")).await?;
        let key = key.as_ref().and_then(Value::as_data).context("the device does not tell its public key")?.to_vec();
        let address = match lockdown.value(None, Some("WiFiAddress")).await {
            Err(error) if Refused::code(&error).is_some() => None,
            other => other?,
        };
        let Made { device, host, root, host_key, root_key } = certificate::make(&key)?;
        let mut public = Dictionary::new();
        for (name, pem) in [("DeviceCertificate", device), ("HostCertificate", host), ("RootCertificate", root)] {
            public.insert(name.to_owned(), Value::Data(pem.into_bytes()));
        }
        let new_name = || Uuid::new_v4().to_string().to_uppercase();
        public.insert("HostID".to_owned(), new_name().into());
        public.insert("SystemBUID".to_owned(), buid.unwrap_or_else(new_name).into());
        let mut private = Dictionary::new();
        for (name, pem) in [("HostPrivateKey", host_key), ("RootPrivateKey", root_key)] {
            private.insert(name.to_owned(), Value::Data(pem.into_bytes()));
        }
        if let Some(address @ Value::String(_)) = address {
            private.insert("WiFiMACAddress".to_owned(), address);
        }
        Ok(Self { public, private })
    }

    /// Asks the device.
    ///
    /// # Errors
    ///
    /// [`Refused`] when its owner, or who manages it, says no; else when the connection breaks.
    pub(super) async fn ask(&self, lockdown: &mut Lockdown) -> Result<Answer> {
        let mut options = Dictionary::new();
        // Without this a device says nothing until its owner has answered.
        options.insert("ExtendedPairingErrors".to_owned(), true.into());
        let mut request = Dictionary::new();
        request.insert("PairRecord".to_owned(), Value::Dictionary(self.public.clone()));
        request.insert("PairingOptions".to_owned(), Value::Dictionary(options));
        request.insert("ProtocolVersion".to_owned(), PROTOCOL.into());
        request.insert("HostName".to_owned(), host_name().into());
        let mut answer = match lockdown.ask("Pair", request).await {
            Ok(answer) => answer,
            Err(error) if Refused::is(&error, "PairingDialogResponsePending") => return Ok(Answer::Asking),
            Err(error) if Refused::is_locked(&error) => return Ok(Answer::Locked),
            Err(error) => return Err(error),
        };
        let mut entries = self.public.clone();
        entries.extend(self.private.clone());
        if let Some(bag @ Value::Data(_)) = answer.remove("EscrowBag") {
            entries.insert("EscrowBag".to_owned(), bag);
        }
        Ok(Answer::Paired(Box::new(Record::of(entries)?)))
    }
}

/// What the device may call this machine in its question.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
