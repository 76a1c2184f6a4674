//! What `holdall pair` does with a device: shows what is plugged in, pairs, tries it, and undoes it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use plist::Value;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::about::About;
use super::bus;
use super::discover;
use super::find::{self, unpaired};
use super::link::Link;
use super::lockdown::Lockdown;
use super::muxer::{Absent, Line, Listed, Muxer};
use super::pairing::{Answer, Proposal};
use super::phone::{Found, Phone};
use super::record::Record;
use super::refused::Refused;
use super::tls::{KeysRefused, Tls};
use super::watched::Patience;
use super::way::Way;
use crate::config::{Connect, IosConfig, SourceCommon};
use crate::error::{chain, hinted, is_caused_by};

/// The domain of lockdownd with the switch for connections over the network, and the switch. Source: pymobiledevice3, lockdown.py.
const WIRELESS: (&str, &str) = ("com.apple.mobile.wireless_lockdown", "EnableWifiConnections");

/// How long until a device is asked again whether its owner has answered.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a device may take to open the door to the network after it was told to.
const WIRELESS_PATIENCE: Duration = Duration::from_secs(4);

/// Pairs devices with this machine.
#[derive(Debug)]
pub struct Host {
    runtime: Runtime,
    muxer: Muxer,
}

/// A device that is plugged in, as it shows itself to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugged {
    /// Its identifier.
    pub udid: String,
    /// What its owner calls it; hostile.
    pub name: String,
    /// `iPhone14,5`; hostile.
    pub model: String,
    /// `17.5.1`; hostile.
    pub version: String,
    /// The muxer's number for it.
    id: u32,
}

/// What a device waits for while it is being paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// That its owner taps *Trust*.
    Trust,
    /// That it is unlocked.
    Unlock,
}

/// Waits for a person, for so long since it was told first.
struct Wait<'t> {
    patience: Duration,
    end: Option<Instant>,
    tell: &'t mut dyn FnMut(Waiting, Duration),
}

impl Wait<'_> {
    /// Waits a second, and tells what for.
    ///
    /// # Errors
    ///
    /// When it has taken too long.
    async fn for_a_moment(&mut self, what: Waiting) -> Result<()> {
        let end = *self.end.get_or_insert_with(|| Instant::now() + self.patience);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refused::explained(match what {
                Waiting::Trust => "PairingDialogResponsePending",
                Waiting::Unlock => "PasswordProtected",
            }));
        }
        (self.tell)(what, left);
        sleep(PAUSE.min(left)).await;
        Ok(())
    }
}

/// A device that is paired, with a session.
#[derive(Debug)]
pub struct Paired {
    phone: Phone,
    /// Whether it was before.
    pub was_paired: bool,
    /// Why other programs of this machine do not have the record, if that failed.
    pub not_shared: Option<String>,
}

/// What is configured of a device that stands in no configuration.
pub fn configured_as(udid: &str) -> IosConfig {
    let common = SourceCommon { name: "phone".to_owned(), every: None, max_age: None, allow_empty: false };
    IosConfig {
        common,
        udid: udid.to_owned(),
        connect: Connect::Auto,
        address: None,
        credentials: None,
        encryption_password: None,
        staging: None,
        idle_timeout: Duration::from_secs(600),
    }
}

/// What was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpaired {
    /// Why the device still trusts this machine, if it does.
    pub not_on_device: Option<String>,
}

impl Host {
    /// Finds devices by the muxer of the environment.
    ///
    /// # Errors
    ///
    /// When `$USBMUXD_SOCKET_ADDRESS` is no address; exit code 2.
    pub fn new() -> Result<Self> {
        Ok(Self { runtime: super::runtime()?, muxer: Muxer::of_environment()? })
    }

    /// What is plugged in.
    ///
    /// # Errors
    ///
    /// When nothing is, with the reason if one can be seen on the bus; or when the muxer is broken.
    pub fn plugged(&self) -> Result<Vec<Plugged>> {
        let on_bus = |is_absent| bus::look().first().map(|plugged| plugged.reason(is_absent));
        let nobody = |why: String, hint: String| hinted(Error::msg(format!("no device connected: {why}")), hint);
        let listed = match self.runtime.block_on(self.muxer.devices()) {
            Ok(listed) => listed,
            Err(error) if error.is::<Absent>() => {
                let reason = on_bus(true);
                let hint = "Plug it in with a cable. usbmuxd must be installed and run: `apt install usbmuxd`, `systemctl start usbmuxd`; $USBMUXD_SOCKET_ADDRESS names one that \
                            listens elsewhere.";
                return Err(match reason {
                    Some(reason) => nobody(reason.why, reason.hint),
                    None => nobody(error.to_string(), hint.to_owned()),
                });
            }
            Err(error) => return Err(error),
        };
        let usb: Vec<Listed> = listed.into_iter().filter(|device| device.line == Line::Usb).collect();
        if usb.is_empty() {
            return Err(match on_bus(false) {
                Some(reason) => nobody(reason.why, reason.hint),
                None => {
                    nobody("nothing is plugged in".to_owned(), "Plug it in with a cable, and unlock it.".to_owned())
                }
            });
        }
        Ok(self.runtime.block_on(async {
            let mut plugged = Vec::new();
            for device in usb {
                plugged.push(self.introduce(device).await);
            }
            plugged
        }))
    }

    /// Asks a device what it is; one that does not answer is shown without a name.
    async fn introduce(&self, device: Listed) -> Plugged {
        let mut about = About { udid: device.udid, ..About::default() };
        if let Err(error) = discover::introduce(&self.way(device.id), &mut about).await {
            tracing::debug!("{} does not say what it is: {error:#}", about.udid);
        }
        let About { udid, name, model, version, .. } = about;
        let [name, model, version] = [name, model, version].map(Option::unwrap_or_default);
        Plugged { udid, name, model, version, id: device.id }
    }

    /// Pairs with a device that is plugged in, and keeps the record in the directory of credentials, and with the muxer. One that is paired is taken as it is.
    /// `waiting` is told every second what it waits for, and how long it still will.
    ///
    /// # Errors
    ///
    /// When its owner says no, or nothing for so long; when it is unplugged; when the pairing does not work afterwards. Nothing was kept then.
    pub fn pair(
        &self,
        device: &Plugged,
        credentials: &Path,
        patience: Duration,
        waiting: &mut dyn FnMut(Waiting, Duration),
    ) -> Result<Paired> {
        let mut wait = Wait { patience, end: None, tell: waiting };
        self.runtime.block_on(async {
            let known = self.known(device, credentials, &mut wait).await;
            if let Some(paired) = known.with_context(|| format!("ask {} whether it is paired", shown(device)))? {
                return Ok(paired);
            }
            self.propose(device, credentials, &mut wait).await.with_context(|| format!("pair with {}", shown(device)))
        })
    }

    /// The device with a session, if a record is there that it knows.
    async fn known(&self, device: &Plugged, credentials: &Path, wait: &mut Wait<'_>) -> Result<Option<Paired>> {
        let own = Record::load(credentials, &device.udid)?;
        let shared = find::of_muxer(&self.muxer, &device.udid).await.unwrap_or_else(|error| {
            tracing::debug!("the pairing record of usbmuxd cannot be used: {error:#}");
            None
        });
        let all = own.into_iter().map(|record| (record, true)).chain(shared.map(|record| (record, false)));
        for (record, is_own) in all {
            let record = Arc::new(record);
            let session = loop {
                match self.session(device, &record).await {
                    Err(error) if Refused::is_locked(&error) => wait.for_a_moment(Waiting::Unlock).await?,
                    other => break other,
                }
            };
            match session {
                Ok(phone) => {
                    if !is_own {
                        record.save(credentials, &device.udid)?;
                    }
                    return Ok(Some(Paired { phone, was_paired: true, not_shared: None }));
                }
                Err(error) if Refused::is(&error, "InvalidHostID") || is_caused_by::<KeysRefused>(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn propose(&self, device: &Plugged, credentials: &Path, wait: &mut Wait<'_>) -> Result<Paired> {
        let buid = self.muxer.buid().await.unwrap_or_default();
        let mut lockdown = Lockdown::new(self.way(device.id).to_lockdown().await?);
        let proposal = Proposal::new(&mut lockdown, buid).await?;
        let record = loop {
            match proposal.ask(&mut lockdown).await? {
                Answer::Paired(record) => break Arc::new(*record),
                Answer::Asking => wait.for_a_moment(Waiting::Trust).await?,
                Answer::Locked => wait.for_a_moment(Waiting::Unlock).await?,
            }
        };
        let phone = self.session(device, &record).await.context("try the new pairing")?;
        record.save(credentials, &device.udid)?;
        let shared = async { self.muxer.keep_record(device.id, &device.udid, &record.to_bytes()?).await };
        let not_shared = shared.await.err().map(|error| chain(&error));
        Ok(Paired { phone, was_paired: false, not_shared })
    }

    /// Opens a session over USB.
    async fn session(&self, device: &Plugged, record: &Arc<Record>) -> Result<Phone> {
        let patience = Patience { name: device.udid.clone(), limit: Duration::from_secs(60) };
        let link = Link { way: self.way(device.id), record: record.clone(), tls: Tls::new(record)?, patience };
        let lockdown = link.session().await?;
        Phone::new(link, lockdown, device.udid.clone()).await
    }

    fn way(&self, device: u32) -> Way {
        Way::Muxer { muxer: self.muxer.clone(), device, is_wireless: false }
    }

    /// Switches connections over the network on, on the device.
    ///
    /// # Errors
    ///
    /// When the device does not let it be switched.
    pub fn enable_wireless(&self, paired: &mut Paired) -> Result<()> {
        let (domain, key) = WIRELESS;
        let set = paired.phone.set_value(Some(domain), key, true.into());
        self.runtime.block_on(set).context("switch on connections over Wi-Fi")
    }

    /// Whether backups of the device are encrypted.
    ///
    /// # Errors
    ///
    /// When it does not say.
    pub fn will_encrypt(&self, paired: &mut Paired) -> Result<bool> {
        let value = self.runtime.block_on(paired.phone.value(Some("com.apple.mobile.backup"), Some("WillEncrypt")))?;
        Ok(value.as_ref().and_then(Value::as_boolean).unwrap_or(false))
    }

    /// Tries whether the device of a configuration is there over the network; else why not.
    ///
    /// # Errors
    ///
    /// As of looking for it in a backup.
    pub fn is_there_wirelessly(&self, config: &IosConfig, credentials: &Path) -> Result<Result<(), String>> {
        let config = IosConfig { connect: Connect::Network, ..config.clone() };
        let end = Instant::now() + WIRELESS_PATIENCE;
        self.runtime.block_on(async {
            loop {
                match Phone::find(&config, credentials).await? {
                    Found::Here(_) => return Ok(Ok(())),
                    Found::Away(why) if Instant::now() >= end => return Ok(Err(why)),
                    Found::Away(_) => sleep(PAUSE).await,
                }
            }
        })
    }

    /// Ends the pairing: on the device, if it can be reached, and here.
    ///
    /// # Errors
    ///
    /// When there was none, or a record cannot be removed.
    pub fn unpair(&self, config: &IosConfig, credentials: &Path) -> Result<Unpaired> {
        let udid = &config.udid;
        self.runtime.block_on(async {
            let not_on_device = match Phone::find(config, credentials).await {
                Ok(Found::Here(mut phone)) => phone.unpair().await.err().map(|error| chain(&error)),
                Ok(Found::Away(why)) => Some(why),
                // It has forgotten the pairing already.
                Err(error) if Refused::is(&error, "InvalidHostID") => None,
                Err(error) => Some(chain(&error)),
            };
            let was_ours = Record::remove(credentials, udid)?;
            let was_shared = match self.muxer.remove_record(udid).await {
                Ok(was_shared) => was_shared,
                Err(error) if error.is::<Absent>() => false,
                Err(error) => return Err(error),
            };
            if !was_ours && !was_shared {
                return Err(unpaired(udid));
            }
            Ok(Unpaired { not_on_device })
        })
    }
}

impl Paired {
    /// Its identifier, as lockdownd has it.
    pub fn udid(&self) -> &str {
        self.phone.udid()
    }

    /// What its owner calls it; hostile.
    pub fn name(&self) -> &str {
        self.phone.name()
    }
}

fn shown(device: &Plugged) -> String {
    let name = if device.name.is_empty() { &device.udid } else { &device.name };
    crate::output::printable(name.as_ref())
}
