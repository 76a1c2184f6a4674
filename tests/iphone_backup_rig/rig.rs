//! A phone of which there is nothing but the service, and a host with a folder, which is the library that holdall uses.

#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use idevice::mobilebackup2::{FsBackupDelegate, MobileBackup2Client, RestoreOptions};
use idevice::{Idevice, IdeviceError, IdeviceService};
use plist::{Dictionary, Value};

use crate::folder::holds_everything;
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

pub type Ended = Result<Option<Dictionary>, IdeviceError>;

impl Rig {
    pub fn new(files: Files) -> Self {
        Self { agent: Agent::new(files), around: Arc::default(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join(UDID)
    }

    /// One connection, as a client of the library has it.
    pub fn connect<T>(&self, act: impl AsyncFnOnce(&mut MobileBackup2Client, &Path) -> T) -> T {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (agent, around) = (self.agent.clone(), Arc::clone(&self.around));
        let phone = thread::spawn(move || {
            let mut stream = theirs;
            agent.serve(&mut stream, true, &*around)
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let result = runtime.block_on(async {
            ours.set_nonblocking(true).unwrap();
            let mut idevice = Idevice::new(Box::new(tokio::net::UnixStream::from_std(ours).unwrap()), "rig");
            idevice.set_udid(UDID);
            let mut client = MobileBackup2Client::from_stream(idevice).await.unwrap();
            let result = act(&mut client, self.folder.path()).await;
            let _ = client.disconnect().await;
            result
        });
        drop(runtime);
        let _ = phone.join().unwrap();
        result
    }

    pub fn try_backup(&self, full: bool) -> Ended {
        fs::create_dir_all(self.root()).unwrap();
        let options = Dictionary::from_iter([("ForceFullBackup".to_owned(), Value::Boolean(full))]);
        self.connect(async |client, folder| {
            client.backup_from_path(folder, None, Some(options), &FsBackupDelegate).await
        })
    }

    /// A backup that must succeed, and hold what the phone has.
    pub fn backup(&self) {
        assert_eq!(code(&self.try_backup(false)), 0, "{:?}", self.agent.seen());
        holds_everything(&self.root(), &self.agent.files());
    }

    pub fn restore(&self, password: Option<&str>) -> Ended {
        let mut options = RestoreOptions::new();
        if let Some(password) = password {
            options = options.with_password(password);
        }
        self.connect(async |client, folder| {
            client.restore_from_path(folder, None, Some(options), &FsBackupDelegate).await
        })
    }
}

/// The code that a request ended with.
pub fn code(ended: &Ended) -> u64 {
    ended.as_ref().unwrap().as_ref().unwrap()["ErrorCode"].as_unsigned_integer().unwrap()
}

/// What a backup ended with, whatever that was.
pub fn ended(rig: &Rig) -> Result<u64, String> {
    match rig.try_backup(false) {
        Ok(Some(answer)) => Ok(answer["ErrorCode"].as_unsigned_integer().unwrap()),
        Ok(None) => Err("disconnected".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub fn state(rig: &Rig) -> String {
    let status = Value::from_file(rig.root().join("Status.plist")).unwrap().into_dictionary().unwrap();
    status["SnapshotState"].as_string().unwrap().to_owned()
}
