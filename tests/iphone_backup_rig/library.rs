//! The library that holdall uses, straight on the service: every step of backups and restores, and every fault.

#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use idevice::mobilebackup2::{FsBackupDelegate, MobileBackup2Client, RestoreOptions};
use idevice::{Idevice, IdeviceError, IdeviceService};
use plist::{Dictionary, Value};

use crate::folder::{holds_everything, place};
use crate::support::iphone::backup::{Agent, Around, Content, Files};

const UDID: &str = "00008110-000A1B2C3D4E5F60";

/// The rest of a phone, of which there is none.
#[derive(Default)]
struct Alone {
    posted: Mutex<Vec<String>>,
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
struct Rig {
    agent: Agent,
    around: Arc<Alone>,
    folder: tempfile::TempDir,
}

type Ended = Result<Option<Dictionary>, IdeviceError>;

impl Rig {
    fn new(files: Files) -> Self {
        Self { agent: Agent::new(files), around: Arc::default(), folder: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join(UDID)
    }

    /// One connection, as a client of the library has it.
    fn connect<T>(&self, act: impl AsyncFnOnce(&mut MobileBackup2Client, &Path) -> T) -> T {
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

    fn try_backup(&self, full: bool) -> Ended {
        fs::create_dir_all(self.root()).unwrap();
        let options = Dictionary::from_iter([("ForceFullBackup".to_owned(), Value::Boolean(full))]);
        self.connect(async |client, folder| {
            client.backup_from_path(folder, None, Some(options), &FsBackupDelegate).await
        })
    }

    /// A backup that must succeed, and hold what the phone has.
    fn backup(&self) {
        assert_eq!(code(&self.try_backup(false)), 0, "{:?}", self.agent.seen());
        holds_everything(&self.root(), &self.agent.files());
    }

    fn restore(&self, password: Option<&str>) -> Ended {
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
fn code(ended: &Ended) -> u64 {
    ended.as_ref().unwrap().as_ref().unwrap()["ErrorCode"].as_unsigned_integer().unwrap()
}

fn names(names: &[(String, String)]) -> Vec<&str> {
    names.iter().map(|(_, path)| &**path).collect()
}

#[test]
fn a_full_backup_holds_what_the_phone_has_and_an_incremental_one_sends_what_changed() {
    let rig = Rig::new(Files::typical(1));
    rig.backup();
    assert_eq!(rig.agent.seen().full, Some(true));

    rig.agent.forget();
    rig.backup();
    let seen = rig.agent.seen();
    assert_eq!((seen.full, seen.sent.len(), seen.copied.len(), seen.removed), (Some(false), 0, 0, 0));

    rig.agent.forget();
    rig.agent
        .files()
        .change("HomeDomain", "Library/SMS/sms.db", Content::seeded(99, 140_000))
        .add("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0010.JPG", Content::seeded(98, 50_000))
        .rename("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0001.JPG", "CameraRollDomain", "Media/DCIM/101APPLE/A.JPG")
        .clone_file("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0002.JPG", "Media/DCIM/100APPLE/IMG_0002 2.JPG")
        .remove("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0003.JPG");
    rig.backup();
    let seen = rig.agent.seen();
    assert_eq!(seen.full, Some(false));
    assert_eq!(names(&seen.sent), ["Media/DCIM/100APPLE/IMG_0010.JPG", "Library/SMS/sms.db"]);
    assert_eq!(names(&seen.copied), ["Media/DCIM/100APPLE/IMG_0002 2.JPG", "Media/DCIM/101APPLE/A.JPG"]);
    assert_eq!(seen.removed, 2);
}

#[test]
fn a_restore_brings_back_what_was_backed_up() {
    let rig = Rig::new(Files::typical(2));
    rig.backup();
    assert_eq!(code(&rig.restore(None)), 0);
    let restored = rig.agent.restored().unwrap();
    assert_eq!(restored.differences(&rig.agent.files()), Vec::<String>::new());
    assert!(restored.options.contains_key("RestorePreserveSettings"), "{:?}", restored.options);

    rig.agent.files().change("HomeDomain", "Library/SMS/sms.db", "changed");
    assert_eq!(restored.differences(&rig.agent.files()).len(), 1);

    fs::remove_file(rig.root().join(place("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0004.JPG"))).unwrap();
    assert_eq!(code(&rig.restore(None)), 4);
    let restored = rig.agent.restored().unwrap();
    assert_eq!(restored.missing.len(), 1);
    assert_eq!(restored.missing[0].0, "CameraRollDomain/Media/DCIM/100APPLE/IMG_0004.JPG");
    assert_eq!(rig.agent.seen().untold, 0);

    rig.agent.set(|settings| settings.find_my = true);
    assert_eq!(code(&rig.restore(None)), 211);
}
