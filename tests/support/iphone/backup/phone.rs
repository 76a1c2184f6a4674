//! The agent in its phone: a service among the others, which knows the rest of the phone as [`Around`].

use std::io;
use std::sync::Arc;

use plist::Value;

use super::super::device::Device;
use super::super::services::{Service, Session};
use super::agent::Agent;
use super::around::Around;
use super::files::Files;
use super::settings::Settings;

/// What there is to back up when a phone starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// What is on it.
    pub files: Files,
    /// How it is set.
    pub settings: Settings,
}

impl Default for Start {
    fn default() -> Self {
        Self { files: Files::typical(1), settings: Settings::default() }
    }
}

impl Agent {
    /// That of a phone that starts so.
    pub(in super::super) fn start(start: &Start) -> Self {
        let agent = Self::new(start.files.clone());
        agent.set(|settings| *settings = start.settings.clone());
        agent
    }
}

impl Service for Agent {
    fn serve(&self, mut session: Session) -> io::Result<()> {
        let device = Arc::clone(&session.device);
        Self::serve(self, &mut session.wire, session.escrow, &device)
    }
}

impl Device {
    /// Sets the password of backups, or forgets it, as if somebody had done that with another computer.
    pub fn encrypt_backups(&self, password: Option<&str>) {
        self.backup.set_password(password);
        self.set(|state| state.set_value("com.apple.mobile.backup", "WillEncrypt", password.is_some()));
    }
}

impl Around for Arc<Device> {
    fn udid(&self) -> String {
        Device::udid(self).to_owned()
    }

    fn lockdown(&self, key: &str) -> Option<Value> {
        self.get(|state| state.value("", key).cloned())
    }

    fn apps(&self) -> Vec<String> {
        Device::apps(self).iter().filter(|app| app.is_users).map(|app| app.bundle.clone()).collect()
    }

    fn post(&self, notification: &str) {
        Device::post(self, notification);
    }

    fn locked(&self) -> bool {
        self.get(|state| state.locked)
    }

    fn media(&self, path: &str) -> Option<Vec<u8>> {
        self.media.read(path)
    }

    fn encrypts(&self, on: bool) {
        self.set(|state| state.set_value("com.apple.mobile.backup", "WillEncrypt", on));
    }
}
