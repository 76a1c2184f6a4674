//! Encrypted backups: with the password of the configuration, of a file, of a person, the wrong one, and none.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::desk::{Desk, PASSWORD, UDID, file, small, with};
use crate::terminal::Terminal;
use crate::{LISTED, assert_restored};

fn encrypted() -> Value {
    json!({"password": PASSWORD, "files": small()})
}

#[test]
fn password_of_a_file_opens_names_and_contents() {
    let desk = Desk::new();
    let folder = desk.point(&encrypted());
    assert!(!fs::read(folder.join("Manifest.db")).unwrap().starts_with(b"SQLite"));
    let password = desk.at("backup.password");
    let with_password = |arguments: &[&str]| desk.env.run([arguments, &["--password-file", &password]].concat());
    assert_eq!(with_password(&["ls", "-R", "ios.phone"]).code(0).stdout, LISTED);
    let dumped = with_password(&["dump", "ios.phone:CameraRollDomain/Media/DCIM/IMG_0001.JPG"]).code(0);
    assert_eq!(dumped.stdout, "first photo");
    let target = desk.at("target");
    with_password(&["restore", "ios.phone", "--to", &target, "--verify"]).code(0);
    assert_restored(Path::new(&target));
    with_password(&["diff", "ios.phone", "ios.phone"]).code(0).stderr_has("no difference");
    desk.assert_nothing_left();
}

#[test]
fn what_was_only_enciphered_anew_is_no_difference() {
    let desk = Desk::new();
    let [first, second] = [desk.point(&encrypted()), desk.point(&encrypted())];
    let password = desk.at("backup.password");
    let diff = |old: &str| desk.env.run(["diff", old, "ios.phone", "--password-file", &password]).code(0);
    diff("ios.phone@latest~1").stderr_has("no difference");
    assert_ne!(fs::read(first.join("Manifest.db")).unwrap(), fs::read(second.join("Manifest.db")).unwrap());
    let mut files = small();
    files[3] = file("CameraRollDomain", "Media/DCIM/IMG_0001.JPG", "other photo");
    files[4] = with(files[4].clone(), "mode", 0o600);
    desk.point(&json!({"password": PASSWORD, "files": files}));
    let changed = diff("ios.phone@latest~1").stdout;
    assert_eq!(changed, "U /CameraRollDomain/Media/DCIM/Größe ✓.JPG\nM /CameraRollDomain/Media/DCIM/IMG_0001.JPG\n");
}

#[test]
fn password_of_the_configuration_is_used() {
    let source = format!("[ios.phone]\nudid = \"{UDID}\"\nencryption-password-file = \"{{root}}/backup.password\"\n");
    let desk = Desk::configured(&source);
    desk.point(&encrypted());
    assert_eq!(desk.env.run(["ls", "-R", "ios.phone"]).code(0).stdout, LISTED);
}

#[test]
fn somebody_at_a_terminal_is_asked_once() {
    let desk = Desk::new();
    desk.point(&encrypted());
    desk.point(&encrypted());
    let words = ["diff", "ios.phone@latest~1", "ios.phone"].map(str::to_owned);
    let mut terminal = Terminal::start(&desk.env, &words);
    terminal.type_at("Password of the encrypted backups of ios.phone: ", PASSWORD);
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("no difference"), "{shown}");
    assert!(!shown.contains("bread"), "{shown}");
    let mut terminal = Terminal::start(&desk.env, &words);
    terminal.type_at("Password of the encrypted backups of ios.phone: ", "wrong");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("the password of the encrypted backup is wrong"), "{shown}");
}

#[test]
fn wrong_password_and_none_say_what_helps() {
    let desk = Desk::new();
    desk.point(&encrypted());
    let wrong = desk.env.run(["ls", "ios.phone", "--password-file", &desk.at("wrong.password")]).code(1);
    wrong.stderr_has("the password of the encrypted backup is wrong").stderr_has("--raw");
    let none = desk.env.run(["dump", "ios.phone:HomeDomain/Library/notes.txt"]).code(1);
    let none = none.stderr_has("the backup is encrypted, and nobody has told its password");
    none.stderr_has("--password-file FILE").stderr_has("`encryption-password-file` in [ios.phone]").stderr_has("--raw");
    desk.env.run(["ls", "--raw", "ios.phone"]).code(0).stdout_has(UDID);
}

#[test]
fn keys_without_the_first_round_and_a_plain_database_are_read() {
    let desk = Desk::new();
    let folder = desk.point(&json!({"password": PASSWORD, "old": true, "xml": true, "files": small()}));
    assert!(fs::read(folder.join("Manifest.db")).unwrap().starts_with(b"SQLite"));
    let target = desk.at("target");
    desk.env.run(["restore", "ios.phone", "--to", &target, "--password-file", &desk.at("backup.password")]).code(0);
    assert_restored(Path::new(&target));
}

#[test]
fn length_of_a_file_is_that_of_its_content_also_where_the_device_says_another() {
    let desk = Desk::new();
    let files = vec![
        with(file("HomeDomain", "grown", &"x".repeat(100)), "size", 64),
        with(file("HomeDomain", "shrunk", &"y".repeat(100)), "size", 5000),
        with(file("HomeDomain", "block", &"z".repeat(32)), "size", 1),
        file("HomeDomain", "right", &"w".repeat(48)),
    ];
    desk.point(&json!({"password": PASSWORD, "files": files}));
    let password = desk.at("backup.password");
    let target = desk.at("target");
    let restored = desk.env.run(["restore", "ios.phone", "--to", &target, "--password-file", &password]).code(0);
    restored
        .stderr_has("/HomeDomain/grown: the point says that it has 64 bytes, its content has 100")
        .stderr_has("/HomeDomain/shrunk: the point says that it has 5000 bytes, its content has 100")
        .stderr_lacks("right");
    for (name, letter, length) in [("grown", "x", 100), ("shrunk", "y", 100), ("block", "z", 32), ("right", "w", 48)] {
        assert_eq!(
            fs::read_to_string(Path::new(&target).join("HomeDomain").join(name)).unwrap(),
            letter.repeat(length)
        );
        let dumped = desk.env.run(["dump", &format!("ios.phone:HomeDomain/{name}"), "--password-file", &password]);
        assert_eq!(dumped.code(0).stdout, letter.repeat(length));
    }
}

#[test]
fn damaged_content_is_told_and_the_rest_is_restored() {
    let desk = Desk::new();
    let folder = desk.folder(&encrypted());
    let bodies = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut bodies: Vec<_> =
        bodies.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()).collect();
    bodies.sort_by_key(|body| fs::metadata(body).unwrap().len());
    let notes = bodies.pop().unwrap();
    let content = fs::read(&notes).unwrap();
    fs::write(&notes, &content[..content.len() - 7]).unwrap();
    desk.save(&folder);
    let target = desk.at("target");
    let restored =
        desk.env.run(["restore", "ios.phone", "--to", &target, "--password-file", &desk.at("backup.password")]).code(3);
    restored.stderr_has(
        "/HomeDomain/Library/notes.txt: the enciphered content does not end with a whole block: it is cut short",
    );
    assert!(!Path::new(&target).join("HomeDomain/Library/notes.txt").exists());
    assert!(Path::new(&target).join("CameraRollDomain/Media/DCIM/IMG_0001.JPG").exists());
}
