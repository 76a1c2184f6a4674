//! What goes well: full and incremental backups, and what the phone has to send for them.

use std::fs;
use std::path::Path;

use super::rig::{Rig, read, told};
use super::support::iphone::Settings;

#[test]
fn full_backup_holds_all_that_is_on_the_phone() {
    let rig = Rig::new(Settings::default());
    let saved = rig.saved(&[]);
    let seen = rig.phone.backup.seen();
    assert_eq!(seen.full, Some(true));
    assert_eq!((seen.farewells, seen.untold), (1, 0));
    // That there is no backup yet.
    assert_eq!(seen.refusals, [("DLMessageDownloadFiles".to_owned(), -13, "Multi status".to_owned())]);
    rig.assert_holds_the_phone(&saved);
    rig.assert_nothing_is_left();
    rig.env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn incremental_backup_has_the_phone_send_what_changed_and_nothing_else() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    {
        let mut files = rig.phone.backup.files();
        let (old, new) = ("Media/DCIM/100APPLE/IMG_0001.JPG", "Media/DCIM/100APPLE/IMG_9999.JPG");
        files.add("CameraRollDomain", "Media/DCIM/100APPLE/IMG_5000.JPG", "a new photo");
        files.change("CameraRollDomain", old, "a changed photo");
        files.rename("CameraRollDomain", old, "CameraRollDomain", new);
        files.remove("HomeDomain", "Library/SMS/sms.db");
    }
    let saved = rig.saved(&[]);
    let seen = rig.phone.backup.seen();
    assert_eq!(seen.full, Some(false));
    assert_eq!(seen.longest_block, 32 << 10);
    let mut sent: Vec<&str> = seen.sent.iter().map(|(_, path)| path.as_str()).collect();
    sent.sort_unstable();
    assert_eq!(sent, ["Media/DCIM/100APPLE/IMG_5000.JPG", "Media/DCIM/100APPLE/IMG_9999.JPG"]);
    rig.assert_holds_the_phone(&saved);
    assert!(saved["files_unmodified"].as_u64() > saved["files_new"].as_u64(), "{saved}");

    let again = rig.saved(&[]);
    assert_eq!(rig.phone.backup.seen().sent, []);
    rig.assert_holds_the_phone(&again);
    rig.env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn database_in_use_is_whole_though_the_phone_says_another_size() {
    const PASSWORD: &str = "0f the backups";
    let database = ("HomeDomain", "Library/SMS/sms.db");
    let rig = Rig::with(Settings::default(), "encryption-password-file = \"{root}/phone.password\"\n");
    rig.env.write_secret("phone.password", PASSWORD);
    let file = rig.env.path("made.db");
    let made = rusqlite::Connection::open(&file).unwrap();
    made.execute_batch("CREATE TABLE message (text TEXT); INSERT INTO message VALUES (hex(randomblob(50000)));")
        .unwrap();
    drop(made);
    let bytes = fs::read(&file).unwrap();
    for (password, said) in [(None, 4096), (Some(PASSWORD), 4096), (Some(PASSWORD), 1 << 20)] {
        rig.phone.encrypt_backups(password);
        {
            let mut files = rig.phone.backup.files();
            files.change(database.0, database.1, bytes.clone());
            files.get_mut(database.0, database.1).unwrap().said = Some(said);
        }
        assert_eq!(rig.saved(&[])["problems"], serde_json::json!([]), "{password:?} {said}");
        let out = rig.env.path(format!("out-{said}-{}", password.is_some()));
        rig.env.run(["restore", "ios.phone:HomeDomain/Library/SMS", "--to", out.to_str().unwrap()]).code(0);
        assert!(fs::read(out.join("sms.db")).unwrap() == bytes, "{password:?} {said}");
    }
    // Of what is no database another size means that something is missing.
    rig.phone
        .backup
        .files()
        .change(database.0, database.1, "no database")
        .get_mut(database.0, database.1)
        .unwrap()
        .said = Some(4096);
    let item = rig.backup(&[]).code(3).line("item");
    assert_eq!(item["problems"][0]["path"], format!("/{}/{}", database.0, database.1), "{item}");
}

#[test]
fn backup_is_full_when_it_is_asked_for() {
    let rig = Rig::new(Settings::default());
    rig.saved(&[]);
    let outcome = rig.backup(&["--full"]).code(0).stderr_has("full backup: it was asked for");
    assert_eq!(rig.phone.backup.seen().full, Some(true));
    rig.assert_holds_the_phone(&outcome.line("item"));
}

#[test]
fn folder_is_the_one_that_idevicebackup2_makes() {
    let rig = Rig::new(Settings::default());
    let saved = rig.saved(&[]);
    let mut ours = rig.restored(saved["snapshot"].as_str().unwrap());
    fs::create_dir(rig.env.path("theirs")).unwrap();
    told(&rig.env, "idevicebackup2", &["backup", "--full", rig.env.path("theirs").to_str().unwrap()]);
    let mut theirs = read(&rig.env.path("theirs").join(rig.phone.udid()));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let [our_info, their_info] = [&mut ours, &mut theirs].map(|files| {
        let info = files.remove(Path::new("Info.plist")).unwrap();
        // What has a date or a number of its own in it.
        files.retain(|path, _| {
            !["Manifest.db", "Manifest.plist", "Status.plist"].iter().any(|name| path == Path::new(name))
        });
        plist::from_bytes::<plist::Dictionary>(&info).unwrap()
    });
    assert!(ours == theirs, "the contents differ");
    let mut keys: Vec<&String> = their_info.keys().collect();
    keys.sort();
    assert_eq!(our_info.keys().collect::<Vec<_>>(), keys);
    for key in keys.into_iter().filter(|key| !["GUID", "Last Backup Date"].contains(&key.as_str())) {
        assert_eq!(our_info.get(key), their_info.get(key), "{key}");
    }
}

#[test]
fn idevicebackup2_goes_on_with_the_folder() {
    let rig = Rig::new(Settings::default());
    let saved = rig.saved(&[]);
    let target = rig.env.path("theirs");
    rig.env.restic(["restore", saved["snapshot"].as_str().unwrap(), "--target", target.to_str().unwrap()]).code(0);
    told(&rig.env, "idevicebackup2", &["backup", target.to_str().unwrap()]);
    let seen = rig.phone.backup.seen();
    assert_eq!((seen.full, seen.sent), (Some(false), vec![]));
}

#[test]
fn dry_run_asks_the_phone_for_nothing_and_leaves_nothing() {
    let rig = Rig::new(Settings::default());
    rig.backup(&["-n"]).code(0).stderr_has("would be asked for a backup");
    assert_eq!(rig.phone.backup.seen().requests, []);
    rig.saved(&[]);
    rig.phone.backup.forget();
    rig.backup(&["-n"]).code(0).stderr_has("the rest is as in the newest point");
    assert_eq!(rig.phone.backup.seen().requests, []);
    rig.assert_nothing_is_left();
}
