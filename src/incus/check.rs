//! Would a run over `[incus.NAME]` work? Looks at both servers, and at what is on them; changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::api::{Role, Server, fingerprint};
use super::mark::STOPPED;
use super::select::{self, Selected, Selection, list_projects};
use super::timeline::{Found, ServerTimeline};
use super::{Replication, Servers, certificate};
use crate::error::hinted;
use crate::finding::Finding;
use crate::output::printable;

/// What was found, and the items that there are on either server.
#[derive(Debug, Default)]
pub struct Examined {
    /// One a server at least.
    pub findings: Vec<Finding>,
    /// Ids of items.
    pub items: Vec<String>,
}

/// A server that answers, and what it has.
#[derive(Debug)]
struct Visited {
    server: Server,
    found: Vec<Found>,
}

/// `Certificate` of `shared/api/certificate.go`, as far as it says what we may do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trusted {
    restricted: bool,
}

/// Looks at everything that a run over this replication needs.
pub fn examine(replication: &Replication, now: DateTime<Utc>) -> Examined {
    let mut all = Examined::default();
    let source = visit(replication, Role::Source, &mut all.findings);
    let target = visit(replication, Role::Target, &mut all.findings);
    for one in source.iter().chain(&target).flat_map(|visited| &visited.found).filter(|found| found.is_ours) {
        all.items.push(one.subject.id(&replication.id));
    }
    all.items.sort_unstable();
    all.items.dedup();
    let Some(source) = source else { return all };
    let servers = Servers { source: source.server.clone(), target: target.as_ref().map(|one| one.server.clone()) };
    for line in certificate::expiring(replication, &servers, now) {
        all.findings.push(Finding::warning(format!("{}, certificates", replication.id), line, ""));
    }
    let Selection { items: selected, missing } =
        match select::selection(&source.server, &replication.id, &replication.config) {
            Ok(selection) => selection,
            Err(error) => {
                all.findings.push(Finding::wrong(format!("{}, items", replication.id), error));
                return all;
            }
        };
    all.findings.push(count(replication, &selected));
    all.findings.extend(missing.into_iter().map(|(item, error)| Finding::wrong(item, error)));
    all.findings.extend(selected.iter().filter(|item| was_stopped(item)).map(|item| {
        let item = item.subject.id(&replication.id);
        let hint = format!("If no backup is under way, one was killed: `holdall backup {item} --force` starts it.");
        Finding::warning(item, "a backup has stopped it, and not started it again", hint)
    }));
    if let Some(target) = &target {
        all.findings.extend(pools(replication, &target.server, &selected));
        all.findings.extend(copies(replication, &target.found, &selected));
    }
    all
}

fn visit(replication: &Replication, role: Role, findings: &mut Vec<Finding>) -> Option<Visited> {
    let what = format!("{}, {}", replication.id, role.word());
    let server = match replication.server(role) {
        Ok(server) => server?,
        Err(error) => {
            findings.push(Finding::wrong(what, error));
            return None;
        }
    };
    let introduced = introduce(replication, &server);
    let is_well = introduced.is_ok();
    findings.push(Finding::of(what.clone(), introduced));
    let missing = missing_projects(replication, &server).unwrap_or_else(|error| vec![error]);
    let is_well = is_well && missing.is_empty();
    findings.extend(missing.into_iter().map(|error| Finding::wrong(what.clone(), error)));
    if !is_well {
        return None;
    }
    match ServerTimeline::new(replication, &server).look() {
        Ok(found) => Some(Visited { server, found }),
        Err(error) => {
            findings.push(Finding::wrong(what, error));
            None
        }
    }
}

/// Where it is, what it is, and what we may do there.
fn introduce(replication: &Replication, server: &Server) -> Result<String> {
    let own = fingerprint(&replication.credentials.identity()?.certificate);
    let trusted: Trusted = server.get(&["certificates", &own]).context("ask what we may do there")?;
    let environment = &server.about().environment;
    let version = match environment.server_version.as_str() {
        "" => "Incus".to_owned(),
        version => format!("Incus {}", printable(version.as_ref())),
    };
    let rights = if trusted.restricted { "some projects only" } else { "everything" };
    Ok(format!("{}, {version}, trusts us for {rights}", server.address()))
}

/// An error for each configured project that we cannot see.
fn missing_projects(replication: &Replication, server: &Server) -> Result<Vec<anyhow::Error>> {
    let there: BTreeSet<String> = list_projects(server)?.into_iter().map(|project| project.name).collect();
    let configured = replication.config.projects.iter().map(|project| &project.name);
    let missing = configured.filter(|name| !there.contains(*name)).map(|name| {
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        let hint = format!(
            "Make it with `incus project create {name}`, or let our certificate into it with `incus config trust edit`. We see: {}.",
            printable(there.join(", ").as_ref())
        );
        hinted(anyhow!("there is no project {name}, or we may not see it"), hint)
    });
    Ok(missing.collect())
}

fn was_stopped(item: &Selected) -> bool {
    let stopped = item.instance.as_ref().filter(|instance| !instance.is_running());
    stopped.is_some_and(|instance| instance.config.contains_key(STOPPED))
}

fn count(replication: &Replication, selected: &[Selected]) -> Finding {
    let number = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let instances = selected.iter().filter(|item| item.instance.is_some()).count();
    let volumes = selected.len() - instances;
    let what = format!("{}, items", replication.id);
    let text = format!("{}, {}", number(instances, "instance"), number(volumes, "volume"));
    if selected.is_empty() {
        return Finding::warning(
            what,
            "nothing is named that the source has",
            "`holdall discover incus` lists what there is.",
        );
    }
    Finding::of(what, Ok(text))
}

/// A finding for each pool that the target needs and does not have.
fn pools(replication: &Replication, target: &Server, selected: &[Selected]) -> Vec<Finding> {
    let mut needed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for item in selected {
        let pool = match (&item.subject.pool, &item.instance) {
            (Some(pool), _) => Some(pool.as_str()),
            (None, Some(instance)) => item.target_pool.as_deref().or_else(|| instance.root_pool()),
            (None, None) => None,
        };
        if let Some(pool) = pool {
            needed.entry(pool).or_default().push(format!("{}/{}", item.subject.kind(), item.subject.name));
        }
    }
    let mut findings = Vec::new();
    for (pool, items) in needed {
        let shown = printable(pool.as_ref());
        let error = match target.call("GET", &["storage-pools", pool]).find::<Value>() {
            Ok(Some(_)) => continue,
            Ok(None) => {
                let hint = format!(
                    "Make it there with `incus storage create {shown} DRIVER`, or say where root disks go with `pool` of the instances."
                );
                hinted(anyhow!("the target has no pool {shown}, which {} must be on", some_of(&items)), hint)
            }
            Err(error) => error,
        };
        findings.push(Finding::wrong(format!("{}, target", replication.id), error));
    }
    findings
}

/// What is on the target in the place of copies.
fn copies(replication: &Replication, found: &[Found], selected: &[Selected]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for copy in found {
        let item = copy.subject.id(&replication.id);
        let (kind, name) = (copy.subject.kind(), &copy.subject.name);
        let what = format!("{item}, target");
        if !selected.iter().any(|one| one.subject == copy.subject) {
            continue;
        }
        if !copy.is_ours || copy.is_foreign {
            let text = match copy.mark.item() {
                Some(other) if other == item => format!("the {kind} {name} there is a copy of another server"),
                Some(other) => format!("the {kind} {name} there is a copy of {}", printable(other.as_ref())),
                None => format!("the {kind} {name} there was not made by holdall, and is not overwritten"),
            };
            let hint = format!("If it may be overwritten: `holdall backup {item} --adopt`. Else rename it there.");
            findings.push(Finding::wrong(what, hinted(anyhow!(text), hint)));
            continue;
        }
        if copy.is_running {
            let hint = "Stop it there. What was changed in it while it ran is gone after the next copy.";
            findings.push(Finding::wrong(what, hinted(anyhow!("the copy runs, and is not written to"), hint)));
        } else if copy.mark.copying.is_some() {
            let text = match &copy.mark.point {
                Some(point) => format!("the last copy broke off; {} is whole", printable(point.as_ref())),
                None => "the first copy broke off; nothing of it is whole".to_owned(),
            };
            findings.push(Finding::warning(what, text, "The next `holdall backup` goes on with it."));
        }
    }
    findings
}

/// The first names of a list, and how many more there are.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| printable(name.as_ref())).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
