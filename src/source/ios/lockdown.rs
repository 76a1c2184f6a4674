//! lockdownd, who answers at the door of a device: values, pairing, sessions, and which port a service is at.
//!
//! Source: libimobiledevice, src/lockdown.c. An answer with an `Error` is a [`Refused`]; what it means for people is in [`super::refused`].

use super::way::Socket;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plist::{Dictionary, Value};
use tokio::time::timeout;

use super::record::Record;
use super::refused::Refused;
use super::tls::{Impostor, KeysRefused, Tls};
use super::wire;
use crate::error::{hinted, is_caused_by};

/// The name that we go by.
pub(super) const LABEL: &str = "holdall";

/// How long to listen to somebody who takes nothing any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The version of the protocol that pairing is spoken in.
pub(super) const PROTOCOL: &str = "2";

/// A connection to lockdownd.
#[derive(Debug)]
pub(super) struct Lockdown {
    /// `None` while it changes over to TLS, and for good when that failed.
    socket: Option<Socket>,
    session: Option<String>,
}

/// Where a service waits, once, for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    /// Its port on the device.
    pub(super) number: u16,
    /// Whether it speaks TLS.
    pub(super) is_encrypted: bool,
}

impl Lockdown {
    /// Speaks over a connection to lockdownd's port.
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket: Some(socket), session: None }
    }

    /// Asks one thing.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the device says no; else when the connection is broken.
    pub(super) async fn ask(&mut self, request: &str, mut rest: Dictionary) -> Result<Dictionary> {
        let socket = self.socket.as_mut().context("the connection to the device is closed")?;
        rest.insert("Label".to_owned(), LABEL.into());
        rest.insert("Request".to_owned(), request.into());
        if let Err(error) = wire::send(socket, rest).await {
            // Who hangs up may have said why before.
            let last = timeout(LAST_WORDS, wire::receive(socket)).await;
            return Err(last.ok().and_then(Result::err).filter(is_caused_by::<KeysRefused>).unwrap_or(error));
        }
        let answer = wire::receive(socket).await?;
        match answer.get("Error") {
            None => Ok(answer),
            Some(Value::String(code)) => Err(Refused::explained(code)),
            Some(_) => bail!("the device refuses {request} without a word"),
        }
    }

    /// A value; all of a domain without a key. `None` when the device has none.
    ///
    /// # Errors
    ///
    /// As for [`Lockdown::ask`].
    pub(super) async fn value(&mut self, domain: Option<&str>, key: Option<&str>) -> Result<Option<Value>> {
        let mut request = Dictionary::new();
        put(&mut request, "Domain", domain);
        put(&mut request, "Key", key);
        match self.ask("GetValue", request).await {
            Ok(mut answer) => Ok(answer.remove("Value")),
            Err(error) if Refused::is(&error, "MissingValue") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// As for [`Lockdown::ask`].
    pub(super) async fn set_value(&mut self, domain: Option<&str>, key: &str, value: Value) -> Result<()> {
        let mut request = Dictionary::new();
        put(&mut request, "Domain", domain);
        put(&mut request, "Key", Some(key));
        request.insert("Value".to_owned(), value);
        self.ask("SetValue", request).await.map(drop)
    }

    /// Opens a session, under TLS.
    ///
    /// # Errors
    ///
    /// [`Refused`] `InvalidHostID` when the device does not know the record; [`Impostor`] when the other side is not the device of the record, or would go on without TLS.
    pub(super) async fn start_session(&mut self, record: &Record, tls: &Tls) -> Result<()> {
        let mut request = Dictionary::new();
        put(&mut request, "HostID", Some(record.host_id()));
        put(&mut request, "SystemBUID", Some(record.system_buid()));
        let answer = self.ask("StartSession", request).await?;
        if answer.get("EnableSessionSSL").and_then(Value::as_boolean) != Some(true) {
            let hint = "It offers no encrypted session, which every device does. Somebody may pretend to be it; nothing was sent.";
            return Err(hinted(Impostor, hint));
        }
        self.session = answer.get("SessionID").and_then(Value::as_string).map(ToOwned::to_owned);
        let plain = self.socket.take().context("the connection to the device is closed")?;
        self.socket = Some(tls.wrap(plain).await?);
        Ok(())
    }

    /// Ends the session; the connection is of no use afterwards.
    pub(super) async fn stop_session(mut self) {
        let Some(session) = self.session.take() else { return };
        let mut request = Dictionary::new();
        put(&mut request, "SessionID", Some(&session));
        if let Err(error) = self.ask("StopSession", request).await {
            tracing::debug!("the device does not end the session: {error:#}");
        }
    }

    /// Has the device forget a pairing.
    ///
    /// # Errors
    ///
    /// As for [`Lockdown::ask`].
    pub(super) async fn unpair(&mut self, record: &Record) -> Result<()> {
        let mut request = Dictionary::new();
        request.insert("PairRecord".to_owned(), Value::Dictionary(record.public_part()));
        request.insert("ProtocolVersion".to_owned(), PROTOCOL.into());
        self.ask("Unpair", request).await.map(drop)
    }

    /// Starts a service. With the escrow bag of the record it may read what is protected while the device is locked.
    ///
    /// # Errors
    ///
    /// As for [`Lockdown::ask`].
    pub(super) async fn start_service(&mut self, name: &str, escrow_bag: Option<&[u8]>) -> Result<Port> {
        let mut request = Dictionary::new();
        put(&mut request, "Service", Some(name));
        if let Some(bag) = escrow_bag {
            request.insert("EscrowBag".to_owned(), Value::Data(bag.to_vec()));
        }
        let answer = self.ask("StartService", request).await?;
        let number = answer.get("Port").and_then(Value::as_unsigned_integer).and_then(|port| u16::try_from(port).ok());
        let number = number.filter(|port| *port != 0).context("the device names no port of the service")?;
        let is_encrypted = answer.get("EnableServiceSSL").and_then(Value::as_boolean).unwrap_or(false);
        Ok(Port { number, is_encrypted })
    }
}

fn put(request: &mut Dictionary, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        request.insert(key.to_owned(), value.into());
    }
}
