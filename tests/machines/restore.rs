//! Points are brought back onto machines: to where they came from, or into a new directory there.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use crate::bench::{Machine, sh};
use crate::everything::{everything, set_attribute, set_mode, set_owner};
use crate::support::fault::Tmpfs;
use crate::support::outcome::Outcome;
use crate::support::sshd::{Account, Sshd};
use crate::support::tree;

/// Brings `ssh.there`, or a part of it, back to where it came from.
fn in_place(machine: &Machine, part: &str, more: &[&str]) -> Outcome {
    let spec = format!("ssh.there{part}");
    machine.run(["restore", &spec, "--in-place", "--yes"].into_iter().chain(more.iter().copied()))
}

/// A copy of the source as it is now.
fn copy(machine: &Machine, name: &str) -> std::path::PathBuf {
    sh(&format!("cp -a '{}' '{}'", machine.source().display(), machine.path(name).display()));
    machine.path(name)
}

/// Two directories have the same in them; when they were changed last may differ.
#[track_caller]
fn is_same_inside(expected: &Path, found: &Path) {
    let mut differences = tree::differences(expected, found);
    differences.retain(|line| !line.starts_with("\"\": modified"));
    assert_eq!(differences, [""; 0]);
}

/// Deletes, changes and replaces things, and adds one.
fn harm(machine: &Machine) {
    let at = |name: &str| machine.source().join(name);
    fs::remove_dir_all(at("names")).unwrap();
    fs::remove_file(at("content/empty")).unwrap();
    fs::write(at("content/large"), "small").unwrap();
    // A file for a directory, a directory's link for a file, a link for a directory that leads outside.
    fs::remove_dir_all(at("links/a")).unwrap();
    fs::write(at("links/a"), "a file").unwrap();
    fs::remove_file(at("modes/all")).unwrap();
    symlink(machine.path("outside"), at("modes/all")).unwrap();
    fs::remove_dir_all(at("special")).unwrap();
    symlink(machine.path("outside"), at("special")).unwrap();
    set_mode(&at("modes/suid"), 0o600);
    set_owner(&at("owners/known"), 9, 9);
    set_attribute(&at("attributes/file"), "user.text", b"other");
    set_attribute(&at("attributes/file"), "user.new", b"new");
    fs::remove_file(at("link-dangling")).unwrap();
    symlink("elsewhere", at("link-dangling")).unwrap();
    sh(&format!("setfacl -b '{}'", at("attributes").display()));
    fs::write(at("mine"), "stays").unwrap();
}

#[test]
fn machine_is_brought_back_in_place_and_that_can_be_undone() {
    let machine = Machine::new();
    everything(&machine.source());
    fs::create_dir(machine.path("outside")).unwrap();
    machine.backup(0);
    let was = copy(&machine, "was");
    harm(&machine);
    let harmed = copy(&machine, "harmed");

    let above = machine.path("").metadata().unwrap();
    let listed = in_place(&machine, "", &["--dry-run"]).code(0).stdout;
    assert_eq!(tree::differences(&harmed, &machine.source()), [""; 0]);
    let top = machine.source();
    let is_listed = |letter: &str, name: &str| {
        let line = format!("{letter} {}\n", top.join(name).display());
        assert!(listed.contains(&line), "no {line:?} in\n{listed}");
    };
    for (letter, name) in [
        ("+", "names/"),
        ("+", "content/empty"),
        ("M", "content/large"),
        ("T", "links/a/"),
        ("T", "modes/all"),
        ("T", "special/"),
        ("U", "modes/suid"),
        ("U", "owners/known"),
        ("M", "link-dangling"),
    ] {
        is_listed(letter, name);
    }
    assert!(!listed.contains("/content/of-a-piece") && !listed.contains("/mine"), "{listed}");

    let said = in_place(&machine, "", &["--verify"]).code(0);
    assert_eq!(fs::read(machine.source().join("mine")).unwrap(), b"stays");
    fs::remove_file(machine.source().join("mine")).unwrap();
    is_same_inside(&was, &machine.source());
    assert_eq!(fs::read_dir(machine.path("outside")).unwrap().count(), 0);
    let now = machine.path("").metadata().unwrap();
    assert_eq!((above.mode(), above.uid(), above.mtime_nsec()), (now.mode(), now.uid(), now.mtime_nsec()));
    assert!(!machine.source().join("tmp").exists());

    let (_, undo) = said.stderr.split_once("To undo: holdall ").unwrap();
    let undo = undo.split(' ').take_while(|word| !word.starts_with('(')).chain(["--yes", "--no-safety"]);
    // Directories are not taken away for anything: what is in them may be all that there is of it.
    let undone = machine.run(undo).code(3);
    for name in ["links/a", "special"] {
        let name = machine.source().join(name);
        assert!(undone.stderr.contains(&format!("{}: a directory stands in its place", name.display())), "{name:?}");
    }
    assert_eq!(fs::read(machine.source().join("content/large")).unwrap(), b"small");
    assert_eq!(machine.source().join("modes/suid").metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(machine.source().join("owners/known").metadata().unwrap().uid(), 9);
    assert!(machine.source().join("modes/all").is_symlink());
}

#[test]
fn part_is_brought_back_and_the_rest_is_left() {
    let machine = Machine::new();
    everything(&machine.source());
    machine.backup(0);
    let was = copy(&machine, "was");
    let at = |name: &str| machine.source().join(name);
    fs::remove_dir_all(at("links")).unwrap();
    fs::write(at("content/large"), "changed").unwrap();
    fs::remove_file(at("owners/known")).unwrap();

    in_place(&machine, &format!(":{}", at("links").display()), &["--verify"]).code(0);
    tree::assert_same(&was.join("links"), &at("links"));
    assert_eq!(fs::read(at("content/large")).unwrap(), b"changed");
    in_place(&machine, &format!(":{}", at("content/large").display()), &[]).code(0);
    is_same_inside(&was.join("content"), &at("content"));
    assert!(!at("owners/known").exists());
    // The directory that leads there is gone, too.
    fs::remove_dir(at("owners")).unwrap_or_else(|_| fs::remove_dir_all(at("owners")).unwrap());
    in_place(&machine, &format!(":{}", at("owners/known").display()), &[]).code(0);
    assert_eq!(fs::read_dir(at("owners")).unwrap().count(), 1);
    assert_eq!(at("owners/known").metadata().unwrap().gid(), 2);
}

#[test]
fn points_go_into_a_new_directory_of_a_machine() {
    let machine = Machine::new();
    everything(&machine.source());
    machine.run(["backup"]).code(0);
    let to = |item: &str, directory: &Path, more: &[&str]| {
        let to = format!("ssh.there:{}", directory.display());
        machine.run(["restore", item, "--to", &to].into_iter().chain(more.iter().copied()))
    };
    let below = machine.source();
    let below = below.strip_prefix("/").unwrap();
    let fresh = machine.path("deep/fresh");
    to("ssh.there", &fresh, &["--dry-run"]).code(0).stdout_has("content/large");
    assert!(!machine.path("deep").exists());
    to("ssh.there", &fresh, &["--verify"]).code(0);
    tree::assert_same(&machine.source(), &fresh.join(below));

    to("ssh.there", &fresh, &[]).code(1).stderr_has("is not empty").stderr_has("--overwrite");
    fs::write(fresh.join("mine"), "stays").unwrap();
    fs::write(fresh.join(below).join("content/empty"), "not any more").unwrap();
    to("ssh.there", &fresh, &["--overwrite"]).code(0);
    tree::assert_same(&machine.source(), &fresh.join(below));
    assert_eq!(fs::read(fresh.join("mine")).unwrap(), b"stays");

    // What was read from this machine goes onto another one.
    let part = machine.path("part");
    to(&format!("files.here:{}", machine.source().display()), &part, &["--verify"]).code(0);
    is_same_inside(&machine.source(), &part);
    let file = machine.path("file");
    to(&format!("ssh.there:{}/content/large", machine.source().display()), &file, &[]).code(0);
    assert_eq!(fs::read(file.join("large")).unwrap(), fs::read(machine.source().join("content/large")).unwrap());
    assert_eq!(fs::read_dir(&file).unwrap().count(), 1);
}

#[test]
fn link_in_the_target_is_not_followed() {
    let machine = Machine::new();
    machine.write("a/b/file", "saved");
    machine.backup(0);
    let (outside, target) = (machine.path("outside"), machine.path("target"));
    let below = target.join(machine.source().strip_prefix("/").unwrap());
    for directory in [&outside.join("b"), &below] {
        fs::create_dir_all(directory).unwrap();
    }
    symlink(&outside, below.join("a")).unwrap();
    let to = format!("ssh.there:{}", target.display());
    machine.run(["restore", "ssh.there", "--overwrite", "--to", &to]).code(0);
    assert_eq!(fs::read_dir(outside.join("b")).unwrap().count(), 0);
    assert_eq!(fs::read(below.join("a/b/file")).unwrap(), b"saved");
    assert!(!below.join("a").is_symlink());
}

#[test]
fn full_disk_of_a_machine_is_told_with_the_names_that_are_missing() {
    let full = tempfile::tempdir().unwrap();
    // The machine sees what was mounted before it began.
    let disk = Tmpfs::mount(full.path(), "2m");
    let machine = Machine::new();
    machine.write("a", "small");
    machine.write("large", crate::everything::noise(8 << 20));
    machine.backup(0);
    let to = format!("ssh.there:{}/target", full.path().display());
    let said = machine.run(["restore", "ssh.there", "--to", &to]).code(3);
    // tar calls it a short write.
    said.stderr_has("source/large: ").stderr_has("is the disk full?").stderr_has("restored 1 file (5 B)");
    drop(disk);
}

#[test]
fn user_that_is_not_root_is_told_what_he_cannot_set() {
    let machine = Machine::start(Sshd::builder().account(Account::new("keeper")), "");
    machine.write("file", "x");
    set_mode(&machine.write("suid", "x"), 0o4755);
    machine.backup(0);
    let place = machine.path("place");
    fs::create_dir(&place).unwrap();
    set_owner(&place, 31_000, 31_000);
    let to = format!("ssh.there:{}/target", place.display());
    let said = machine.run(["restore", "ssh.there", "--to", &to]).code(0);
    said.stderr_has("Cannot change ownership").stderr_has("file");
    let restored = place.join("target").join(machine.source().strip_prefix("/").unwrap());
    assert_eq!(fs::read(restored.join("file")).unwrap(), b"x");
    // It must not run with the rights of another.
    assert_eq!(restored.join("suid").metadata().unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn connection_that_breaks_while_restoring_is_an_error() {
    let machine = Machine::new();
    (0..40).for_each(|number| drop(machine.write(format!("{number:02}"), crate::everything::noise(4 << 20))));
    machine.backup(0);
    let target = machine.path("target");
    let to = format!("ssh.there:{}", target.display());
    let mut restore = machine.env.start(["restore", "ssh.there", "--to", &to]);
    let first = target.join(machine.source().strip_prefix("/").unwrap()).join("02");
    restore.wait_until(|| first.exists());
    machine.server.kill_sessions();
    let status = restore.wait(std::time::Duration::from_secs(60));
    assert_eq!(status.code(), Some(1), "{}", restore.log());
    assert!(restore.log().contains("the connection to 127.0.0.1"), "{}", restore.log());
}

#[test]
fn nothing_is_overwritten_that_could_not_be_saved_first() {
    let machine = Machine::start(Sshd::builder().account(Account::new("keeper")), "");
    let drop_box = machine.source().join("box");
    machine.write("box/file", "x");
    for path in [&machine.source(), &drop_box, &drop_box.join("file")] {
        set_owner(path, 31_000, 31_000);
    }
    machine.backup(0);
    fs::write(drop_box.join("file"), "newer").unwrap();
    // Whoever knows a name in it may write there, and nobody may look which there are.
    set_mode(&drop_box, 0o300);
    let refused = in_place(&machine, "", &[]).code(1);
    refused.stderr_has("not everything could be read").stderr_has("box: Permission denied").stderr_has("--no-safety");
    assert_eq!(fs::read(drop_box.join("file")).unwrap(), b"newer");
}
