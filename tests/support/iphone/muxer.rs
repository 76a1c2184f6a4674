//! usbmuxd: says which phones are there, keeps pairing records, and passes connections on to phones.
//!
//! It speaks version 1 of the protocol, property lists, as Linux' usbmuxd 1.1.1 does; network devices are listed as netmuxd lists them.

mod client;
mod records;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use plist::{Dictionary, Value};
use tempfile::TempDir;

use super::device::{Device, Way};
use super::wire::Socket;
use records::Records;

/// What a muxer does instead of answering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MuxerFault {
    /// Takes requests, and says nothing.
    Silent,
    /// Closes the connection when a request has come.
    Closes,
    /// Answers with these bytes, and closes.
    Answers(Vec<u8>),
    /// Answers with a head that says so many bytes, and nothing behind it; the connection stays open.
    Length(u32),
    /// Answers with a whole packet whose body is no property list.
    NoPropertyList,
    /// Answers with another tag than the request's.
    WrongTag,
}

/// A device that is listed.
#[derive(Debug, Clone)]
struct Attached {
    id: u32,
    device: Arc<Device>,
    way: Way,
}

#[derive(Debug, Default)]
struct Inner {
    attached: Mutex<Vec<Attached>>,
    listeners: Mutex<Vec<Sender<Value>>>,
    fault: Mutex<Option<MuxerFault>>,
    /// What ends the threads that accept.
    doors: Mutex<Vec<OwnedFd>>,
    clients: Mutex<HashMap<u64, Socket>>,
    next_id: AtomicU32,
    next_client: AtomicU64,
    drops_dashes: Mutex<bool>,
    requests: Mutex<Vec<String>>,
}

/// A running muxer; its socket is gone when this is dropped.
#[derive(Debug)]
pub struct Muxer {
    socket: PathBuf,
    /// Where the records are, and the socket unless it has to be somewhere else.
    _folder: TempDir,
    records: Arc<Records>,
    inner: Arc<Inner>,
}

impl Muxer {
    /// Starts one without devices, in a folder of its own.
    pub fn start() -> Self {
        Self::start_at(None)
    }

    /// Starts one without devices at this socket.
    pub fn start_at(socket: Option<&Path>) -> Self {
        let folder = tempfile::Builder::new().prefix("usbmuxd-").tempdir().unwrap();
        let records = Arc::new(Records::new(&folder.path().join("lockdown")));
        let socket = socket.map_or_else(|| folder.path().join("usbmuxd"), Path::to_path_buf);
        let muxer = Self { socket, records, _folder: folder, inner: Arc::default() };
        muxer.open();
        muxer
    }

    /// The value of `USBMUXD_SOCKET_ADDRESS`: `UNIX:/path`.
    pub fn address(&self) -> String {
        format!("UNIX:{}", self.socket.display())
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The folder of the pairing records, which is `/var/lib/lockdown` with a real one.
    pub fn records(&self) -> &Path {
        self.records.folder()
    }

    /// Listens at a port too, as one does that is reached by the network.
    ///
    /// # Panics
    ///
    /// When the port is taken.
    pub fn listen_at(&self, address: impl ToSocketAddrs) -> SocketAddr {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        self.accept(listener.as_fd().try_clone_to_owned().unwrap(), move || Ok(Socket::Tcp(listener.accept()?.0)));
        address
    }

    /// Ends it, and all connections that go through it.
    pub fn stop(&self) {
        for door in std::mem::take(&mut *lock(&self.inner.doors)) {
            let _ = rustix::net::shutdown(&door, rustix::net::Shutdown::Both);
        }
        let _ = std::fs::remove_file(&self.socket);
        for (_, client) in lock(&self.inner.clients).drain() {
            client.shut_down();
        }
        lock(&self.inner.listeners).clear();
    }

    /// Starts it again at the same place; the devices get other numbers.
    pub fn restart(&self) {
        self.stop();
        for attached in lock(&self.inner.attached).iter_mut() {
            attached.id = self.inner.next_id();
        }
        self.open();
    }

    /// Has it do something else instead of answering, from now on, or answer again.
    pub fn set_fault(&self, fault: Option<MuxerFault>) {
        *lock(&self.inner.fault) = fault;
    }

    /// Has it leave the dash out of UDIDs, as some do.
    pub fn drop_dashes(&self) {
        *lock(&self.inner.drops_dashes) = true;
    }

    /// What it was asked, as `MessageType`s.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.inner.requests).clone()
    }

    pub(super) fn attach(&self, device: &Arc<Device>, way: Way) {
        let attached = Attached { id: self.inner.next_id(), device: Arc::clone(device), way };
        lock(&self.inner.attached).push(attached.clone());
        self.inner.tell(&self.inner.listed(&attached));
    }

    pub(super) fn detach(&self, device: &Arc<Device>, way: Way) {
        let mut all = lock(&self.inner.attached);
        let is_it = |attached: &Attached| Arc::ptr_eq(&attached.device, device) && attached.way == way;
        let gone: Vec<u32> = all.iter().filter(|attached| is_it(attached)).map(|attached| attached.id).collect();
        all.retain(|attached| !is_it(attached));
        drop(all);
        for id in gone {
            self.inner.tell(&message("Detached", [("DeviceID", id.into())]));
        }
    }

    fn open(&self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        self.accept(listener.as_fd().try_clone_to_owned().unwrap(), move || Ok(Socket::Unix(listener.accept()?.0)));
    }

    fn accept(&self, door: OwnedFd, mut accept: impl FnMut() -> io::Result<Socket> + Send + 'static) {
        lock(&self.inner.doors).push(door);
        let (inner, records) = (Arc::clone(&self.inner), Arc::clone(&self.records));
        thread::spawn(move || {
            while let Ok(socket) = accept() {
                let (inner, records) = (Arc::clone(&inner), Arc::clone(&records));
                thread::spawn(move || inner.serve(socket, &records));
            }
        });
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        self.stop();
        lock(&self.inner.attached).clear();
    }
}

impl Inner {
    fn next_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn serve(&self, socket: Socket, records: &Records) {
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        if let Ok(copy) = socket.try_clone() {
            lock(&self.clients).insert(number, copy);
        }
        // Whoever talks nonsense, or leaves, is not served further.
        let _ = client::serve(self, socket, records);
        lock(&self.clients).remove(&number);
    }

    /// Tells all who listen.
    fn tell(&self, message: &Value) {
        lock(&self.listeners).retain(|listener| listener.send(message.clone()).is_ok());
    }

    fn listen(&self) -> std::sync::mpsc::Receiver<Value> {
        let (sender, receiver) = channel();
        for attached in lock(&self.attached).iter() {
            let _ = sender.send(self.listed(attached));
        }
        lock(&self.listeners).push(sender);
        receiver
    }

    /// How a device is listed.
    fn listed(&self, attached: &Attached) -> Value {
        let mut serial = attached.device.udid().to_owned();
        if *lock(&self.drops_dashes) {
            serial.retain(|letter| letter != '-');
        }
        let mut properties = Dictionary::new();
        let mut add = |key: &str, value: Value| properties.insert(key.to_owned(), value);
        add("DeviceID", attached.id.into());
        add("SerialNumber", serial.as_str().into());
        match attached.way {
            Way::Usb => {
                add("ConnectionType", "USB".into());
                add("ConnectionSpeed", 480_000_000_u64.into());
                add("LocationID", 0x0001_0000_u64.into());
                add("ProductID", 0x12a8_u64.into());
            }
            Way::Wifi => {
                add("ConnectionType", "Network".into());
                add("EscapedFullServiceName", format!("{serial}._apple-mobdev2._tcp.local.").into());
                add("InterfaceIndex", 1_u64.into());
                add("NetworkAddress", Value::Data(sockaddr(attached.device.wifi_address())));
            }
        }
        message("Attached", [("DeviceID", attached.id.into()), ("Properties", properties.into())])
    }
}

/// An address as BSD's `sockaddr_storage` has it, with its length before it: 128 bytes, of which most are zero.
fn sockaddr(address: Option<SocketAddr>) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    if let Some(SocketAddr::V4(address)) = address {
        bytes[..2].copy_from_slice(&[16, 2]);
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        bytes[4..8].copy_from_slice(&address.ip().octets());
    }
    bytes
}

fn message<const N: usize>(kind: &str, values: [(&str, Value); N]) -> Value {
    let values = values.into_iter().map(|(key, value)| (key.to_owned(), value));
    let mut message = values.collect::<Dictionary>();
    message.insert("MessageType".to_owned(), kind.into());
    Value::Dictionary(message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
