//! `holdall pair --encryption`: whether a device encrypts its backups, and under which password.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;

use super::super::{Context, lock_source};
use crate::config::{Config, IosConfig, SourceConfig};
use crate::error::{Annotate, ExitCode};
use crate::secret::{Revealed, Secret};
use crate::source::ios::Ios;
use crate::source::ios::encryption::Change;
use crate::source::ios::find::same_device;
use crate::ui;

/// What is wanted of the encryption of a device's backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Wanted {
    /// Encrypt
    On,
    /// Do not encrypt
    Off,
    /// Encrypt under another password
    Change,
}

/// Arguments that concern encryption.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct EncryptionArgs {
    /// Turn the encryption of the device's backups on or off, or change its password; the device must be paired
    #[arg(long, value_name = "on|off|change", conflicts_with_all = ["wifi", "usb", "name", "address", "remove"])]
    encryption: Option<Wanted>,

    /// The password to be set; else `encryption-password-file` has it (with `on`), or you are asked
    #[arg(long, value_name = "FILE", requires = "encryption")]
    password_file: Option<PathBuf>,

    /// The password as it is; else `encryption-password-file` has it, or you are asked
    #[arg(long, value_name = "FILE", requires = "encryption")]
    old_password_file: Option<PathBuf>,
}

/// What people must know before they set a password.
const WARNING: &str = "Encrypted backups also have saved passwords, Wi-Fi networks, call history and health data.\n\
    The device keeps the password. Nobody can look it up or reset it, and without it no encrypted backup can be read or restored: write it down.\n\
    The next backup is a full one.";

impl EncryptionArgs {
    /// What is wanted, if anything is.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.encryption
    }
}

/// Changes the encryption of a device.
///
/// # Errors
///
/// When the device is not as it should be afterwards; exit code [`ExitCode::Usage`] when it is not clear which device is meant, or there is nothing to change.
pub(super) fn run(
    wanted: Wanted,
    args: &EncryptionArgs,
    udid: Option<&str>,
    config: &Config,
    context: &Context,
) -> Result<()> {
    let source = source(udid, config)?;
    // The device changes its password in a session like that of a backup.
    let _lock = lock_source(context, &format!("ios.{}", source.common.name))?;
    let device = Ios::new(source, &config.file);
    let (is_on, name) = device.is_encrypting()?;
    match (wanted, is_on) {
        (Wanted::On, true) => {
            return Err(anyhow!("{name} encrypts its backups already"))
                .hint("Another password: --encryption change.")
                .exit(ExitCode::Usage);
        }
        (Wanted::Off | Wanted::Change, false) => {
            return Err(anyhow!("{name} does not encrypt its backups"))
                .hint("Turn it on: --encryption on.")
                .exit(ExitCode::Usage);
        }
        _ => {}
    }
    let passwords = Passwords { args, source, name: &name };
    if wanted != Wanted::Off {
        context.monitor.say(WARNING);
    }
    let change = match wanted {
        Wanted::On => Change::On(passwords.to_set(true)?),
        Wanted::Off => Change::Off(passwords.as_it_is()?),
        Wanted::Change => Change::Password(passwords.as_it_is()?, passwords.to_set(false)?),
    };
    device.change_encryption(&change, &*context.monitor)?;
    context.monitor.say(&match wanted {
        Wanted::On => format!("{name} encrypts its backups now."),
        Wanted::Off => format!(
            "{name} does not encrypt its backups any more. Those that are encrypted stay so, and need their password."
        ),
        Wanted::Change => {
            format!("{name} has another password for its backups now. Points from before need the old one.")
        }
    });
    if wanted != Wanted::Off && source.encryption_password.is_none() {
        context.monitor.say(&format!(
            "So that holdall can look into its backups and check them, put the password into a file and set `encryption-password-file` in [ios.{}].",
            source.common.name
        ));
    }
    if wanted == Wanted::Change
        && let Some(secret) = &source.encryption_password
    {
        context.monitor.say(&format!("Now put the new password where holdall looks for it: {secret}."));
    }
    if context.output.json {
        context.output.json_document(&json!({
            "udid": source.udid,
            "source": format!("ios.{}", source.common.name),
            "encrypted": wanted != Wanted::Off,
        }))?;
    }
    Ok(())
}

/// The source whose device is meant: that of the identifier, or the only one.
fn source<'c>(udid: Option<&str>, config: &'c Config) -> Result<&'c IosConfig> {
    let devices: Vec<&IosConfig> = config
        .sources
        .iter()
        .filter_map(|source| match source {
            SourceConfig::Ios(ios) => Some(&**ios),
            _ => None,
        })
        .collect();
    let hint = "Pair it first: holdall pair.";
    let found = match (udid, &devices[..]) {
        (Some(udid), devices) => {
            let found = devices.iter().find(|ios| same_device(&ios.udid, udid));
            found.ok_or_else(|| anyhow!("no source in {} has the device {udid}", config.file.display())).hint(hint)
        }
        (None, [one]) => Ok(one),
        (None, []) => Err(anyhow!("there is no device in {}", config.file.display())).hint(hint),
        (None, several) => {
            let list: Vec<String> =
                several.iter().map(|ios| format!("  {}  ios.{}", ios.udid, ios.common.name)).collect();
            Err(anyhow!("there are several devices; name one:\n{}", list.join("\n")))
        }
    };
    found.copied().exit(ExitCode::Usage)
}

/// Where passwords come from.
struct Passwords<'p> {
    args: &'p EncryptionArgs,
    source: &'p IosConfig,
    name: &'p str,
}

impl Passwords<'_> {
    /// The password that is to be set. `may_be_configured`: the one in the configuration is not the old one.
    fn to_set(&self, may_be_configured: bool) -> Result<Revealed> {
        let configured = self.source.encryption_password.as_ref().filter(|_| may_be_configured);
        if let Some(known) = known(self.args.password_file.as_deref(), configured)? {
            return Ok(known);
        }
        let first = ask(&format!("New password for the backups of {}:", self.name), "--password-file FILE")?;
        let second = ask("Once more:", "--password-file FILE")?;
        ensure!(*first == *second, "the two are not the same; nothing was changed");
        ensure!(!first.is_empty(), "an empty password is none; nothing was changed");
        Ok(first)
    }

    fn as_it_is(&self) -> Result<Revealed> {
        match known(self.args.old_password_file.as_deref(), self.source.encryption_password.as_ref())? {
            Some(known) => Ok(known),
            None => ask(&format!("Password of the backups of {} as it is:", self.name), "--old-password-file FILE"),
        }
    }
}

fn known(file: Option<&Path>, configured: Option<&Secret>) -> Result<Option<Revealed>> {
    let secret = file.map(Secret::file).or_else(|| configured.cloned());
    secret.map(|secret| secret.read()).transpose()
}

fn ask(question: &str, flag: &str) -> Result<Revealed> {
    match ui::ask_secret(question).context("ask for the password")? {
        Some(typed) => Secret::literal(typed).read(),
        None => Err(anyhow!("a password is needed, and there is no terminal to ask on"))
            .hint(format!("Give it with {flag}."))
            .exit(ExitCode::Usage),
    }
}
