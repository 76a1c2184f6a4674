//! Who is told how a run went, as the program uses it: `[notify]` and the tables below it.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// Who is told.
#[derive(Debug, Clone, Default)]
pub struct NotifyConfig {
    /// A healthchecks server.
    pub healthchecks: Option<HealthchecksConfig>,
    /// People, by mail.
    pub mail: Option<MailConfig>,
    /// Prometheus, by a file.
    pub metrics: Option<MetricsConfig>,
    /// Whoever listens to HTTP.
    pub webhooks: Vec<WebhookConfig>,
}

impl NotifyConfig {
    /// Every secret in it.
    pub fn secrets(&self) -> Vec<&Secret> {
        let url = self.healthchecks.iter().map(|healthchecks| &healthchecks.url);
        let mail = self.mail.iter().filter_map(|mail| mail.login.as_ref()).map(|login| &login.password);
        let webhooks = self.webhooks.iter().flat_map(|webhook| std::iter::once(&webhook.url).chain(&webhook.token));
        url.chain(mail).chain(webhooks).collect()
    }
}

/// `[notify.healthchecks]`
#[derive(Debug, Clone)]
pub struct HealthchecksConfig {
    /// The ping URL of the check, without a trailing slash: literal, or read from `url-file`.
    pub url: Secret,
}

/// After which runs somebody is told. A run in which nothing was due is told of only when that is a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// After each that failed, was incomplete, or found something stale.
    #[default]
    Failure,
    /// After each.
    Always,
    /// After each that ended otherwise than the one before.
    Change,
}

/// `[notify.mail]`
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// The server that takes the mail.
    pub server: MailServer,
    /// How to log in there; `None`: it takes mail from everybody who reaches it.
    pub login: Option<MailLogin>,
    /// The authority of the server's certificate, in PEM, besides those that the system knows.
    pub ca_file: Option<PathBuf>,
    /// The sender: `nas@example.org` or `NAS <nas@example.org>`.
    pub from: String,
    /// The recipients, at least one.
    pub to: Vec<String>,
    /// After which runs.
    pub on: When,
    /// How long all tries together may take.
    pub timeout: Duration,
}

/// A server that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Name or address; of IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is known to be the one that was meant.
    pub tls: MailTls,
}

/// When a connection to a mail server becomes one that nobody else can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// At once: `smtps://`.
    Wrapped,
    /// By STARTTLS, before anything is told: `smtp://`. A server that does not offer it is not used.
    Started,
    /// Never: `smtp+plain://`, for a relay on this machine.
    Never,
}

/// Who we are to a mail server.
#[derive(Debug, Clone)]
pub struct MailLogin {
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// `[notify.metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The file that node_exporter's textfile collector reads.
    pub textfile: PathBuf,
}

/// `[[notify.webhook]]`
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// What it is called in messages; unique.
    pub name: String,
    /// Where to.
    pub url: Secret,
    /// What lets us in.
    pub token: Option<Secret>,
    /// What is sent.
    pub body: WebhookBody,
    /// After which runs.
    pub on: When,
    /// How long one try may take.
    pub timeout: Duration,
}

/// What a webhook is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookBody {
    /// The report as text.
    Text,
    /// The run as one JSON document.
    Json,
    /// As ntfy wants it: text, with title, priority and tags in headers.
    Ntfy,
    /// As Gotify wants it: JSON with title, message and priority; the token in a header of its own.
    Gotify,
    /// A text with `{outcome}`, `{summary}`, `{host}`, `{failed}` and `{report}` in it.
    Template {
        /// The text.
        body: String,
        /// What kind of text it is. In JSON the values are escaped as in a JSON string.
        content_type: String,
    },
}
