//! The configuration as it is written: what serde reads, strictly.
//!
//! One table per kind, keyed by name. Every key is optional here, so that a missing one is reported by
//! [`super::validate`] together with everything else; every value keeps its place in the text. No `flatten` and no tagged
//! enums: both accept unknown keys or lose places. A new kind is one struct and one field of [`File`].

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

mod hooks;
mod notify;

pub(super) use self::hooks::HooksTable;
pub(super) use self::notify::{HealthchecksTable, MailTable, MetricsTable, NotifyTable, WebhookTable};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct File {
    pub report_file: Option<Spanned<String>>,
    pub store: Option<Spanned<StoreTable>>,
    pub mirror: Vec<Spanned<MirrorTable>>,
    pub notify: NotifyTable,
    pub hooks: Option<Spanned<HooksTable>>,
    pub retention: Vec<Spanned<RetentionTable>>,
    pub files: BTreeMap<Spanned<String>, FilesTable>,
    pub ssh: BTreeMap<Spanned<String>, SshTable>,
    pub docker: BTreeMap<Spanned<String>, DockerTable>,
    pub compose: BTreeMap<Spanned<String>, ComposeTable>,
    pub incus: BTreeMap<Spanned<String>, IncusTable>,
    pub ios: BTreeMap<Spanned<String>, IosTable>,
}

/// `[store]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct StoreTable {
    pub repository: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub password_command: Option<Spanned<Vec<String>>>,
    pub options: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
}

/// `[[mirror]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct MirrorTable {
    pub name: Option<Spanned<String>>,
    pub repository: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub password_command: Option<Spanned<Vec<String>>>,
    pub options: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    pub items: Vec<Spanned<String>>,
}

/// `[[retention]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct RetentionTable {
    pub policy: Option<Spanned<String>>,
    pub source: Option<Spanned<String>>,
    pub mirror: Option<Spanned<String>>,
    pub role: Option<Spanned<String>>,
    pub project: Option<Spanned<String>>,
    pub kind: Option<Spanned<String>>,
    pub name: Option<Spanned<String>>,
}

/// `[files.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct FilesTable {
    pub paths: Option<Spanned<Vec<Spanned<String>>>>,
    pub exclude: Vec<Spanned<String>>,
    pub one_file_system: bool,
    pub exclude_caches: bool,
    pub exclude_larger_than: Option<Spanned<String>>,
    pub every: Option<Spanned<String>>,
    pub max_age: Option<Spanned<String>>,
    pub allow_empty: bool,
    pub hooks: Option<Spanned<HooksTable>>,
}

/// `[ssh.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct SshTable {
    pub host: Option<Spanned<String>>,
    pub port: Option<Spanned<i64>>,
    pub user: Option<Spanned<String>>,
    pub host_key: Option<Spanned<String>>,
    pub known_hosts: Option<Spanned<String>>,
    pub key_file: Option<Spanned<String>>,
    pub passphrase_file: Option<Spanned<String>>,
    pub passphrase_command: Option<Spanned<Vec<String>>>,
    pub agent: bool,
    pub password_file: Option<Spanned<String>>,
    pub password_command: Option<Spanned<Vec<String>>>,
    pub jump: Option<Spanned<String>>,
    pub jump_host_key: Option<Spanned<String>>,
    pub connect_timeout: Option<Spanned<String>>,
    pub idle_timeout: Option<Spanned<String>>,
    pub sudo: bool,
    pub optional: bool,
    pub before: Option<Spanned<Vec<String>>>,
    pub after: Option<Spanned<Vec<String>>>,
    pub dump: Vec<Spanned<SshDumpTable>>,
    pub paths: Option<Spanned<Vec<Spanned<String>>>>,
    pub exclude: Vec<Spanned<String>>,
    pub one_file_system: bool,
    pub exclude_caches: bool,
    pub exclude_larger_than: Option<Spanned<String>>,
    pub every: Option<Spanned<String>>,
    pub max_age: Option<Spanned<String>>,
    pub allow_empty: bool,
    pub hooks: Option<Spanned<HooksTable>>,
}

/// `[[ssh.NAME.dump]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct SshDumpTable {
    pub command: Option<Spanned<Vec<String>>>,
    pub file: Option<Spanned<String>>,
}

/// `[docker.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct DockerTable {
    pub host: Option<Spanned<String>>,
    pub tls: Option<bool>,
    pub tls_ca: Option<Spanned<String>>,
    pub tls_cert: Option<Spanned<String>>,
    pub tls_key: Option<Spanned<String>>,
    pub volumes: Vec<Spanned<String>>,
    pub containers: Vec<Spanned<String>>,
    pub images: Vec<Spanned<String>>,
    pub exclude: Vec<Spanned<String>>,
    pub hold: Option<Spanned<String>>,
    pub stop_timeout: Option<Spanned<String>>,
    pub start_timeout: Option<Spanned<String>>,
    pub honor_offen_labels: bool,
    pub read: Option<Spanned<String>>,
    pub dump: Vec<Spanned<DockerDumpTable>>,
    pub every: Option<Spanned<String>>,
    pub max_age: Option<Spanned<String>>,
    pub allow_empty: bool,
    pub hooks: Option<Spanned<HooksTable>>,
}

/// `[[docker.NAME.dump]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct DockerDumpTable {
    pub container: Option<Spanned<String>>,
    pub command: Option<Spanned<Vec<String>>>,
    pub user: Option<Spanned<String>>,
    pub file: Option<Spanned<String>>,
}

/// `[compose.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct ComposeTable {
    pub host: Option<Spanned<String>>,
    pub tls: Option<bool>,
    pub tls_ca: Option<Spanned<String>>,
    pub tls_cert: Option<Spanned<String>>,
    pub tls_key: Option<Spanned<String>>,
    pub directory: Option<Spanned<String>>,
    pub stacks: Option<Spanned<Vec<Spanned<String>>>>,
    pub exclude: Vec<Spanned<String>>,
    pub include_data: Option<bool>,
    pub hold: Option<Spanned<String>>,
    pub keep_running: Vec<Spanned<String>>,
    pub stop_timeout: Option<Spanned<String>>,
    pub start_timeout: Option<Spanned<String>>,
    pub honor_offen_labels: bool,
    pub read: Option<Spanned<String>>,
    pub dump: Vec<Spanned<ComposeDumpTable>>,
    pub every: Option<Spanned<String>>,
    pub max_age: Option<Spanned<String>>,
    pub allow_empty: bool,
    pub hooks: Option<Spanned<HooksTable>>,
}

/// `[[compose.NAME.dump]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct ComposeDumpTable {
    pub stack: Option<Spanned<String>>,
    pub service: Option<Spanned<String>>,
    pub command: Option<Spanned<Vec<String>>>,
    pub user: Option<Spanned<String>>,
    pub file: Option<Spanned<String>>,
}

/// `[incus.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct IncusTable {
    pub source: Option<Spanned<String>>,
    pub target: Option<Spanned<String>>,
    pub credentials: Option<Spanned<String>>,
    pub mode: Option<Spanned<String>>,
    pub same_retention: bool,
    pub export: bool,
    pub stop_timeout: Option<Spanned<String>>,
    pub idle_timeout: Option<Spanned<String>>,
    pub project: Vec<Spanned<IncusProjectTable>>,
    pub every: Option<Spanned<String>>,
    pub max_age: Option<Spanned<String>>,
    pub hooks: Option<Spanned<HooksTable>>,
}

/// `[[incus.NAME.project]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct IncusProjectTable {
    pub name: Option<Spanned<String>>,
    pub instances: Vec<Spanned<IncusInstancesTable>>,
    pub volumes: Vec<Spanned<IncusVolumesTable>>,
    pub exclude: Vec<Spanned<String>>,
}

/// One of `instances`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct IncusInstancesTable {
    pub name: Option<Spanned<String>>,
    pub pool: Option<Spanned<String>>,
    pub exclude_devices: Vec<Spanned<String>>,
    pub stop: bool,
}

/// One of `volumes`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct IncusVolumesTable {
    pub name: Option<Spanned<String>>,
    pub pool: Option<Spanned<String>>,
}

/// `[ios.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct IosTable {
    pub udid: Option<Spanned<String>>,
    pub connect: Option<Spanned<String>>,
    pub address: Option<Spanned<String>>,
    pub credentials: Option<Spanned<String>>,
    pub encryption_password_file: Option<Spanned<String>>,
    pub encryption_password_command: Option<Spanned<Vec<String>>>,
    pub staging: Option<Spanned<String>>,
    pub idle_timeout: Option<Spanned<String>>,
    pub every: Option<Spanned<String>>,
    pub max_age: Option<Spanned<String>>,
    pub allow_empty: bool,
    pub hooks: Option<Spanned<HooksTable>>,
}
