//! `[incus.NAME]`: two servers, and which instances and volumes of the first one the second one gets.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;

use super::absolute;
use super::engine::{names, one_of};
use super::shared::Shared;
use crate::config::file::{IncusInstancesTable, IncusProjectTable, IncusTable, IncusVolumesTable};
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{CopyMode, IncusConfig, IncusInstances, IncusProject, IncusVolumes, NameGlob};

/// Where Incus listens unless it is told otherwise; its own client takes it, too, where a URL has no port.
const PORT: u16 = 8443;

/// What IncusAutobackup gives an instance.
const STOP_TIMEOUT: Duration = Duration::from_secs(5 * 60);

const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

const MODES: [(&str, CopyMode); 2] = [("push", CopyMode::Push), ("pull", CopyMode::Pull)];

/// What an exclude begins with.
const KINDS: [&str; 2] = ["instance/", "volume/"];

pub(super) fn check(
    name: &Spanned<String>,
    table: &IncusTable,
    removed: &Removed,
    problems: &mut Collector,
) -> IncusConfig {
    let timing = [table.every.as_ref(), table.max_age.as_ref()];
    let shared = Shared::of_timing("incus", name, timing, false);
    let key = shared.key.as_str();
    let was_wrong = |name: &str| removed.iter().any(|removed| removed.starts_with(&format!("{key}.{name}")));
    let source = server(table.source.as_ref(), &format!("{key}.source"), problems);
    let target = server(table.target.as_ref(), &format!("{key}.target"), problems);
    if table.source.is_none() && !was_wrong("source") {
        problems.report(&name.span(), format!("{key}.source"), "missing; give the URL of the server to back up");
    }
    if let (Some(text), true) = (&table.target, target.is_some() && source == target) {
        problems.report(&text.span(), format!("{key}.target"), "the same server as `source`");
    }
    if table.target.is_none() && !table.export && !was_wrong("target") && !was_wrong("export") {
        let nowhere = "names nowhere to copy to; give `target`, or export = true to save into the store";
        problems.report(&name.span(), key, nowhere);
    }
    let projects = projects(&table.project, key, problems);
    if table.project.is_empty() && !was_wrong("project") {
        let nothing = format!("names nothing to back up; add a [[{key}.project]]");
        problems.report(&name.span(), key, nothing);
    }
    let duration = |name: &str, text: &Option<Spanned<String>>, problems: &mut Collector| {
        shared.duration(name, text.as_ref(), problems).filter(|duration| !duration.is_zero())
    };
    IncusConfig {
        common: shared.common(problems),
        source: source.unwrap_or_default(),
        target,
        credentials: table
            .credentials
            .as_ref()
            .and_then(|text| problems.take(&text.span(), format!("{key}.credentials"), absolute(text.get_ref()))),
        mode: one_of(table.mode.as_ref(), key, "mode", &MODES, problems).unwrap_or_default(),
        same_retention: table.same_retention,
        export: table.export,
        stop_timeout: duration("stop-timeout", &table.stop_timeout, problems).unwrap_or(STOP_TIMEOUT),
        idle_timeout: duration("idle-timeout", &table.idle_timeout, problems).unwrap_or(IDLE_TIMEOUT),
        projects,
    }
}

fn server(text: Option<&Spanned<String>>, key: &str, problems: &mut Collector) -> Option<String> {
    let text = text?;
    problems.take(&text.span(), key, server_url(text.get_ref()))
}

/// `https://host:port`, which is all that the URL of a server can have.
///
/// # Errors
///
/// Why it is none.
fn server_url(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not the URL of an Incus server; write https://HOST:PORT");
    let rest = text.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (rest, PORT),
    };
    let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match is_address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)),
    };
    if !is_host || port == 0 {
        return Err(wrong());
    }
    Ok(format!("https://{}:{port}", host.to_ascii_lowercase()))
}

fn projects(tables: &[Spanned<IncusProjectTable>], key: &str, problems: &mut Collector) -> Vec<IncusProject> {
    let key = format!("{key}.project");
    let mut seen = BTreeSet::new();
    let mut projects = Vec::new();
    for table in tables {
        let (span, table) = (table.span(), table.get_ref());
        let name = table.name.as_ref().map_or("default", |name| name.get_ref());
        if !is_plain(name) {
            problems.report(&span, format!("{key}.name"), format!("`{name}` cannot be the name of a project"));
        }
        if !seen.insert(name.to_owned()) {
            problems.report(&span, &key, format!("the project `{name}` is listed twice; put both into one"));
        }
        if table.instances.is_empty() && table.volumes.is_empty() {
            let nothing =
                "names nothing to back up; give `instances` or `volumes`, for example instances = [{ name = \"*\" }]";
            problems.report(&span, &key, nothing);
        }
        for text in &table.exclude {
            if !KINDS.iter().any(|kind| text.get_ref().starts_with(kind)) && !text.get_ref().starts_with('*') {
                let begin = format!("`{}` begins with none of {}", text.get_ref(), KINDS.join(", "));
                problems.report(&text.span(), format!("{key}.exclude"), begin);
            }
        }
        projects.push(IncusProject {
            name: name.to_owned(),
            instances: table.instances.iter().filter_map(|table| instances(table, &key, problems)).collect(),
            volumes: table.volumes.iter().filter_map(|table| volumes(table, &key, problems)).collect(),
            exclude: names(&table.exclude, &format!("{key}.exclude"), problems),
        });
    }
    projects
}

fn instances(table: &Spanned<IncusInstancesTable>, key: &str, problems: &mut Collector) -> Option<IncusInstances> {
    let key = format!("{key}.instances");
    let written = table.get_ref();
    Some(IncusInstances {
        name: one_name(written.name.as_ref(), table, &key, problems)?,
        pool: pool(written.pool.as_ref(), &key, problems),
        exclude_devices: written.exclude_devices.iter().map(|name| name.get_ref().clone()).collect(),
        stop: written.stop,
    })
}

fn volumes(table: &Spanned<IncusVolumesTable>, key: &str, problems: &mut Collector) -> Option<IncusVolumes> {
    let key = format!("{key}.volumes");
    let written = table.get_ref();
    Some(IncusVolumes {
        name: one_name(written.name.as_ref(), table, &key, problems)?,
        pool: pool(written.pool.as_ref(), &key, problems),
    })
}

fn one_name<T>(
    name: Option<&Spanned<String>>,
    table: &Spanned<T>,
    key: &str,
    problems: &mut Collector,
) -> Option<NameGlob> {
    let Some(name) = name else {
        problems.report(&table.span(), key, "`name` is missing: the name, or a glob");
        return None;
    };
    let key = format!("{key}.name");
    if name.get_ref().contains('/') {
        problems.report(&name.span(), key, format!("`{}` has a `/`, which no name has", name.get_ref()));
        return None;
    }
    names(std::slice::from_ref(name), &key, problems).pop()
}

fn pool(name: Option<&Spanned<String>>, key: &str, problems: &mut Collector) -> Option<String> {
    let name = name?;
    if !is_plain(name.get_ref()) {
        let text = format!("`{}` cannot be the name of a storage pool", name.get_ref());
        problems.report(&name.span(), format!("{key}.pool"), text);
    }
    Some(name.get_ref().clone())
}

/// Whether it can stand in a path of the API and in the id of an item.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"/\\?&#%'\"*".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_a_server_has_a_host_and_a_port() {
        for (text, url) in [
            ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
            ("https://NAS.lan/", "https://nas.lan:8443"),
            ("https://[fd00::1]:443", "https://[fd00::1]:443"),
            ("https://[fd00::1]", "https://[fd00::1]:8443"),
        ] {
            assert_eq!(server_url(text).as_deref(), Ok(url));
        }
        for text in ["", "nas", "http://nas:8443", "https://", "https://nas:0", "https://nas:x", "https://nas/1.0"] {
            assert!(server_url(text).is_err(), "{text}");
        }
        assert!(server_url("https://user@nas:8443").is_err() && server_url("https://[x]:1").is_err());
    }
}
