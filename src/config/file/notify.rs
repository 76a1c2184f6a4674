//! `[notify]` and the tables below it, as they are written.

use serde::Deserialize;
use toml::Spanned;

/// `[notify]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::config) struct NotifyTable {
    pub healthchecks: Option<Spanned<HealthchecksTable>>,
    pub mail: Option<Spanned<MailTable>>,
    pub metrics: Option<Spanned<MetricsTable>>,
    pub webhook: Vec<Spanned<WebhookTable>>,
}

/// `[notify.healthchecks]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::config) struct HealthchecksTable {
    pub url: Option<Spanned<String>>,
    pub url_file: Option<Spanned<String>>,
}

/// `[notify.mail]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::config) struct MailTable {
    pub server: Option<Spanned<String>>,
    pub user: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub password_command: Option<Spanned<Vec<String>>>,
    pub ca_file: Option<Spanned<String>>,
    pub from: Option<Spanned<String>>,
    pub to: Option<Spanned<Vec<Spanned<String>>>>,
    pub on: Option<Spanned<String>>,
    pub timeout: Option<Spanned<String>>,
}

/// `[notify.metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::config) struct MetricsTable {
    pub textfile: Option<Spanned<String>>,
}

/// `[[notify.webhook]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::config) struct WebhookTable {
    pub name: Option<Spanned<String>>,
    pub url: Option<Spanned<String>>,
    pub url_file: Option<Spanned<String>>,
    pub token_file: Option<Spanned<String>>,
    pub token_command: Option<Spanned<Vec<String>>>,
    pub format: Option<Spanned<String>>,
    pub body: Option<Spanned<String>>,
    pub content_type: Option<Spanned<String>>,
    pub on: Option<Spanned<String>>,
    pub timeout: Option<Spanned<String>>,
}
