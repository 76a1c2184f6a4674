//! Backups, restores and passwords, straight on the service.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::fs;

use plist::Value;

use crate::folder::place;
use crate::rig::{Rig, code};
use crate::support::iphone::backup::{Content, Files};

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

#[test]
fn a_host_without_room_is_asked_to_purge_and_then_refused() {
    let rig = Rig::new(Files::typical(9));
    let needed = rig.agent.files().size() + (128 << 20);
    let with = |free: u64| code(&rig.request(free, "Backup", []));
    assert_eq!(with(needed), 105);
    let seen = rig.agent.seen();
    assert_eq!((seen.messages["DLMessagePurgeDiskSpace"], &*seen.free), (1, &[Some(needed)][..]));
    assert_eq!(with(needed + 1), 0);
}

#[test]
fn encrypted_backups_come_back_with_their_password_only() {
    for keys_of_empty in [true, false] {
        let rig = Rig::new(Files::typical(10));
        rig.agent.set(|settings| settings.keys_of_empty = keys_of_empty);
        rig.agent.set_password(Some("secret"));
        assert_eq!(code(&rig.try_backup()), 0);
        let body = rig.root().join(place("HomeDomain", "Library/Preferences/empty.plist"));
        assert_eq!(fs::read(body).unwrap().len(), if keys_of_empty { 16 } else { 0 });
        let content = rig.agent.files().get("HomeDomain", "Library/SMS/sms.db").unwrap().content().unwrap().bytes();
        let body = fs::read(rig.root().join(place("HomeDomain", "Library/SMS/sms.db"))).unwrap();
        assert_eq!(body.len(), content.len() + 16);
        assert_ne!(body[..content.len()], content);

        assert_eq!(code(&rig.restore(None)), 207);
        assert_eq!(code(&rig.restore(Some("other"))), 207);
        assert_eq!(code(&rig.restore(Some("secret"))), 0);
        assert_eq!(rig.agent.restored().unwrap().differences(&rig.agent.files()), Vec::<String>::new());

        rig.agent.forget();
        assert_eq!(code(&rig.try_backup()), 0);
        let seen = rig.agent.seen();
        assert_eq!((seen.full, seen.sent.len()), (Some(false), 0));
        // Other keys: what the host has is of no use, and is taken away with the rest.
        rig.agent.set_password(Some("secret"));
        assert_eq!(code(&rig.try_backup()), 0);
        assert_eq!(rig.agent.seen().full, Some(true));
        assert_eq!(code(&rig.restore(Some("secret"))), 0);
    }
}

#[test]
fn requests_that_phones_do_not_know_or_refuse_change_nothing() {
    let rig = Rig::new(Files::typical(11));
    rig.backup();
    assert_eq!(code(&rig.request(0, "EraseDevice", [])), 1);
    assert!(rig.request(0, "Unback", []).is_err());
    let ends = rig.agent.seen().ends;
    assert_eq!(ends[1], Ok((1, "This phone does not erase itself (MBErrorDomain/1)".to_owned())));
    assert!(ends[2].is_err(), "{ends:?}");
    rig.backup();
}

#[test]
fn the_password_is_changed_by_who_knows_the_old_one() {
    let rig = Rig::new(Files::typical(12));
    let change = |old: Option<&str>, new: Option<&str>| {
        let words = [("OldPassword", old), ("NewPassword", new)];
        let words = words.into_iter().filter_map(|(name, word)| Some((name, Value::String(word?.to_owned()))));
        code(&rig.request(0, "ChangePassword", words))
    };
    assert_eq!((change(Some("a"), Some("b")), rig.agent.will_encrypt()), (207, false));
    assert_eq!((change(None, Some("a")), rig.agent.will_encrypt()), (0, true));
    assert_eq!(change(None, Some("b")), 207);
    assert_eq!(change(Some("b"), Some("c")), 207);
    assert_eq!(change(Some("a"), Some("c")), 0);
    assert_eq!(change(Some("a"), None), 207);
    assert_eq!((change(Some("c"), None), rig.agent.will_encrypt()), (0, false));
    assert_eq!(*rig.around.posted.lock().unwrap(), ["com.apple.mobile.backup.domain_changed"; 3]);
}
