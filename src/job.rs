//! A configured source with its driver: the one `match` that builds drivers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::config::{Config, SourceCommon, SourceConfig};
use crate::secret::Secret;
use crate::source::Source;
use crate::source::compose::Compose;
use crate::source::docker::Docker;
use crate::source::files::Files;
use crate::source::ssh::Ssh;
use crate::store::local_path;

/// A source that is ready to work.
pub struct Job {
    /// `KIND.NAME`
    pub id: String,
    /// What every source has.
    pub common: SourceCommon,
    /// The driver.
    pub source: Box<dyn Source>,
}

impl Job {
    /// Builds the driver of a configured source.
    fn new(config: &SourceConfig, never: &[PathBuf]) -> Result<Self> {
        let source: Box<dyn Source> = match config {
            SourceConfig::Files(files) => Box::new(Files::new(files, never)?),
            SourceConfig::Ssh(ssh) => Box::new(Ssh::new(ssh)?),
            SourceConfig::Docker(docker) => Box::new(Docker::new(docker, never)),
            SourceConfig::Compose(compose) => Box::new(Compose::new(compose, never)?),
        };
        Ok(Self { id: config.id(), common: config.common().clone(), source })
    }

    /// The job of every configured source, in the order of the file.
    pub fn all(config: &Config) -> Result<Vec<Self>> {
        let never = never_saved(config);
        config.sources.iter().map(|source| Self::new(source, &never)).collect()
    }

    /// The job of the source with this id.
    pub fn find(config: &Config, id: &str) -> Result<Self> {
        let jobs = Self::all(config)?;
        jobs.into_iter().find(|job| job.id == id).with_context(|| format!("no source {id} is configured"))
    }
}

/// What no backup may contain: a store on this machine would grow by itself at every run, and a secret that opens the store
/// protects nothing once it is inside. What opens other machines opens more than the store would.
fn never_saved(config: &Config) -> Vec<PathBuf> {
    let mut never = Vec::new();
    if let Some(store) = &config.store {
        never.extend(local_path(&store.repository));
        let secrets = std::iter::once(&store.password).chain(store.secret_options.values());
        never.extend(secrets.filter_map(Secret::path).map(Path::to_path_buf));
    }
    let ping_url = config.notify.healthchecks.iter().map(|healthchecks| &healthchecks.url);
    never.extend(ping_url.filter_map(Secret::path).map(Path::to_path_buf));
    for source in &config.sources {
        match source {
            SourceConfig::Files(_) => {}
            SourceConfig::Ssh(ssh) => {
                let secrets = ssh.login.passphrase.iter().chain(&ssh.login.password);
                never.extend(secrets.filter_map(Secret::path).map(Path::to_path_buf));
                never.extend(ssh.login.key_file.clone());
            }
            SourceConfig::Docker(docker) => never.extend(docker.engine.tls.as_ref().map(|tls| tls.key.clone())),
            SourceConfig::Compose(compose) => never.extend(compose.engine.tls.as_ref().map(|tls| tls.key.clone())),
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
    }
}
