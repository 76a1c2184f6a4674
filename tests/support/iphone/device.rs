//! The phone as its services share it: what it is like, who is connected, and what it was told.

mod announce;
mod network;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plist::Dictionary;

use super::backup::Agent;
use super::identity::Identity;
use super::lockdown;
use super::pairing::Pairing;
use super::services::{App, Folder, Hub, Service, Session};
use super::state::{Faults, Manner, Settings, State, Trust};
use super::wire::{Line, Socket, Wire};

/// The port of lockdownd.
pub const LOCKDOWN_PORT: u16 = 62078;

/// How a client comes to the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// By a cable.
    Usb,
    /// By the network.
    Wifi,
}

/// What a phone was told, in the order in which it came.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The requests to lockdownd, whole.
    pub lockdown: Vec<Dictionary>,
    /// The services that were connected to.
    pub services: Vec<String>,
    /// Private keys that came in pairing records. A host has no reason to send them.
    pub private_keys: usize,
    /// The escrow bags that came.
    pub escrow_bags: Vec<Vec<u8>>,
    /// Why connections were refused in TLS.
    pub refused_tls: Vec<String>,
    /// The names of the notifications that were posted to it.
    pub posted: Vec<String>,
    /// How many Polos came.
    pub polos: usize,
    /// How often all connections of the network were dropped for want of a Polo.
    pub dropped: usize,
    /// Why services ended in another way than by a client that has what it wanted.
    pub troubles: Vec<String>,
}

/// A port that waits for its one connection.
struct Waiting {
    name: String,
    service: Arc<dyn Service>,
    pairing: Option<Arc<Pairing>>,
    has_tls: bool,
    escrow: bool,
}

/// What a client reaches at a port.
enum Target {
    Lockdown,
    Service(Waiting),
}

/// A phone, as its services share it.
pub struct Device {
    settings: Settings,
    state: Mutex<State>,
    changed: Condvar,
    seen: Mutex<Seen>,
    lines: Mutex<HashMap<u64, Arc<Line>>>,
    number: AtomicU64,
    ports: Mutex<HashMap<u16, Waiting>>,
    network: network::Network,
    /// Who waits for which notification.
    pub hub: Hub,
    /// What programs see of it by AFC.
    pub media: Folder,
    /// What it backs up and restores.
    pub backup: Agent,
    stopped: AtomicBool,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Device {}", self.settings.udid)
    }
}

impl Device {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let identity = Identity::make();
        let mut values = lockdown::values(&settings);
        let key = plist::Value::Data(identity.public_pem());
        values.entry(String::new()).or_default().insert("DevicePublicKey".to_owned(), key);
        let state = State {
            locked: false,
            before_first_unlock: false,
            trust: Trust::default(),
            values,
            pairings: HashMap::new(),
            identity,
            impostor: None,
            manner: Manner::default(),
            faults: Faults::default(),
        };
        let device = Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            seen: Mutex::default(),
            lines: Mutex::default(),
            number: AtomicU64::new(1),
            ports: Mutex::default(),
            network: network::Network::default(),
            hub: Hub::default(),
            media: Folder::with_sync_lock(),
            backup: Agent::start(&settings.backup),
            stopped: AtomicBool::new(false),
            settings,
        });
        if device.settings.wifi {
            device.set_wifi(true);
        }
        device
    }

    /// Its `UniqueDeviceID`.
    pub fn udid(&self) -> &str {
        &self.settings.udid
    }

    /// What it was like when it started.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is installed.
    pub fn apps(&self) -> &[App] {
        &self.settings.apps
    }

    /// Changes what the phone is like, and wakes who waits for that.
    pub fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.changed.notify_all();
        outcome
    }

    /// Looks at what the phone is like.
    pub fn get<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until something is so, at most for a time, or until the phone is gone; tells whether it is.
    pub fn wait_until(&self, most: Duration, mut is_so: impl FnMut(&State) -> bool) -> bool {
        let end = Instant::now() + most;
        let mut state = self.lock();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if is_so(&state) {
                return true;
            }
            if left.is_zero() || self.is_stopped() {
                return false;
            }
            // Not all of what ends the wait is told.
            let step = left.min(Duration::from_millis(50));
            state = self.changed.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What it was told until now.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what it was told.
    pub fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Posts a notification, as a process on the phone does.
    pub fn post(&self, name: &str) {
        self.hub.post(name);
    }

    /// Forgets everybody, and makes a new key: what comes of erasing it.
    pub fn reset(&self) {
        let identity = Identity::make();
        self.set(|state| {
            state.pairings.clear();
            state.trust = Trust::Pending;
            state.set_value("", "DevicePublicKey", plist::Value::Data(identity.public_pem()));
            state.identity = identity;
        });
    }

    /// Nothing goes through the air for a time, in either direction.
    pub fn lose_wifi_for(&self, time: Duration) {
        self.set(|state| state.faults.air_is_dead_until = Some(Instant::now() + time));
    }

    /// Cuts all connections of one way.
    pub fn cut(&self, way: Way) {
        for line in self.lines().values().filter(|line| line.way == way) {
            line.cut();
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.backup.stop();
        self.set_wifi_off();
        for line in self.lines().values() {
            line.cut();
        }
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn add_line(&self, line: &Arc<Line>) -> u64 {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut lines = self.lines();
        if line.way == Way::Wifi && !lines.values().any(|line| line.way == Way::Wifi) {
            self.network.heard();
        }
        lines.insert(number, Arc::clone(line));
        number
    }

    pub(super) fn remove_line(&self, number: u64) {
        self.lines().remove(&number);
    }

    /// Opens a port for one connection to a service.
    pub(super) fn open_port(
        self: &Arc<Self>,
        way: Way,
        (name, service): (&str, Arc<dyn Service>),
        pairing: Option<Arc<Pairing>>,
        has_tls: bool,
        escrow: bool,
    ) -> std::io::Result<u16> {
        let waiting = Waiting { name: name.to_owned(), service, pairing, has_tls, escrow };
        if way == Way::Wifi {
            return self.open_network_port(waiting);
        }
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let port = (49152..=u16::MAX).find(|port| *port != LOCKDOWN_PORT && !ports.contains_key(port)).unwrap();
        ports.insert(port, waiting);
        Ok(port)
    }

    /// A client that came by USB wants a port; `None` when nobody listens there.
    pub(super) fn answer(self: &Arc<Self>, port: u16) -> Option<impl FnOnce(Socket) + Send + use<>> {
        let refuses = self.get(|state| state.faults.refuses_connections);
        let target = match port {
            _ if refuses || self.is_stopped() => return None,
            LOCKDOWN_PORT => Target::Lockdown,
            _ => Target::Service(self.ports.lock().unwrap_or_else(PoisonError::into_inner).remove(&port)?),
        };
        let device = Arc::clone(self);
        Some(move |socket| device.serve(target, socket, Way::Usb))
    }

    /// Serves one connection to its end.
    fn serve(self: &Arc<Self>, target: Target, socket: Socket, way: Way) {
        let outcome = match target {
            Target::Lockdown => lockdown::serve(Wire::new(self, socket, way, lockdown::NAME), self),
            Target::Service(waiting) => {
                self.note(|seen| seen.services.push(waiting.name.clone()));
                let mut wire = Wire::new(self, socket, way, &waiting.name);
                let secured = match &waiting.pairing {
                    Some(pairing) if waiting.has_tls => wire.start_tls(pairing),
                    _ => Ok(()),
                };
                let Waiting { name, pairing, escrow, .. } = waiting;
                let session = Session { wire, device: Arc::clone(self), pairing, escrow, name };
                secured.and_then(|()| waiting.service.serve(session))
            }
        };
        // A client that left before it was answered is no trouble.
        if let Err(error) = outcome
            && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
        {
            self.note(|seen| seen.troubles.push(error.to_string()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<u64, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
