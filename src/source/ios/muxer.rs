//! usbmuxd, and what stands in for it: which devices there are, connections to their ports, and the pairing records that all programs of a machine share.
//!
//! Every message is a header of four numbers, the lowest byte first (length with the header, version 1, type 8, tag), and a property list. Source: libusbmuxd,
//! src/libusbmuxd.c. Each question has a connection of its own; the one of a `Connect` that was granted is the connection to the device from then on.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use plist::{Dictionary, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::way::{self, Socket};
use super::wire;
use crate::error::{Annotate, hinted};

mod address;

pub(super) use address::Address;

/// The longest answer that is taken, in bytes.
const LONGEST: usize = 4 << 20;
const HEADER: usize = 16;
const VERSION: u32 = 1;
const PLIST: u32 = 8;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How `ReadPairRecord` says that there is none: ENOENT, or the muxer's own word for it.
const NO_RECORD: [u64; 2] = [2, 0xffff_fffe];

/// A muxer at an address.
#[derive(Debug, Clone)]
pub(super) struct Muxer {
    address: Address,
}

/// A device as a muxer lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// The muxer's own number for it, until it goes away.
    pub(super) id: u32,
    /// The identifier, as the muxer writes it: some leave out the dash.
    pub(super) udid: String,
    /// How it is connected.
    pub(super) line: Line,
}

/// How a device is connected to a muxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// By USB.
    Usb,
    /// By the network; where, if the muxer says so.
    Network(Option<IpAddr>),
}

/// There is no muxer: nothing listens at its address.
#[derive(Debug, thiserror::Error)]
#[error("no usbmuxd answers at {0}")]
pub(super) struct Absent(String);

/// The muxer knows no such device any more.
#[derive(Debug, thiserror::Error)]
#[error("the device is not connected any more")]
pub(super) struct Gone;

impl Muxer {
    /// The muxer that `$USBMUXD_SOCKET_ADDRESS` names, or the one of this machine.
    ///
    /// # Errors
    ///
    /// When the variable is no address; exit code 2.
    pub(super) fn of_environment() -> Result<Self> {
        Ok(Self { address: Address::of_environment()? })
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        self.address.to_string()
    }

    /// The devices that it shows. What it says of a device without sense is passed over.
    ///
    /// # Errors
    ///
    /// [`Absent`] when it does not run; else when it may not be asked, or does not answer as a muxer.
    pub(super) async fn devices(&self) -> Result<Vec<Listed>> {
        let answer = match self.ask(message("ListDevices")).await {
            // One that was started anew in this moment answers the second time.
            Err(error) if is_gone(&error) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.ask(message("ListDevices")).await?
            }
            other => other?,
        };
        let Some(list) = answer.get("DeviceList").and_then(Value::as_array) else {
            return Err(self.nonsense(&anyhow!("no list of devices in its answer")));
        };
        Ok(list.iter().filter_map(Value::as_dictionary).filter_map(listed).collect())
    }

    /// A connection to a port of a device.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the device is not there any more; else when nothing listens at that port, or the muxer is broken.
    pub(super) async fn connect(&self, device: u32, port: u16) -> Result<Socket> {
        let mut request = message("Connect");
        request.insert("DeviceID".to_owned(), device.into());
        // In network order, whatever the order of this machine.
        request.insert("PortNumber".to_owned(), port.to_be().into());
        let mut socket = self.open().await?;
        let answer = self.exchange(&mut socket, request).await?;
        match number(&answer) {
            Some(0) => Ok(socket),
            Some(2) => Err(Gone.into()),
            Some(3) => Err(io::Error::new(ErrorKind::ConnectionRefused, "nothing answers there on the device").into()),
            Some(code) => bail!("usbmuxd refuses to connect: {code}"),
            None => Err(self.nonsense(&anyhow!("no result in its answer"))),
        }
    }

    /// The pairing record of a device, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`Muxer::devices`].
    pub(super) async fn record(&self, udid: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.ask(of_record("ReadPairRecord", udid)).await?;
        match answer.get("PairRecordData") {
            Some(Value::Data(record)) => Ok(Some(record.clone())),
            _ => Ok(None),
        }
    }

    /// Keeps a pairing record for all programs of this machine.
    ///
    /// # Errors
    ///
    /// When the muxer does not.
    pub(super) async fn keep_record(&self, device: u32, udid: &str, record: &[u8]) -> Result<()> {
        let mut request = of_record("SavePairRecord", udid);
        request.insert("DeviceID".to_owned(), device.into());
        request.insert("PairRecordData".to_owned(), Value::Data(record.to_vec()));
        let answer = self.ask(request).await?;
        match number(&answer) {
            Some(0) => Ok(()),
            code => Err(anyhow!("usbmuxd does not keep the pairing record: {}", shown(code)))
                .hint("It keeps them in /var/lib/lockdown: `mkdir -p /var/lib/lockdown`, owned by the user that usbmuxd runs as."),
        }
    }

    /// Removes a pairing record; whether there was one.
    ///
    /// # Errors
    ///
    /// When the muxer does not.
    pub(super) async fn remove_record(&self, udid: &str) -> Result<bool> {
        let answer = self.ask(of_record("DeletePairRecord", udid)).await?;
        match number(&answer) {
            Some(0) => Ok(true),
            Some(code) if NO_RECORD.contains(&code) => Ok(false),
            code => bail!("usbmuxd does not remove the pairing record: {}", shown(code)),
        }
    }

    /// The identifier by which devices know this machine. `None` when the muxer has none.
    ///
    /// # Errors
    ///
    /// As for [`Muxer::devices`].
    pub(super) async fn buid(&self) -> Result<Option<String>> {
        let answer = self.ask(message("ReadBUID")).await?;
        Ok(answer.get("BUID").and_then(Value::as_string).map(ToOwned::to_owned))
    }

    async fn ask(&self, request: Dictionary) -> Result<Dictionary> {
        let mut socket = self.open().await?;
        self.exchange(&mut socket, request).await
    }

    async fn open(&self) -> Result<Socket> {
        match timeout(PATIENCE, self.address.open()).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Err(Absent(self.place()).into())
            }
            Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => Err(error)
                .with_context(|| format!("connect to usbmuxd at {}", self.place()))
                .hint("Run holdall as root, or as a user who may write to that socket."),
            Ok(Err(error)) => Err(error).with_context(|| format!("connect to usbmuxd at {}", self.place())),
            Err(_) => bail!("connect to usbmuxd at {}: no answer", self.place()),
        }
    }

    async fn exchange(&self, socket: &mut Socket, request: Dictionary) -> Result<Dictionary> {
        let exchange = async {
            socket.write_all(&frame(request)?).await?;
            socket.flush().await?;
            let length = socket.read_u32_le().await? as usize;
            let Some(rest) = length.checked_sub(4).filter(|rest| (HEADER - 4..=LONGEST).contains(rest)) else {
                bail!("an answer of {length} bytes");
            };
            let mut answer = Vec::new();
            socket.take(rest as u64).read_to_end(&mut answer).await?;
            if answer.len() < rest {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            wire::parse(answer.get(HEADER - 4..).unwrap_or_default())
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.nonsense(&error)),
            Err(_) => Err(self.nonsense(&anyhow!("no answer within {} seconds", PATIENCE.as_secs()))),
        }
    }

    /// It answers, but not as a muxer does.
    fn nonsense(&self, error: &Error) -> Error {
        let kind = if is_gone(error) { ErrorKind::ConnectionReset } else { ErrorKind::InvalidData };
        let text = format!("what answers at {} is no usbmuxd, or a broken one: {error:#}", self.place());
        hinted(
            io::Error::new(kind, text),
            "`systemctl restart usbmuxd` starts it anew; $USBMUXD_SOCKET_ADDRESS names another one.",
        )
    }
}

/// Whether the connection ended in the middle, as when a muxer is started anew.
fn is_gone(error: &Error) -> bool {
    crate::error::cause(error).is_some_and(way::is_gone)
}

fn message(kind: &str) -> Dictionary {
    let mut message = Dictionary::new();
    message.insert("MessageType".to_owned(), kind.into());
    message.insert("ClientVersionString".to_owned(), "holdall".into());
    message.insert("ProgName".to_owned(), "holdall".into());
    message.insert("kLibUSBMuxVersion".to_owned(), 3.into());
    message
}

fn of_record(kind: &str, udid: &str) -> Dictionary {
    let mut message = message(kind);
    message.insert("PairRecordID".to_owned(), udid.into());
    message
}

fn frame(request: Dictionary) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    Value::Dictionary(request).to_writer_xml(&mut text).context("write a property list")?;
    let length = u32::try_from(text.len() + HEADER).context("measure a property list")?;
    let mut frame: Vec<u8> = [length, VERSION, PLIST, 1].iter().flat_map(|number| number.to_le_bytes()).collect();
    frame.append(&mut text);
    Ok(frame)
}

fn number(answer: &Dictionary) -> Option<u64> {
    answer.get("Number").and_then(Value::as_unsigned_integer)
}

fn shown(code: Option<u64>) -> String {
    code.map_or_else(|| "no result in its answer".to_owned(), |code| format!("result {code}"))
}

fn listed(entry: &Dictionary) -> Option<Listed> {
    let properties = entry.get("Properties").and_then(Value::as_dictionary)?;
    let id = entry.get("DeviceID").or_else(|| properties.get("DeviceID")).and_then(Value::as_unsigned_integer)?;
    let udid = properties.get("SerialNumber").and_then(Value::as_string)?;
    let line = match properties.get("ConnectionType").and_then(Value::as_string) {
        Some("Network") => {
            Line::Network(properties.get("NetworkAddress").and_then(Value::as_data).and_then(address_of))
        }
        _ => Line::Usb,
    };
    Some(Listed { id: u32::try_from(id).ok()?, udid: udid.to_owned(), line })
}

/// The address in a `sockaddr`, as BSD has it, with its length first, or as Linux has it.
fn address_of(sockaddr: &[u8]) -> Option<IpAddr> {
    // The families of Linux and of Apple's systems; theirs for version 6 is 30.
    let is_bsd = |length, families: &[u8]| {
        sockaddr.first() == Some(&length) && sockaddr.get(1).is_some_and(|family| families.contains(family))
    };
    let is_linux = |family| sockaddr.first() == Some(&family) && sockaddr.get(1) == Some(&0);
    if is_bsd(16, &[2]) || is_linux(2) {
        let octets: [u8; 4] = sockaddr.get(4..8)?.try_into().ok()?;
        return Some(Ipv4Addr::from(octets).into());
    }
    if is_bsd(28, &[10, 30]) || is_linux(10) || is_linux(30) {
        let octets: [u8; 16] = sockaddr.get(8..24)?.try_into().ok()?;
        return Some(Ipv6Addr::from(octets).into());
    }
    None
}

#[cfg(test)]
mod tests;
