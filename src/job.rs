//! A configured source with its driver: the one `match` that builds drivers.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::{Config, SourceCommon, SourceConfig};
use crate::source::Source;
use crate::source::files::Files;
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
    pub fn new(config: &SourceConfig, own_store: Option<&Path>) -> Result<Self> {
        let source: Box<dyn Source> = match config {
            SourceConfig::Files(files) => Box::new(Files::new(files, own_store)?),
        };
        Ok(Self { id: config.id(), common: config.common().clone(), source })
    }

    /// The job of every configured source, in the order of the file.
    pub fn all(config: &Config) -> Result<Vec<Self>> {
        let own_store = config.store.as_ref().and_then(|store| local_path(&store.repository));
        config.sources.iter().map(|source| Self::new(source, own_store.as_deref())).collect()
    }

    /// The job of the source with this id.
    pub fn find(config: &Config, id: &str) -> Result<Self> {
        let jobs = Self::all(config)?;
        jobs.into_iter().find(|job| job.id == id).with_context(|| format!("no source {id} is configured"))
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("id", &self.id).finish_non_exhaustive()
    }
}
