//! What changed of an instance or a volume of Incus: configuration, devices, profiles and description. What is inside of it is not looked at.
//!
//! A point is looked for on the source first, then on the target, then in the store; `@live` is what the source has right now. What Incus
//! keeps for itself (`volatile.*`) and what holdall has marked changes by itself and is left out. The profiles of a snapshot are those that its
//! instance has now: Incus says no others.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{DiffArgs, summary};
use crate::commands::Context;
use crate::commands::places::{Answered, Places, replications};
use crate::config::Config;
use crate::error::{Annotate, ExitCode};
use crate::incus::api::Role;
use crate::incus::export::{INSTANCE, VOLUME};
use crate::incus::mark::KEYS;
use crate::incus::model::{Devices, Settings};
use crate::incus::select::Subject;
use crate::output::printable;
use crate::select::{self, PointSpec};
use crate::store::{Node, SavedTree};
use crate::timeline::{Place, Point};

/// The longest description that is read out of the store, in bytes.
const LONGEST: u64 = 16 << 20;

/// How a spec ends that means what is there now.
const LIVE: &str = "@live";

/// What Incus says of an instance, a volume, or a snapshot of one; each has a part of this.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Described {
    config: Option<Settings>,
    devices: Option<Devices>,
    profiles: Option<Vec<String>>,
    description: Option<String>,
}

/// Names of settings with their values.
type Lines = BTreeMap<String, String>;

/// Whether both points can only be compared as a whole: one is of an Incus server, and none names a path.
pub(super) fn are_meant(config: &Config, args: &DiffArgs) -> bool {
    let specs = [&args.old, &args.new];
    specs.iter().all(|spec| !spec.contains(":/"))
        && specs.iter().any(|spec| selector(spec).is_some_and(|text| !replications(config, &[text]).is_empty()))
}

/// Compares them.
pub(super) fn run(args: &DiffArgs, context: &Context, config: &Config) -> Result<ExitCode> {
    let specs = [&args.old, &args.new];
    let selectors: Vec<String> = specs.iter().filter_map(|spec| selector(spec)).collect();
    let places = Places::look(context, config, &selectors)?;
    let described: Result<Vec<Described>> = specs.iter().map(|spec| describe(&places, spec)).collect();
    // What could not be asked may be where it is.
    let code = places.tell_away();
    let [old, new]: [Described; 2] = described?.try_into().map_err(|_| anyhow!("two points are compared"))?;
    let (old, new) = lines(&old, &new);
    let mut totals = BTreeMap::new();
    let mut rows = Vec::new();
    for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
        let values = (old.get(name), new.get(name));
        let letter = match values {
            (None, _) => '+',
            (_, None) => '-',
            (Some(old), Some(new)) if old != new => 'M',
            _ => continue,
        };
        *totals.entry(letter).or_insert(0_u64) += 1;
        rows.push((name, letter, values));
    }
    rows.sort();
    if context.output.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, letter, (old, new))| json!({"path": name, "change": letter, "old": old, "new": new}))
            .collect();
        context.output.json_document(&rows)?;
    } else {
        for (name, letter, (old, new)) in &rows {
            let values: Vec<String> = [old, new].into_iter().flatten().map(|value| printable(value.as_ref())).collect();
            context.output.line(&format!("{letter} {}: {}", printable(name.as_ref()), values.join(" -> ")))?;
        }
    }
    context.monitor.say(&summary(&totals));
    Ok(code)
}

/// The selector in a spec; `None` for the id of a snapshot alone.
fn selector(spec: &str) -> Option<String> {
    match spec.strip_suffix(LIVE) {
        Some(item) => Some(item.to_owned()),
        None => PointSpec::parse(spec).ok()?.selector().map(ToOwned::to_owned),
    }
}

fn describe(places: &Places, spec: &str) -> Result<Described> {
    if let Some(item) = spec.strip_suffix(LIVE) {
        let (answered, subject) = live(places, item)?;
        return ask(answered, subject, &[]).with_context(|| format!("see what {item} is now"));
    }
    let point = PointSpec::parse(spec)?.choose(&places.points)?;
    let doing = || format!("read what {} was at {}", point.item, point.short_id());
    let role = match point.place {
        Place::Store | Place::Mirror(_) => return stored(places, point).with_context(doing),
        Place::Source => Role::Source,
        Place::Target => Role::Target,
    };
    let (answered, subject) = subjects(places, role)
        .find(|(_, _, item)| *item == point.item)
        .map(|(answered, subject, _)| (answered, subject))
        .with_context(doing)?;
    ask(answered, subject, &["snapshots", &point.id]).with_context(doing)
}

/// The one item of the sources that a selector means.
fn live<'p>(places: &'p Places, selector: &str) -> Result<(&'p Answered, &'p Subject)> {
    let all: Vec<_> = subjects(places, Role::Source).collect();
    let known: Vec<String> = all.iter().map(|(.., item)| item.clone()).collect();
    let wanted = select::resolve(&[selector.to_owned()], &known)?;
    let [wanted] = wanted.as_slice() else {
        return Err(anyhow!("`{selector}` is not one item")).hint("Name one instance or volume.").exit(ExitCode::Usage);
    };
    let found = all.into_iter().find(|(.., item)| item == wanted);
    found.map(|(answered, subject, _)| (answered, subject)).context("no server has it")
}

fn subjects(places: &Places, role: Role) -> impl Iterator<Item = (&Answered, &Subject, String)> {
    let servers = places.servers.iter().filter(move |answered| answered.server.role() == role);
    servers.flat_map(|answered| {
        let ours = answered.found.iter().filter(|found| found.is_ours);
        ours.map(move |found| (answered, &found.subject, found.subject.id(&answered.replication.id)))
    })
}

fn ask<T: DeserializeOwned>(answered: &Answered, subject: &Subject, rest: &[&str]) -> Result<T> {
    answered.server.call("GET", &subject.path(rest)).project(&subject.project).get()
}

/// What an export has beside the archive.
fn stored(places: &Places, point: &Point) -> Result<Described> {
    let saved = places.store.as_ref().context("there is no store")?.tree(point)?;
    for name in [INSTANCE, VOLUME] {
        if let Some(node) = saved.find(Path::new(name))? {
            return serde_json::from_slice(&read(&saved, &node)?).with_context(|| format!("{name} is of another form"));
        }
    }
    Err(anyhow!("it is neither an instance nor a volume of Incus"))
        .hint("Only what is of Incus can be compared with what is of Incus.")
        .exit(ExitCode::Usage)
}

fn read(saved: &SavedTree, node: &Node) -> Result<Vec<u8>> {
    anyhow::ensure!(node.meta.size <= LONGEST, "it is longer than {} MiB", LONGEST >> 20);
    let mut bytes = Vec::new();
    for piece in saved.read(node)? {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// The settings of both, without what only one of the two can have said.
fn lines(old: &Described, new: &Described) -> (Lines, Lines) {
    let has_both = old.description.is_some() && new.description.is_some();
    let [old, new] = [old, new].map(|one| {
        let mut lines = Lines::new();
        let own = |key: &str| !key.starts_with("volatile.") && !key.starts_with(KEYS);
        for (key, value) in one.config.iter().flatten().filter(|(key, _)| own(key)) {
            lines.insert(format!("/config/{key}"), value.clone());
        }
        for (device, settings) in one.devices.iter().flatten() {
            lines.extend(settings.iter().map(|(key, value)| (format!("/devices/{device}/{key}"), value.clone())));
        }
        if let Some(profiles) = one.profiles.as_ref().filter(|profiles| !profiles.is_empty()) {
            lines.insert("/profiles".to_owned(), profiles.join(", "));
        }
        let description = one.description.iter().filter(|text| has_both && !text.is_empty());
        lines.extend(description.map(|text| ("/description".to_owned(), text.clone())));
        lines
    });
    (old, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_lines_and_what_changes_by_itself_is_left_out() {
        let described = |text: &str| serde_json::from_str::<Described>(text).unwrap();
        let snapshot = described(
            r#"{"config":{"limits.cpu":"1","volatile.uuid":"x","user.holdall.point":"y"},
                "devices":{"eth0":{"type":"nic","network":"br0"}},"profiles":["default","web"]}"#,
        );
        let live = described(r#"{"config":null,"devices":{},"profiles":[],"description":"new"}"#);
        let (old, new) = lines(&snapshot, &live);
        let names: Vec<&str> = old.keys().map(String::as_str).collect();
        assert_eq!(names, ["/config/limits.cpu", "/devices/eth0/network", "/devices/eth0/type", "/profiles"]);
        assert_eq!(old["/profiles"], "default, web");
        assert!(new.is_empty(), "a snapshot does not say what the description was: {new:?}");
        assert_eq!(lines(&live, &live).0["/description"], "new");
    }
}
