//! What is configured of container engines: `[docker.NAME]` and `[compose.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use globset::GlobMatcher;

use super::SourceCommon;

/// `[docker.NAME]`: volumes, containers and images of one engine.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// What every source has.
    pub common: SourceCommon,
    /// Where the engine is.
    pub engine: EngineConfig,
    /// Which volumes are items of their own.
    pub volumes: Vec<NameGlob>,
    /// Which containers.
    pub containers: Vec<NameGlob>,
    /// Which images, as `REPOSITORY:TAG`.
    pub images: Vec<NameGlob>,
    /// What is left out of the three: `volume/cache_*`, `container/tmp`, `image/*:dev`.
    pub exclude: Vec<NameGlob>,
    /// What is done to whoever uses what is read.
    pub hold: HoldConfig,
    /// How volumes are read.
    pub read: ReadFrom,
    /// Commands whose output becomes a file of a container's snapshot.
    pub dumps: Vec<ContainerDump>,
}

/// `[compose.NAME]`: the Compose stacks of one engine.
#[derive(Debug, Clone)]
pub struct ComposeConfig {
    /// What every source has.
    pub common: SourceCommon,
    /// Where the engine is.
    pub engine: EngineConfig,
    /// Below it every directory with a compose file is a stack. `None`: only projects that the engine knows.
    pub directory: Option<PathBuf>,
    /// Which stacks.
    pub stacks: Vec<NameGlob>,
    /// What is left out of the stacks' directories: globs as in a `.gitignore` at `directory`.
    pub exclude: Vec<String>,
    /// Whether the content of named volumes is saved, and not only what the stack is made of.
    pub include_data: bool,
    /// What is done to the containers of a stack while it is read.
    pub hold: HoldConfig,
    /// Stacks that are never held; read live.
    pub keep_running: Vec<NameGlob>,
    /// How volumes are read.
    pub read: ReadFrom,
    /// Commands whose output becomes a file of a stack's snapshot: of a container, which is `STACK/SERVICE` here.
    pub dumps: Vec<ContainerDump>,
}

/// Where an engine is, and how it proves that it is the one that was meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineConfig {
    /// `unix:///path`, `tcp://host:port`; `None`: `$DOCKER_HOST`, or the first socket that is there.
    pub host: Option<String>,
    /// What is needed for TLS; only with `tcp://`.
    pub tls: Option<TlsFiles>,
}

/// The files for TLS with an engine, as `dockerd --tlsverify` wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that has signed the engine's certificate.
    pub ca: PathBuf,
    /// Our own certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A name or a glob of names, where `*` matches any character.
#[derive(Debug, Clone)]
pub struct NameGlob {
    /// As it was written.
    pub text: String,
    /// `None` for a name without wildcards, which must be there.
    pub glob: Option<GlobMatcher>,
}

impl NameGlob {
    /// Whether it means this name.
    pub fn matches(&self, name: &str) -> bool {
        self.glob.as_ref().map_or(self.text == name, |glob| glob.is_match(name))
    }
}

/// What is done to running containers while what they write to is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Hold {
    /// Nothing: as if the power had failed.
    #[default]
    None,
    /// They are frozen: all at one moment, but as if the power had failed.
    Pause,
    /// They are stopped, in the order of what depends on what, and started again.
    Stop,
}

/// How containers are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldConfig {
    /// What is done to those whose labels say nothing.
    pub hold: Hold,
    /// How long one may take to stop before it is killed; `None`: as it is configured itself, else the engine's 10 s.
    pub stop_timeout: Option<Duration>,
    /// How long one may take to become healthy after it was started, when another one depends on it.
    pub start_timeout: Duration,
    /// Whether `docker-volume-backup.stop-during-backup` counts as `holdall.hold=stop`.
    pub honors_offen: bool,
}

/// How the content of a volume is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadFrom {
    /// From its mountpoint when the engine is this machine's and it can be read, else through the engine.
    #[default]
    Auto,
    /// From its mountpoint.
    Direct,
    /// As an archive that the engine makes.
    Api,
}

/// A command in a container whose standard output is a file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDump {
    /// The name of the container; of a stack `STACK/SERVICE`.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whom to run it as; `None`: whom the container runs as.
    pub user: Option<String>,
    /// The name of the file below `/dumps` in the snapshot: relative, made of plain names.
    pub file: PathBuf,
}
