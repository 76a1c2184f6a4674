//! What cannot be read is told once, with the reason, and nothing of it is taken for whole; what changes meanwhile does no harm.

use std::fs;
use std::path::Path;

use rustix::fs::{XattrFlags, lsetxattr};
use serde_json::{Value, json};

use crate::bench::{Machine, problems, sh};
use crate::everything::{noise, set_mode};
use crate::support::sshd::{Account, Sshd};

/// A tar that does something before it begins to read.
fn before_reading(act: &str) -> Machine {
    let tar = format!("case $1 in --create) {act};; esac\nexec /usr/bin/tar \"$@\"");
    Machine::with_programs(&[("tar", &tar)])
}

fn told(machine: &Machine, item: &Value) -> Vec<(String, String)> {
    problems(item, &machine.source())
}

fn told_is(machine: &Machine, item: &Value, expected: &[(&str, &str)]) {
    let told = told(machine, item);
    let told: Vec<(&str, &str)> = told.iter().map(|(path, error)| (path.as_str(), error.as_str())).collect();
    assert_eq!(told, expected);
}

fn content(machine: &Machine, name: &str) -> Vec<u8> {
    machine.run(["dump", &format!("ssh.there:{}", machine.source().join(name).display())]).code(0).bytes
}

#[test]
fn what_may_not_be_read_is_named_once_and_makes_the_point_incomplete() {
    let machine = Machine::start(Sshd::builder().account(Account::new("keeper")), "");
    machine.write("open", "x");
    set_mode(&machine.write("closed file:\n'quoted'", "x"), 0o600);
    machine.write("closed/inside", "x");
    set_mode(&machine.source().join("closed"), 0o700);
    machine.write("unlisted/inside", "x");
    set_mode(&machine.source().join("unlisted"), 0o711);
    let expected = [
        ("closed", "Permission denied"),
        ("closed file:\n'quoted'", "Cannot open: Permission denied"),
        ("unlisted", "Permission denied"),
    ];
    for _ in 0..2 {
        let item = machine.backup(3);
        assert_eq!(item["outcome"], "incomplete");
        told_is(&machine, &item, &expected);
        let saved = machine.saved("ssh.there");
        let names: Vec<&Path> = saved.keys().map(AsRef::as_ref).collect();
        assert_eq!(names, ["", "closed", "open", "unlisted"].map(Path::new));
    }
    // A point that lacks something is no reason to take the rest for unchanged.
    sh(&format!("chmod -R a+rX '{}'", machine.source().display()));
    let item = machine.backup(0);
    assert_eq!((&item["outcome"], &item["files_new"], &item["problems"]), (&json!("saved"), &json!(3), &json!([])));
    assert_eq!(machine.saved("ssh.there").len(), 7);
}

#[test]
fn what_lacks_something_is_asked_for_again() {
    let machine = Machine::new();
    let file = machine.write("file", "x");
    lsetxattr(&file, c"user.\xff", b"x", XattrFlags::empty()).unwrap();
    for _ in 0..2 {
        let item = machine.backup(3);
        told_is(&machine, &item, &[("file", "an extended attribute has a name that is not UTF-8")]);
    }
    sh(&format!("rm '{0}'; echo y >'{0}'", file.display()));
    assert_eq!(machine.backup(0)["outcome"], "saved");
}

#[test]
fn what_vanishes_is_a_warning() {
    let machine = before_reading("rm -rf SOURCE/gone SOURCE/directory");
    machine.write("gone", "x");
    machine.write("directory/inside", "x");
    machine.write("stays", "x");
    let item = machine.backup(0);
    assert_eq!(item["outcome"], "saved");
    let vanished = "vanished before it was read";
    told_is(&machine, &item, &[("directory", vanished), ("directory/inside", vanished), ("gone", vanished)]);
    assert_eq!(content(&machine, "stays"), b"x");
    // The next run sees what is there now.
    machine.set_program("tar", "exec /usr/bin/tar \"$@\"");
    assert_eq!(machine.counts()[..3], [0, 0, 1]);
    assert_eq!(machine.saved("ssh.there").len(), 2);
}

#[test]
fn what_changes_before_it_is_read_is_saved_as_it_is_then() {
    let act = "printf longer >>SOURCE/grows; printf x >SOURCE/shrinks; rm SOURCE/other; printf new >SOURCE/other; \
               setfattr -n user.x -v y SOURCE/attribute";
    let machine = before_reading(act);
    for name in ["grows", "shrinks", "other", "attribute"] {
        machine.write(name, "before");
    }
    machine.backup(0);
    for (name, expected) in [("grows", "beforelonger"), ("shrinks", "x"), ("other", "new")] {
        assert_eq!(content(&machine, name), expected.as_bytes(), "{name}");
    }
    machine.set_program("tar", "exec /usr/bin/tar \"$@\"");
    // Their times tell that they have changed since they were listed.
    assert_eq!(machine.counts()[..3], [0, 4, 0]);
    machine.is_saved_like_files();
}

#[test]
fn what_becomes_something_else_is_told() {
    let act = "rm SOURCE/to-directory SOURCE/to-link SOURCE/to-fifo; mkdir SOURCE/to-directory; ln -s /etc/passwd SOURCE/to-link; \
               mkfifo SOURCE/to-fifo; rm -r SOURCE/from-directory; printf x >SOURCE/from-directory; ln -sfn there SOURCE/link";
    let machine = before_reading(act);
    for name in ["to-directory", "to-link", "to-fifo", "from-directory/inside", "stays"] {
        machine.write(name, "before");
    }
    sh(&format!("ln -s here '{}'", machine.source().join("link").display()));
    let item = machine.backup(3);
    let replaced = "was replaced while it was being backed up";
    let told = told(&machine, &item);
    for name in ["to-directory", "to-link", "to-fifo", "from-directory"] {
        assert!(told.contains(&(name.to_owned(), replaced.to_owned())), "{name}: {told:?}");
    }
    assert!(told.contains(&("link".to_owned(), "leads elsewhere since it was listed".to_owned())), "{told:?}");
    assert_eq!(content(&machine, "stays"), b"before");
    machine.set_program("tar", "exec /usr/bin/tar \"$@\"");
    machine.counts();
    machine.is_saved_like_files();
}

#[test]
fn what_shrinks_while_it_is_read_is_not_taken_for_whole() {
    // tar fills up with zeros what it does not find any more.
    let act = "set -- \"$@\" --checkpoint=100 --checkpoint-action='exec=truncate -s 1000 SOURCE/large'";
    let machine = before_reading(act);
    machine.write("large", noise(8 << 20));
    machine.write("small", "x");
    let item = machine.backup(3);
    assert_eq!(item["outcome"], "incomplete");
    let told = told(&machine, &item);
    assert!(told.len() == 1 && told[0].0 == "large" && told[0].1.contains("shrank"), "{told:?}");
    assert_eq!(content(&machine, "small"), b"x");
    machine.set_program("tar", "exec /usr/bin/tar \"$@\"");
    machine.counts();
    machine.is_saved_like_files();
}

#[test]
fn what_grows_while_it_is_read_is_a_warning() {
    let act = "set -- \"$@\" --checkpoint=100 --checkpoint-action='exec=printf more >>SOURCE/large'";
    let machine = before_reading(act);
    let large = noise(4 << 20);
    machine.write("large", &large);
    let item = machine.backup(0);
    told_is(&machine, &item, &[("large", "changed while it was read")]);
    assert!(content(&machine, "large") == large);
    fs::remove_file(machine.source().join("large")).unwrap();
}

#[test]
fn zeros_in_the_place_of_what_a_disk_does_not_give_are_never_taken_for_content() {
    let error = "Read error at byte 0, while reading 512 bytes: Input/output error";
    let complain = format!("/usr/bin/tar \"$@\"; echo '/root/bin/tar: SOURCE/bad: {error}' >&2; exit 2");
    let broken = format!("case $1 in --create) {complain};; *) exec /usr/bin/tar \"$@\";; esac");
    let machine = Machine::with_programs(&[("tar", &broken)]);
    machine.write("bad", "x");
    machine.write("good", "x");
    let item = machine.backup(1);
    assert!(item["error"].as_str().unwrap().contains(&format!("source/bad: {error}")), "{item}");
    assert!(item["hint"].as_str().unwrap().contains("exclude"), "{item}");

    machine.set_program("tar", "exec /usr/bin/tar \"$@\"");
    machine.backup(0);
    machine.set_program("tar", &broken);
    fs::write(machine.source().join("bad"), "other").unwrap();
    let item = machine.backup(3);
    told_is(&machine, &item, &[("bad", error)]);
    // It is read again, though nothing has happened to it.
    machine.set_program("tar", "exec /usr/bin/tar \"$@\"");
    assert_eq!(machine.counts()[..3], [0, 1, 1]);
}
