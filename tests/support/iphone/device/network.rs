//! The phone in the network: lockdownd on an address of the loopback interface, at its usual port, and a port for each service.
//!
//! Who is connected by the network has to answer the heartbeat; otherwise everything is dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::super::wire::Socket;
use super::{Device, LOCKDOWN_PORT, Target, Waiting, Way};

/// How long a port of a service waits for its connection.
const PORT_STAYS_OPEN: Duration = Duration::from_secs(30);

/// What there is of the network.
#[derive(Debug, Default)]
pub(super) struct Network {
    listener: Mutex<Option<(SocketAddr, Arc<TcpListener>)>>,
    heard: Mutex<Option<Instant>>,
}

impl Network {
    /// A Polo has come, or the first connection.
    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn silent_for(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |heard| heard.elapsed())
    }
}

impl Device {
    /// Where lockdownd is in the network.
    pub fn wifi_address(&self) -> Option<SocketAddr> {
        self.network.listener.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(address, _)| *address)
    }

    /// Switches connections of the network on or off, as `EnableWifiConnections` does.
    pub fn set_wifi(self: &Arc<Self>, on: bool) {
        self.set(|state| state.set_value("com.apple.mobile.wireless_lockdown", "EnableWifiConnections", on));
        if !on {
            return self.set_wifi_off();
        }
        let mut own = self.network.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_some() || self.is_stopped() {
            return;
        }
        // Another phone may have the address.
        let listener = (0..100).find_map(|_| {
            let [a, b, c] = rand::rng().random::<[u8; 3]>();
            TcpListener::bind((Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)), LOCKDOWN_PORT)).ok()
        });
        let listener = Arc::new(listener.unwrap());
        *own = Some((listener.local_addr().unwrap(), Arc::clone(&listener)));
        let device = Arc::clone(self);
        let accepting = Arc::clone(&listener);
        thread::spawn(move || {
            while let Ok((socket, _)) = accepting.accept() {
                let device = Arc::clone(&device);
                thread::spawn(move || device.serve(Target::Lockdown, Socket::Tcp(socket), Way::Wifi));
            }
        });
        let device = Arc::clone(self);
        thread::spawn(move || device.watch());
    }

    pub(super) fn set_wifi_off(&self) {
        let listener = self.network.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((_, listener)) = listener {
            let _ = rustix::net::shutdown(&*listener, rustix::net::Shutdown::Both);
        }
        self.cut(Way::Wifi);
    }

    /// A Polo has come.
    pub fn heard_polo(&self) {
        self.network.heard();
        self.note(|seen| seen.polos += 1);
    }

    /// Drops everything whenever nobody has answered the heartbeat for too long.
    fn watch(&self) {
        while !self.is_stopped() && self.wifi_address().is_some() {
            thread::sleep(Duration::from_millis(20));
            let is_used = self.lines().values().any(|line| line.way == Way::Wifi);
            if is_used && self.network.silent_for() > self.settings.patience {
                self.note(|seen| seen.dropped += 1);
                self.network.heard();
                self.cut(Way::Wifi);
            }
        }
    }

    /// Opens a port for one connection to a service by the network.
    pub(super) fn open_network_port(self: &Arc<Self>, waiting: Waiting) -> io::Result<u16> {
        let own = self.wifi_address().ok_or(io::ErrorKind::NotConnected)?;
        let listener = TcpListener::bind((own.ip(), 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let device = Arc::clone(self);
        thread::spawn(move || {
            let begun = Instant::now();
            while begun.elapsed() < PORT_STAYS_OPEN && !device.is_stopped() {
                if let Ok((socket, _)) = listener.accept() {
                    drop(listener);
                    if socket.set_nonblocking(false).is_ok() {
                        device.serve(Target::Service(waiting), Socket::Tcp(socket), Way::Wifi);
                    }
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Ok(port)
    }
}
