//! The connection breaks, stalls and says rubbish, and holdall is killed: the points before stay, and the next backup goes on from the last good one.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::rig::Rig;
use super::support::iphone::Settings;
use super::support::iphone::backup::{At, Content, Faults, Trouble};

fn connection(at: At, trouble: Trouble) -> Faults {
    Faults { connection: Some((at, trouble)), ..Faults::default() }
}

fn change(rig: &Rig, number: u64) {
    rig.phone.backup.files().change("HomeDomain", "Library/SMS/sms.db", Content::seeded(number, 300_000));
}

#[test]
fn unplugged_at_any_message_it_goes_on_from_the_last_good_point() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    change(&rig, 0);
    rig.phone.backup.forget();
    rig.saved(&[]);
    let points = rig.points();
    let messages: usize = rig.phone.backup.seen().messages.values().sum();
    assert!(messages > 10, "{messages}");
    let middle = (4..messages).step_by(7);
    for number in [1, 2, 3].into_iter().chain(middle).chain([messages]) {
        change(&rig, number as u64);
        rig.once(connection(At::Message(number), Trouble::Cut));
        let outcome = rig.backup(&[]).code_among(&[0, 1]);
        let item = outcome.line("item");
        let is_told =
            item["outcome"] == "away" || item["error"].as_str().is_some_and(|error| error.contains("went away"));
        // After its last word the phone may go.
        assert!(is_told || item["outcome"] == "saved" && number == messages, "{number}: {item}");
        rig.assert_nothing_is_left();
    }
    assert_eq!(rig.points(), points);
    let saved = rig.saved(&[]);
    let seen = rig.phone.backup.seen();
    assert_eq!((seen.full, seen.sent.len()), (Some(false), 1));
    rig.assert_holds_the_phone(&saved);
    rig.env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn unplugged_in_the_middle_of_a_file_it_says_so() {
    let rig = Rig::new(Settings::default());
    rig.once(connection(At::Byte(1_000_000), Trouble::Cut));
    let (error, hint) = rig.failed();
    assert!(error.contains("Anna's iPhone went away in the middle"), "{error}");
    assert!(hint.contains("Connect it again"), "{hint}");
}

#[test]
fn unplugged_before_it_sent_anything_it_is_away() {
    let rig = Rig::new(Settings::default());
    rig.once(connection(At::Message(1), Trouble::Cut));
    let (why, _) = rig.away();
    assert!(why.contains("went away before it sent anything"), "{why}");
}

#[test]
fn pause_is_waited_for() {
    let rig = Rig::new(Settings::default());
    rig.once(connection(At::Byte(500_000), Trouble::Stall(Duration::from_secs(2))));
    rig.saved(&[]);
}

#[test]
fn rubbish_on_the_wire_ends_the_session_and_not_the_program() {
    let rig = Rig::new(Settings::default());
    let troubles = [
        (Trouble::ShortFrame, "went away"),
        (Trouble::Announce(u32::MAX), "the device sends a message of 4294967295 bytes; 67108864 are allowed"),
        (Trouble::Announce(0), "property list"),
        (Trouble::Rubbish, "property list"),
        (Trouble::NoMessage, "a message of the device"),
    ];
    for (trouble, expected) in troubles {
        rig.once(connection(At::Message(8), trouble));
        let (error, _) = rig.failed();
        assert!(error.contains(expected), "{trouble:?}: {error}");
    }
    // What is only not known is refused, and the session goes on.
    rig.once(connection(At::Message(8), Trouble::Unknown));
    let saved = rig.saved(&[]);
    assert!(rig.phone.backup.seen().unknown.is_some());
    rig.assert_holds_the_phone(&saved);
}

#[test]
fn killed_in_the_middle_the_next_run_sweeps_and_goes_on() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    change(&rig, 1);
    rig.phone.backup.files().add("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0500.MOV", Content::seeded(9, 8_000_000));
    rig.once(connection(At::Byte(4_000_000), Trouble::Stall(Duration::from_secs(60))));
    let staging = rig.env.path("cache/staging/ios.phone");
    let mut run = rig.env.start(["backup", "ios.phone"]);
    let received = || fs::read_dir(&staging).map_or(0, |entries| entries.count());
    run.wait_until(|| received() > 1);
    run.signal(Signal::KILL);
    run.wait(Duration::from_secs(10));
    assert!(received() > 0);
    let outcome = rig.backup(&[]).code(0).stderr_has("that a run that was killed had received");
    let seen = rig.phone.backup.seen();
    assert_eq!((seen.full, seen.sent.len()), (Some(false), 2));
    rig.assert_nothing_is_left();
    rig.assert_holds_the_phone(&outcome.line("item"));
    rig.env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn interrupted_it_leaves_nothing_behind() {
    let rig = Rig::new(Settings::default());
    rig.once(connection(At::Byte(1_000_000), Trouble::Stall(Duration::from_secs(60))));
    let staging = rig.env.path("cache/staging/ios.phone");
    let mut run = rig.env.start(["backup", "ios.phone"]);
    run.wait_until(|| fs::read_dir(&staging).map_or(0, |entries| entries.count()) > 1);
    run.signal(Signal::INT);
    assert_eq!(run.wait(Duration::from_secs(20)).code(), Some(130));
    rig.assert_nothing_is_left();
    assert_eq!(rig.points(), 0);
}

#[test]
fn one_session_at_a_time_of_each_device() {
    let rig = Rig::new(Settings::default());
    rig.once(connection(At::Byte(1_000_000), Trouble::Stall(Duration::from_secs(60))));
    let mut run = rig.env.start(["backup", "ios.phone"]);
    let staging = rig.env.path("cache/staging/ios.phone");
    run.wait_until(|| fs::read_dir(&staging).map_or(0, |entries| entries.count()) > 1);
    let code = rig.backup(&[]).code(11);
    drop(code);
    assert_eq!(rig.phone.backup.seen().connections.1, 1);
    run.end();
}
