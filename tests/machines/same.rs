//! A machine with GNU's programs is saved as it would save itself, and a second time at no cost.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use crate::bench::{Machine, problems};
use crate::everything::{everything, noise, set_attribute, set_mode, set_modified, set_owner, socket};
use crate::support::tree;

#[test]
fn machine_is_saved_as_it_would_save_itself_and_comes_back() {
    let machine = Machine::new();
    everything(&machine.source());
    fs::create_dir(machine.source().join("sockets")).unwrap();
    socket(&machine.source().join("sockets/socket"));
    let item = machine.backup(0);
    assert_eq!((&item["outcome"], &item["problems"]), (&"saved".into(), &serde_json::json!([])), "{item}");
    machine.env.restic(["check", "--read-data"]).code(0);
    machine.is_saved_like_files();
    // Whoever listens there makes it anew.
    assert_eq!(tree::differences(&machine.source(), &machine.restored()), ["\"sockets/socket\": missing"]);
}

#[test]
fn second_run_of_an_unchanged_machine_gets_nothing_and_makes_the_same_tree() {
    let machine = Machine::new();
    everything(&machine.source());
    let files = machine.counts()[0];
    let first = machine.saved("ssh.there");
    machine.has_not_changed(files);
    assert!(machine.saved("ssh.there") == first);
}

#[test]
fn only_what_has_changed_travels() {
    let machine = Machine::new();
    let at = |name: &str| machine.source().join(name);
    for name in
        ["content", "mode", "owner", "attribute", "renamed", "moved/file", "deleted", "same-size-and-time", "as-it-was"]
    {
        machine.write(name, [name.as_bytes(), &noise(100_000)].concat());
    }
    fs::create_dir(at("attribute-of-directory")).unwrap();
    fs::create_dir(at("elsewhere")).unwrap();
    symlink("here", at("link")).unwrap();
    assert_eq!(machine.counts()[0], 10);

    fs::write(at("content"), "other").unwrap();
    set_mode(&at("mode"), 0o600);
    set_owner(&at("owner"), 7, 8);
    set_attribute(&at("attribute"), "user.new", b"1");
    set_attribute(&at("attribute-of-directory"), "user.new", b"2");
    fs::rename(at("renamed"), at("renamed to")).unwrap();
    fs::rename(at("moved"), at("elsewhere/moved")).unwrap();
    fs::remove_file(at("deleted")).unwrap();
    fs::write(at("new"), "new").unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("there", at("link")).unwrap();
    // The time of its status tells, which nobody can set.
    let before = at("same-size-and-time").metadata().unwrap();
    let other: Vec<u8> = fs::read(at("same-size-and-time")).unwrap().iter().map(|byte| !byte).collect();
    fs::write(at("same-size-and-time"), other).unwrap();
    set_modified(&at("same-size-and-time"), before.mtime(), before.mtime_nsec());

    let [new, changed, unmodified, added] = machine.counts();
    // Renamed is new in one place and gone from the other.
    assert_eq!([new, changed, unmodified], [3, 6, 1]);
    let others = 100_000 + "same-size-and-time".len() as u64 + "other".len() as u64 + "new".len() as u64;
    assert!((others..others + 20_000).contains(&added), "{added} bytes were added, {others} are new");
    machine.is_saved_like_files();
    tree::assert_same(&machine.source(), &machine.restored());
    assert_eq!(machine.counts()[1], 0);
}

#[test]
fn clock_of_the_machine_counts_for_nothing() {
    let machine = Machine::new();
    let year = 365 * 24 * 3600;
    let now = chrono::Utc::now().timestamp();
    for (name, time) in [("ahead", now + year), ("behind", now - year)] {
        machine.write(name, name);
        set_modified(&machine.source().join(name), time, 1);
    }
    machine.counts();
    let point = machine.run(["list", "--json", "ssh.there"]).code(0).json()[0]["time"].as_str().unwrap().to_owned();
    let point: chrono::DateTime<chrono::Utc> = point.parse().unwrap();
    assert!((point.timestamp() - now).abs() < 300, "{point}");
    machine.has_not_changed(2);
    machine.write("ahead", "other");
    set_modified(&machine.source().join("ahead"), now + year, 1);
    assert_eq!(machine.counts()[..3], [0, 1, 1]);
}

#[test]
fn hundred_thousand_files_in_a_directory_and_large_ones_are_saved() {
    let machine = Machine::new();
    let many = machine.source().join("many");
    fs::create_dir(&many).unwrap();
    (0..100_000).for_each(|number| drop(File::create(many.join(format!("file {number}"))).unwrap()));
    let large = noise(65 << 20);
    let file = machine.write("large", &large);
    let item = machine.backup(0);
    assert_eq!((&item["files_new"], &item["problems"]), (&100_001.into(), &serde_json::json!([])), "{item}");
    machine.has_not_changed(100_001);
    let spec = format!("ssh.there:{}", file.display());
    assert!(machine.run(["dump", &spec]).code(0).bytes == large);
}

/// Makes 25 directories with names of 200 bytes below each other, and returns the last one.
fn dig(top: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let name = "d".repeat(200);
    (0..25).fold(openat(CWD, top, flags, Mode::empty()).unwrap(), |directory, _| {
        mkdirat(&directory, &name, Mode::RWXU).unwrap();
        openat(&directory, &name, flags, Mode::empty()).unwrap()
    })
}

#[test]
fn path_longer_than_the_kernel_takes_in_one_call_is_told() {
    let machine = Machine::new();
    let deepest = dig(&machine.source());
    let make = OFlags::WRONLY | OFlags::CREATE;
    File::from(openat(&deepest, "file", make, Mode::RWXU).unwrap()).write_all(b"deep").unwrap();
    machine.write("other", "x");
    let item = machine.backup(3);
    let told = problems(&item, &machine.source());
    assert!(told.iter().all(|(_, error)| error.ends_with("File name too long")), "{told:?}");
    let file = told.iter().filter(|(path, _)| path.ends_with("/file")).count();
    // 4096 bytes are 20 of the names, or 19 when they begin further down.
    assert!(file == 1 && (6..8).contains(&told.len()), "{told:?}");
    // The directories, too far down for their attributes, and what is beside them.
    assert_eq!(machine.saved("ssh.there").len(), 1 + 25 + 1);
}
