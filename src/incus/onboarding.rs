//! Makes ourselves known to a server: the pin comes from the token, and the server's word that it trusts us is the end.
//!
//! Nothing is sent to a server whose certificate is not the one that the token names, and the certificate is pinned only after the server has
//! said that it trusts us. Facts are from `doc/authentication.md` of Incus.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{OtherCertificate, Role, Server, fingerprint, refusal};
use super::credentials::{Credentials, Identity};
use super::select::{Project, list_projects};
use super::token::{HOW_TO_MAKE_ONE, Token};
use crate::error::{Annotate, ExitCode, cause, hinted};
use crate::output::printable;

/// A server that is to know us.
#[derive(Debug)]
pub struct Visit<'v> {
    /// Which of the two.
    pub role: Role,
    /// Where it is, as in the configuration.
    pub url: &'v str,
    /// What makes it trust us, if it does not yet.
    pub token: Option<&'v Token>,
    /// Where its certificate is pinned.
    pub credentials: &'v Credentials,
    /// Whether another certificate may have been pinned before.
    pub may_replace_pin: bool,
    /// Whether nothing is sent to it but questions, and nothing is written.
    pub is_dry_run: bool,
    /// See [`Server::idle_timeout`].
    pub idle_timeout: Duration,
}

/// A server that has answered.
#[derive(Debug)]
pub struct Welcome {
    /// The connection.
    pub server: Server,
    /// What it knows of us.
    pub standing: Standing,
    /// Whether it lets us into some projects only.
    pub is_restricted: bool,
    /// The projects that we see there, by name.
    pub projects: Vec<Project>,
}

/// How a server knows us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not at all, in a dry run: the token would be used.
    ToCome,
    /// By the token, just now.
    New,
    /// It knew us.
    Known,
}

/// `Certificate` of `shared/api/certificate.go`, as far as it says what we may do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trusted {
    restricted: bool,
}

impl Visit<'_> {
    /// Connects, makes ourselves trusted where we are not, and pins the server's certificate. `identity` is what the server is shown.
    ///
    /// # Errors
    ///
    /// When the server is away, shows another certificate than the token names, or does not take the token.
    pub fn make(&self, identity: &Identity) -> Result<Welcome> {
        self.enter(identity).with_context(|| self.doing())
    }

    /// Looks whether there is a way to know the server: a token, or a pin that does not contradict it. Nothing is sent.
    ///
    /// # Errors
    ///
    /// When there is none; exit code [`ExitCode::Usage`].
    pub fn check(&self) -> Result<()> {
        let pinned = self.credentials.find_pin(self.url)?.map(|pinned| fingerprint(&pinned));
        self.expected(pinned.as_deref()).map(drop).with_context(|| self.doing())
    }

    fn doing(&self) -> String {
        format!("onboard the {} {}", self.role.word(), self.url)
    }

    fn enter(&self, identity: &Identity) -> Result<Welcome> {
        let pinned = self.credentials.find_pin(self.url)?.map(|pinned| fingerprint(&pinned));
        let expected = self.expected(pinned.as_deref())?;
        let mut server = self.open(&expected, identity)?;
        let mut standing = Standing::Known;
        if server.about().auth != "trusted" {
            let Some(token) = self.token else { return self.no_token("the server does not trust us") };
            if self.is_dry_run {
                return Ok(Welcome { server, standing: Standing::ToCome, is_restricted: false, projects: Vec::new() });
            }
            register(&server, token)?;
            standing = Standing::New;
            server = self.open(&expected, identity)?;
            if server.about().auth != "trusted" {
                return Err(anyhow!("the server took the token, and does not trust us all the same"));
            }
        }
        if pinned.as_ref() != Some(&expected) && !self.is_dry_run {
            let certificate = server.certificate().context("the server has shown no certificate")?;
            self.credentials.pin(self.url, &certificate)?;
        }
        let own = fingerprint(&identity.certificate);
        let trusted: Trusted = server.get(&["certificates", &own]).context("ask what we may do there")?;
        let projects = list_projects(&server)?;
        Ok(Welcome { server, standing, is_restricted: trusted.restricted, projects })
    }

    /// The fingerprint of the certificate that the server must show.
    fn expected(&self, pinned: Option<&str>) -> Result<String> {
        match (self.token, pinned) {
            (Some(token), Some(pinned)) if token.fingerprint != pinned && !self.may_replace_pin => {
                let text = format!(
                    "the token names another certificate than the one that is pinned for this server\n  token:  {}\n  pinned: {pinned}",
                    token.fingerprint
                );
                let hint =
                    "Is it the token of the other server? If this server has got a new certificate, add --force.";
                Err(anyhow!(text)).hint(hint).exit(ExitCode::Usage)
            }
            (Some(token), _) => Ok(token.fingerprint.clone()),
            (None, Some(pinned)) => Ok(pinned.to_owned()),
            (None, None) => self.no_token("this server was not onboarded yet, and there is no token of it"),
        }
    }

    fn no_token<T>(&self, why: &str) -> Result<T> {
        let hint = format!("{HOW_TO_MAKE_ONE} Save it to a file and name it with --{}-token-file.", self.role.word());
        Err(anyhow!("{why}")).hint(hint).exit(ExitCode::Usage)
    }

    fn open(&self, expected: &str, identity: &Identity) -> Result<Server> {
        let opened = Server::open(self.role, self.url, expected, identity.clone(), self.idle_timeout);
        opened.map_err(|error| match (self.token, cause::<OtherCertificate>(&error)) {
            (Some(_), Some(OtherCertificate { pinned, shown })) => {
                let text = format!(
                    "the server shows another certificate than the one that its token names; nothing was sent to it\n  token:  \
                     {pinned}\n  server: {shown}"
                );
                let hint = "The token is of another server, the URL leads to another one, or somebody is in between. `incus info` on \
                     the server prints its own as certificate_fingerprint.";
                hinted(anyhow!(text), hint)
            }
            _ => error,
        })
    }
}

impl Welcome {
    /// Whether we see a project of this name there.
    pub fn has_project(&self, name: &str) -> bool {
        self.projects.iter().any(|project| project.name == name)
    }

    /// The names of the projects that we see there, for people.
    pub fn project_names(&self) -> String {
        let names: Vec<String> = self.projects.iter().map(|project| printable(project.name.as_ref())).collect();
        names.join(", ")
    }

    /// How the server knows us, and what we see there.
    pub fn introduce(&self) -> String {
        let about = self.server.about();
        let (role, address) = (self.server.role().word(), self.server.address());
        if self.standing == Standing::ToCome {
            return format!("The {role} {address} has the certificate that the token names; it does not trust us yet.");
        }
        let name = printable(about.environment.server_name.as_ref());
        let version = printable(about.environment.server_version.as_ref());
        let since = if self.standing == Standing::New { "trusts us now" } else { "trusts us already" };
        let rights = if self.is_restricted { "for some projects only" } else { "for everything" };
        let projects = self.project_names();
        format!("The {role} {address} is {name}, Incus {version}; it {since}, {rights}: {projects}.")
    }
}

/// Has the server trust the certificate of this very connection.
fn register(server: &Server, token: &Token) -> Result<()> {
    let body = json!({ "type": "client", "name": token.client_name, "trust_token": token.secret() });
    let answer: Result<Value> = server.call("POST", &["certificates"]).body(body).run();
    let Err(error) = answer else { return Ok(()) };
    if refusal(&error).is_none() {
        return Err(error);
    }
    let hint = format!("It was used, taken back, or made by another server: each is good once. {HOW_TO_MAKE_ONE}");
    Err(hinted(error.context("the server does not take the token"), hint))
}
