//! What can be said of a restore to a device, in the words of `idevicebackup2`, whose defaults these are.

use anyhow::{Result, anyhow};

use crate::error::{Annotate, ExitCode};
use crate::extract::DeviceOptions;
use crate::secret::Secret;
use crate::source::ios::names::is_device;

/// Arguments that have a meaning for devices only.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct DeviceArgs {
    /// Devices: write system files, too
    #[arg(long, conflicts_with = "to")]
    system_files: bool,

    /// Devices: take the settings of the point, too; else the device keeps its own
    #[arg(long, conflicts_with = "to")]
    replace_settings: bool,

    /// Devices: have the device copy the backup before it begins
    #[arg(long, conflicts_with = "to")]
    copy: bool,

    /// Devices: do not restart it afterwards
    #[arg(long, conflicts_with = "to")]
    no_reboot: bool,

    /// Devices: remove what is not in the point
    #[arg(long, conflicts_with = "to")]
    remove_others: bool,

    /// Devices: do not have apps installed again
    #[arg(long, conflicts_with = "to")]
    skip_apps: bool,
}

impl DeviceArgs {
    /// What they ask for. `password`: that of the point, if it is an encrypted backup.
    pub(super) fn options(&self, password: Option<Secret>) -> DeviceOptions {
        DeviceOptions {
            system_files: self.system_files,
            replace_settings: self.replace_settings,
            copy: self.copy,
            no_reboot: self.no_reboot,
            remove_others: self.remove_others,
            skip_apps: self.skip_apps,
            password,
        }
    }

    /// Refuses them for what goes back to no device.
    ///
    /// # Errors
    ///
    /// Exit code [`ExitCode::Usage`] when the item is none of a device and one of them is given.
    pub(super) fn suit(&self, item: &str) -> Result<()> {
        let given = [
            ("--system-files", self.system_files),
            ("--replace-settings", self.replace_settings),
            ("--copy", self.copy),
            ("--no-reboot", self.no_reboot),
            ("--remove-others", self.remove_others),
            ("--skip-apps", self.skip_apps),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) if !is_device(item) => Err(anyhow!("{flag} has no meaning for {item}"))
                .hint("It is for iPhones and iPads.")
                .exit(ExitCode::Usage),
            _ => Ok(()),
        }
    }
}
