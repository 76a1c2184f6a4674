//! Other people's clients, through the muxer: `idevicebackup2` of Debian and `pymobiledevice3` of PyPI.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::folder::{holds_everything, in_folder};
use crate::support::daemon::from_venv;
use crate::support::iphone::backup::{Ask, Content, Faults, Files, Passcode, Start};
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
    fn fails_with(self, text: &str) -> String {
        assert!(!self.success, "{}", self.text);
        assert!(self.text.contains(text), "{}", self.text);
        self.text
    }
}

fn run(phone: &Phone, program: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(program);
    finish(command.args(arguments).env("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd()))
}

fn finish(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
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

#[test]
fn idevicebackup2_encrypts_changes_the_password_and_restores() {
    let phone = phone(Files::typical(3));
    let folder = tempfile::tempdir().unwrap();
    let root = in_folder(folder.path(), phone.udid());
    idevicebackup2(&phone, &["backup"], folder.path()).ok();

    let text = idevicebackup2(&phone, &["encryption", "on", "first"], folder.path()).ok();
    assert!(text.contains("Backup encryption has been enabled successfully."), "{text}");
    assert!(run(&phone, "ideviceinfo", &["-q", "com.apple.mobile.backup", "-k", "WillEncrypt"]).ok().contains("true"));
    let text = idevicebackup2(&phone, &["changepw", "wrong", "second"], folder.path()).fails_with("ErrorCode 207");
    assert!(text.contains("Could not change backup encryption password."), "{text}");
    idevicebackup2(&phone, &["changepw", "first", "sécond 🔑"], folder.path()).ok();

    phone.backup.forget();
    idevicebackup2(&phone, &["backup"], folder.path()).ok();
    assert_eq!(phone.backup.seen().full, Some(true), "switching encryption makes a full backup");
    assert_eq!(read_encrypted(&root, "sécond 🔑"), expected(&phone.backup.files()));

    phone.backup.forget();
    phone
        .backup
        .files()
        .change("HomeDomain", "Library/SMS/sms.db", Content::seeded(7, 200_001))
        .rename("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0001.JPG", "CameraRollDomain", "Media/DCIM/A.JPG")
        .clone_file("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0002.JPG", "Media/DCIM/100APPLE/IMG_0002 2.JPG");
    idevicebackup2(&phone, &["backup"], folder.path()).ok();
    let seen = phone.backup.seen();
    assert_eq!((seen.full, seen.sent.len(), seen.copied.len(), seen.removed), (Some(false), 1, 2, 1));
    assert_eq!(read_encrypted(&root, "sécond 🔑"), expected(&phone.backup.files()));

    let restore = |password: &str| idevicebackup2(&phone, &["restore", "--password", password], folder.path());
    restore("wrong").fails_with("ErrorCode 207");
    restore("sécond 🔑").ok();
    let restored = phone.backup.restored().unwrap();
    assert_eq!(restored.differences(&phone.backup.files()), Vec::<String>::new());

    idevicebackup2(&phone, &["encryption", "off", "wrong"], folder.path()).fails_with("ErrorCode 207");
    idevicebackup2(&phone, &["encryption", "off", "sécond 🔑"], folder.path()).ok();
    idevicebackup2(&phone, &["backup"], folder.path()).ok();
    holds_everything(&root, &phone.backup.files());
}

#[test]
fn idevicebackup2_is_told_of_the_passcode_by_an_error_when_nobody_enters_it() {
    let phone = phone(Files::typical(4));
    let folder = tempfile::tempdir().unwrap();
    let gives_up_after = Duration::from_secs(1);
    phone.backup.set(|settings| settings.passcode = Some(Passcode { entered_after: None, gives_up_after }));
    let begun = Instant::now();
    idevicebackup2(&phone, &["backup"], folder.path()).fails_with("ErrorCode 208: Device locked (MBErrorDomain/208)");
    assert!(begun.elapsed() >= gives_up_after);
    assert!(phone.backup.seen().sent.is_empty());
    phone.backup.set(|settings| {
        settings.passcode = Some(Passcode { entered_after: Some(Duration::from_millis(10)), gives_up_after });
    });
    idevicebackup2(&phone, &["backup"], folder.path()).ok();
    holds_everything(&in_folder(folder.path(), phone.udid()), &phone.backup.files());
}

#[test]
fn pymobiledevice3_makes_backups_and_restores_them() {
    let phone = phone(Files::typical(5));
    let folder = tempfile::tempdir().unwrap();
    let root = in_folder(folder.path(), phone.udid());
    let directory = folder.path().to_str().unwrap();
    let home = tempfile::tempdir().unwrap();
    let backup2 = |arguments: &[&str]| pymobiledevice3(&phone, home.path(), arguments);
    backup2(&["backup", "--full", directory]).ok();
    holds_everything(&root, &phone.backup.files());
    assert_eq!(phone.backup.seen().full, Some(true));

    phone.backup.forget();
    phone.backup.files().change("HomeDomain", "Library/SMS/sms.db", Content::seeded(99, 140_000)).rename(
        "CameraRollDomain",
        "Media/DCIM/100APPLE/IMG_0001.JPG",
        "CameraRollDomain",
        "Media/DCIM/A.JPG",
    );
    backup2(&["backup", directory]).ok();
    let seen = phone.backup.seen();
    assert_eq!((seen.full, seen.sent.len(), seen.copied.len(), seen.removed), (Some(false), 1, 1, 1));
    holds_everything(&root, &phone.backup.files());
    assert!(backup2(&["info", directory]).ok().contains("State: finished"));

    backup2(&["restore", directory]).ok();
    let restored = phone.backup.restored().unwrap();
    assert_eq!(restored.differences(&phone.backup.files()), Vec::<String>::new());

    backup2(&["encryption", "-b", directory, "on", "secret"]).ok();
    backup2(&["backup", "--unback", "-p", "secret", directory]).ok();
    assert_eq!(read_encrypted(&root, "secret"), expected(&phone.backup.files()));
    let unpacked = fs::read(folder.path().join(format!("{}.unback/HomeDomain/Library/SMS/sms.db", phone.udid())));
    assert_eq!(unpacked.unwrap(), Content::seeded(99, 140_000).bytes());
    backup2(&["restore", "-p", "secret", directory]).ok();
    assert_eq!(phone.backup.restored().unwrap().differences(&phone.backup.files()), Vec::<String>::new());
}

#[test]
fn pymobiledevice3_refuses_paths_that_lead_out_and_says_what_the_phone_says() {
    let phone = phone(Files::typical(6));
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let home = tempfile::tempdir().unwrap();
    let backup = || pymobiledevice3(&phone, home.path(), &["backup", directory]);
    let asks = vec![Ask::Upload("../../../etc/evil".to_owned())];
    phone.backup.fault(Faults { asks, times: 1, ..Faults::default() });
    backup().fails_with("'..' components are not allowed");
    phone.backup.fault(Faults { refuse: Some((105, "no room".to_owned())), times: 1, ..Faults::default() });
    backup().fails_with("no room");
    backup().ok();
    holds_everything(&in_folder(folder.path(), phone.udid()), &phone.backup.files());
}

/// Its records of pairings go into `folder`.
fn pymobiledevice3(phone: &Phone, folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(from_venv("pymobiledevice3"));
    command.arg("backup2").args(arguments).env("USBMUXD_SOCKET_ADDRESS", phone.muxer().socket());
    finish(command.env("HOME", folder).env("_TYPER_STANDARD_TRACEBACK", "1"))
}

/// The SHA-1 of each file, its domain and path.
type Contents = Vec<(String, String, String)>;

/// What is in an encrypted backup, by a reader that knows nothing of this phone.
fn read_encrypted(root: &Path, password: &str) -> Contents {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/iphone_backup_rig/reader.py");
    let mut command = Command::new(from_venv("python3"));
    let mut child = command
        .arg(script)
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// What is on a phone, in the same form.
fn expected(files: &Files) -> Contents {
    let hex = |content: &Content| content.sha1().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let files = files.iter().filter_map(|(domain, path, entry)| Some((hex(entry.content()?), domain, path)));
    files.map(|(sha1, domain, path)| (sha1, domain.to_owned(), path.to_owned())).collect()
}
