//! The services of the phone: their names, what they need, and what they are handed.

mod afc;
mod heartbeat;
mod icons;
mod installed;
mod notifications;

use std::io;
use std::sync::Arc;

pub use afc::Folder;
pub use installed::App;
pub use notifications::Hub;

use super::device::{Device, Way};
use super::pairing::Pairing;
use super::wire::Wire;

/// A service: serves one connection to its end.
pub trait Service: Send + Sync {
    /// Serves one connection. TLS is up when it has to be.
    ///
    /// # Errors
    ///
    /// When the connection breaks, or the client says what no client says.
    fn serve(&self, session: Session) -> io::Result<()>;
}

/// One connection to a service.
#[derive(Debug)]
pub struct Session {
    /// The bytes, without their TLS.
    pub wire: Wire,
    /// The phone.
    pub device: Arc<Device>,
    /// The host; `None` with the services that need no trust.
    pub pairing: Option<Arc<Pairing>>,
    /// Whether the host gave its escrow bag when it started the service: the phone's keys are open although it is locked.
    pub escrow: bool,
    /// The name of the service.
    pub name: String,
}

impl Session {
    /// How the client has come.
    pub fn way(&self) -> Way {
        self.wire.way()
    }
}

/// A service as lockdownd knows it.
pub struct Known {
    /// Who serves.
    pub service: Arc<dyn Service>,
    /// Whether a host that is not trusted gets it too, without TLS.
    pub is_insecure: bool,
    /// Whether it needs the phone's keys: not while it is locked, but for hosts that give their escrow bag.
    pub needs_keys: bool,
}

/// Finds a service by its name.
pub fn find(name: &str, device: &Arc<Device>) -> Option<Known> {
    let plain = |service: Arc<dyn Service>| Some(Known { service, is_insecure: false, needs_keys: false });
    match name {
        "com.apple.mobile.notification_proxy" => plain(Arc::new(notifications::NotificationProxy)),
        "com.apple.mobile.insecure_notification_proxy" => {
            Some(Known { service: Arc::new(notifications::NotificationProxy), is_insecure: true, needs_keys: false })
        }
        "com.apple.mobile.heartbeat" => plain(Arc::new(heartbeat::Heartbeat)),
        "com.apple.afc" => plain(Arc::new(afc::Afc)),
        "com.apple.mobile.installation_proxy" => plain(Arc::new(installed::InstallationProxy)),
        "com.apple.springboardservices" => plain(Arc::new(icons::SpringBoard)),
        "com.apple.mobilebackup2" => {
            Some(Known { service: Arc::new(device.backup.clone()), is_insecure: false, needs_keys: true })
        }
        _ => None,
    }
}
