//! Everything that goes wrong on demand, as a host meets it.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use plist::Value;

use crate::folder::{holds_everything, place};
use crate::rig::{Rig, UDID, code, ended, state};
use crate::support::iphone::backup::{Ask, At, BadManifest, Faults, Files, Flood, Passcode, Trouble, Wrong};

#[test]
fn a_connection_that_breaks_leaves_what_was_there_and_the_next_backup_goes_on() {
    let rig = Rig::new(Files::typical(3));
    rig.backup();
    rig.agent.files().many("AppDomain-com.example.notes", 4, 300, 1000);
    for (at, trouble) in [
        (At::Message(1), Trouble::Cut),
        (At::Byte(100_000), Trouble::Cut),
        (At::Message(9), Trouble::ShortFrame),
        (At::Message(9), Trouble::Rubbish),
        (At::Message(9), Trouble::NoMessage),
    ] {
        rig.agent.fault(Faults { connection: Some((at, trouble)), times: 1, ..Faults::default() });
        assert!(ended(&rig).is_err(), "{at:?} {trouble:?}");
        assert!(rig.agent.seen().ends.last().unwrap().is_err());
    }
    assert_eq!(state(&rig), "uploading");
    rig.agent.forget();
    rig.backup();
    let seen = rig.agent.seen();
    assert_eq!((seen.full, seen.sent.len()), (Some(false), 300));

    let unknown = (At::Message(3), Trouble::Unknown);
    rig.agent.fault(Faults { connection: Some(unknown), times: 1, ..Faults::default() });
    rig.backup();
    assert!(rig.agent.seen().unknown.is_some());

    let short = (At::Message(3), Trouble::Stall(Duration::from_millis(300)));
    rig.agent.fault(Faults { connection: Some(short), times: 1, ..Faults::default() });
    let begun = Instant::now();
    rig.backup();
    assert!(begun.elapsed() > Duration::from_millis(300));

    rig.agent.fault(Faults { leaves: true, times: 1, ..Faults::default() });
    assert_eq!(ended(&rig), Err("disconnected".to_owned()));
}

#[test]
fn files_that_are_sent_wrongly_end_as_they_do_on_a_phone() {
    let (domain, path) = ("HomeDomain", "Library/SMS/sms.db");
    let wrong = |wrong: Wrong| {
        let rig = Rig::new(Files::typical(4));
        rig.agent.fault(Faults { file: Some((domain.into(), path.into(), wrong)), times: 1, ..Faults::default() });
        let ended = ended(&rig);
        (rig, ended)
    };
    let (rig, ended) = wrong(Wrong::Unreadable);
    assert_eq!(ended, Ok(104));
    assert_eq!(state(&rig), "uploading");
    rig.backup();

    let (rig, ended) = wrong(Wrong::LeftOut);
    assert_eq!((ended, state(&rig)), (Ok(0), "finished".to_owned()));
    assert!(!rig.root().join(place(domain, path)).exists());
    rig.backup();

    // Nobody says anything: only the manifest knows that it is too short.
    let (rig, ended) = wrong(Wrong::Short(1000));
    assert_eq!((ended, state(&rig)), (Ok(0), "finished".to_owned()));
    assert_eq!(fs::read(rig.root().join(place(domain, path))).unwrap().len(), 1000);
    assert_eq!(code(&rig.restore(None)), 4);
    assert_eq!(rig.agent.restored().unwrap().damaged, [format!("{domain}/{path}")]);

    let (rig, ended) = wrong(Wrong::OneBlock);
    assert_eq!(ended, Ok(0));
    holds_everything(&rig.root(), &rig.agent.files());
    for fault in [Wrong::Announce(u32::MAX), Wrong::EmptyBlock] {
        assert!(wrong(fault).1.is_err(), "{fault:?}");
    }
}

#[test]
fn manifests_that_are_wrong_reach_the_host_and_make_the_next_backup_a_full_one() {
    let manifests = [
        (BadManifest::Truncated, true),
        (BadManifest::NotSqlite, true),
        (BadManifest::Empty, true),
        (BadManifest::NoTable, true),
        (BadManifest::BadRecords, true),
        (BadManifest::Missing, true),
        (BadManifest::NamesMore, true),
        (BadManifest::Hostile, false),
    ];
    for (bad, full) in manifests {
        let rig = Rig::new(Files::typical(5));
        rig.agent.fault(Faults { manifest: Some(bad), times: 1, ..Faults::default() });
        assert_eq!(ended(&rig), Ok(0), "{bad:?}");
        assert_eq!(state(&rig), "finished");
        rig.agent.forget();
        assert_eq!(ended(&rig), Ok(0), "{bad:?}");
        assert_eq!(rig.agent.seen().full, Some(full), "{bad:?}");
    }
}

#[test]
fn what_no_phone_asks_is_asked_and_answered() {
    let rig = Rig::new(Files::typical(6));
    let long = "n".repeat(4096);
    let out = "../../etc/shadow".to_owned();
    let asks = vec![
        Ask::Download(out.clone()),
        Ask::Upload(format!("{UDID}/../x")),
        Ask::Move(format!("{UDID}/not there"), format!("{UDID}/00/nor here")),
        Ask::Copy("/etc/hostname".to_owned(), format!("{UDID}/hostname")),
        Ask::Contents("..".to_owned()),
        Ask::CreateDirectory(format!("{UDID}/{long}")),
        Ask::Upload(format!("{UDID}/fine")),
        Ask::Remove(format!("{UDID}/fine")),
    ];
    rig.agent.fault(Faults { asks: asks.clone(), times: 1, ..Faults::default() });
    assert_eq!(ended(&rig), Ok(0));
    let answers = rig.agent.seen().answers;
    assert!(answers.iter().map(|(ask, _)| ask).eq(&asks));
    let codes: Vec<bool> = answers.iter().map(|(_, answer)| answer.code == 0).collect();
    assert_eq!(codes, [false, false, false, false, false, false, true, true]);
    assert_eq!(answers[0].1.sent, None);

    for (flood, name) in [
        (Flood::Uploads(3000), "DLMessageUploadFiles"),
        (Flood::Directories(1000), "DLMessageCreateDirectory"),
        (Flood::Removals(3000), "DLMessageRemoveItems"),
    ] {
        rig.agent.fault(Faults { flood: Some(flood), times: 1, ..Faults::default() });
        assert_eq!(ended(&rig), Ok(0), "{flood:?} {name}");
    }
}

#[test]
fn refusals_of_the_phone_have_their_codes() {
    let rig = Rig::new(Files::typical(7));
    for (faults, code) in [
        (Faults { refuse: Some((209, "no".to_owned())), ..Faults::default() }, 209),
        (Faults { refuse_late: Some((102, "no".to_owned())), ..Faults::default() }, 102),
    ] {
        rig.agent.fault(Faults { times: 1, ..faults });
        assert_eq!(ended(&rig), Ok(code));
    }
    rig.agent.fault(Faults { unfinished: true, times: 1, ..Faults::default() });
    assert_eq!((ended(&rig), state(&rig)), (Ok(0), "removing".to_owned()));

    rig.agent.fault(Faults { clock: -3600 * 24 * 365 * 30, times: 1, ..Faults::default() });
    rig.backup();
    let status = Value::from_file(rig.root().join("Status.plist")).unwrap().into_dictionary().unwrap();
    let date = status["Date"].as_date().unwrap().to_xml_format();
    assert!(*date < *"2010", "{date}");

    // What is changed behind the phone's back is seen at the next backup.
    fs::remove_dir_all(rig.root().join(&place("HomeDomain", "Library/SMS/sms.db")[..2])).unwrap();
    rig.agent.forget();
    rig.backup();
    assert_eq!(rig.agent.seen().full, Some(true));
}

#[test]
fn the_passcode_is_asked_for_and_waited_for() {
    let rig = Rig::new(Files::typical(8));
    let gives_up_after = Duration::from_millis(200);
    rig.agent.set(|settings| settings.passcode = Some(Passcode { entered_after: None, gives_up_after }));
    assert_eq!(ended(&rig), Ok(208));
    let posted = rig.around.posted.lock().unwrap().clone();
    assert_eq!(posted, ["presented", "dismissed"].map(|what| format!("com.apple.LocalAuthentication.ui.{what}")));
    let gives_up_after = Duration::from_secs(60);
    rig.agent.set(|settings| settings.passcode = Some(Passcode { entered_after: None, gives_up_after }));
    thread::scope(|scope| {
        scope.spawn(|| {
            while rig.agent.seen().prompts < 2 {
                thread::sleep(Duration::from_millis(5));
            }
            rig.agent.enter_passcode();
        });
        rig.backup();
    });
}
