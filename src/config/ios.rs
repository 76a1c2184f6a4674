//! What is configured of iPhones and iPads: `[ios.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use super::SourceCommon;
use crate::secret::Secret;

/// `[ios.NAME]`: one iPhone or iPad.
#[derive(Debug, Clone)]
pub struct IosConfig {
    /// What every source has.
    pub common: SourceCommon,
    /// Which device: 40 hexadecimal digits, or eight, a dash and sixteen, as lockdownd's `UniqueDeviceID` has it.
    pub udid: String,
    /// How it is reached.
    pub connect: Connect,
    /// Name or address of the device in the network, and the port of its lockdownd; without it, it is looked for.
    pub address: Option<(String, u16)>,
    /// The directory with the pairing records. `None`: `ios` beside the configuration file.
    pub credentials: Option<PathBuf>,
    /// The password of its encrypted backups; only needed to look into them, to check them, and to restore to the device.
    pub encryption_password: Option<Secret>,
    /// Where what the device sends waits until it is in the store. `None`: below the cache directory.
    pub staging: Option<PathBuf>,
    /// How long the device waits for somebody to enter the passcode, and how long it may be silent at all while a backup is under way.
    pub idle_timeout: Duration,
}

/// The ways to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connect {
    /// By USB when it is there, else by the network.
    #[default]
    Auto,
    /// By USB only.
    Usb,
    /// By the network only.
    Network,
}
