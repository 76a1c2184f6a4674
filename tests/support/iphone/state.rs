//! What a phone is like when it starts, and what tests change about it while it runs.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use plist::{Dictionary, Value};

use super::backup;
use super::identity::Identity;
use super::pairing::Pairing;
use super::services::App;

/// What a phone is like when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `UniqueDeviceID`.
    pub udid: String,
    /// `DeviceName`.
    pub name: String,
    /// `ProductVersion`.
    pub version: String,
    /// Whether `EnableWifiConnections` was set at some time before.
    pub wifi: bool,
    /// How often it says Marco in the network.
    pub heartbeat: Duration,
    /// How long it keeps connections of the network without a Polo.
    pub patience: Duration,
    /// What is installed.
    pub apps: Vec<App>,
    /// What it has to back up.
    pub backup: backup::Start,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            udid: "00008110-000A1B2C3D4E5F60".to_owned(),
            name: "Anna's iPhone".to_owned(),
            version: "17.5.1".to_owned(),
            wifi: false,
            heartbeat: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            apps: App::examples(),
            backup: backup::Start::default(),
        }
    }
}

/// What its owner has answered to "Trust this computer?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Nothing yet: the question is on the screen.
    #[default]
    Pending,
    /// Trust.
    Accepted,
    /// Don't trust.
    Denied,
}

/// What can change about a phone.
#[derive(Debug)]
pub struct State {
    /// Whether the screen is locked with a passcode. It was unlocked since it started: services run, but pairing and what needs keys do not.
    pub locked: bool,
    /// Whether it was never unlocked since it started: no session is opened.
    pub before_first_unlock: bool,
    /// What is answered to a host that wants to pair.
    pub trust: Trust,
    /// What lockdownd says: keys and values of each domain; the domain without a name is the empty one.
    pub values: BTreeMap<String, Dictionary>,
    /// Whom it trusts, by `HostID`.
    pub pairings: HashMap<String, Pairing>,
    /// Its own key, which is made anew when it is reset.
    pub identity: Identity,
    /// Whom it takes everybody for, if it is an impostor.
    pub impostor: Option<Pairing>,
    /// How it speaks.
    pub manner: Manner,
    /// What goes wrong.
    pub faults: Faults,
}

impl State {
    /// Sets what lockdownd says.
    pub fn set_value(&mut self, domain: &str, key: &str, value: impl Into<Value>) {
        self.values.entry(domain.to_owned()).or_default().insert(key.to_owned(), value.into());
    }

    /// What lockdownd says.
    pub fn value(&self, domain: &str, key: &str) -> Option<&Value> {
        self.values.get(domain)?.get(key)
    }

    /// The same as a truth value; false when it is none.
    pub fn is_set(&self, domain: &str, key: &str) -> bool {
        self.value(domain, key).and_then(Value::as_boolean).unwrap_or(false)
    }
}

/// How a phone speaks: all of it is right, and clients have to understand it.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Services are plain connections, and lockdownd does not say `EnableServiceSSL`.
    pub services_without_tls: bool,
    /// lockdownd answers in binary property lists.
    pub binary: bool,
    /// lockdownd says `Result` in each answer, as before iOS 5.
    pub results: bool,
    /// What is sent comes in pieces of a few bytes.
    pub in_pieces: bool,
}

/// What goes wrong on demand, below the services.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// lockdownd closes the connection instead of answering its request of this number, the first being 1.
    pub lockdown_closes_at: Option<usize>,
    /// lockdownd answers its request of this number with these bytes, length and all.
    pub lockdown_answers: Option<(usize, Vec<u8>)>,
    /// Connections to the service of this name are cut after the phone has sent so many bytes in them (before TLS).
    pub cut_after: Option<(String, u64)>,
    /// Nothing comes any more of any connection to the service of this name, after so many bytes.
    pub stall_after: Option<(String, u64)>,
    /// The muxer lists it, but refuses connections.
    pub refuses_connections: bool,
    /// Until when nothing goes through the air, in either direction.
    pub air_is_dead_until: Option<Instant>,
    /// `StartService` of this service answers with this error.
    pub service_error: Option<(String, String)>,
}
