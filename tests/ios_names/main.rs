//! Points of a device by the names that its files have there: what `ls`, `dump`, `diff` and `restore` show of MobileSync folders that another implementation made.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod desk;
mod encrypted;
mod hostile;
mod phone;
#[path = "../support/mod.rs"]
mod support;
#[path = "../ssh/terminal.rs"]
mod terminal;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use desk::{Desk, UDID, directory, file, small, with};
use serde_json::json;
use support::tree;

/// All that `ls -R` shows of a small phone.
pub(crate) const LISTED: &str = "\
/CameraRollDomain/
/CameraRollDomain/Media/
/CameraRollDomain/Media/DCIM/
/CameraRollDomain/Media/DCIM/Größe ✓.JPG
/CameraRollDomain/Media/DCIM/IMG_0001.JPG
/CameraRollDomain/Media/latest
/HomeDomain/
/HomeDomain/Library/
/HomeDomain/Library/empty
/HomeDomain/Library/notes.txt
";

/// What was restored of a small phone is what it has.
#[track_caller]
pub(crate) fn assert_restored(below: &Path) {
    let read = |path: &str| fs::read_to_string(below.join(path)).unwrap();
    assert_eq!(read("CameraRollDomain/Media/DCIM/IMG_0001.JPG"), "first photo");
    assert_eq!(read("CameraRollDomain/Media/DCIM/Größe ✓.JPG"), "second photo");
    assert_eq!(read("HomeDomain/Library/empty"), "");
    assert_eq!(read("HomeDomain/Library/notes.txt"), "many blocks of text, ".repeat(300_000));
    let link = fs::read_link(below.join("CameraRollDomain/Media/latest")).unwrap();
    assert_eq!(link, Path::new("DCIM/IMG_0001.JPG"));
    let metadata = |path: &str| fs::symlink_metadata(below.join(path)).unwrap();
    assert_eq!(metadata("CameraRollDomain/Media/DCIM/IMG_0001.JPG").mode() & 0o7777, 0o600);
    assert_eq!(metadata("CameraRollDomain/Media").mode() & 0o7777, 0o700);
    assert_eq!(metadata("HomeDomain/Library/notes.txt").mtime(), 1_600_000_000);
    assert_eq!(metadata("CameraRollDomain").mtime(), 1_700_000_000);
    assert_eq!(metadata("HomeDomain/Library/notes.txt").uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn files_are_listed_and_dumped_by_their_names() {
    let desk = Desk::new();
    desk.point(&json!({"files": small()}));
    let env = &desk.env;
    assert_eq!(env.run(["ls", "ios.phone"]).code(0).stdout, "CameraRollDomain/\nHomeDomain/\n");
    assert_eq!(env.run(["ls", "-R", "ios.phone"]).code(0).stdout, LISTED);
    let listed = env.run(["ls", "-l", "ios.phone:CameraRollDomain/Media"]).code(0);
    assert_eq!(
        listed.stdout,
        "drwx------                              0 2023-11-14 22:13:20 DCIM/\n\
         lrwxr-xr-x                              0 2023-11-14 22:13:20 latest -> DCIM/IMG_0001.JPG\n"
    );
    let photo = env.run(["ls", "--json", "ios.phone@latest:/CameraRollDomain/Media/DCIM/IMG_0001.JPG"]).code(0).json();
    let expected = json!([{
        "path": "/CameraRollDomain/Media/DCIM/IMG_0001.JPG", "type": "file", "mode": "0600", "uid": null, "gid": null, "size": 11,
        "mtime": "2023-11-14T22:13:20Z", "target": null,
    }]);
    assert_eq!(photo, expected);
    let dumped = env.run(["dump", "ios.phone:CameraRollDomain/Media/DCIM/IMG_0001.JPG"]).code(0);
    assert_eq!(dumped.stdout, "first photo");
    env.run(["ls", "ios.phone:CameraRollDomain/Media/DCMI"])
        .code(1)
        .stderr_has("There is /CameraRollDomain/Media/DCIM.");
    desk.assert_nothing_left();
}

#[test]
fn directory_becomes_an_archive_under_real_names() {
    let desk = Desk::new();
    desk.point(&json!({"files": small()}));
    let archive = desk.env.run(["dump", "ios.phone"]).code(0).bytes;
    fs::write(desk.env.path("x.tar"), archive).unwrap();
    let unpacked = desk.env.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let mut tar = desk.env.command("tar");
    assert!(tar.arg("-xpf").arg(desk.env.path("x.tar")).arg("-C").arg(&unpacked).status().unwrap().success());
    let restored = desk.at("restored");
    desk.env.run(["restore", "ios.phone", "--to", &restored]).code(0);
    assert_restored(Path::new(&restored));
    assert_restored(&unpacked);
    tree::assert_same(&Path::new(&restored).join("CameraRollDomain"), &unpacked.join("CameraRollDomain"));
}

#[test]
fn restore_brings_domains_or_a_part_of_one() {
    let desk = Desk::new();
    desk.point(&json!({"files": small()}));
    let env = &desk.env;
    let whole = desk.at("whole");
    env.run(["restore", "ios.phone", "--to", &whole, "--verify"])
        .code(0)
        .stderr_has("4 files")
        .stderr_has("compared with the store");
    assert_restored(Path::new(&whole));
    env.run(["restore", "ios.phone", "--to", &whole, "--overwrite"]).code(0).stderr_has("4 unchanged");
    let part = desk.at("part");
    env.run(["restore", "ios.phone:CameraRollDomain/Media/DCIM", "--to", &part]).code(0);
    assert_eq!(fs::read_to_string(Path::new(&part).join("IMG_0001.JPG")).unwrap(), "first photo");
    let planned = env.run(["restore", "ios.phone:HomeDomain", "--to", &desk.at("new"), "-n"]).code(0);
    planned.stdout_has(&format!("+ {}/Library/notes.txt", desk.at("new")));
    assert!(!env.path("new").exists());
    desk.assert_nothing_left();
}

#[test]
fn raw_is_the_folder_as_it_is_stored() {
    let desk = Desk::new();
    let folder = desk.point(&json!({"files": small()}));
    let env = &desk.env;
    env.run(["ls", "--raw", "ios.phone"]).code(0).stdout_has(&format!("{UDID}/\n"));
    env.run(["ls", "--raw", &format!("ios.phone:/{UDID}")])
        .code(0)
        .stdout_has("Manifest.db\n")
        .stdout_has("Info.plist\n");
    let target = desk.at("raw");
    env.run(["restore", "--raw", "ios.phone", "--to", &target]).code(0);
    tree::assert_same(&folder, &Path::new(&target).join(UDID));
    let manifest = env.run(["dump", "--raw", &format!("ios.phone:/{UDID}/Manifest.db")]).code(0).bytes;
    assert_eq!(manifest, fs::read(folder.join("Manifest.db")).unwrap());
}

#[test]
fn arguments_for_devices_mean_nothing_elsewhere() {
    let env = support::env::TestEnv::with_store().file("a", "b");
    env.run(["backup"]).code(0);
    for (arguments, flag) in [
        (&["ls", "--raw", "files.home"][..], "--raw"),
        (&["dump", "--password-file", "/x", "files.home"], "--password-file"),
    ] {
        env.run(arguments).code(2).stderr_has(&format!("{flag} has no meaning for files.home"));
    }
}

#[test]
fn diff_names_what_changed_on_the_device() {
    let desk = Desk::new();
    desk.point(&json!({"files": small()}));
    let mut files = small();
    files[3] = file("CameraRollDomain", "Media/DCIM/IMG_0001.JPG", "edited photo");
    files[4] = with(files[4].clone(), "mode", 0o600);
    files.retain(|file| file["path"] != "Library/empty");
    files.push(file("HomeDomain", "Library/new/file", "new"));
    files.push(directory("HomeDomain", "Library/new"));
    desk.point(&json!({"files": files}));
    let expected = "\
M /CameraRollDomain/Media/DCIM/IMG_0001.JPG
U /CameraRollDomain/Media/DCIM/Größe ✓.JPG
- /HomeDomain/Library/empty
+ /HomeDomain/Library/new/
+ /HomeDomain/Library/new/file
";
    let mut lines: Vec<&str> = expected.lines().collect();
    let run = desk.env.run(["diff", "ios.phone@latest~1", "ios.phone"]).code(0);
    let mut found: Vec<&str> = run.stdout.lines().collect();
    lines.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, lines);
    desk.env
        .run(["diff", "ios.phone@latest~1:HomeDomain", "ios.phone"])
        .code(0)
        .stdout_lacks("Camera")
        .stdout_has("new/file");
    desk.env
        .run(["diff", "--raw", "ios.phone@latest~1", "ios.phone"])
        .code(0)
        .stdout_has(&format!("M /{UDID}/Manifest.db"));
    desk.env.run(["diff", "ios.phone", "ios.phone"]).code(0).stderr_has("no difference");
}

#[test]
fn phone_that_is_away_is_judged_by_the_age_of_its_points() {
    let table = format!("[ios.phone]\nudid = \"{UDID}\"\n");
    let desk = Desk::configured(&format!("{table}max-age = \"14d\"\n"));
    let none = desk.env.run(["status", "--json"]).code(1).json();
    assert_eq!(
        (&none[0]["item"], &none[0]["newest"], &none[0]["stale"]),
        (&json!("ios.phone"), &json!(null), &json!(true))
    );
    desk.point(&json!({"files": small()}));
    let old = desk.env.run(["status", "--json"]).code(1).json();
    assert_eq!((&old[0]["newest"], &old[0]["stale"]), (&json!("1970-01-01T00:01:00Z"), &json!(true)));
    let years = 100 * 365;
    desk.env.configure(&format!("{table}max-age = \"{years}d\"\n"));
    assert_eq!(desk.env.run(["status", "--json"]).code(0).json()[0]["stale"], false);
    // Without a limit nobody complains, however long it is away.
    desk.env.configure(&table);
    assert_eq!(desk.env.run(["status", "--json"]).code(0).json()[0]["max_age_seconds"], json!(null));
    desk.env.run(["list"]).code(0).stdout_has("ios.phone");
}

#[test]
fn part_of_a_point_goes_to_a_directory_and_not_back_to_the_device() {
    let desk = Desk::configured(&format!("[ios.phone]\nudid = \"{UDID}\"\n"));
    desk.point(&json!({"files": small()}));
    let refused = desk.env.run(["restore", "ios.phone:CameraRollDomain/Media", "--in-place", "--yes"]).code(2);
    refused
        .stderr_has("a device takes back a whole backup, and not only /CameraRollDomain/Media")
        .stderr_has("--to DIR");
}
