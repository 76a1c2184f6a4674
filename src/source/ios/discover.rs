//! Which devices there are, and which of them a source covers: for `holdall discover ios`.
//!
//! Shown is what a muxer lists, what is configured, and what was paired, here or not; and what is on the bus and cannot be had.

use std::fs;
use std::path::Path;

use anyhow::{Error, Result};
use futures_util::future::join_all;
use plist::Value;

use super::about::About;
use super::bus;
use super::find::{NotPaired, same_device};
use super::lockdown::Lockdown;
use super::muxer::{Absent, Line, Listed, Muxer};
use super::onboarding::configured_as;
use super::phone::{Found, Phone};
use super::way::Way;
use crate::config::{Config, IosConfig, SourceConfig};
use crate::error::{chain, is_caused_by};

/// A device, and the source that covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What is known of it.
    pub about: About,
    /// `ios.phone`; `None`: no source.
    pub covered_by: Option<String>,
}

/// What there is, and what stands in between.
#[derive(Debug, Default)]
pub struct Looked {
    /// The devices.
    pub devices: Vec<Device>,
    /// What is plugged in and cannot be had, with what to type.
    pub troubles: Vec<(String, String)>,
    /// The muxer cannot be asked.
    pub error: Option<Error>,
}

/// Looks for devices.
///
/// # Errors
///
/// When `$USBMUXD_SOCKET_ADDRESS` is no address; exit code 2.
pub fn devices(config: &Config) -> Result<Looked> {
    let muxer = Muxer::of_environment()?;
    let runtime = super::runtime()?;
    let mut looked = Looked::default();
    let mut is_absent = false;
    let listed = match runtime.block_on(muxer.devices()) {
        Ok(listed) => listed,
        Err(error) => {
            is_absent = error.is::<Absent>();
            looked.error = Some(error);
            Vec::new()
        }
    };
    let meant = meant(config, &listed);
    let about = async |(source, is_configured): &(IosConfig, bool)| {
        let credentials = super::Ios::new(source, &config.file).credentials().to_path_buf();
        let about = look_at(&muxer, source, &listed, &credentials).await;
        Device { about, covered_by: is_configured.then(|| format!("ios.{}", source.common.name)) }
    };
    looked.devices = runtime.block_on(join_all(meant.iter().map(about)));
    for plugged in bus::look() {
        if !listed.iter().any(|device| plugged.serial.as_ref().is_some_and(|serial| same_device(serial, &device.udid)))
        {
            let reason = plugged.reason(is_absent);
            looked.troubles.push((reason.why, reason.hint));
        }
    }
    Ok(looked)
}

/// The devices to look at, each once, with the configuration that they have or would have; whether they have one.
fn meant(config: &Config, listed: &[Listed]) -> Vec<(IosConfig, bool)> {
    let mut meant: Vec<(IosConfig, bool)> = Vec::new();
    for source in &config.sources {
        if let SourceConfig::Ios(ios) = source {
            meant.push((IosConfig::clone(ios), true));
        }
    }
    let others = listed.iter().map(|device| device.udid.clone()).chain(paired(&config.file.with_file_name("ios")));
    for udid in others {
        if !meant.iter().any(|(known, _)| same_device(&known.udid, &udid)) {
            meant.push((configured_as(&udid), false));
        }
    }
    meant
}

/// The identifiers in a directory of credentials.
fn paired(credentials: &Path) -> Vec<String> {
    let names = fs::read_dir(credentials).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut udids: Vec<String> =
        names.filter_map(|name| Some(name.to_str()?.strip_suffix(".plist")?.to_owned())).collect();
    udids.sort();
    udids
}

async fn look_at(muxer: &Muxer, source: &IosConfig, listed: &[Listed], credentials: &Path) -> About {
    let trouble = match Phone::find(source, credentials).await {
        Ok(Found::Here(mut phone)) => match About::of(&mut phone).await {
            Ok(about) => return about,
            Err(error) => chain(&error),
        },
        Ok(Found::Away(why)) => format!("away: {why}"),
        // That it is not paired is said of every device.
        Err(error) if is_caused_by::<NotPaired>(&error) => String::new(),
        Err(error) => chain(&error),
    };
    let trouble = Some(trouble).filter(|trouble| !trouble.is_empty());
    let mut about = About { udid: source.udid.clone(), trouble, ..About::default() };
    let usb = |device: &&Listed| device.line == Line::Usb && same_device(&device.udid, &source.udid);
    if let Some(device) = listed.iter().find(usb) {
        about.connection = Some("USB");
        let way = Way::Muxer { muxer: muxer.clone(), device: device.id, is_wireless: false };
        if let Err(error) = introduce(&way, &mut about).await {
            tracing::debug!("{} does not say what it is: {error:#}", about.udid);
        }
    }
    about
}

/// What a device says to everybody.
pub(super) async fn introduce(way: &Way, about: &mut About) -> Result<()> {
    let mut lockdown = Lockdown::new(way.to_lockdown().await?);
    let mut text = async |key| Ok::<_, Error>(lockdown.value(None, Some(key)).await?.and_then(Value::into_string));
    about.name = text("DeviceName").await?;
    about.model = text("ProductType").await?;
    about.version = text("ProductVersion").await?;
    // Some muxers leave out the dash.
    if let Some(udid) = text("UniqueDeviceID").await?.filter(|udid| same_device(udid, &about.udid)) {
        about.udid = udid;
    }
    Ok(())
}
