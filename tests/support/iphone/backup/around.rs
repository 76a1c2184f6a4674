//! What backups need of the rest of the phone, and how they end before their end.

use std::io;

use plist::Value;

/// The rest of the phone, as far as backups need it.
pub trait Around: Send + Sync {
    /// The phone's `UniqueDeviceID`.
    fn udid(&self) -> String;
    /// What lockdownd says of this key without a domain.
    fn lockdown(&self, key: &str) -> Option<Value>;
    /// The bundle identifiers of the apps that the user has installed.
    fn apps(&self) -> Vec<String>;
    /// Tells whoever observes this notification.
    fn post(&self, notification: &str);
    /// Whether the phone is locked.
    fn locked(&self) -> bool;
    /// What AFC would give for this path.
    fn media(&self, path: &str) -> Option<Vec<u8>>;
    /// What `WillEncrypt` of the domain `com.apple.mobile.backup` is from now on.
    fn encrypts(&self, on: bool);
}

/// Why a request ends before its end.
#[derive(Debug)]
pub enum End {
    /// The phone says so, with this code of `MBErrorDomain` and this text.
    Refused(u64, String),
    /// The connection is of no use any more.
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl End {
    /// An end with a code, and the text that a phone has for it.
    pub fn code(code: u64, text: &str) -> Self {
        Self::Refused(code, format!("{text} (MBErrorDomain/{code})"))
    }
}
