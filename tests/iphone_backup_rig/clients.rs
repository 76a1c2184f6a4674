//! Other people's clients, through the muxer: `idevicebackup2` of Debian and `pymobiledevice3` of PyPI.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::folder::{holds_everything, in_folder};
use crate::support::iphone::backup::{Content, Faults, Files, Passcode, Start};
use crate::support::iphone::{Phone, Settings, Trust};

/// A phone that trusts this machine.
fn phone(files: Files) -> Phone {
    let backup = Start { files, ..Start::default() };
    let phone = Phone::start(Settings { backup, ..Settings::default() });
    phone.set(|state| state.trust = Trust::Accepted);
    run(&phone, "idevicepair", &["pair"]).ok();
    phone
}

/// How a client ended.
struct Ended {
    text: String,
    success: bool,
}

impl Ended {
    #[track_caller]
    fn ok(self) -> String {
        assert!(self.success, "{}", self.text);
        self.text
    }

    #[track_caller]
    fn fails_with(self, text: &str) {
        assert!(!self.success, "{}", self.text);
        assert!(self.text.contains(text), "{}", self.text);
    }
}

fn run(phone: &Phone, program: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(program);
    command.args(arguments).env("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ended { text, success: output.status.success() }
}

fn idevicebackup2(phone: &Phone, arguments: &[&str], folder: &Path) -> Ended {
    run(phone, "idevicebackup2", &[arguments, &[folder.to_str().unwrap()]].concat())
}

#[test]
fn idevicebackup2_makes_full_and_incremental_backups_and_restores_them() {
    let phone = phone(Files::typical(1));
    let folder = tempfile::tempdir().unwrap();
    let text = idevicebackup2(&phone, &["backup"], folder.path()).ok();
    assert!(text.contains("Backup Successful."), "{text}");
    let root = in_folder(folder.path(), phone.udid());
    holds_everything(&root, &phone.backup.files());
    assert!(idevicebackup2(&phone, &["info"], folder.path()).ok().contains("State: finished"));
    assert!(idevicebackup2(&phone, &["list"], folder.path()).ok().contains("HomeDomain,Library/SMS/sms.db,"));

    phone.backup.forget();
    phone
        .backup
        .files()
        .change("HomeDomain", "Library/SMS/sms.db", Content::seeded(99, 140_000))
        .rename("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0001.JPG", "CameraRollDomain", "Media/DCIM/A.JPG")
        .remove("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0003.JPG");
    let text = idevicebackup2(&phone, &["backup"], folder.path()).ok();
    assert!(text.contains("Incremental backup mode."), "{text}");
    let seen = phone.backup.seen();
    assert_eq!((seen.full, seen.sent.len(), seen.copied.len(), seen.removed), (Some(false), 1, 1, 2));
    holds_everything(&root, &phone.backup.files());

    phone.backup.forget();
    idevicebackup2(&phone, &["backup", "--full"], folder.path()).ok();
    let seen = phone.backup.seen();
    assert_eq!((seen.full, seen.removed), (Some(true), 0));
    assert_eq!(seen.sent.len(), phone.backup.files().iter().filter(|(_, _, entry)| entry.content().is_some()).count());
    holds_everything(&root, &phone.backup.files());

    let text = idevicebackup2(&phone, &["restore", "--system", "--settings", "--remove"], folder.path()).ok();
    assert!(text.contains("Restore Successful."), "{text}");
    let restored = phone.backup.restored().unwrap();
    assert_eq!(restored.differences(&phone.backup.files()), Vec::<String>::new());
    assert!(restored.applications.is_some());
    for (option, value) in
        [("RestoreSystemFiles", true), ("RestorePreserveSettings", false), ("RemoveItemsNotRestored", true)]
    {
        assert_eq!(restored.options[option].as_boolean(), Some(value), "{option}");
    }
}
