//! What the configured servers have that could be backed up, and which sources cover it; and a server of this machine that none names. For
//! `holdall discover incus`.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Replication;
use super::api::{Role, Server, fingerprint};
use super::credentials::read_certificate;
use super::model::{Instance, Volume};
use super::select::{self, Project, list_instances, list_projects, list_volumes};
use crate::config::{Config, IncusConfig, SourceConfig};

/// Where Incus is unless it is told otherwise: `shared/util/paths.go` of Incus.
const DIRECTORY: &str = "/var/lib/incus";

/// Something that a server has, or a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// `default/instance/vm1`; of a server where it is.
    pub name: String,
    /// What it is, for people.
    pub detail: String,
    /// The source in which it is; `None`: in none.
    pub covered_by: Option<String>,
}

/// What the sources of the configured replications have, each server once. A server that cannot be asked is an error among them.
pub fn servers(config: &Config) -> Vec<Result<Vec<Thing>>> {
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for incus in configured(config) {
        if !seen.contains(&&incus.source) {
            seen.push(&incus.source);
            all.push(things(incus, config));
        }
    }
    all
}

/// The server of this machine, when there is one and no source is it.
pub fn here(config: &Config) -> Option<Thing> {
    let socket = socket();
    socket.try_exists().ok().filter(|exists| *exists)?;
    let replications: Vec<Replication> =
        configured(config).map(|incus| Replication::new(incus, &config.file)).collect();
    let own = read_certificate(&socket.with_file_name("server.crt")).ok().map(|own| fingerprint(&own));
    let is_own = |replication: &Replication| match &own {
        Some(own) => {
            let pinned = replication.credentials.find_pin(&replication.config.source).ok().flatten();
            pinned.is_some_and(|pinned| fingerprint(&pinned) == *own)
        }
        // It cannot be told apart from those that are configured.
        None => true,
    };
    if replications.iter().any(is_own) {
        return None;
    }
    Some(Thing {
        name: format!("unix:{}", socket.display()),
        detail: "a server on this machine; `incus config trust add holdall` makes a token for `holdall onboard incus`"
            .to_owned(),
        covered_by: None,
    })
}

fn socket() -> PathBuf {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = || given("INCUS_DIR").unwrap_or_else(|| Path::new(DIRECTORY).to_owned());
    given("INCUS_SOCKET").unwrap_or_else(|| directory().join("unix.socket"))
}

fn configured(config: &Config) -> impl Iterator<Item = &IncusConfig> {
    config.sources.iter().filter_map(|source| match source {
        SourceConfig::Incus(incus) => Some(&**incus),
        _ => None,
    })
}

fn things(incus: &IncusConfig, config: &Config) -> Result<Vec<Thing>> {
    let replication = Replication::new(incus, &config.file);
    let server = Server::connect(Role::Source, &incus.source, &replication.credentials, incus.idle_timeout)?;
    let covering = |project: &Project, pool: Option<&str>, name: &str| {
        let names = |incus: &&IncusConfig| {
            let is_here = incus.source == replication.config.source;
            is_here && incus.projects.iter().any(|it| it.name == project.name && select::names(it, pool, name))
        };
        configured(config).find(names).map(|incus| format!("incus.{}", incus.common.name))
    };
    let mut found = Vec::new();
    for project in list_projects(&server)? {
        for instance in list_instances(&server, &project.name)? {
            found.push(Thing {
                name: format!("{}/instance/{}", project.name, instance.name),
                detail: instance_detail(&instance),
                covered_by: covering(&project, None, &instance.name),
            });
        }
        // Those of the default project are named there.
        let volumes = if project.has_own_volumes { list_volumes(&server, &project.name)? } else { Vec::new() };
        for (pool, volume) in volumes {
            found.push(Thing {
                name: format!("{}/volume/{}", project.name, volume.name),
                detail: volume_detail(&pool, &volume),
                covered_by: covering(&project, Some(&pool), &volume.name),
            });
        }
    }
    Ok(found)
}

fn instance_detail(instance: &Instance) -> String {
    let pool = instance.root_pool().map_or_else(String::new, |pool| format!(" on {pool}"));
    format!("{}{pool}, {}", instance.kind, instance.status.to_lowercase())
}

fn volume_detail(pool: &str, volume: &Volume) -> String {
    let name = |path: &String| path.split('?').next()?.rsplit('/').next().map(str::to_owned);
    let users: Vec<String> = volume.used_by.iter().filter_map(name).collect();
    let used = if users.is_empty() { "unused".to_owned() } else { format!("used by {}", users.join(", ")) };
    let size = volume.config.get("size").map_or_else(String::new, |size| format!(", {size}"));
    format!("{} on {pool}{size}, {used}", volume.content_type)
}
