//! Speaks with a mail server: TLS before anything is told, a login, sender, recipients, the mail.
//!
//! One recipient that is refused does not keep the mail from the others.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;

use crate::config::{MailServer, MailTls};
use crate::error::{chain, hinted};
use crate::secret::Revealed;

/// How long connecting may take, to each address of the server.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the server may be silent after that.
const SILENCE: Duration = Duration::from_secs(30);

/// A recipient that was refused, and why.
type Refused = (String, String);

/// What kept a mail from being sent.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) error: Error,
    /// Whether a further try may succeed.
    pub(super) passing: bool,
}

/// How a server is reached.
pub(super) struct Way {
    server: MailServer,
    tls: Option<TlsParameters>,
    login: Option<(String, Revealed)>,
    hello: ClientId,
}

impl Way {
    /// To this server.
    ///
    /// # Errors
    ///
    /// When the file with the certificate of its authority cannot be read.
    pub(super) fn new(
        server: &MailServer,
        ca_file: Option<&Path>,
        login: Option<(String, Revealed)>,
        host: &str,
    ) -> Result<Self> {
        let mut tls = TlsParameters::builder(server.host.clone());
        if let Some(file) = ca_file {
            let pem = fs::read(file).with_context(|| format!("read the certificate {file:?}"))?;
            if !pem.windows(17).any(|window| window == b"BEGIN CERTIFICATE") {
                bail!("there is no certificate in PEM in {file:?}");
            }
            let authority = Certificate::from_pem(&pem).with_context(|| format!("read the certificate {file:?}"))?;
            tls = tls.add_root_certificate(authority);
        }
        let tls = match server.tls {
            MailTls::Never => None,
            MailTls::Wrapped | MailTls::Started => Some(tls.build_rustls().context("set up TLS")?),
        };
        Ok(Self { server: server.clone(), tls, login, hello: ClientId::Domain(plain_host(host)) })
    }

    /// Sends a mail, and gives the recipients that were refused, unless all were.
    pub(super) fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<Vec<Refused>, Trouble> {
        let mut connection = self.connect()?;
        let refused = self.name(&mut connection, envelope.from(), envelope.to())?;
        let sent = connection.command(Data).and_then(|_| connection.message(mail));
        if let Err(error) = sent {
            return Err(self.trouble(error, "give it the mail"));
        }
        // It has the mail, whatever it says to this.
        drop(connection.quit());
        Ok(refused)
    }

    /// Names sender and recipients and sends nothing; gives the recipients that were refused.
    pub(super) fn try_recipients(&self, from: &Address, to: &[Address]) -> Result<Vec<Refused>> {
        let tried = self.connect().and_then(|mut connection| {
            let refused = self.name(&mut connection, Some(from), to)?;
            drop(connection.command(Rset).and_then(|_| connection.quit()));
            Ok(refused)
        });
        tried.map_err(|trouble| trouble.error)
    }

    fn connect(&self) -> Result<SmtpConnection, Trouble> {
        let address = (self.server.host.as_str(), self.server.port);
        let wrapped = self.tls.as_ref().filter(|_| self.server.tls == MailTls::Wrapped);
        let mut connection = SmtpConnection::connect(address, Some(CONNECT), &self.hello, wrapped, None)
            .map_err(|error| self.trouble(error, "connect"))?;
        if let Some(tls) = self.tls.as_ref().filter(|_| self.server.tls == MailTls::Started) {
            connection.starttls(tls, &self.hello).map_err(|error| self.trouble(error, "begin TLS"))?;
        }
        let silence = connection.set_timeout(Some(SILENCE));
        silence.map_err(|error| Trouble { error: Error::new(error).context("set a time limit"), passing: false })?;
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.to_string());
            let let_in = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
            let_in.map_err(|error| self.trouble(error, &format!("log in as {user}")))?;
        }
        Ok(connection)
    }

    fn name(
        &self,
        connection: &mut SmtpConnection,
        from: Option<&Address>,
        to: &[Address],
    ) -> Result<Vec<Refused>, Trouble> {
        let sender = connection.command(Mail::new(from.cloned(), Vec::new()));
        sender.map_err(|error| self.trouble(error, "name the sender"))?;
        let mut refused = Vec::new();
        let mut last = None;
        for recipient in to {
            match connection.command(Rcpt::new(recipient.clone(), Vec::new())) {
                Ok(_) => {}
                Err(error) if error.status().is_some() => {
                    refused.push((recipient.to_string(), what(&error)));
                    last = Some(error);
                }
                Err(error) => return Err(self.trouble(error, "name a recipient")),
            }
        }
        match last {
            Some(error) if refused.len() == to.len() => {
                let whom = refused.iter().map(|(recipient, _)| recipient.as_str()).collect::<Vec<_>>().join(", ");
                Err(self.trouble(error, &format!("name the recipient {whom}")))
            }
            _ => Ok(refused),
        }
    }

    fn trouble(&self, error: SmtpError, doing: &str) -> Trouble {
        let certificate = tls_error(&error);
        let refused_login =
            error.status().is_some_and(|code| matches!(code.to_string().as_str(), "530" | "535" | "534"));
        let passing = certificate.is_none() && !error.is_permanent() && !error.is_client();
        let text = anyhow!("{}", certificate.unwrap_or_else(|| what(&error))).context(doing.to_owned());
        let error = if tls_error(&error).is_some() {
            hinted(
                text,
                "If an authority of your own vouches for the server, name its certificate: `ca-file` in [notify.mail]. \
                 If the certificate is for another name, use that one in `server`.",
            )
        } else if refused_login {
            hinted(text, "Look at `user` and the password of [notify.mail]; `holdall check` tries them.")
        } else if error.is_response() || error.status().is_some() {
            text
        } else {
            hinted(
                text,
                "smtps:// is mostly on port 465, and smtp:// on 587: name the port in `server` if it is another one.",
            )
        };
        Trouble { error, passing }
    }
}

/// What went wrong, in one line, as far as it is of use to people.
fn what(error: &SmtpError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    crate::output::printable(std::ffi::OsStr::new(&crate::secret::masked(&text)))
}

/// What is wrong with the server's certificate or its TLS, if that is it.
fn tls_error(error: &SmtpError) -> Option<String> {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let found = causes.find_map(|cause| {
        let within = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        within.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| cause.downcast_ref())
    })?;
    Some(chain(&Error::new(found.clone())))
}

/// The name of this machine as a server can take it in its greeting.
pub(super) fn plain_host(host: &str) -> String {
    let plain: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect();
    let plain = plain.trim_matches(['.', '-']);
    if plain.is_empty() { "localhost".to_owned() } else { plain.to_owned() }
}
