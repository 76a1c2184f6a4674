//! The configuration as the program uses it.
//!
//! Written form ([`mod@file`]) and used form (here) differ: the first is what serde can read strictly, the second has parsed policies,
//! durations and globs, and can only be made by [`validate`], which finds every problem before anything is done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::retention::Policy;
use crate::secret::Secret;

mod docker;
pub mod edit;
mod file;
mod hooks;
mod incus;
mod ios;
pub mod locate;
mod mirror;
mod notify;
mod problem;
mod strict;
mod validate;

pub use self::docker::{
    ComposeConfig, ContainerDump, DockerConfig, EngineConfig, Hold, HoldConfig, NameGlob, ReadFrom, TlsFiles,
};
pub use self::hooks::{HookSet, HooksConfig};
pub use self::incus::{CopyMode, IncusConfig, IncusInstances, IncusProject, IncusVolumes};
pub use self::ios::{Connect, IosConfig};
pub use self::mirror::MirrorConfig;
pub use self::notify::{
    HealthchecksConfig, MailConfig, MailLogin, MailServer, MailTls, MetricsConfig, NotifyConfig, WebhookBody,
    WebhookConfig, When,
};
pub(crate) use self::problem::nearest;
pub(crate) use self::validate::{check_exclude, check_name};

/// The reference of all keys: every one that it names must be one that is understood.
#[cfg(test)]
const EXAMPLE: &str = include_str!("../config.toml.example");

/// Everything that is configured.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where each run leaves a line; see [`crate::report::file`].
    pub report_file: Option<PathBuf>,
    /// The store, once it is set up.
    pub store: Option<StoreConfig>,
    /// What receives copies of its points, in the order of the file.
    pub mirrors: Vec<MirrorConfig>,
    /// Retention rules in the order of the file.
    pub retention: Vec<RetentionRule>,
    /// Where to tell how it went.
    pub notify: NotifyConfig,
    /// What is run here before and after.
    pub hooks: HooksConfig,
    /// Sources by kind, then name.
    pub sources: Vec<SourceConfig>,
}

impl Config {
    /// A configuration in which nothing is set up yet.
    pub(crate) fn empty(file: &Path) -> Self {
        Self {
            file: file.to_path_buf(),
            report_file: None,
            store: None,
            mirrors: Vec::new(),
            retention: Vec::new(),
            notify: NotifyConfig::default(),
            hooks: HooksConfig::default(),
            sources: Vec::new(),
        }
    }
}

impl Config {
    /// Every secret that is configured.
    pub fn secrets(&self) -> Vec<&Secret> {
        let store =
            self.store.iter().flat_map(|store| std::iter::once(&store.password).chain(store.secret_options.values()));
        let sources = self.sources.iter().flat_map(|source| match source {
            SourceConfig::Ssh(ssh) => ssh.login.passphrase.iter().chain(&ssh.login.password).collect(),
            SourceConfig::Ios(ios) => ios.encryption_password.iter().collect(),
            SourceConfig::Files(_) | SourceConfig::Docker(_) | SourceConfig::Compose(_) | SourceConfig::Incus(_) => {
                Vec::new()
            }
        });
        store.chain(self.notify.secrets()).chain(sources).collect()
    }
}

/// Where points are kept.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// A path, or a URL as restic spells it.
    pub repository: String,
    /// The password.
    pub password: Secret,
    /// Options of the backend: endpoint, region.
    pub options: BTreeMap<String, String>,
    /// Options of the backend that are secret: `secret-access-key-file` in the file is `secret-access-key` here.
    pub secret_options: BTreeMap<String, Secret>,
}

/// One `[[retention]]`: a policy and what it applies to.
#[derive(Debug, Clone)]
pub struct RetentionRule {
    /// The line of the file it stands on, 1-based.
    pub line: usize,
    /// What to keep.
    pub policy: Policy,
    /// Which items.
    pub selects: RetentionSelector,
}

/// The selecting keys of a `[[retention]]`; every one that is given must match.
#[derive(Debug, Clone, Default)]
pub struct RetentionSelector {
    /// Name of a source, or `KIND.NAME`; globs allowed.
    pub source: Option<globset::GlobMatcher>,
    /// Name of a mirror; globs allowed.
    pub mirror: Option<globset::GlobMatcher>,
    /// Incus: `source` or `target`.
    pub role: Option<String>,
    /// Incus: project; globs allowed.
    pub project: Option<globset::GlobMatcher>,
    /// `volume`, `container`, `image`, `stack`, `instance`.
    pub kind: Option<String>,
    /// Name of the thing itself; globs allowed.
    pub name: Option<globset::GlobMatcher>,
}

/// What every source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCommon {
    /// `host` in `[files.host]`.
    pub name: String,
    /// Not due again until its newest point is this old; `None`: at every run.
    pub every: Option<Duration>,
    /// `status` complains beyond this; `None`: never.
    pub max_age: Option<Duration>,
    /// Whether it may turn out empty when it was not before.
    pub allow_empty: bool,
}

/// One configured source.
#[derive(Debug, Clone)]
pub enum SourceConfig {
    /// `[files.NAME]`
    Files(FilesConfig),
    /// `[ssh.NAME]`
    Ssh(Box<SshConfig>),
    /// `[docker.NAME]`
    Docker(Box<DockerConfig>),
    /// `[compose.NAME]`
    Compose(Box<ComposeConfig>),
    /// `[incus.NAME]`
    Incus(Box<IncusConfig>),
    /// `[ios.NAME]`
    Ios(Box<IosConfig>),
}

impl SourceConfig {
    /// What every source has.
    pub fn common(&self) -> &SourceCommon {
        match self {
            Self::Files(files) => &files.common,
            Self::Ssh(ssh) => &ssh.common,
            Self::Docker(docker) => &docker.common,
            Self::Compose(compose) => &compose.common,
            Self::Incus(incus) => &incus.common,
            Self::Ios(ios) => &ios.common,
        }
    }

    /// `files`, `ssh`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Ssh(_) => "ssh",
            Self::Docker(_) => "docker",
            Self::Compose(_) => "compose",
            Self::Incus(_) => "incus",
            Self::Ios(_) => "ios",
        }
    }

    /// `KIND.NAME`
    pub fn id(&self) -> String {
        format!("{}.{}", self.kind(), self.common().name)
    }
}

/// `[files.NAME]`: directories and files of this machine.
#[derive(Debug, Clone)]
pub struct FilesConfig {
    /// What every source has.
    pub common: SourceCommon,
    /// Absolute paths, without `.`, `..` and trailing slashes; at least one.
    pub paths: Vec<PathBuf>,
    /// What is left out below them.
    pub leave_out: LeaveOut,
}

/// `[ssh.NAME]`: directories and files of another machine, pulled over SSH.
#[derive(Debug, Clone)]
pub struct SshConfig {
    /// What every source has.
    pub common: SourceCommon,
    /// Where the machine is, and how to log in.
    pub login: SshLogin,
    /// Whether `sudo -n` is put before what reads and writes files there.
    pub sudo: bool,
    /// Whether a machine that does not answer is away, and not a failure.
    pub optional: bool,
    /// Absolute paths, without `.`, `..` and trailing slashes; at least one, unless there are dumps.
    pub paths: Vec<PathBuf>,
    /// What is left out below them.
    pub leave_out: LeaveOut,
    /// Run there before the backup, as program and arguments; empty: nothing.
    pub before: Vec<String>,
    /// Run there after the backup, whatever happened.
    pub after: Vec<String>,
    /// Commands whose output becomes a file of the snapshot.
    pub dumps: Vec<SshDump>,
}

/// Where a machine is, and how to log in.
#[derive(Debug, Clone)]
pub struct SshLogin {
    /// Name or address.
    pub host: String,
    /// Port of its SSH server.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// What proves that it is this machine.
    pub host_key: SshHostKey,
    /// The private key.
    pub key_file: Option<PathBuf>,
    /// What opens the private key.
    pub passphrase: Option<Secret>,
    /// Whether the agent at `$SSH_AUTH_SOCK` is asked.
    pub agent: bool,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The machine on the way.
    pub jump: Option<SshJump>,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// How long the machine may be silent while something is expected of it.
    pub idle_timeout: Duration,
}

/// A machine through which another one is reached; the key, the agent or the password is the same.
#[derive(Debug, Clone)]
pub struct SshJump {
    /// Whom to log in as.
    pub user: String,
    /// Name or address.
    pub host: String,
    /// Port of its SSH server.
    pub port: u16,
    /// What proves that it is this machine.
    pub host_key: SshHostKey,
}

/// What proves that a machine is the one that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshHostKey {
    /// The SHA-256 of its public key as OpenSSH shows it: `SHA256:` and 43 characters of base64.
    Fingerprint(String),
    /// A file as OpenSSH's `known_hosts`, in which it stands.
    KnownHosts(PathBuf),
}

/// A command on another machine whose standard output is a file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshDump {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The name of the file below `/dumps` in the snapshot: relative, made of plain names.
    pub file: PathBuf,
}

/// What is left out of what was named in `paths`.
#[derive(Debug, Clone, Default)]
pub struct LeaveOut {
    /// Globs as in a `.gitignore` at the root of the file system; checked to compile.
    pub exclude: Vec<String>,
    /// Do not cross into other file systems below each path.
    pub one_file_system: bool,
    /// Leave out the content of directories with a valid `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Leave out files larger than this, in bytes.
    pub exclude_larger_than: Option<u64>,
}

/// Reads and checks the configuration at `file`.
///
/// # Errors
///
/// One error with *every* problem of the file, each with its line, exit code [`crate::error::ExitCode::Usage`].
pub fn load(file: &Path) -> Result<Config> {
    validate::load(file)
}

/// Who is told according to a configuration that [`load`] refuses, as far as it can be made out.
pub fn notify_of_broken(text: &str) -> NotifyConfig {
    validate::of_broken(text)
}
