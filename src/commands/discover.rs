//! `holdall discover`: what there is that could be backed up, and what no source covers. Needs no store; changes nothing.

use std::ffi::OsStr;

use anyhow::{Error, Result, anyhow};
use serde_json::{Map, Value};

use super::Context;
use crate::config::{self, Config};
use crate::error::{Annotate, ExitCode, chain, hints};
use crate::incus;
use crate::output::printable;
use crate::source::{docker, ios, ssh};

/// Kinds of sources, and whether there is a way to look for them.
const KINDS: [(&str, bool); 6] =
    [("files", false), ("ssh", true), ("docker", true), ("compose", true), ("ios", true), ("incus", true)];

/// Arguments of `discover`.
#[derive(Debug, clap::Args)]
pub struct DiscoverArgs {
    /// Which kinds: ssh, docker, compose, ios, incus; none = all
    #[arg(value_name = "KIND")]
    kinds: Vec<String>,
}

/// Something that could be backed up.
#[derive(Debug)]
struct Found {
    kind: &'static str,
    name: String,
    detail: String,
    covered_by: Option<String>,
    /// What programs are told besides.
    more: Map<String, Value>,
}

impl Found {
    fn new(kind: &'static str, name: String, detail: String, covered_by: Option<String>) -> Self {
        Self { kind, name, detail, covered_by, more: Map::new() }
    }
}

/// Runs `discover`.
pub fn run(args: &DiscoverArgs, context: &Context) -> Result<ExitCode> {
    for kind in &args.kinds {
        check_kind(kind)?;
    }
    let config = config_if_any(context)?;
    let is_wanted = |kind: &str| args.kinds.is_empty() || args.kinds.iter().any(|wanted| wanted == kind);
    let mut found = Vec::new();
    if is_wanted("ssh") {
        look_for_machines(&config, context, &mut found);
    }
    let kinds: Vec<&str> = ["docker", "compose"].into_iter().filter(|kind| is_wanted(kind)).collect();
    if !kinds.is_empty() {
        look_into_engines(&config, &kinds, !args.kinds.is_empty(), context, &mut found)?;
    }
    if is_wanted("ios") {
        look_for_devices(&config, !args.kinds.is_empty(), context, &mut found)?;
    }
    let away = if is_wanted("incus") { look_into_servers(&config, &mut found) } else { None };
    print(&found, context)?;
    away.map_or(Ok(ExitCode::Done), Err)
}

/// Whether there is a way to look for this kind.
fn check_kind(kind: &str) -> Result<()> {
    let possible: Vec<&str> = KINDS.iter().filter(|(_, possible)| *possible).map(|(name, _)| *name).collect();
    let there_is = format!("`holdall discover` looks for: {}.", possible.join(", "));
    match KINDS.iter().find(|(name, _)| *name == kind) {
        Some((_, true)) => Ok(()),
        Some((_, false)) => {
            Err(anyhow!("this version of holdall does not look for `{kind}`")).hint(there_is).exit(ExitCode::Usage)
        }
        None => {
            let near = config::nearest(kind, KINDS.iter().map(|(name, _)| *name));
            let hint = near.map_or(there_is, |near| format!("Did you mean `{near}`?"));
            Err(anyhow!("there is no kind of source called `{kind}`")).hint(hint).exit(ExitCode::Usage)
        }
    }
}

/// What is configured; nothing when there is no configuration yet, unless one is named.
fn config_if_any(context: &Context) -> Result<Config> {
    let file = context.config_file();
    if context.global.config.is_none() && !file.try_exists().unwrap_or(true) {
        return Ok(Config::empty(&file));
    }
    context.config()
}

fn look_for_machines(config: &Config, context: &Context, found: &mut Vec<Found>) {
    let machines = ssh::discover::machines(config);
    if machines.hashed > 0 {
        let lines = if machines.hashed == 1 { "line" } else { "lines" };
        context.monitor.say(&format!(
            "{} {lines} of known_hosts cannot be listed: the names there are hashed (HashKnownHosts).",
            machines.hashed
        ));
    }
    let found_machine =
        |machine: ssh::discover::Machine| Found::new("ssh", machine.name, machine.detail, machine.covered_by);
    found.extend(machines.machines.into_iter().map(found_machine));
}

/// Looks into container engines. That none runs is only worth a word when nobody has named one.
fn look_into_engines(
    config: &Config,
    kinds: &[&str],
    is_asked_for: bool,
    context: &Context,
    found: &mut Vec<Found>,
) -> Result<()> {
    for engine in docker::discover::engines(config) {
        match engine.things {
            Ok(things) => found.extend(
                things
                    .into_iter()
                    .filter(|thing| kinds.contains(&thing.kind))
                    .map(|thing| Found::new(thing.kind, thing.name, thing.detail, thing.covered_by)),
            ),
            Err(error) if engine.is_configured => return Err(error),
            Err(error) if is_asked_for && found.is_empty() => {
                context.monitor.say(&format!("No container engine answers: {}", chain(&error)));
            }
            Err(error) => tracing::debug!("no container engine answers at {}: {error:#}", engine.place),
        }
    }
    Ok(())
}

/// Looks for iPhones and iPads. That no usbmuxd runs is only worth a word when somebody has asked for them.
fn look_for_devices(config: &Config, is_asked_for: bool, context: &Context, found: &mut Vec<Found>) -> Result<()> {
    let looked = ios::discover::devices(config)?;
    for (why, hint) in &looked.troubles {
        context.monitor.say(&format!("{why}. {hint}"));
    }
    match looked.error {
        Some(error) if is_asked_for && looked.troubles.is_empty() => {
            let hints = hints(&error).join(" ");
            context.monitor.say(format!("No device can be asked over USB: {}. {hints}", chain(&error)).trim_end());
        }
        Some(error) => tracing::debug!("no device can be asked over USB: {error:#}"),
        None => {}
    }
    for ios::discover::Device { about, covered_by } in looked.devices {
        let mut row = Found::new("ios", about.udid.clone(), about.to_string(), covered_by);
        for (key, value) in [
            ("udid", about.udid.into()),
            ("device_name", about.name.into()),
            ("model", about.model.into()),
            ("version", about.version.into()),
            ("connection", about.connection.map(ToOwned::to_owned).into()),
            ("paired", about.is_paired.into()),
            ("encrypted", about.is_encrypted.into()),
            ("battery", about.battery.into()),
            ("trouble", about.trouble.into()),
        ] {
            let _: Option<Value> = row.more.insert(key.to_owned(), value);
        }
        found.push(row);
    }
    Ok(())
}

/// Looks into Incus servers. What one of them has is shown also when another one cannot be asked: that is the error.
fn look_into_servers(config: &Config, found: &mut Vec<Found>) -> Option<Error> {
    let mut away = None;
    let servers = incus::discover::servers(config);
    let here = incus::discover::here(config).map(|server| Ok(vec![server]));
    for things in servers.into_iter().chain(here) {
        match things {
            Ok(things) => found.extend(
                things.into_iter().map(|thing| Found::new("incus", thing.name, thing.detail, thing.covered_by)),
            ),
            Err(error) => away = away.or(Some(error)),
        }
    }
    away
}

fn print(found: &[Found], context: &Context) -> Result<()> {
    if context.output.json {
        let rows: Vec<_> = found
            .iter()
            .map(|found| {
                let mut row = Map::new();
                row.insert("kind".to_owned(), found.kind.into());
                row.insert("name".to_owned(), found.name.as_str().into());
                row.insert("detail".to_owned(), found.detail.as_str().into());
                row.insert("covered_by".to_owned(), found.covered_by.clone().into());
                row.extend(found.more.clone());
                row
            })
            .collect();
        return context.output.json_document(&rows);
    }
    if found.is_empty() {
        context.monitor.say("Nothing was found.");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found.iter().map(table_row).collect();
    context.output.table(&["kind", "name", "detail", ""], &rows)
}

/// Names come from files that others may have written, and from machines.
fn table_row(found: &Found) -> Vec<String> {
    let covered = found.covered_by.as_ref();
    vec![
        found.kind.to_owned(),
        printable(OsStr::new(&found.name)),
        printable(OsStr::new(&found.detail)),
        covered.map_or_else(|| "not covered".to_owned(), |source| format!("covered by {source}")),
    ]
}
