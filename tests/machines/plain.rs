//! Machines without GNU's programs, and machines that run no program at all: what they can tell is saved and comes back.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bench::{Machine, problems, sh};
use crate::everything::{everything, noise, plain, set_mode, set_modified, set_owner};
use crate::support::sshd::{Account, Builder, Sshd};
use crate::support::tree;

/// What is left without GNU's tar.
const WITHOUT_TAR: &[&str] = &["sh", "find", "xargs", "stat", "readlink", "cat", "id", "dd", "uname", "sudo"];

/// The directories and files of a tree get times in whole seconds.
fn in_whole_seconds(machine: &Machine) {
    sh(&format!("find '{}' -depth -exec touch -h -d @1500000000 {{}} +", machine.source().display()));
}

/// Saves twice, changes something, and brings it back here.
fn comes_back(machine: &Machine) {
    let files = machine.counts()[0];
    machine.env.restic(["check", "--read-data"]).code(0);
    tree::assert_same(&machine.source(), &machine.restored());
    machine.has_not_changed(files);
    let large = noise(5 << 20);
    machine.write("content/large", &large);
    machine.write("content/new", "new");
    fs::remove_file(machine.source().join("content/empty")).unwrap();
    let [new, changed, unmodified, added] = machine.counts();
    assert_eq!([new, changed, unmodified], [1, 1, files - 2]);
    assert!(added > 1 << 20 && added < 6 << 20, "{added}");
}

#[test]
fn machine_with_busybox_is_saved_and_comes_back() {
    let machine = Machine::start_busybox(Sshd::builder(), "");
    plain(&machine.source());
    let linked = machine.write("links/one", "linked");
    fs::hard_link(&linked, machine.source().join("links/two")).unwrap();
    sh(&format!("cd '{}'; mkfifo fifo; mknod null c 1 3; mknod disk b 259 300", machine.source().display()));
    set_owner(&linked, 54_321, 4_000_000_000);
    set_mode(&machine.source().join("links"), 0o700);
    // Its stat has no nanoseconds.
    in_whole_seconds(&machine);
    comes_back(&machine);
}

#[test]
fn machine_with_gnu_find_and_no_tar_is_saved_with_all_but_attributes() {
    let machine = Machine::start(Sshd::builder().only_programs(WITHOUT_TAR), "");
    everything(&machine.source());
    sh(&format!("cd '{}'; setfacl -R -b attributes; rm -r attributes", machine.source().display()));
    set_modified(&machine.source().join("link"), -5, 999_999_999);
    comes_back(&machine);
    machine.is_saved_like_files();
}

#[test]
fn machine_that_gives_sftp_only_is_saved_and_comes_back() {
    let machine = Machine::start(Sshd::builder().sftp_only(), "");
    plain(&machine.source());
    set_owner(&machine.source().join("names"), 54_321, 4_000_000_000);
    in_whole_seconds(&machine);
    comes_back(&machine);
}

#[test]
fn what_may_not_be_read_is_told_there_too() {
    let keeper = || Account::new("keeper");
    let builders: [Builder; 2] =
        [Sshd::builder().only_programs(WITHOUT_TAR).account(keeper()), Sshd::builder().sftp_only().account(keeper())];
    for builder in builders {
        let machine = Machine::start(builder, "");
        machine.write("open", "x");
        set_mode(&machine.write("closed file", "x"), 0o600);
        machine.write("closed/inside", "x");
        set_mode(&machine.source().join("closed"), 0o700);
        let item = machine.backup(3);
        let told = problems(&item, &machine.source());
        let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["closed", "closed file"], "{told:?}");
        assert!(told.iter().all(|(_, error)| error.to_lowercase().contains("permission denied")), "{told:?}");
    }
}

#[test]
fn point_goes_back_over_sftp_where_there_is_no_tar() {
    for builder in [Sshd::builder().sftp_only(), Sshd::builder().only_programs(WITHOUT_TAR)] {
        let machine = Machine::start(builder, "");
        plain(&machine.source());
        in_whole_seconds(&machine);
        machine.backup(0);
        let was = machine.path("was");
        sh(&format!("cp -a '{}' '{}'", machine.source().display(), was.display()));
        let to = format!("ssh.there:{}", machine.path("target").display());
        machine.run(["restore", "ssh.there", "--to", &to, "--verify"]).code(0);
        let below = machine.path("target").join(machine.source().strip_prefix("/").unwrap());
        let differences = tree::differences(&was, &below);
        assert!(differences.iter().all(|line| line.contains(": modified: ")), "{differences:#?}");

        machine.write("content/large", "changed");
        fs::remove_dir_all(machine.source().join("names")).unwrap();
        machine.write("mine", "stays");
        let said = machine.run(["restore", "ssh.there", "--in-place", "--yes"]).code(0);
        assert_eq!(fs::read(machine.source().join("mine")).unwrap(), b"stays");
        fs::remove_file(machine.source().join("mine")).unwrap();
        let differences = tree::differences(&was, &machine.source());
        assert!(differences.iter().all(|line| line.contains(": modified: ")), "{differences:#?}");
        let (_, undo) = said.stderr.split_once("To undo: holdall ").unwrap();
        machine.run(undo.split(' ').take_while(|word| !word.starts_with('(')).chain(["--yes", "--no-safety"])).code(0);
        assert_eq!(fs::read(machine.source().join("content/large")).unwrap(), b"changed");
    }
}

#[test]
fn root_is_a_file_a_link_or_missing_there_too() {
    for builder in [Sshd::builder().sftp_only(), Sshd::builder().only_programs(WITHOUT_TAR)] {
        let machine = Machine::start(builder, "");
        machine.write("file", "x");
        sh(&format!("ln -s file '{}'", machine.source().join("link").display()));
        let [file, link, missing] = ["file", "link", "missing"].map(|name| machine.source().join(name));
        machine.configure_paths(&[&file, &link], "");
        assert_eq!(machine.counts()[0], 2);
        let saved = machine.saved("ssh.there");
        assert_eq!(saved.keys().map(AsRef::as_ref).collect::<Vec<&Path>>(), ["", "file", "link"].map(Path::new));
        machine.configure_paths(&[&file, &missing], "");
        let item = machine.backup(1);
        assert!(item["error"].as_str().unwrap().contains("missing"), "{item}");
        assert_eq!(item["outcome"], json!("failed"));
    }
}
