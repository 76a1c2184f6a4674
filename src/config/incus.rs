//! What is configured of Incus: `[incus.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use super::{NameGlob, SourceCommon};

/// `[incus.NAME]`: instances and custom volumes of one server, copied to another one, into the store, or both.
#[derive(Debug, Clone)]
pub struct IncusConfig {
    /// What every source has.
    pub common: SourceCommon,
    /// Where the server is that is backed up: `https://host:port`, without a slash at its end.
    pub source: String,
    /// Where the server is that has the replicas. `None`: there is none, and [`IncusConfig::export`] is set.
    pub target: Option<String>,
    /// The directory with our key and certificate, and with the certificates of the servers. `None`: `incus` beside the configuration file.
    pub credentials: Option<PathBuf>,
    /// Which server connects to the other one.
    pub mode: CopyMode,
    /// Whether the target keeps what the source keeps, whatever is said of the target.
    pub same_retention: bool,
    /// Whether everything is saved into the store as well.
    pub export: bool,
    /// How long an instance may take to stop before the backup of it fails.
    pub stop_timeout: Duration,
    /// How long an operation of a server may go on without telling of progress before it is cancelled.
    pub idle_timeout: Duration,
    /// What is copied, by project; each project once.
    pub projects: Vec<IncusProject>,
}

/// Which of two servers connects to the other one for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyMode {
    /// The source connects to the target.
    #[default]
    Push,
    /// The target connects to the source.
    Pull,
}

/// `[[incus.NAME.project]]`: what is copied of one project.
#[derive(Debug, Clone)]
pub struct IncusProject {
    /// Its name, on both servers.
    pub name: String,
    /// Which instances.
    pub instances: Vec<IncusInstances>,
    /// Which custom volumes.
    pub volumes: Vec<IncusVolumes>,
    /// What is left out of them: `instance/tmp-*`, `volume/cache`.
    pub exclude: Vec<NameGlob>,
}

/// One of `instances`: an instance, or all that a glob means.
#[derive(Debug, Clone)]
pub struct IncusInstances {
    /// Which.
    pub name: NameGlob,
    /// The pool of the target that the root disk is put on. `None`: the one that is called like the source's.
    pub pool: Option<String>,
    /// Devices that the copy does not get, by name.
    pub exclude_devices: Vec<String>,
    /// Whether it is stopped while its snapshot is made.
    pub stop: bool,
}

/// One of `volumes`: a custom volume, or all that a glob means.
#[derive(Debug, Clone)]
pub struct IncusVolumes {
    /// Which.
    pub name: NameGlob,
    /// The pool it is on, on both servers. `None`: any.
    pub pool: Option<String>,
}

impl IncusVolumes {
    /// Whether it means the volume of this name in this pool.
    pub fn means(&self, pool: &str, name: &str) -> bool {
        self.name.matches(name) && self.pool.as_ref().is_none_or(|wanted| wanted == pool)
    }
}
