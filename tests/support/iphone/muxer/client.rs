//! One client of the muxer: its requests, until it listens or is passed on to a device.

use std::io::{self, Error, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use plist::{Dictionary, Value};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::device::Way;
use super::super::frame::fill;
use super::super::wire::Socket;
use super::records::Records;
use super::{Inner, MuxerFault, lock, message};

/// The four words before each body: length of all, version, kind of message, tag.
const HEAD: usize = 16;
/// Property lists.
const VERSION: u32 = 1;
const PLIST: u32 = 8;
const LONGEST: usize = 1 << 20;

/// Results, from `src/usbmuxd-proto.h` of libusbmuxd.
const OK: u64 = 0;
const BAD_COMMAND: u64 = 1;
const BAD_DEVICE: u64 = 2;
const REFUSED: u64 = 3;
const BAD_VERSION: u64 = 6;
/// With pairing records it is an `errno`.
const ENOENT: u64 = 2;
const EINVAL: u64 = 22;

/// Serves a client until it leaves.
pub(super) fn serve(inner: &Inner, socket: Socket, records: &Records) -> io::Result<()> {
    let mut head = [0; HEAD];
    while fill(&mut &socket, &mut head)? {
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, version, kind, tag) = (word(0) as usize, word(4), word(8), word(12));
        if !(HEAD..=LONGEST).contains(&length) {
            return Err(Error::other("a request has no length"));
        }
        let mut body = vec![0; length - HEAD];
        (&socket).read_exact(&mut body)?;
        if let Some(fault) = lock(&inner.fault).clone() {
            match misbehave(&socket, &fault, tag)? {
                true => continue,
                false => return Ok(()),
            }
        }
        if version != VERSION || kind != PLIST {
            send(&socket, tag, &result(BAD_VERSION))?;
            continue;
        }
        let request = Value::from_reader(io::Cursor::new(body)).map_err(Error::other)?;
        let request = request.into_dictionary().ok_or_else(|| Error::other("a request is no dictionary"))?;
        let text = |key: &str| request.get(key).and_then(Value::as_string);
        let kind = text("MessageType").unwrap_or_default().to_owned();
        lock(&inner.requests).push(kind.clone());
        match kind.as_str() {
            "Connect" => match connect(inner, &request) {
                Ok(serve) => {
                    send(&socket, tag, &result(OK))?;
                    serve(socket);
                    return Ok(());
                }
                Err(number) => send(&socket, tag, &result(number))?,
            },
            "Listen" => {
                let news = inner.listen();
                send(&socket, tag, &result(OK))?;
                return tell(&socket, &news);
            }
            _ => send(&socket, tag, &answer(inner, records, &kind, &request))?,
        }
    }
    Ok(())
}

/// What is answered to requests that do not change what the connection is.
fn answer(inner: &Inner, records: &Records, kind: &str, request: &Dictionary) -> Value {
    let udid = request.get("PairRecordID").and_then(Value::as_string).unwrap_or_default();
    let plain = |key: &str, value: Value| Value::Dictionary([(key.to_owned(), value)].into_iter().collect());
    match kind {
        "ListDevices" => {
            let listed = lock(&inner.attached).iter().map(|attached| inner.listed(attached)).collect();
            plain("DeviceList", Value::Array(listed))
        }
        "ListListeners" => {
            let listeners = lock(&inner.listeners).iter().map(|_| plain("ProgName", "client".into())).collect();
            plain("ListenerList", Value::Array(listeners))
        }
        "ReadBUID" => plain("BUID", records.buid().into()),
        "ReadPairRecord" => {
            records.read(udid).map_or_else(|| result(ENOENT), |record| plain("PairRecordData", Value::Data(record)))
        }
        "SavePairRecord" => match request.get("PairRecordData").and_then(Value::as_data) {
            Some(record) if records.save(udid, record) => {
                if let Some(id) = request.get("DeviceID") {
                    inner.tell(&message("Paired", [("DeviceID", id.clone())]));
                }
                result(OK)
            }
            _ => result(EINVAL),
        },
        "DeletePairRecord" => result(if records.delete(udid) { OK } else { ENOENT }),
        _ => result(BAD_COMMAND),
    }
}

/// Finds who serves a port of a device.
fn connect(inner: &Inner, request: &Dictionary) -> Result<impl FnOnce(Socket) + Send + use<>, u64> {
    let number = |key: &str| request.get(key).and_then(Value::as_unsigned_integer);
    let id = number("DeviceID").and_then(|id| u32::try_from(id).ok()).ok_or(BAD_DEVICE)?;
    // In the order of the network, read as this machine's.
    let port = number("PortNumber").and_then(|port| u16::try_from(port).ok()).ok_or(REFUSED)?.swap_bytes();
    let attached = lock(&inner.attached).iter().find(|attached| attached.id == id).cloned().ok_or(BAD_DEVICE)?;
    let serve = match attached.way {
        Way::Usb => Serve::Usb(attached.device.answer(port).ok_or(REFUSED)?),
        Way::Wifi => {
            let address = attached.device.wifi_address().ok_or(REFUSED)?;
            Serve::Wifi(std::net::TcpStream::connect((address.ip(), port)).map_err(|_| REFUSED)?)
        }
    };
    Ok(move |socket| match serve {
        Serve::Usb(serve) => serve(socket),
        Serve::Wifi(phone) => pass_on(&socket, &phone),
    })
}

enum Serve<F> {
    Usb(F),
    Wifi(std::net::TcpStream),
}

/// Copies in both directions until one side ends.
fn pass_on(client: &Socket, phone: &std::net::TcpStream) {
    let _ = phone.set_nodelay(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*phone, &mut &*client);
            client.shut_down();
        });
        let _ = io::copy(&mut &*client, &mut &*phone);
        let _ = phone.shutdown(std::net::Shutdown::Both);
    });
}

/// Tells a client that listens what comes and goes, until it leaves.
fn tell(socket: &Socket, news: &Receiver<Value>) -> io::Result<()> {
    loop {
        match news.recv_timeout(Duration::from_millis(10)) {
            Ok(message) => send(socket, 0, &message)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
                // Clients that listen say nothing more: this is the end.
                if poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&at_once))? > 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Does something else than answer; whether the connection goes on.
fn misbehave(socket: &Socket, fault: &MuxerFault, tag: u32) -> io::Result<bool> {
    match fault {
        MuxerFault::Silent => Ok(true),
        MuxerFault::Closes => Ok(false),
        MuxerFault::Answers(bytes) => (&*socket).write_all(bytes).map(|()| false),
        MuxerFault::Length(length) => (&*socket).write_all(&head(*length, tag)).map(|()| true),
        MuxerFault::NoPropertyList => packet(socket, tag, b"this is <no property list").map(|()| true),
        MuxerFault::WrongTag => send(socket, tag.wrapping_add(1000), &result(OK)).map(|()| true),
    }
}

fn result(number: u64) -> Value {
    message("Result", [("Number", number.into())])
}

fn send(socket: &Socket, tag: u32, value: &Value) -> io::Result<()> {
    let mut body = Vec::new();
    value.to_writer_xml(&mut body).map_err(Error::other)?;
    packet(socket, tag, &body)
}

fn packet(mut socket: &Socket, tag: u32, body: &[u8]) -> io::Result<()> {
    let mut bytes = head(u32::try_from(HEAD + body.len()).map_err(Error::other)?, tag);
    bytes.extend_from_slice(body);
    socket.write_all(&bytes)
}

fn head(length: u32, tag: u32) -> Vec<u8> {
    [length, VERSION, PLIST, tag].into_iter().flat_map(u32::to_le_bytes).collect()
}
