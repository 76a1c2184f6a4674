//! A configured source with its driver: the one `match` that builds drivers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::config::{Config, SourceCommon, SourceConfig};
use crate::error::Annotate;
use crate::incus::Replication;
use crate::secret::Secret;
use crate::source::Source;
use crate::source::compose::Compose;
use crate::source::docker::Docker;
use crate::source::files::Files;
use crate::source::ios::Ios;
use crate::source::ssh::Ssh;
use crate::store::local_path;

/// A source that is ready to work.
pub struct Job {
    /// `KIND.NAME`
    pub id: String,
    /// What every source has.
    pub common: SourceCommon,
    /// The driver.
    pub driver: Driver,
}

/// What does the work.
pub enum Driver {
    /// It is read as trees of files.
    Source(Box<dyn Source>),
    /// One server copies it to another one.
    Replication(Box<Replication>),
}

impl Job {
    /// Builds the driver of a configured source.
    fn new(config: &SourceConfig, file: &Path, never: &[PathBuf]) -> Result<Self> {
        let driver = match config {
            SourceConfig::Files(files) => Driver::Source(Box::new(Files::new(files, never)?)),
            SourceConfig::Ssh(ssh) => Driver::Source(Box::new(Ssh::new(ssh)?)),
            SourceConfig::Docker(docker) => Driver::Source(Box::new(Docker::new(docker, never))),
            SourceConfig::Compose(compose) => Driver::Source(Box::new(Compose::new(compose, never)?)),
            SourceConfig::Ios(ios) => Driver::Source(Box::new(Ios::new(ios, file))),
            SourceConfig::Incus(incus) => Driver::Replication(Box::new(Replication::new(incus, file))),
        };
        Ok(Self { id: config.id(), common: config.common().clone(), driver })
    }

    /// The job of every configured source, in the order of the file.
    pub fn all(config: &Config) -> Result<Vec<Self>> {
        let never = never_saved(config);
        config.sources.iter().map(|source| Self::new(source, &config.file, &never)).collect()
    }

    /// The job of the source with this id.
    pub fn find(config: &Config, id: &str) -> Result<Self> {
        let jobs = Self::all(config)?;
        jobs.into_iter().find(|job| job.id == id).with_context(|| format!("no source {id} is configured"))
    }

    /// Whether a backup writes to the store.
    pub fn needs_store(&self) -> bool {
        match &self.driver {
            Driver::Source(_) => true,
            Driver::Replication(replication) => replication.config.export,
        }
    }

    /// The driver as a source of files.
    ///
    /// # Errors
    ///
    /// When it is a replication, which has none.
    pub fn source(&self) -> Result<&dyn Source> {
        match &self.driver {
            Driver::Source(source) => Ok(&**source),
            Driver::Replication(_) => {
                Err(anyhow!("{} has no files that can be looked at or written one by one", self.id))
                    .hint("An instance or a volume comes back whole: doc/sources/incus.md says how.")
                    .exit(crate::error::ExitCode::Usage)
            }
        }
    }
}

/// What no backup may contain: a store on this machine would grow by itself at every run, and a secret that opens the store
/// protects nothing once it is inside. What opens other machines opens more than the store would.
fn never_saved(config: &Config) -> Vec<PathBuf> {
    let mut never: Vec<PathBuf> = Vec::new();
    never.extend(config.store.as_ref().and_then(|store| local_path(&store.repository)));
    never.extend(config.secrets().into_iter().filter_map(Secret::path).map(Path::to_path_buf));
    for source in &config.sources {
        match source {
            SourceConfig::Files(_) => {}
            SourceConfig::Ssh(ssh) => never.extend(ssh.login.key_file.clone()),
            SourceConfig::Docker(docker) => never.extend(docker.engine.tls.as_ref().map(|tls| tls.key.clone())),
            SourceConfig::Compose(compose) => never.extend(compose.engine.tls.as_ref().map(|tls| tls.key.clone())),
            SourceConfig::Ios(ios) => never.push(Ios::new(ios, &config.file).credentials().to_path_buf()),
            SourceConfig::Incus(incus) => {
                never.push(Replication::new(incus, &config.file).credentials.identity_files().1)
            }
        }
    }
    never
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn no_backup_contains_what_opens_other_machines() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/valid/ssh.toml");
        let never = never_saved(&config::load(&sample).unwrap());
        assert_eq!(never, ["/etc/holdall/ssh/passphrase", "/etc/holdall/ssh/id_ed25519"].map(PathBuf::from));
        let sample = sample.with_file_name("engines.toml");
        let never = never_saved(&config::load(&sample).unwrap());
        assert_eq!(never, ["/etc/holdall/docker/key.pem"].map(PathBuf::from));
        let sample = sample.with_file_name("incus.toml");
        let never = never_saved(&config::load(&sample).unwrap());
        let beside = sample.with_file_name("incus/client.key");
        assert_eq!(never, [beside, PathBuf::from("/etc/holdall/old/client.key")]);
        let sample = sample.with_file_name("ios.toml");
        let never = never_saved(&config::load(&sample).unwrap());
        let pairings = PathBuf::from("/etc/holdall/pairings");
        assert_eq!(never, [PathBuf::from("/etc/holdall/phone.password"), sample.with_file_name("ios"), pairings]);
    }
}
