//! `holdall pair`: makes an iPhone or iPad trust this computer, and writes its source to the configuration.
//!
//! Every step can be repeated: a device that is paired stays so, and a source that is there is left as it is. Nothing is written when the pairing fails.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use super::Context;
use super::onboard::add_source;
use super::onboard::files::{name_is_free, parse_name};
use crate::config::edit::{Edit, Stanza};
use crate::config::{self, Config, IosConfig, SourceConfig};
use crate::error::{Annotate, ExitCode, chain, hints};
use crate::monitor::{Task, Unit};
use crate::output::printable;
use crate::quantity::{parse_duration, show_duration};
use crate::source::ios::Ios;
use crate::source::ios::find::same_device;
use crate::source::ios::onboarding::{Host, Paired, Plugged, Waiting, configured_as};

mod encryption;

use encryption::EncryptionArgs;

/// The name of a source whose device has none that could be one.
const NAMELESS: &str = "phone";

/// How often those who see no bar are told how long it still waits.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Of a second, so that what is left is rounded up.
const ALMOST: Duration = Duration::from_millis(999);

/// Arguments of `pair`.
#[derive(Debug, clap::Args)]
pub struct PairArgs {
    /// Which device, by its identifier; without it the only one that is connected
    #[arg(value_name = "UDID")]
    udid: Option<String>,

    /// Let it be backed up over Wi-Fi, too; this is the default
    #[arg(long, conflicts_with_all = ["usb", "remove"])]
    wifi: bool,

    /// Back it up over USB only, and leave its Wi-Fi alone
    #[arg(long, conflicts_with = "remove")]
    usb: bool,

    /// What to call it: a-z, 0-9, `_` and `-`; without it as its owner does
    #[arg(long, value_parser = parse_name, conflicts_with = "remove")]
    name: Option<String>,

    /// Where it is in the network, if it is not found by itself: HOST or HOST:PORT
    #[arg(long, conflicts_with_all = ["usb", "remove"])]
    address: Option<String>,

    /// How long to wait for somebody to tap Trust
    #[arg(long, value_parser = parse_duration, default_value = "2min", value_name = "DURATION")]
    timeout: Duration,

    /// End the pairing, on both sides; points stay
    #[arg(long)]
    remove: bool,

    #[command(flatten)]
    encryption: EncryptionArgs,
}

/// Runs `pair`.
pub fn run(args: &PairArgs, context: &Context) -> Result<ExitCode> {
    let file = context.config_file();
    let config = if file.try_exists().unwrap_or(true) { config::load(&file)? } else { Config::empty(&file) };
    if let Some(wanted) = args.encryption.wanted() {
        encryption::run(wanted, &args.encryption, args.udid.as_deref(), &config, context)?;
        return Ok(ExitCode::Done);
    }
    let host = Host::new()?;
    if args.remove {
        remove(args, &host, &config, context)?;
        return Ok(ExitCode::Done);
    }
    let device = choose(args, &host)?;
    let known = source_of(&config, &device.udid);
    let (stanza, edit) = match known {
        Some(known) => {
            must_be_called(args, known)?;
            (None, None)
        }
        None => {
            let stanza = stanza(args, &device, &config)?;
            let edit = Edit::add(&file, &stanza)?;
            (Some(stanza), Some(edit))
        }
    };
    let written = edit.as_ref().and_then(|edit| source_of(edit.config(), &device.udid)).or(known);
    let source = written.context("the new table is not there")?;
    let credentials = Ios::new(source, &file).credentials().to_path_buf();
    let mut paired = pair(args, &host, &device, &credentials, context)?;
    let wifi = if args.usb { None } else { Some(over_wifi(&host, &mut paired, source, &credentials, context)) };
    let is_encrypted = encryption(&host, &mut paired, context)?;
    match &stanza {
        Some(stanza) => add_source(stanza, &file, false, context)?,
        None => context.monitor.say(&format!("[ios.{}] is in {} already.", source.common.name, file.display())),
    }
    if context.output.json {
        context.output.json_document(&json!({
            "udid": paired.udid(),
            "name": paired.name(),
            "model": device.model,
            "version": device.version,
            "source": format!("ios.{}", source.common.name),
            "was_paired": paired.was_paired,
            "wifi": wifi,
            "encrypted": is_encrypted,
            "credentials": credentials.display().to_string(),
            "written": stanza.is_some(),
        }))?;
    }
    Ok(ExitCode::Done)
}

/// The device that is meant.
fn choose(args: &PairArgs, host: &Host) -> Result<Plugged> {
    let mut plugged = host.plugged()?;
    let list = plugged.iter().map(|device| format!("  {}", describe(device))).collect::<Vec<_>>().join("\n");
    let found = match &args.udid {
        Some(udid) => plugged
            .iter()
            .position(|device| same_device(&device.udid, udid))
            .ok_or_else(|| anyhow!("{} is not connected; there is\n{list}", printable(OsStr::new(udid)))),
        None if plugged.len() > 1 => Err(anyhow!("several devices are connected; name one:\n{list}")),
        None => Ok(0),
    };
    Ok(plugged.swap_remove(found.exit(ExitCode::Usage)?))
}

/// `00008110-…  Anna's iPhone, iPhone14,5, iOS 17.5.1`
fn describe(device: &Plugged) -> String {
    let version = Some(&device.version).filter(|version| !version.is_empty()).map(|version| format!("iOS {version}"));
    let said = [Some(device.name.clone()), Some(device.model.clone()), version];
    let said: Vec<String> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    printable(OsStr::new(&format!("{}  {}", device.udid, said.join(", ")).trim_end()))
}

fn source_of<'c>(config: &'c Config, udid: &str) -> Option<&'c IosConfig> {
    config.sources.iter().find_map(|source| match source {
        SourceConfig::Ios(ios) if same_device(&ios.udid, udid) => Some(&**ios),
        _ => None,
    })
}

fn must_be_called(args: &PairArgs, known: &IosConfig) -> Result<()> {
    match &args.name {
        Some(name) if *name != known.common.name => Err(anyhow!("this device is [ios.{}] already", known.common.name))
            .hint("Leave out --name, or change the table by hand; its points go by the old name.")
            .exit(ExitCode::Usage),
        _ => Ok(()),
    }
}

fn stanza(args: &PairArgs, device: &Plugged, config: &Config) -> Result<Stanza> {
    let name = match &args.name {
        Some(name) => {
            name_is_free(name, config)?;
            name.clone()
        }
        None => free_name(&device.name, config),
    };
    let mut stanza = Stanza::new(["ios", &name]);
    stanza.set("udid", device.udid.as_str());
    if args.usb {
        stanza.set("connect", "usb");
    }
    if let Some(address) = &args.address {
        stanza.set("address", address.as_str());
    }
    Ok(stanza)
}

/// A name for a source, made of what the owner of the device calls it.
fn free_name(called: &str, config: &Config) -> String {
    let mut name = String::new();
    for c in called.to_lowercase().chars().filter(|c| !['\'', '\u{2019}'].contains(c)).take(40) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let name = Some(name.trim_end_matches('-')).filter(|name| config::check_name(name).is_ok()).unwrap_or(NAMELESS);
    let is_free = |name: &String| name_is_free(name, config).is_ok();
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(is_free).unwrap_or_else(|| name.to_owned())
}

/// Pairs, and shows what is waited for.
fn pair(args: &PairArgs, host: &Host, device: &Plugged, credentials: &Path, context: &Context) -> Result<Paired> {
    let name = printable(OsStr::new(if device.name.is_empty() { &device.udid } else { &device.name }));
    let mut shown: Option<(Waiting, Arc<dyn Task>, Duration)> = None;
    let mut told = 0;
    let mut waiting = |what: Waiting, left: Duration| {
        let left = Duration::from_secs((left + ALMOST).as_secs());
        if shown.as_ref().is_none_or(|(last, ..)| *last != what) {
            let todo = match what {
                Waiting::Trust => format!("Tap Trust on {name}, and enter its passcode there"),
                Waiting::Unlock => format!("{name} is locked: unlock it"),
            };
            context.monitor.say(&format!("{todo}. Waiting {} for it.", show_duration(left)));
            if let Some((_, task, _)) = shown.take() {
                task.finish();
            }
            let task = context.monitor.start(&name, "waiting", Unit::Count);
            task.expect(left.as_secs());
            shown = Some((what, task, left));
            told = 0;
            return;
        }
        let Some((_, task, at_first)) = &shown else { return };
        task.advance(1);
        let steps = at_first.saturating_sub(left).as_secs() / TELL_EVERY.as_secs();
        if steps > told && !context.monitor.is_watched() {
            told = steps;
            context.monitor.say(&format!("Still waiting, {} more.", show_duration(left)));
        }
    };
    let paired = host.pair(device, credentials, args.timeout, &mut waiting);
    if let Some((_, task, _)) = shown {
        task.finish();
    }
    let paired = paired?;
    if let Some(why) = &paired.not_shared {
        tracing::warn!("other programs of this computer do not know of the pairing: {why}");
    }
    let what = describe(device);
    context.monitor.say(&if paired.was_paired { format!("Paired already: {what}") } else { format!("Paired: {what}") });
    Ok(paired)
}

/// Switches Wi-Fi sync on, and tries it. That it does not answer is no failure: it may be in another network.
fn over_wifi(
    host: &Host,
    paired: &mut Paired,
    source: &IosConfig,
    credentials: &Path,
    context: &Context,
) -> serde_json::Value {
    if let Err(error) = host.enable_wireless(paired) {
        tracing::warn!("{}; {}", chain(&error), hints(&error).join(" "));
        return json!({"enabled": false, "answers": false});
    }
    let why = match host.is_there_wirelessly(source, credentials) {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(error) => Some(chain(&error)),
    };
    context.monitor.say(&match &why {
        None => "It answers over Wi-Fi: backups need no cable.".to_owned(),
        Some(why) => format!(
            "Wi-Fi sync is on, but it does not answer over Wi-Fi now: {why}. It has to be in the same network, unlocked once since it was started; else name its \
             address with --address."
        ),
    });
    json!({"enabled": true, "answers": why.is_none(), "why": why})
}

/// Says what the backups will hold.
fn encryption(host: &Host, paired: &mut Paired, context: &Context) -> Result<bool> {
    let is_encrypted = host.will_encrypt(paired)?;
    context.monitor.say(match is_encrypted {
        true => {
            "Its backups are encrypted with the password that was set on it. They are kept as they are: nobody can restore them without that password, or look into them \
             (encryption-password-file)."
        }
        false => {
            "Its backups are not encrypted, and so hold no passwords, no health data and no calls: iOS leaves them out. `holdall pair --encryption on` has them in; the store \
             is encrypted in any case."
        }
    });
    Ok(is_encrypted)
}

/// Ends a pairing.
fn remove(args: &PairArgs, host: &Host, config: &Config, context: &Context) -> Result<()> {
    let udid = match &args.udid {
        Some(udid) => udid.clone(),
        None => choose(args, host)?.udid,
    };
    let source = source_of(config, &udid);
    let meant = source.cloned().unwrap_or_else(|| configured_as(&udid));
    let credentials = Ios::new(&meant, &config.file).credentials().to_path_buf();
    let unpaired = host.unpair(&meant, &credentials)?;
    let shown = printable(OsStr::new(&udid));
    match &unpaired.not_on_device {
        None => context.monitor.say(&format!("{shown} and this computer are not paired any more.")),
        Some(why) => context.monitor.say(&format!(
            "This computer has forgotten {shown}, but was not able to tell it: {why}. On the device: Settings, General, Transfer or Reset, Reset Location & Privacy."
        )),
    }
    if let Some(source) = source {
        context.monitor.say(&format!(
            "Its points stay, and so does [ios.{}] in {}: remove the table if it shall not be backed up any more.",
            source.common.name,
            config.file.display()
        ));
    } else {
        context.monitor.say("Points of it stay.");
    }
    if context.output.json {
        let is_told = unpaired.not_on_device.is_none();
        context.output.json_document(&json!({"udid": udid, "on_device": is_told, "why": unpaired.not_on_device}))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_owners_call_their_devices() {
        let config = config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/valid/ssh.toml")).unwrap();
        for (called, name) in [
            ("Anna's iPhone", "annas-iphone"),
            ("Anna\u{2019}s iPhone (2)", "annas-iphone-2"),
            ("  iPad \u{1f4f1} ", "ipad"),
            ("电话", "phone"),
            ("", "phone"),
        ] {
            assert_eq!(free_name(called, &config), name, "{called}");
        }
        let taken = config.sources[0].common().name.clone();
        assert_eq!(free_name(&taken, &config), format!("{taken}-2"));
    }
}
