//! Tells people by mail: one readable text a run.
//!
//! The text is made in [`super::letter`]; [`smtp`] speaks with the server. Whatever the server does, the run waits no longer for it than `timeout`.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes};
use uuid::Uuid;

use super::letter;
use super::news::{End, News};
use super::warn;
use crate::config::{MailConfig, MailServer, MailTls};
use crate::error::chain;
use crate::secret::Revealed;

mod smtp;

use smtp::{Trouble, Way};

/// How often sending is tried.
const TRIES: u32 = 4;

/// How long to wait before the second try; twice as long before each further one.
const BACKOFF: Duration = Duration::from_secs(1);

/// How long the only try may take when a signal ends the run.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(10);

/// One mail server, and to whom it is to bring mail.
#[derive(Debug, Clone)]
pub struct Mail {
    config: MailConfig,
}

impl Mail {
    /// By this configuration. Nothing is read yet.
    pub fn new(config: &MailConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Sends a mail, if whoever gets it wants to hear of such a run. What goes wrong is a warning in the log.
    pub fn tell(&self, news: &News<'_>) {
        if !news.is_for(self.config.on) {
            return;
        }
        let (tries, limit) = match news.end {
            End::Signal(_) => (1, SIGNAL_TIMEOUT.min(self.config.timeout)),
            End::Report(_) | End::Error(..) => (TRIES, self.config.timeout),
        };
        match self.send(&letter::subject(news), &letter::body(news), &news.host, tries, limit) {
            Ok(refused) => {
                for (recipient, why) in refused {
                    tracing::warn!("the mail server at {} does not take mail for {recipient}: {why}", self.server());
                }
            }
            Err(error) => warn(&error.context("no mail is sent of this run")),
        }
    }

    /// Asks the server whether it would take a mail: connects, logs in, names sender and recipients, and sends nothing. Says what it has found.
    ///
    /// # Errors
    ///
    /// When it would not.
    pub fn check(&self) -> Result<String> {
        let (from, to) = self.people()?;
        let way = self.way(&crate::notify::host())?;
        let addresses: Vec<_> = to.into_iter().map(|recipient| recipient.email).collect();
        let count = addresses.len();
        let refused = within(self.config.timeout, move |_| way.try_recipients(&from.email, &addresses))
            .with_context(|| format!("ask the mail server at {}", self.server()))?;
        if let Some((recipient, why)) = refused.first() {
            return Err(anyhow!("the mail server at {} does not take mail for {recipient}: {why}", self.server()));
        }
        let plural = if count == 1 { "" } else { "s" };
        Ok(format!("{} takes mail for {count} recipient{plural}", self.server()))
    }

    fn send(
        &self,
        subject: &str,
        body: &str,
        host: &str,
        tries: u32,
        limit: Duration,
    ) -> Result<Vec<(String, String)>> {
        let (from, to) = self.people()?;
        let id = format!("<{}@{}>", Uuid::new_v4(), smtp::plain_host(host));
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message = Message::builder()
            .from(from)
            .mailbox(lettre::message::header::To::from(to.into_iter().collect::<Mailboxes>()))
            .subject(subject)
            .message_id(Some(id))
            .date_now()
            .header(ContentType::TEXT_PLAIN)
            // RFC 3834: out-of-office programs do not answer it.
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .body(body.to_owned())
            .context("put the mail together")?;
        let way = self.way(host)?;
        within(limit, move |deadline| {
            let mut pause = BACKOFF;
            let mut attempt = 1;
            loop {
                let Trouble { error, passing } = match way.send(message.envelope(), &message.formatted()) {
                    Ok(refused) => return Ok(refused),
                    Err(trouble) => trouble,
                };
                if !passing || attempt >= tries || Instant::now() + pause >= deadline {
                    return Err(error.context(format!("given up, tries {attempt}")));
                }
                tracing::debug!("sending a mail goes wrong and is tried again: {}", chain(&error));
                thread::sleep(pause);
                pause = pause.saturating_mul(2);
                attempt += 1;
            }
        })
        .with_context(|| format!("send a mail by {}", self.server()))
    }

    fn people(&self) -> Result<(Mailbox, Vec<Mailbox>)> {
        let parse = |text: &String| text.parse::<Mailbox>().with_context(|| format!("read the address `{text}`"));
        Ok((parse(&self.config.from)?, self.config.to.iter().map(parse).collect::<Result<_>>()?))
    }

    fn way(&self, host: &str) -> Result<Way> {
        let login = match &self.config.login {
            Some(login) => {
                let password: Revealed = login.password.read().context("read the password of notify.mail")?;
                Some((login.user.clone(), password))
            }
            None => None,
        };
        Way::new(&self.config.server, self.config.ca_file.as_deref(), login, host)
    }

    /// The server, for messages.
    fn server(&self) -> String {
        let MailServer { host, port, tls } = &self.config.server;
        let scheme = match tls {
            MailTls::Wrapped => "smtps",
            MailTls::Started => "smtp",
            MailTls::Never => "smtp+plain",
        };
        if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
    }
}

/// Does work on a thread of its own and waits for it no longer than this: a server that sends a byte a minute is never late for the socket. The work is told
/// until when it is waited for.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce(Instant) -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    let deadline = Instant::now() + limit;
    let run = move || drop(sender.send(work(deadline)));
    thread::Builder::new().name("mail".to_owned()).spawn(run).context("start a thread")?;
    receiver.recv_timeout(limit).unwrap_or_else(|_| {
        Err(anyhow!("the server was not done with it within {}", crate::quantity::show_duration(limit)))
    })
}

/// Whether mail can have this address: `nas@example.org` or `NAS <nas@example.org>`.
///
/// # Errors
///
/// Why not.
pub fn check_address(text: &str) -> Result<(), String> {
    let Ok(mailbox) = text.parse::<Mailbox>() else {
        let shown = text.escape_debug();
        return Err(format!("`{shown}` is no address; write for example nas@example.org or NAS <nas@example.org>"));
    };
    // Few servers take others, and none of the rest says why.
    if !mailbox.email.to_string().is_ascii() || text.chars().any(char::is_control) {
        return Err("an address is made of ASCII characters; write its part behind the @ in punycode".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_may_have_a_name() {
        for text in ["nas@example.org", "NAS im Keller <nas@example.org>", "root@localhost"] {
            assert_eq!(check_address(text), Ok(()), "{text}");
        }
        for text in
            ["", "nas", "nas@", "@example.org", "a@b@c", "nas@example.org\nBcc: x@y.z", "a@b, c@d", "näs@example.org"]
        {
            assert!(check_address(text).is_err(), "{text}");
        }
    }
}
