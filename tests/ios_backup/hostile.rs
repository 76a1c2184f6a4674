//! What pretends to be a phone and is none: paths that lead elsewhere, things that are not there, and very many of them.

use std::fs;
use std::path::PathBuf;

use super::rig::{Rig, read};
use super::support::iphone::Settings;
use super::support::iphone::backup::{Ask, Faults, Files, Flood, Wrong};

/// What a process may have had of memory at most.
const MOST_MEMORY: u64 = 400 << 20;

fn asks(asks: Vec<Ask>) -> Faults {
    Faults { asks, ..Faults::default() }
}

#[test]
fn paths_that_lead_elsewhere_end_the_session() {
    let rig = Rig::new(Settings::default());
    let udid = rig.phone.udid().to_owned();
    let outside = rig.env.path("victim");
    fs::write(&outside, "untouched").unwrap();
    let is_ours = |path: &PathBuf| !["store", "cache", "run"].iter().any(|known| path.starts_with(known));
    let before = read(rig.env.root()).into_keys().filter(is_ours).collect::<Vec<_>>();
    let absolute = outside.to_str().unwrap().to_owned();
    let up = format!("{udid}/../../../victim");
    let long = format!("{udid}/{}", "n".repeat(4000));
    let inside = format!("{udid}/Status.plist");
    let hostile = [
        Ask::Upload(absolute.clone()),
        Ask::Upload("../../etc/shadow".to_owned()),
        Ask::Upload(long.clone()),
        Ask::Upload(format!("{udid}/a\0b")),
        Ask::Upload(String::new()),
        Ask::Download(up.clone()),
        Ask::Download(String::new()),
        Ask::Remove(String::new()),
        Ask::Remove("/".to_owned()),
        Ask::Remove("..".to_owned()),
        Ask::Move(inside.clone(), absolute.clone()),
        Ask::Move(up.clone(), inside.clone()),
        Ask::Copy(absolute.clone(), inside.clone()),
        Ask::Copy(inside, format!("{udid}/../x")),
        Ask::CreateDirectory(up),
        Ask::Contents(absolute),
    ];
    for ask in hostile {
        rig.once(asks(vec![ask.clone()]));
        let (error, _) = rig.failed();
        assert!(
            error.contains("the device asks for") || error.contains("the device sends a file without a name"),
            "{ask:?}: {error}"
        );
        assert!(error.len() < 400, "{error}");
    }
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    let after = read(rig.env.root()).into_keys().filter(is_ours).collect::<Vec<_>>();
    assert_eq!(after, before);
}

#[test]
fn what_no_backup_needs_is_refused_and_the_session_goes_on() {
    let rig = Rig::new(Settings::default());
    let udid = rig.phone.udid().to_owned();
    let at = |path: &str| format!("{udid}/{path}");
    let hash = "ab12000000000000000000000000000000000000";
    let strange = vec![
        Ask::Upload(at("notes.txt")),
        Ask::Upload(at("ab")),
        Ask::Upload(at("cd/ab12000000000000000000000000000000000000")),
        Ask::Upload("another-device/Status.plist".to_owned()),
        Ask::Download(at("nothing")),
        Ask::Move(at(&format!("ab/{hash}")), at("ab/ab13000000000000000000000000000000000000")),
        Ask::Copy(at(&format!("ab/{hash}")), at("ab/ab13000000000000000000000000000000000000")),
        Ask::Remove(udid.clone()),
        Ask::CreateDirectory(at("photos")),
    ];
    let count = strange.len();
    rig.once(asks(strange));
    let saved = rig.saved(&[]);
    let answers = rig.phone.backup.seen().answers;
    assert_eq!(answers.len(), count);
    for (ask, answer) in answers {
        assert!(answer.code != 0, "{ask:?}: {answer:?}");
    }
    rig.assert_holds_the_phone(&saved);
}

#[test]
fn blocks_that_are_no_blocks_end_the_session() {
    let rig = Rig::new(Settings::default());
    let file = |wrong| Faults {
        file: Some(("HomeDomain".to_owned(), "Library/SMS/sms.db".to_owned(), wrong)),
        ..Faults::default()
    };
    rig.once(file(Wrong::Announce(u32::MAX)));
    let (error, _) = rig.failed();
    assert!(error.contains("the device sends a block of 4294967295 bytes"), "{error}");
    rig.once(file(Wrong::Announce(1_000_000)));
    assert!(rig.failed().0.contains("went away"), "the connection ended in a block");
    rig.once(file(Wrong::Code(0x77)));
    let (error, _) = rig.failed();
    assert!(error.contains("a block of the kind 0x77"), "{error}");
    // The whole file in one block is unusual, and nothing else.
    rig.once(file(Wrong::OneBlock));
    let saved = rig.saved(&[]);
    rig.assert_holds_the_phone(&saved);
}

#[test]
fn very_many_of_anything_need_little_memory() {
    let rig = Rig::new(Settings::default());
    for flood in [Flood::Uploads(5_000), Flood::Directories(2_000), Flood::Removals(100_000)] {
        rig.once(Faults { flood: Some(flood), ..Faults::default() });
        let (memory, outcome) = rig.backup_measured();
        assert!(memory < MOST_MEMORY, "{flood:?}: {memory}");
        outcome.code_among(&[0, 1, 3]);
    }
}

#[test]
fn many_files_need_little_memory() {
    let mut settings = Settings::default();
    settings.backup.files = Files::default();
    settings.backup.files.many("CameraRollDomain", 1, 10_000, 100);
    let rig = Rig::new(settings);
    for _ in 0..2 {
        let (memory, outcome) = rig.backup_measured();
        outcome.code(0);
        assert!(memory < MOST_MEMORY, "{memory}");
        rig.phone.backup.files().many("CameraRollDomain", 2, 1000, 200);
    }
    assert_eq!(rig.phone.backup.seen().sent.len(), 1000);
}
