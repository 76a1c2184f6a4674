//! Incus's REST API, as far as it is needed: requests over TLS with both certificates checked, and operations awaited. The only user of reqwest among the
//! drivers.
//!
//! Facts of the protocol are from `doc/rest-api.md` and `doc/rest-api-spec.md` of Incus, and from what its own client sends.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::credentials::{Credentials, Identity};
use crate::error::{chain, hinted};
use crate::output::printable;

mod download;
mod operation;
mod tls;
mod upload;

pub use operation::Operation;
pub use tls::{OtherCertificate, fingerprint};

use rustls::pki_types::CertificateDer;
use tls::Pin;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to answer a request; what takes longer is an operation.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// No answer is longer than this, in bytes: thousands of instances with all they are made of are a few MiB.
const LONGEST_ANSWER: u64 = 256 << 20;

/// Which of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The one that is backed up.
    Source,
    /// The one with the replicas.
    Target,
}

impl Role {
    /// `source` or `target`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct About {
    /// `trusted` when it knows our certificate.
    #[serde(default)]
    pub auth: String,
    /// What it can do beyond version 1.0 of the API.
    #[serde(default)]
    pub api_extensions: BTreeSet<String>,
    /// The machine; empty when we are not trusted.
    #[serde(default)]
    pub environment: Environment,
}

/// See [`About`].
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Environment {
    /// Its certificate as PEM.
    #[serde(default)]
    pub certificate: String,
    /// Its name.
    #[serde(default)]
    pub server_name: String,
    /// Of Incus.
    #[serde(default)]
    pub server_version: String,
}

/// A connection to a server whose certificate is the pinned one.
#[derive(Clone)]
pub struct Server {
    client: Client,
    pin: Arc<Pin>,
    url: Url,
    role: Role,
    about: About,
    idle_timeout: Duration,
}

/// What a server answers that does not do it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// As in HTTP; of an operation that failed 400.
    pub status: u16,
    /// Incus's own words.
    pub message: String,
}

/// Whether an error is the answer that there is no such thing.
pub fn is_not_found(error: &Error) -> bool {
    refusal(error).is_some_and(|refused| refused.status == 404)
}

/// The answer of the server that is behind an error, if one is.
pub fn refusal(error: &Error) -> Option<&Refused> {
    crate::error::cause::<Refused>(error)
}

/// How every answer of Incus looks.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    metadata: Value,
}

impl Server {
    /// Connects to a server that was onboarded and trusts us.
    ///
    /// # Errors
    ///
    /// When it is away, shows another certificate than the pinned one, or does not know ours.
    pub fn connect(role: Role, url: &str, credentials: &Credentials, idle_timeout: Duration) -> Result<Self> {
        let doing = || format!("connect to the {} {url}", role.word());
        let pinned = credentials.server_certificate(url).with_context(doing)?;
        let identity = credentials.identity().with_context(doing)?;
        let server = Self::open(role, url, &fingerprint(&pinned), identity, idle_timeout).with_context(doing)?;
        if server.about.auth != "trusted" {
            let hint = format!(
                "Its administrator took our certificate back, or it is restricted and has ended. Make a token there with \
                 `incus config trust add holdall`, and run `holdall onboard incus NAME --{}-token-file FILE`.",
                role.word()
            );
            return Err(hinted(anyhow!("the server does not know our certificate any more"), hint)).with_context(doing);
        }
        Ok(server)
    }

    /// Connects to a server that may not trust us yet, but must have the certificate with this fingerprint.
    ///
    /// # Errors
    ///
    /// When it is away, or shows another certificate.
    pub fn open(role: Role, url: &str, fingerprint: &str, identity: Identity, idle_timeout: Duration) -> Result<Self> {
        let pin = Pin::new(fingerprint.to_owned());
        let client = Client::builder()
            .tls_backend_preconfigured(pin.config(identity)?)
            .http1_only()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(None)
            .tcp_keepalive(Duration::from_secs(30))
            .tcp_user_timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let url = Url::parse(url)?;
        let mut server = Self { client, pin, url, role, about: About::default(), idle_timeout };
        server.about = server.get(&[])?;
        Ok(server)
    }

    /// Which of the two it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it is, `https://host:port`, as another server is told.
    pub fn address(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// What it said of itself when it was connected to.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether it can do more than version 1.0 of the API: `custom_volume_refresh_exclude_older_snapshots`.
    pub fn has(&self, extension: &str) -> bool {
        self.about.api_extensions.contains(extension)
    }

    /// The certificate that it has shown, which is the pinned one.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.pin.shown()
    }

    /// How long an operation may go on without telling of progress.
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Begins a request below `/1.0`, whose path is made of these parts; each is escaped.
    pub fn call<'s>(&'s self, method: &'static str, path: &[&str]) -> Call<'s> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("1.0").extend(path);
        }
        Call { server: self, method, url, body: None, timeout: ANSWER_TIMEOUT }
    }

    /// `GET` without parameters.
    pub fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        self.call("GET", path).get()
    }

    /// Why a request got no answer, without the URL, which the context names.
    fn unsent(&self, error: reqwest::Error) -> Error {
        if let Some(other) = self.pin.other() {
            let hint = format!(
                "Somebody is in between, or the server has a new certificate. Compare with what `incus info` prints there as \
                 certificate_fingerprint; if it is {other}, run `holdall onboard incus NAME --{}-token-file FILE --force` with a new token.",
                self.role.word()
            );
            let pinned = self.pin.fingerprint().to_owned();
            return hinted(OtherCertificate { pinned, shown: other }, hint);
        }
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        let error = Error::new(error.without_url());
        let role = self.role.word();
        if is_connect {
            let hint = format!(
                "Is the {role} running, and does it listen there? `incus config get core.https_address` says it."
            );
            return hinted(anyhow!("the {role} does not answer: {}", chain(&error)), hint);
        }
        if is_timeout {
            return anyhow!("the {role} does not answer in time");
        }
        error.context(format!("the {role} broke off"))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("role", &self.role).field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// A request on its way to a server.
#[derive(Debug)]
#[must_use = "nothing is asked before its end"]
pub struct Call<'s> {
    server: &'s Server,
    method: &'static str,
    url: Url,
    body: Option<Value>,
    timeout: Duration,
}

impl<'s> Call<'s> {
    /// In this project.
    pub fn project(self, project: &str) -> Self {
        self.query("project", project)
    }

    /// With this parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// With this document.
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What the server answers at once.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a [`Refused`], or of another form.
    pub fn get<T: DeserializeOwned>(self) -> Result<T> {
        let doing = self.doing();
        let answer = self.send().with_context(|| doing.clone())?;
        serde_json::from_value(answer.metadata).context("the answer is of another form").context(doing)
    }

    /// The same; `None` when there is no such thing.
    pub fn find<T: DeserializeOwned>(self) -> Result<Option<T>> {
        match self.get() {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has it done, and waits when it takes time. Answers what is known of the operation at its end, or of what was done at once.
    ///
    /// # Errors
    ///
    /// When there is no answer, it is refused or fails, or goes on for too long without progress; then it is cancelled.
    pub fn run(self) -> Result<Value> {
        let server = self.server;
        let doing = self.doing();
        let answer = self.send().with_context(|| doing.clone())?;
        match answer.operation.filter(|operation| answer.r#type == "async" && !operation.is_empty()) {
            Some(_) => Operation::of(server, answer.metadata)?.wait(None).context(doing),
            None => Ok(answer.metadata),
        }
    }

    /// Has it begun.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is refused.
    pub fn begin(self) -> Result<Operation> {
        let server = self.server;
        let doing = self.doing();
        let answer = self.send().with_context(|| doing.clone())?;
        Operation::of(server, answer.metadata).context(doing)
    }

    fn send(self) -> Result<Answer> {
        let server = self.server;
        self.request()?.send().map_err(|error| server.unsent(error)).and_then(answer)
    }

    fn request(&self) -> Result<RequestBuilder> {
        tracing::debug!("{} {}", self.method, self.place());
        let method = Method::from_bytes(self.method.as_bytes())?;
        let mut request = self.server.client.request(method, self.url.clone()).timeout(self.timeout);
        if let Some(body) = &self.body {
            request = request.header("Content-Type", "application/json").body(serde_json::to_vec(body)?);
        }
        Ok(request)
    }

    /// The request as a context: `GET /1.0/instances on the source`.
    fn doing(&self) -> String {
        format!("{} {} on the {}", self.method, self.url.path(), self.server.role.word())
    }

    /// The request as the log has it.
    fn place(&self) -> String {
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query} on the {}", self.url.path(), self.server.role.word())
    }
}

fn refused(status: u16, message: &str) -> Refused {
    let message = match message.trim() {
        "" => format!("it answers {status}, and does not say why"),
        message => printable(message.as_ref()),
    };
    Refused { status, message }
}

/// What a response says.
fn answer(response: Response) -> Result<Answer> {
    let status = response.status();
    let answer = read(response);
    let Ok(answer) = answer else {
        // A proxy in between answers in its own way.
        if !status.is_success() {
            return Err(unexpected(status).into());
        }
        return answer;
    };
    if answer.r#type == "error" || !status.is_success() {
        let status = if answer.error_code == 0 { status.as_u16() } else { answer.error_code };
        return Err(refused(status, &answer.error).into());
    }
    Ok(answer)
}

fn read(response: Response) -> Result<Answer> {
    let mut bytes = Vec::new();
    response.take(LONGEST_ANSWER + 1).read_to_end(&mut bytes).context("the answer broke off")?;
    if bytes.len() as u64 > LONGEST_ANSWER {
        bail!("the answer is longer than {} MiB", LONGEST_ANSWER >> 20);
    }
    serde_json::from_slice(&bytes).context("the answer is not what an Incus server says")
}

/// What a status of HTTP means that stands where no answer of Incus does.
fn unexpected(status: StatusCode) -> Refused {
    Refused { status: status.as_u16(), message: format!("it answers {status}") }
}
