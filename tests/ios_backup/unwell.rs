//! What a phone says no with, or cannot give: each has its own message, and no point that looks whole.

use std::fs;
use std::time::Duration;

use super::rig::Rig;
use super::support::fault::Tmpfs;
use super::support::iphone::Settings;
use super::support::iphone::backup::{At, BadManifest, Faults, Passcode, Trouble, Wrong};

const PHOTO: (&str, &str) = ("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0003.JPG");

fn passcode(rig: &Rig, entered_after: Option<Duration>) {
    let gives_up_after = Duration::from_secs(4);
    rig.phone.backup.set(|settings| settings.passcode = Some(Passcode { entered_after, gives_up_after }));
}

fn file(wrong: Wrong) -> Faults {
    Faults { file: Some((PHOTO.0.to_owned(), PHOTO.1.to_owned(), wrong)), ..Faults::default() }
}

#[test]
fn passcode_is_asked_for_at_once_and_waited_for() {
    let rig = Rig::new(Settings::default());
    passcode(&rig, Some(Duration::from_secs(1)));
    rig.backup(&[]).code(0).stderr_has("Enter the passcode on Anna's iPhone.");
    assert_eq!(rig.phone.backup.seen().prompts, 1);
}

#[test]
fn who_does_not_enter_the_passcode_is_away() {
    let rig = Rig::new(Settings::default());
    passcode(&rig, None);
    let (why, outcome) = rig.away();
    outcome.stderr_has("Enter the passcode on Anna's iPhone.");
    assert!(why.contains("nobody entered the passcode on Anna's iPhone"), "{why}");
}

#[test]
fn phone_that_is_locked_when_it_matters_is_away() {
    let rig = Rig::new(Settings::default());
    let error = ("com.apple.mobilebackup2".to_owned(), "PasswordProtected".to_owned());
    rig.phone.set(|state| state.faults.service_error = Some(error));
    let (why, _) = rig.away();
    assert!(why.contains("locked"), "{why}");
}

#[test]
fn each_refusal_has_its_own_message() {
    let rig = Rig::new(Settings::default());
    let cases = [
        (
            105,
            "Insufficient free disk space on drive to back up (MBErrorDomain/105)",
            "are free in the staging directory",
            "Make room",
        ),
        (1, "The battery level is too low (MBErrorDomain/1)", "battery of Anna's iPhone is too low", "charger"),
        (
            1,
            "The device is in Airplane Mode (MBErrorDomain/1)",
            "Anna's iPhone is in Airplane Mode",
            "Turn Airplane Mode off",
        ),
        (
            1,
            "Cannot back up during a phone call (MBErrorDomain/1)",
            "a call is in progress on Anna's iPhone",
            "when it is over",
        ),
        (104, "Multiple errors uploading files (MBErrorDomain/104)", "could not send all files", "unlocked"),
        (205, "Error reading backup properties (MBErrorDomain/205)", "could not read the backup", "--full"),
        (9, "Something\u{1b}[2J odd (MBErrorDomain/9)", "error 9: Something\\u{1b}[2J odd", ""),
    ];
    for (code, text, expected, hint) in cases {
        let refuse_late = Some((code, text.to_owned()));
        rig.once(Faults { refuse_late, ..Faults::default() });
        let (error, hinted) = rig.failed();
        assert!(error.contains(expected) && hinted.contains(hint), "{code}: {error} ({hinted})");
    }
    rig.saved(&[]);
}

#[test]
fn file_that_the_phone_cannot_read_is_named() {
    let rig = Rig::new(Settings::default());
    rig.once(file(Wrong::Unreadable));
    let (error, _) = rig.failed();
    assert!(error.contains("could not read") && error.contains("IMG_0003.JPG"), "{error}");
    // The phone says that the backup is well without it.
    rig.once(file(Wrong::LeftOut));
    let outcome = rig.backup(&[]).code(0);
    let problems = outcome.line("item")["problems"].to_string();
    assert!(problems.contains("IMG_0003.JPG") && problems.contains("the device could not read it"), "{problems}");
}

#[test]
fn body_that_is_too_short_makes_the_point_incomplete_and_the_next_backup_full() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    rig.phone.backup.files().change(PHOTO.0, PHOTO.1, "this is what it should be");
    rig.once(file(Wrong::Short(5)));
    let outcome = rig.backup(&[]).code(3);
    let item = outcome.line("item");
    assert_eq!(item["outcome"], "incomplete");
    assert_eq!(item["problems"][0]["path"], format!("/{}/{}", PHOTO.0, PHOTO.1));
    assert_eq!(item["problems"][0]["error"], "the device sent 5 bytes, and says that it has 25");
    // The complete point before is gone on with; what the incomplete one has is sent again.
    let next = rig.saved(&[]);
    assert_eq!(rig.phone.backup.seen().sent, [(PHOTO.0.to_owned(), PHOTO.1.to_owned())]);
    rig.assert_holds_the_phone(&next);
}

#[test]
fn nothing_is_based_on_an_incomplete_point() {
    let rig = Rig::new(Settings::default());
    rig.once(file(Wrong::Short(5)));
    rig.backup(&[]).code(3);
    let outcome = rig.backup(&[]).code(0).stderr_has("cannot be gone on with: it is incomplete");
    assert_eq!(rig.phone.backup.seen().full, Some(true));
    rig.assert_holds_the_phone(&outcome.line("item"));
}

#[test]
fn backup_without_a_good_manifest_is_none() {
    let rig = Rig::new(Settings::default());
    let bad = [
        BadManifest::Missing,
        BadManifest::Truncated,
        BadManifest::NotSqlite,
        BadManifest::Empty,
        BadManifest::NoTable,
    ];
    for bad in bad {
        rig.once(Faults { manifest: Some(bad), ..Faults::default() });
        let (error, _) = rig.failed();
        assert!(error.contains("Manifest.db"), "{bad:?}: {error}");
    }
}

#[test]
fn manifest_that_names_more_than_there_is_makes_the_point_incomplete() {
    let rig = Rig::new(Settings::default());
    for bad in [BadManifest::NamesMore, BadManifest::BadRecords] {
        rig.once(Faults { manifest: Some(bad), ..Faults::default() });
        let item = rig.backup(&[]).code(3).line("item");
        assert_eq!(item["outcome"], "incomplete", "{bad:?}: {item}");
    }
}

#[test]
fn phone_that_does_not_finish_has_made_no_backup() {
    let rig = Rig::new(Settings::default());
    rig.once(Faults { unfinished: true, ..Faults::default() });
    let (error, _) = rig.failed();
    assert!(error.contains("did not finish it: the device left it in the state"), "{error}");
    rig.once(Faults { leaves: true, ..Faults::default() });
    let (error, _) = rig.failed();
    assert!(error.contains("broke off without saying why"), "{error}");
}

#[test]
fn wrong_clock_of_the_phone_does_no_harm() {
    let rig = Rig::new(Settings::default());
    for clock in [-2_000_000_000, 2_000_000_000] {
        rig.phone.backup.fault(Faults { clock, ..Faults::default() });
        let saved = rig.saved(&[]);
        rig.assert_holds_the_phone(&saved);
    }
    assert_eq!(rig.phone.backup.seen().full, Some(false));
}

#[test]
fn full_staging_directory_is_told_to_the_phone_and_to_people() {
    let rig = Rig::with(Settings::default(), "staging = \"{root}/small\"\n");
    let small = rig.env.path("small");
    let mounted = Tmpfs::mount(&small, "400m");
    rig.once(Faults {
        connection: Some((At::Byte(1_000_000), Trouble::Stall(Duration::from_secs(2)))),
        ..Faults::default()
    });
    let mut run = rig.env.start(["backup", "ios.phone"]);
    run.wait_until(|| fs::read_dir(small.join("ios.phone")).map_or(0, |entries| entries.count()) > 1);
    mounted.resize("2m");
    assert_eq!(run.wait(Duration::from_secs(30)).code(), Some(1));
    let told = run.log();
    assert!(told.contains(&format!("staging directory {}/ios.phone is full", small.display())), "{told}");
    let refusals = rig.phone.backup.seen().refusals;
    assert!(
        refusals.iter().any(|(message, code, _)| message == "DLMessageUploadFiles" && *code == -15),
        "{refusals:?}"
    );
    assert!(!small.join("ios.phone").exists());
}

#[test]
fn phone_is_told_how_much_room_there_is_and_gives_up_when_it_is_too_little() {
    let rig = Rig::with(Settings::default(), "staging = \"{root}/small\"\n");
    let small = rig.env.path("small");
    let _mounted = Tmpfs::mount(&small, "20m");
    let item = rig.backup(&[]).code(1).line("item");
    let error = item["error"].as_str().unwrap();
    assert!(error.contains("are free in the staging directory") && error.contains("more are needed"), "{error}");
    assert_eq!(rig.phone.backup.seen().free.first(), Some(&Some(0)));
}
