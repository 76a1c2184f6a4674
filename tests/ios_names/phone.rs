//! From a phone to a photo: backups that holdall made of a virtual iPhone, read by the names that the phone has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::support::env::TestEnv;
use crate::support::iphone::backup::{Content, Files, Kind};
use crate::support::iphone::{Phone, Settings, Trust};

/// A phone that this machine is paired with, and an environment with a store whose configuration names it.
fn rig(keys: &str) -> (Phone, TestEnv) {
    let phone = Phone::start(Settings::default());
    phone.set(|state| state.trust = Trust::Accepted);
    let env = TestEnv::with_store_and(&format!("[ios.phone]\nudid = \"{}\"\n{keys}", phone.udid()));
    let env = env.variable("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd());
    env.write_secret("backup.password", "geheim");
    let paired = env.command("idevicepair").arg("pair").output().unwrap();
    assert!(paired.status.success(), "{paired:?}");
    (phone, env)
}

/// What was restored is what the phone has, and nothing else.
#[track_caller]
fn assert_is(below: &Path, files: &Files) {
    for (domain, path, entry) in files.iter() {
        let at = below.join(domain).join(path);
        let found = at.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", at.display()));
        match &entry.kind {
            Kind::File(content) => assert!(fs::read(&at).unwrap() == content.bytes(), "{}", at.display()),
            Kind::Directory => assert!(found.is_dir(), "{}", at.display()),
            Kind::Link(target) => assert_eq!(fs::read_link(&at).unwrap(), Path::new(target)),
        }
        assert_eq!(found.mtime(), entry.mtime, "{}", at.display());
        if !found.is_symlink() {
            assert_eq!(found.mode() & 0o7777, entry.mode & 0o7777, "{}", at.display());
        }
    }
    let mut count = 0;
    let mut ahead = vec![below.to_path_buf()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            count += usize::from(!entry.file_type().unwrap().is_dir());
            if entry.file_type().unwrap().is_dir() {
                ahead.push(entry.path());
            }
        }
    }
    let expected = files.iter().filter(|(.., entry)| !matches!(entry.kind, Kind::Directory)).count();
    assert_eq!(count, expected);
}

fn goes_from_phone_to_photo(keys: &str, password: Option<&str>) {
    const PHOTO: &str = "Media/DCIM/100APPLE/IMG_9999.JPG";
    let (phone, env) = rig(keys);
    phone.encrypt_backups(password);
    phone.backup.files().add("CameraRollDomain", PHOTO, Content::seeded(77, 100_000));
    let first = phone.backup.files().clone();
    env.run(["backup", "ios.phone"]).code(0);
    phone.backup.files().remove("CameraRollDomain", PHOTO);
    let second = phone.backup.files().clone();
    env.run(["backup", "ios.phone"]).code(0);
    // The photo is no longer on the phone, and comes out of the point before by its name.
    env.run(["dump", &format!("ios.phone:CameraRollDomain/{PHOTO}")]).code(1).stderr_has("there is no ");
    let dumped = env.run(["dump", &format!("ios.phone@latest~1:CameraRollDomain/{PHOTO}")]).code(0);
    assert!(dumped.bytes == Content::seeded(77, 100_000).bytes());
    let changed = env.run(["diff", "ios.phone@latest~1", "ios.phone"]).code(0);
    assert_eq!(changed.stdout, format!("- /CameraRollDomain/{PHOTO}\n"));
    for (point, files) in [("latest~1", first), ("latest", second)] {
        let target = env.path(point);
        env.run(["restore", &format!("ios.phone@{point}"), "--to", target.to_str().unwrap()]).code(0);
        assert_is(&target, &files);
    }
}

#[test]
fn photo_that_was_deleted_comes_out_of_the_point_before() {
    goes_from_phone_to_photo("", None);
}

#[test]
fn photo_comes_out_of_an_encrypted_point() {
    goes_from_phone_to_photo("encryption-password-file = \"{root}/backup.password\"\n", Some("geheim"));
}
