//! The store: one restic-format repository, and everything that is done with it.
//!
//! This module and those below it are the only users of rustic_core and rustic_backend. Nothing is added to restic's format;
//! what a snapshot of ours looks like is fixed in [`points`]. Whoever writes holds the store first ([`Store::hold`]); runs of holdall on one machine are kept apart by the
//! caller ([`crate::lock`]).

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use rustic_core::repofile::{ConfigFile, MasterKey};
use rustic_core::{
    ConfigOptions, Credentials, FileType, Id, IndexedFullStatus, KeyOptions, OpenStatus, ReadBackend, Repository,
    RepositoryBackends, RepositoryOptions, WriteBackend,
};

use crate::config::{MirrorConfig, StoreConfig, locate};
use crate::error::{Annotate, ExitCode};
use crate::monitor::Monitor;
use crate::timeline::{Place, Point};

mod ahead;
mod cache;
pub mod copy;
pub mod format;
mod gate;
mod ingest;
mod key;
mod local;
mod location;
pub mod locks;
pub mod node;
pub mod points;
mod progress;
pub mod save;
pub mod saved;
mod seal;
mod sftp;
mod trouble;
pub mod upkeep;
pub mod view;

pub use ahead::Ahead;
use gate::Gate;
use ingest::Engine;
pub use location::local_path;
use locks::{Lease, Where};
use progress::Bars;
pub use rustic_core::repofile::{Metadata, Node, NodeType};
pub use save::SaveOptions;
pub use saved::{SavedNode, SavedTree};
use trouble::{explain, is_missing};

/// An open repository.
///
/// rustic_core's `Repository` changes its type as its index is loaded and cannot be cloned; so the store keeps what it takes to
/// open one (the backend, the key) and opens a fresh one for each piece of work. That costs one read of the config file.
pub struct Store {
    repository: String,
    /// Where its points are: in the store, or in a mirror.
    place: Place,
    gate: Arc<Gate>,
    locks: Where,
    lease: Arc<Lease>,
    key: MasterKey,
    options: RepositoryOptions,
    /// Where the cache of this repository is, if there is one.
    cache: Option<PathBuf>,
    bars: Bars,
    /// What the saves of this run share.
    engine: Mutex<Option<Engine>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the repository.
    ///
    /// # Errors
    ///
    /// Exit code 10 when there is no repository, 12 when the password does not open it, 1 when it cannot be reached.
    pub fn open(config: &StoreConfig, monitor: Arc<dyn Monitor>) -> Result<Self> {
        Self::open_at(config, Place::Store, monitor)
    }

    /// Opens the repository of a mirror.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_mirror(mirror: &MirrorConfig, monitor: Arc<dyn Monitor>) -> Result<Self> {
        Self::open_at(&mirror.store, Place::Mirror(mirror.name), monitor)
    }

    fn open_at(config: &StoreConfig, place: Place, monitor: Arc<dyn Monitor>) -> Result<Self> {
        let unopened = Unopened::new(config, place, monitor)?;
        let repository = &config.repository;
        if !unopened.exists()? {
            let command = match place {
                Place::Mirror(name) => format!("holdall onboard store --mirror {name}"),
                _ => "holdall onboard store".to_owned(),
            };
            return Err(anyhow!("there is no repository at {repository}"))
                .hint(format!("Set it up with `{command}`, or correct `repository` in the configuration."))
                .exit(ExitCode::NoStore);
        }
        let password = config.password.read()?;
        let opened = unopened.repository()?.open(&Credentials::password(&*password));
        match opened {
            Ok(opened) => Ok(unopened.into_store(&opened)),
            Err(error) if error.is_incorrect_password() => {
                Err(anyhow!("the repository at {repository} does not open with this password"))
                    .hint(format!("Check {}: it must hold the password the store was made with.", config.password))
                    .exit(ExitCode::WrongPassword)
            }
            Err(error) => Err(explain(*error)).with_context(|| format!("open the repository at {repository}")),
        }
    }

    /// Whether there is a repository at the configured place.
    ///
    /// # Errors
    ///
    /// When the place cannot be reached.
    pub fn exists(config: &StoreConfig, monitor: Arc<dyn Monitor>) -> Result<bool> {
        Unopened::new(config, Place::Store, monitor)?.exists()
    }

    /// Makes a new repository of format version 2.
    ///
    /// # Errors
    ///
    /// When there is one already, or the place cannot be written.
    pub fn init(config: &StoreConfig, monitor: Arc<dyn Monitor>) -> Result<Self> {
        Self::init_at(config, Place::Store, None, monitor)
    }

    /// Makes the repository of a mirror, in which files are cut as in this one: what is saved into both of them by others has the same pieces.
    ///
    /// # Errors
    ///
    /// As [`Store::init`].
    pub fn init_mirror(&self, mirror: &MirrorConfig, monitor: Arc<dyn Monitor>) -> Result<Self> {
        let polynomial = self.opened()?.config().chunker_polynomial.clone();
        Self::init_at(&mirror.store, Place::Mirror(mirror.name), Some(polynomial), monitor)
    }

    fn init_at(
        config: &StoreConfig,
        place: Place,
        polynomial: Option<String>,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self> {
        let unopened = Unopened::new(config, place, monitor)?;
        let repository = &config.repository;
        if unopened.exists()? {
            return Err(anyhow!("there is a repository at {repository} already"));
        }
        let password = config.password.read()?;
        let made =
            unopened.make(&password, polynomial).with_context(|| format!("make a repository at {repository}"))?;
        Ok(unopened.into_store(&made))
    }

    /// Where the store is, as configured.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Where its points are.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The saved tree of a point, for reading.
    pub fn tree(&self, point: &Point) -> Result<SavedTree> {
        self.trust_cached_trees();
        SavedTree::load(self.indexed()?, point.clone())
    }

    /// Sees to it that trees in the cache are right, before work that would end at one that is not; a backup reads more files
    /// in its place.
    fn trust_cached_trees(&self) {
        if let Some(cache) = &self.cache {
            cache::drop_damaged(cache, &[FileType::Pack]);
        }
    }

    fn opened(&self) -> Result<Repository<OpenStatus>> {
        self.opened_with(&self.options)
    }

    fn opened_with(&self, options: &RepositoryOptions) -> Result<Repository<OpenStatus>> {
        repository(&self.gate, options, &self.bars)?
            .open(&Credentials::Masterkey(self.key.clone()))
            .map_err(|error| explain(*error))
            .with_context(|| format!("open the repository at {}", self.repository))
    }

    fn indexed(&self) -> Result<Repository<IndexedFullStatus>> {
        self.opened()?.to_indexed().map_err(|error| explain(*error)).context("read the index of the repository")
    }
}

/// A place where a repository is or will be, before a password is known.
struct Unopened {
    repository: String,
    place: Place,
    gate: Arc<Gate>,
    locks: Where,
    lease: Arc<Lease>,
    options: RepositoryOptions,
    bars: Bars,
}

impl Unopened {
    fn new(config: &StoreConfig, place: Place, monitor: Arc<dyn Monitor>) -> Result<Self> {
        let (backend, locks) =
            location::backend(config).with_context(|| format!("reach the repository at {}", config.repository))?;
        let lease = Arc::<Lease>::default();
        let patience = if local_path(&config.repository).is_some() { None } else { Some(gate::PATIENCE) };
        let gate = Arc::new(Gate::new(backend, Arc::clone(&lease), patience));
        // The cache is disposable, and a unit without $HOME must work: no directory, no cache.
        let cache = locate::cache_dir();
        let mut options = RepositoryOptions::default().no_cache(cache.is_none());
        options.cache_dir = cache;
        let (repository, bars) = (config.repository.clone(), Bars::new(monitor));
        Ok(Self { repository, place, gate, locks, lease, options, bars })
    }

    fn repository(&self) -> Result<Repository<()>> {
        repository(&self.gate, &self.options, &self.bars)
    }

    fn exists(&self) -> Result<bool> {
        // Not asked by listing: a REST server that refuses the login and a bucket that is not there would look like a place
        // without a repository, in which one could be made.
        match self.gate.read_full(FileType::Config, &Id::default()) {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(explain(*error)).with_context(|| format!("reach the repository at {}", self.repository)),
        }
    }

    /// Makes a repository, with this polynomial or a random one. Its config file comes last: until then there is none.
    fn make(&self, password: &str, polynomial: Option<String>) -> Result<Repository<OpenStatus>> {
        let master = MasterKey::new();
        self.gate.create().map_err(|error| explain(*error))?;
        key::write(&*self.gate, &master, password)?;
        let mut options = ConfigOptions::default();
        // As restic's own. rustic's 32 MiB would double what a backup takes of memory, for a few packs being filled and sent.
        options.set_datapack_size = "16 MiB".parse().ok();
        let credentials = Credentials::Masterkey(master);
        let key = KeyOptions::default();
        let made = match polynomial {
            None => self.repository()?.init(&credentials, &key, &options),
            Some(chunker_polynomial) => {
                let mut config = ConfigFile::new(2, Id::random().into(), 0);
                config.chunker_polynomial = chunker_polynomial;
                options.apply(&mut config).map_err(|error| explain(*error))?;
                self.repository()?.init_with_config(&credentials, &key, config)
            }
        };
        made.map_err(|error| explain(*error))
    }

    fn into_store(self, opened: &Repository<OpenStatus>) -> Store {
        let cache =
            self.options.cache_dir.as_ref().map(|directory| directory.join(opened.config().id.to_hex().as_str()));
        if let Some(cache) = &cache {
            cache::drop_damaged(cache, &[FileType::Index, FileType::Snapshot]);
        }
        let Self { repository, place, gate, locks, lease, options, bars } = self;
        let (key, engine) = (opened.key(), Mutex::default());
        Store { repository, place, gate, locks, lease, key, options, cache, bars, engine }
    }
}

fn repository(gate: &Arc<Gate>, options: &RepositoryOptions, bars: &Bars) -> Result<Repository<()>> {
    let backends = RepositoryBackends::new(gate.clone(), None);
    Repository::new_with_progress(options, &backends, bars.clone()).map_err(|error| explain(*error))
}
