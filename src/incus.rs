//! Incus: instances and custom volumes of a source server, copied to a target server with their snapshots. Server to server: nothing goes through this machine,
//! and so it is a [`Replication`] and not a [`crate::source::Source`].

use std::path::Path;

use anyhow::Result;

use crate::config::IncusConfig;

mod abreast;
mod adapt;
pub mod api;
pub mod certificate;
pub mod check;
pub mod copy;
pub mod credentials;
pub mod discover;
pub mod export;
mod hold;
pub mod import_iab;
mod leftover;
pub mod mark;
pub mod model;
pub mod onboarding;
mod replica;
mod reseed;
pub mod restore;
pub mod run;
pub mod select;
mod snapshot;
mod target;
pub mod temporary;
pub mod timeline;
pub mod token;

use api::{Role, Server};
use credentials::Credentials;
use select::Selected;
pub use timeline::snapshot_time;

/// What snapshots of ours are called: this and the time, `IAB_20260205-115900`, UTC. Those of IncusAutobackup are taken for ours.
pub const PREFIX: &str = "IAB_";

/// One `[incus.NAME]`.
#[derive(Debug, Clone)]
pub struct Replication {
    /// `incus.lab`
    pub id: String,
    /// What is configured.
    pub config: IncusConfig,
    /// What opens the servers.
    pub credentials: Credentials,
}

/// Both servers of a replication.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The one that is backed up.
    pub source: Server,
    /// The one with the replicas, when there is one.
    pub target: Option<Server>,
}

impl Replication {
    /// What is configured in `file`.
    pub fn new(config: &IncusConfig, file: &Path) -> Self {
        let beside = || file.parent().unwrap_or(Path::new("/")).join("incus");
        let directory = config.credentials.clone().unwrap_or_else(beside);
        Self {
            id: format!("incus.{}", config.common.name),
            config: config.clone(),
            credentials: Credentials::new(directory),
        }
    }

    /// Connects to one of the servers; `None` when there is no target.
    pub fn server(&self, role: Role) -> Result<Option<Server>> {
        let url = match role {
            Role::Source => Some(&self.config.source),
            Role::Target => self.config.target.as_ref(),
        };
        url.map(|url| Server::connect(role, url, &self.credentials, self.config.idle_timeout)).transpose()
    }

    /// Connects to both servers.
    ///
    /// # Errors
    ///
    /// When one is away, is not the one that was pinned, or does not trust us.
    pub fn connect(&self) -> Result<Servers> {
        let source = Server::connect(Role::Source, &self.config.source, &self.credentials, self.config.idle_timeout)?;
        Ok(Servers { source, target: self.server(Role::Target)? })
    }

    /// What there is to back up right now.
    pub fn items(&self, source: &Server) -> Result<Vec<Selected>> {
        select::selected(source, &self.id, &self.config)
    }
}
