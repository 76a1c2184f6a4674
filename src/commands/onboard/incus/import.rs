//! `holdall onboard incus NAME --import-iab config.json`: takes over what IncusAutobackup was told, and goes on with its key and what it pinned.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::{Context, IncusArgs, absolute, configured, finish};
use crate::config::edit::{Edit, Stanza};
use crate::config::{Config, locate};
use crate::error::{Annotate, ExitCode, chain};
use crate::incus::certificate;
use crate::incus::import_iab::{Iab, IabPolicy, IabThing};
use crate::incus::{Replication, Servers};
use crate::retention::{ItemKey, Policy, rule_for};

/// No configuration is larger, in bytes.
const LARGEST: u64 = 16 << 20;

pub(super) fn run(args: &IncusArgs, iab: &Path, config: &Config, context: &Context) -> Result<()> {
    let file = &config.file;
    let doing = || format!("take over {}", iab.display());
    let read = Iab::parse(&text(iab)?).with_context(doing)?;
    let credentials = credentials(&read, iab).with_context(doing)?;
    let pings_already = config.notify.healthchecks.is_some();

    let mut stanzas = vec![source(&args.name, &read, &credentials)?];
    stanzas.extend(read.retention.iter().map(|policy| retention(&args.name, policy)));
    if let Some(url) = read.healthchecks.as_ref().filter(|_| !pings_already) {
        let mut stanza = Stanza::new(["notify", "healthchecks"]);
        stanza.set("url", url);
        stanzas.push(stanza);
    }
    let draft = Edit::change(file, &stanzas, args.force).with_context(doing)?;
    let replication = Replication::new(configured(draft.config(), &args.name)?, file);

    for note in &read.notes {
        context.monitor.say(note);
    }
    if read.healthchecks.is_some() && pings_already {
        context.monitor.say("iab.healthchecksUrl is not taken over: [notify.healthchecks] is there already, and is pinged for everything.");
    }
    context.monitor.say(
        "same-retention = true is written, as IncusAutobackup has --iOSfix by default: the target keeps what the source keeps, and rules \
         with role = \"target\" do nothing. If you ran it with --iOSfix=false, take the line out.",
    );
    let servers = replication.connect().with_context(doing)?;
    look(&servers, &replication, context);
    let overruled = overruled(draft.config(), &replication, &read)?;
    if !overruled.is_empty() {
        context.monitor.say(&format!(
            "Warning: [[retention]] tables that were there already win for {}; `holdall prune -n` names them.",
            overruled.join(", ")
        ));
    }
    context.monitor.say(
        "Copies that IncusAutobackup has made are not marked as ours yet: --adopt takes them over, once. Stop its timer before.",
    );
    finish(stanzas, file, args, "--adopt", context)
}

/// The items for which another rule than those that were taken over applies.
fn overruled(config: &Config, replication: &Replication, iab: &Iab) -> Result<Vec<String>> {
    let mut items = Vec::new();
    for project in &iab.projects {
        let things = [("instance", &project.instances), ("volume", &project.volumes)];
        for (kind, thing) in things.into_iter().flat_map(|(kind, things)| things.iter().map(move |thing| (kind, thing)))
        {
            let item = format!("{}/{}/{kind}/{}", replication.id, project.name, thing.name);
            for role in ["source", "target"] {
                let key = ItemKey { role: Some(role.to_owned()), ..ItemKey::parse(&item) };
                let applies = rule_for(&config.retention, &key).map(|rule| &rule.policy);
                let meant = iab.policy_for(role, &project.name, kind, &thing.name);
                if applies != Some(&Policy::parse(meant)?) && !items.contains(&item) {
                    items.push(item.clone());
                }
            }
        }
    }
    Ok(items)
}

fn text(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|from| from.take(LARGEST + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("read {}", file.display())).exit(ExitCode::Usage)?;
    if bytes.len() as u64 > LARGEST {
        return Err(anyhow!("{} is larger than a configuration can be", file.display())).exit(ExitCode::Usage);
    }
    Ok(bytes)
}

/// The directory that IAB takes its key from. It runs where its `config.json` lies, and what is relative is meant from there.
fn credentials(iab: &Iab, file: &Path) -> Result<String> {
    let written = iab.credentials.trim();
    let home = written.strip_prefix("~/").and_then(|rest| Some(locate::home_dir()?.join(rest)));
    let beside = std::path::absolute(file).context("find the current directory")?.with_file_name(written);
    let directory: PathBuf = home.unwrap_or(beside);
    if !directory.is_dir() {
        return Err(anyhow!("its credentials directory {} is not there", directory.display()))
            .hint("Change iab.iabCredDir in the file, or onboard anew with tokens: `holdall onboard incus --help`.")
            .exit(ExitCode::Usage);
    }
    absolute(&directory)
}

fn source(name: &str, iab: &Iab, credentials: &str) -> Result<Stanza> {
    let mut stanza = Stanza::new(["incus", name]);
    stanza.set("source", &iab.source).set("target", &iab.target).set("credentials", credentials);
    if iab.is_pull {
        stanza.set("mode", "pull");
    }
    stanza.set("same-retention", true);
    for project in &iab.projects {
        let mut row = Stanza::row();
        row.set("name", &project.name);
        let instances = project.instances.iter().map(|thing| thing_row(thing, iab.stops));
        let volumes = project.volumes.iter().map(|thing| thing_row(thing, false));
        for (key, rows) in [("instances", instances.collect::<Vec<_>>()), ("volumes", volumes.collect())] {
            if !rows.is_empty() {
                row.set_rows(key, rows);
            }
        }
        stanza.push("project", row);
    }
    if iab.projects.is_empty() {
        return Err(anyhow!("it names no instance and no volume"))
            .hint("Add them to its projects, or onboard anew with tokens: `holdall onboard incus --help`.")
            .exit(ExitCode::Usage);
    }
    Ok(stanza)
}

fn thing_row(thing: &IabThing, stops: bool) -> Stanza {
    let mut row = Stanza::row();
    row.set("name", globset::escape(&thing.name));
    if !thing.pool.is_empty() {
        row.set("pool", &thing.pool);
    }
    if !thing.exclude_devices.is_empty() {
        row.set_array("exclude-devices", thing.exclude_devices.iter().map(String::as_str));
    }
    if stops {
        row.set("stop", true);
    }
    row
}

fn retention(name: &str, rule: &IabPolicy) -> Stanza {
    let mut stanza = Stanza::listed("retention");
    stanza.set("source", format!("incus.{name}")).set("role", &rule.role);
    if let Some(project) = &rule.project {
        stanza.set("project", globset::escape(project));
    }
    if let Some(kind) = rule.kind {
        stanza.set("kind", kind);
    }
    if let Some(name) = &rule.name {
        stanza.set("name", globset::escape(name));
    }
    stanza.set("policy", &rule.policy);
    stanza
}

/// Says that both servers trust us, and what a backup would find wrong.
fn look(servers: &Servers, replication: &Replication, context: &Context) {
    for server in std::iter::once(&servers.source).chain(&servers.target) {
        let version = crate::output::printable(server.about().environment.server_version.as_ref());
        let (role, address) = (server.role().word(), server.address());
        context
            .monitor
            .say(&format!("The {role} {address} is Incus {version}, and trusts the key of IncusAutobackup."));
    }
    match replication.items(&servers.source) {
        Ok(items) => context.monitor.say(&format!("{} instances and volumes are there.", items.len())),
        Err(error) => context.monitor.say(&format!("Warning: a backup would fail now: {}.", chain(&error))),
    }
    for line in certificate::expiring(replication, servers, context.now()) {
        context.monitor.say(&format!("Warning: {line}."));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// IAB's `ResolveRetention`, ported: each policy that is not empty takes the place of the one before.
    fn resolved_by_iab(tree: &Value, role: &str, project: &str, kind: &str, name: &str) -> String {
        let of_role = &tree[role];
        let of_project = &of_role["projects"][project];
        let of_kind = &of_project[kind];
        let steps = [&of_role["default"], &of_project["default"], &of_kind["default"], &of_kind["byName"][name]];
        let mut policies = steps.into_iter().filter_map(Value::as_str).filter(|policy| !policy.is_empty());
        policies.next_back().unwrap_or("").to_owned()
    }

    fn policy() -> impl Strategy<Value = Value> {
        prop_oneof![
            3 => Just(Value::Null),
            1 => Just(json!("")),
            3 => (1..9u32).prop_map(|keep| json!(keep.to_string())),
            2 => (1..9u32).prop_map(|days| json!(format!("{days},1h{days}d"))),
        ]
    }

    /// What may be there or not, and be empty.
    fn kinds() -> impl Strategy<Value = Value> {
        let kind = (policy(), policy(), policy())
            .prop_map(|(default, a, b)| json!({ "default": default, "byName": { "a": a, "b[*]": b } }));
        let kind = prop_oneof![1 => Just(Value::Null), 4 => kind];
        (policy(), kind.clone(), kind).prop_map(
            |(default, instances, volumes)| json!({ "default": default, "instances": instances, "volumes": volumes }),
        )
    }

    fn trees() -> impl Strategy<Value = Value> {
        let role = (policy(), kinds(), kinds())
            .prop_map(|(default, one, two)| json!({ "default": default, "projects": { "one": one, "t*o": two } }));
        let role = prop_oneof![1 => Just(Value::Null), 6 => role];
        (role.clone(), role).prop_map(|(source, target)| json!({ "source": source, "target": target }))
    }

    fn config_of(tree: &Value) -> (Config, Iab) {
        let text = json!({
            "iab": { "iabCredDir": "/" },
            "hosts": [{ "role": "source", "url": "https://a" }, { "role": "target", "url": "https://b" }],
            "projects": [{ "name": "one", "instances": [{ "name": "a" }] }],
            "retention": { "hosts": tree },
        });
        let iab = Iab::parse(text.to_string().as_bytes()).unwrap();
        let mut stanzas = vec![source("lab", &iab, "/").unwrap()];
        stanzas.extend(iab.retention.iter().map(|policy| retention("lab", policy)));
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("config.toml");
        // A rule for everything must not reach what IAB keeps.
        std::fs::write(&file, "[[retention]]\npolicy = \"99\"\n").unwrap();
        Edit::change(&file, &stanzas, false).unwrap().write().unwrap();
        (crate::config::load(&file).unwrap(), iab)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn retention_that_was_taken_over_says_of_every_item_what_iab_says(tree in trees()) {
            let (config, iab) = config_of(&tree);
            for (role, project, (plural, kind), name) in combinations(&["one", "t*o", "two", "other"], &["a", "b[*]", "b*", "c"]) {
                let mut item = ItemKey::parse(&format!("incus.lab/{project}/{kind}/{name}"));
                item.role = Some(role.to_owned());
                let ours = rule_for(&config.retention, &item).map(|rule| rule.policy.clone());
                let theirs = match resolved_by_iab(&tree, role, project, plural, name).as_str() {
                    "" => Policy::parse("all"),
                    policy => Policy::parse(policy),
                };
                let theirs = theirs.unwrap();
                prop_assert_eq!(&Policy::parse(iab.policy_for(role, project, kind, name)).unwrap(), &theirs);
                prop_assert_eq!(ours, Some(theirs), "{} {} {} {}", role, project, kind, name);
            }
        }
    }

    fn combinations<'t>(
        projects: &'t [&'t str],
        names: &'t [&'t str],
    ) -> impl Iterator<Item = (&'static str, &'t str, (&'static str, &'static str), &'t str)> {
        let kinds = [("instances", "instance"), ("volumes", "volume")];
        ["source", "target"].into_iter().flat_map(move |role| {
            projects.iter().flat_map(move |project| {
                kinds.into_iter().flat_map(move |kind| names.iter().map(move |name| (role, *project, kind, *name)))
            })
        })
    }
}
