//! `restore --in-place` to a phone: what it gets, what is asked and saved before, and what stops it.

use std::time::Duration;

use super::rig::Rig;
use super::support::iphone::Settings;
use super::support::iphone::backup::{At, Faults, Passcode, Trouble};
use super::support::outcome::Outcome;

const PASSWORD: &str = "0f the backups";

fn restore(rig: &Rig, arguments: &[&str]) -> Outcome {
    rig.env.run([&["restore", "ios.phone", "--in-place", "--yes"], arguments].concat())
}

/// What the phone says the restore before has brought, compared with what was on it when `files` were.
fn differences(rig: &Rig, files: &super::support::iphone::backup::Files) -> Vec<String> {
    let restored = rig.phone.backup.restored().expect("there was a restore");
    assert_eq!(
        (restored.missing.len(), restored.damaged.len()),
        (0, 0),
        "{:?} {:?}",
        restored.missing,
        restored.damaged
    );
    restored.differences(files)
}

#[test]
fn phone_gets_back_all_that_it_had() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    let before = rig.phone.backup.files().clone();
    rig.phone.backup.files().remove("HomeDomain", "Library/SMS/sms.db").add("HomeDomain", "new.txt", "new");
    restore(&rig, &[]).code(0).stderr_has("What is overwritten is saved").stderr_has("restarts now");
    assert_eq!(differences(&rig, &before), Vec::<String>::new());
    let restored = rig.phone.backup.restored().unwrap();
    let options: Vec<(&str, bool)> =
        restored.options.iter().map(|(key, value)| (key.as_str(), value.as_boolean().unwrap())).collect();
    let expected = [
        ("RestoreSystemFiles", false),
        ("RestoreShouldReboot", true),
        ("RestoreDontCopyBackup", true),
        ("RestorePreserveSettings", true),
        ("RemoveItemsNotRestored", false),
    ];
    assert_eq!(options, expected);
    let applications: plist::Dictionary = plist::from_bytes(&restored.applications.unwrap()).unwrap();
    assert!(!applications.is_empty());
    // What it was like before is a point, which can be given back, too.
    let points = rig.env.run(["list", "--json"]).code(0).json();
    assert!(points.as_array().unwrap().iter().any(|point| point["item"] == "ios.phone/before-restore"), "{points}");
    let now = rig.phone.backup.files().clone();
    rig.env.run(["restore", "ios.phone/before-restore", "--in-place", "--yes", "--no-safety"]).code(0);
    assert_eq!(differences(&rig, &now), Vec::<String>::new());
    rig.assert_nothing_is_left();
}

#[test]
fn options_are_those_of_idevicebackup2() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    rig.phone.backup.set(|settings| settings.copies_before_restore = true);
    let flags = [
        "--no-safety",
        "--system-files",
        "--replace-settings",
        "--copy",
        "--no-reboot",
        "--remove-others",
        "--skip-apps",
    ];
    restore(&rig, &flags).code(0).stderr_lacks("restarts now");
    let restored = rig.phone.backup.restored().unwrap();
    let is = |key: &str| restored.options.get(key).and_then(plist::Value::as_boolean).unwrap();
    assert!(is("RestoreSystemFiles") && is("RemoveItemsNotRestored"));
    assert!(!is("RestoreShouldReboot") && !is("RestoreDontCopyBackup") && !is("RestorePreserveSettings"));
    assert_eq!(restored.applications, None);
    assert_eq!(rig.points(), 1);
    let outcome = rig.env.run(["restore", "ios.phone", "--to", "x", "--system-files"]).code(2);
    drop(outcome);
}

#[test]
fn encrypted_point_goes_back_with_its_password_only() {
    let rig = Rig::new(Settings::default());
    rig.phone.encrypt_backups(Some(PASSWORD));
    rig.saved(&[]);
    let files = rig.phone.backup.files().clone();
    restore(&rig, &["--no-safety"]).code(1).stderr_has("encrypted");
    rig.env.write_secret("wrong", "not this one");
    let wrong = rig.env.path("wrong");
    restore(&rig, &["--no-safety", "--password-file", wrong.to_str().unwrap()]).code(1).stderr_has("password");
    assert_eq!(rig.phone.backup.seen().requests.len(), 1);
    rig.env.write_secret("right", PASSWORD);
    let right = rig.env.path("right");
    restore(&rig, &["--no-safety", "--password-file", right.to_str().unwrap()]).code(0);
    assert_eq!(differences(&rig, &files), Vec::<String>::new());
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_sent() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    let usage = [
        (&["ios.phone:HomeDomain", "--in-place", "--yes"][..], "a whole backup"),
        (&["ios.phone", "--in-place", "--yes", "--verify"], "cannot be read back"),
        (&["ios.phone", "--in-place", "--yes", "--stop"], "--stop has no meaning"),
        (&["ios.phone", "--in-place"], "no terminal"),
    ];
    for (arguments, expected) in usage {
        rig.env.run([&["restore"], arguments].concat()).code(2).stderr_has(expected);
    }
    rig.env.run(["restore", "ios.phone", "--in-place", "-n"]).code(0).stderr_has("would restore");
    rig.phone.unplug();
    restore(&rig, &[]).code(1).stderr_has("is away").stderr_has("Connect it");
    rig.phone.plug_in();
    assert_eq!(rig.phone.backup.seen().requests.len(), 1);

    rig.phone.backup.set(|settings| settings.find_my = true);
    restore(&rig, &["--no-safety"]).code(1).stderr_has("\"Find My\" is on").stderr_has("Turn it off on Anna's iPhone");
    rig.phone.backup.set(|settings| {
        settings.find_my = false;
        settings.passcode = Some(Passcode { entered_after: None, gives_up_after: Duration::from_secs(1) });
    });
    restore(&rig, &["--no-safety"])
        .code(1)
        .stderr_has("Enter the passcode on Anna's iPhone.")
        .stderr_has("nothing was restored: nobody entered the passcode");
}

#[test]
fn unfinished_or_incomplete_points_are_not_given_back() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    rig.once(Faults { connection: Some((At::Message(3), Trouble::Cut)), ..Faults::default() });
    restore(&rig, &["--no-safety"]).code(1).stderr_has("went away in the middle");
    rig.assert_nothing_is_left();
}
