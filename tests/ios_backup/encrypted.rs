//! Encrypted backups go through unchanged; with the password they are looked into, without it that is told.

use super::rig::Rig;
use super::support::iphone::Settings;
use super::support::iphone::backup::{Faults, Wrong};

const PASSWORD: &str = "0f the backups";

#[test]
fn encrypted_backup_is_looked_into_with_its_password() {
    let rig = Rig::with(Settings::default(), "encryption-password-file = \"{root}/phone.password\"\n");
    rig.env.write_secret("phone.password", PASSWORD);
    rig.phone.encrypt_backups(Some(PASSWORD));
    let saved = rig.saved(&[]);
    assert_eq!(saved["problems"], serde_json::json!([]));
    let photo = ("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0001.JPG");
    rig.phone.backup.files().change(photo.0, photo.1, "thirty-two bytes, and two more...");
    let file = Some((photo.0.to_owned(), photo.1.to_owned(), Wrong::Short(16)));
    rig.once(Faults { file, ..Faults::default() });
    let item = rig.backup(&[]).code(3).line("item");
    assert_eq!(item["problems"][0]["path"], format!("/{}/{}", photo.0, photo.1), "{item}");
    rig.saved(&[]);
    assert_eq!(rig.phone.backup.seen().full, Some(false));
}

#[test]
fn without_the_password_or_with_a_wrong_one_that_is_told() {
    let rig = Rig::new(Settings::default());
    rig.phone.encrypt_backups(Some(PASSWORD));
    let saved = rig.saved(&[]);
    let problem = saved["problems"][0]["error"].as_str().unwrap();
    assert!(problem.contains("could not be looked at: `encryption-password-file` is not set"), "{problem}");
    rig.saved(&[]);
    assert_eq!(rig.phone.backup.seen().full, Some(false));

    let rig = Rig::with(Settings::default(), "encryption-password-file = \"{root}/phone.password\"\n");
    rig.env.write_secret("phone.password", "another one");
    rig.phone.encrypt_backups(Some(PASSWORD));
    let problem = rig.saved(&[])["problems"][0]["error"].as_str().unwrap().to_owned();
    assert!(problem.contains("could not be looked at") && problem.contains("password"), "{problem}");
}

#[test]
fn switching_encryption_makes_the_next_backup_full_by_itself() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    rig.phone.encrypt_backups(Some(PASSWORD));
    rig.saved(&[]);
    assert_eq!(rig.phone.backup.seen().full, Some(true));
}
