//! What a phone with Wi-Fi sync tells the network: `_apple-mobdev2._tcp`, by multicast DNS. Only the loopback interface hears of it.
//!
//! The name begins with an address of its network card that it made up. Hosts that it trusts know it by `authTag`: the first eight bytes of an HMAC-SHA256 of
//! `identifier`, under a key that comes of their `HostID` by HKDF-SHA512 (`src/mdns.rs` of the crate `idevice`).

use std::collections::HashMap;

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use uuid::Uuid;

use super::Device;

const SERVICE: &str = "_apple-mobdev2._tcp.local.";

/// What phones announce, although lockdownd listens elsewhere.
const PORT: u16 = 32498;

/// Goes on announcing a phone; it is taken back when this is dropped.
pub struct Announced {
    daemon: ServiceDaemon,
    name: String,
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = self.daemon.unregister(&self.name).map(|done| done.recv());
        let _ = self.daemon.shutdown().map(|done| done.recv());
    }
}

impl Device {
    /// Announces it, as it is with Wi-Fi connections switched on and the screen on.
    ///
    /// # Panics
    ///
    /// When they are switched off.
    pub fn announce(&self) -> Announced {
        let address = self.wifi_address().expect("Wi-Fi connections are off").ip();
        let identifier = Uuid::new_v4().to_string().to_uppercase();
        let host = self.get(|state| state.pairings.keys().next().cloned());
        let mut facts = HashMap::from([("identifier".to_owned(), identifier.clone())]);
        facts.extend(host.map(|host| ("authTag".to_owned(), STANDARD.encode(auth_tag(&host, &identifier)))));
        let [_, a, b, c] = match address {
            std::net::IpAddr::V4(address) => address.octets(),
            std::net::IpAddr::V6(_) => [0; 4],
        };
        let instance = format!("a6:cf:99:{a:02x}:{b:02x}:{c:02x}@fe80::a4cf:99ff:fe{b:02x}:{c:02x}-supportsRP-24");
        let machine = format!("phone-{a}-{b}-{c}.local.");
        let daemon = ServiceDaemon::new().unwrap();
        daemon.disable_interface(IfKind::All).unwrap();
        daemon.enable_interface(IfKind::LoopbackV4).unwrap();
        let service = ServiceInfo::new(SERVICE, &instance, &machine, address, PORT, facts).unwrap();
        let name = service.get_fullname().to_owned();
        daemon.register(service).unwrap();
        Announced { daemon, name }
    }
}

/// What a trusted host knows the phone by.
fn auth_tag(host: &str, identifier: &str) -> [u8; 8] {
    let key: hmac::Key =
        hkdf::Salt::new(hkdf::HKDF_SHA512, &[]).extract(host.as_bytes()).expand(&[], hmac::HMAC_SHA256).unwrap().into();
    let mut tag = [0; 8];
    tag.copy_from_slice(&hmac::sign(&key, identifier.as_bytes()).as_ref()[..8]);
    tag
}
