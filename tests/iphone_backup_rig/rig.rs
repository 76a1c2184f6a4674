//! A phone of which there is nothing but the service, and a host with a folder.

#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use plist::{Dictionary, Value};

use crate::folder::holds_everything;
use crate::host::Host;
use crate::support::iphone::backup::{Agent, Around, Files};

pub const UDID: &str = "00008110-000A1B2C3D4E5F60";

/// The rest of a phone, of which there is none.
#[derive(Default)]
pub struct Alone {
    pub posted: Mutex<Vec<String>>,
}

impl Around for Alone {
    fn udid(&self) -> String {
        UDID.to_owned()
    }

    fn lockdown(&self, key: &str) -> Option<Value> {
        (key == "ProductVersion").then(|| Value::String("17.5.1".to_owned()))
    }

    fn apps(&self) -> Vec<String> {
        vec!["com.example.notes".to_owned()]
    }

    fn post(&self, notification: &str) {
        self.posted.lock().unwrap().push(notification.to_owned());
    }

    fn locked(&self) -> bool {
        false
    }

    fn media(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn encrypts(&self, _: bool) {}
}

/// A phone and a host with a folder.
pub struct Rig {
    pub agent: Agent,
    pub around: Arc<Alone>,
    folder: tempfile::TempDir,
}

pub type Ended = io::Result<Option<Dictionary>>;

impl Rig {
    pub fn new(files: Files) -> Self {
        Self { agent: Agent::new(files), around: Arc::default(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join(UDID)
    }

    /// One request on a connection of its own, of a host where so many bytes are free.
    pub fn request<'a>(&self, free: u64, name: &str, rest: impl IntoIterator<Item = (&'a str, Value)>) -> Ended {
        fs::create_dir_all(self.root()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (agent, around) = (self.agent.clone(), Arc::clone(&self.around));
        let phone = thread::spawn(move || {
            let mut stream = theirs;
            agent.serve(&mut stream, true, &*around)
        });
        let mut host = Host::new(ours, self.folder.path(), free).unwrap();
        let target = ("TargetIdentifier", Value::String(UDID.to_owned()));
        let result = host.request(name, rest.into_iter().chain([target]));
        if result.is_ok() {
            // A phone that has left does not hear it.
            let _ = host.disconnect();
        }
        drop(host);
        // How it ended for the phone is in what it has seen.
        let _ = phone.join().unwrap();
        result
    }

    pub fn try_backup(&self) -> Ended {
        self.request(1 << 40, "Backup", [])
    }

    /// A backup that must succeed, and hold what the phone has.
    #[track_caller]
    pub fn backup(&self) {
        assert_eq!(code(&self.try_backup()), 0, "{:?}", self.agent.seen());
        holds_everything(&self.root(), &self.agent.files());
    }

    pub fn restore(&self, password: Option<&str>) -> Ended {
        let mut options = Dictionary::new();
        options.insert("RestorePreserveSettings".to_owned(), Value::Boolean(true));
        if let Some(password) = password {
            options.insert("Password".to_owned(), password.into());
        }
        self.request(0, "Restore", [("Options", Value::Dictionary(options))])
    }
}

/// The code that a request ended with.
#[track_caller]
pub fn code(ended: &Ended) -> u64 {
    ended.as_ref().unwrap().as_ref().unwrap()["ErrorCode"].as_unsigned_integer().unwrap()
}

/// What a backup ended with, whatever that was.
pub fn ended(rig: &Rig) -> Result<u64, String> {
    match rig.try_backup() {
        Ok(Some(answer)) => Ok(answer["ErrorCode"].as_unsigned_integer().unwrap()),
        Ok(None) => Err("disconnected".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub fn state(rig: &Rig) -> String {
    let status = Value::from_file(rig.root().join("Status.plist")).unwrap().into_dictionary().unwrap();
    status["SnapshotState"].as_string().unwrap().to_owned()
}
