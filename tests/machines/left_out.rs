//! What a source leaves out is not even looked at on the machine, and what it names must be there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::bench::{Machine, problems};
use crate::everything::{noise, set_mode};
use crate::support::fault::Tmpfs;
use crate::support::sshd::{Account, Sshd};

/// The files in the newest point.
fn files(machine: &Machine) -> BTreeSet<String> {
    let saved = machine.saved("ssh.there");
    let files = saved.iter().filter(|(_, node)| !node.is_dir());
    files.map(|(path, _)| path.to_str().unwrap().to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

const GLOBS: &str = r#"exclude = ["*.tmp", "!kept.tmp", "cache/", "**/deep/**/leaf", "/**/anchored", "[ab]?.log", "\\*star", "not/kept/", "**/sub/*/x", "umlaut-ä", "a b*c"]
"#;

#[test]
fn globs_leave_out_the_same_as_on_this_machine() {
    let machine = Machine::start(Sshd::builder(), GLOBS);
    for name in [
        "x.tmp",
        "kept.tmp",
        "sub/kept.tmp",
        "sub/x.tmp",
        "cache/file",
        "sub/cache/kept.tmp",
        "other/cache",
        "deep/leaf",
        "deep/a/leaf",
        "deep/a/b/leaf",
        "deep/a/b/leaf.not",
        "anchored",
        "sub/anchored",
        "a1.log",
        "ab1.log",
        "c1.log",
        "*star",
        "star",
        "not/kept/file",
        "kept/not/file",
        "sub/one/x",
        "sub/one/two/x",
        "sub/x",
        "umlaut-ä",
        "umlaut-a",
        "a bc",
        "a b\nc",
        ".tmp",
        "tmp",
        "deep/a\nb/leaf",
        "x.tmp/below",
        "new\n.tmp",
    ] {
        if name != "x.tmp" {
            machine.write(name, "x");
        }
    }
    machine.backup(0);
    machine.is_saved_like_files();
    let files = files(&machine);
    assert!(
        ["kept.tmp", "other/cache", "star", "sub/x", "ab1.log"].iter().all(|name| files.contains(*name)),
        "{files:?}"
    );
    let gone = ["cache/file", "deep/a/b/leaf", "sub/anchored", "a1.log", "*star", "sub/one/x", "a b\nc", "x.tmp/below"];
    assert!(!gone.iter().any(|name| files.contains(*name)), "{files:?}");
}

#[test]
fn what_is_left_out_is_not_walked() {
    for (builder, is_gnu) in [(Sshd::builder(), true), (Sshd::builder().only_programs(POSIX), false)] {
        let machine = Machine::start(builder.account(Account::new("keeper")), "");
        machine.write("file", "x");
        for name in ["closed", "cache"] {
            fs::create_dir_all(machine.source().join(name).join("inside")).unwrap();
            set_mode(&machine.source().join(name), 0o000);
        }
        let closed = machine.source().join("closed").display().to_string();
        let item = machine.backup(3);
        assert_eq!(problems(&item, &machine.source()).len(), 2, "{item}");
        machine.configure(&format!("exclude = [\"{closed}\", \"cache/\"]\n"));
        let item = machine.backup(0);
        assert_eq!((&item["outcome"], &item["problems"]), (&json!("saved"), &json!([])), "gnu: {is_gnu}: {item}");
        assert_eq!(files(&machine), set(&["file"]));
    }
}

/// Enough for the way without GNU's programs.
const POSIX: &[&str] = &["sh", "find", "xargs", "stat", "readlink", "cat", "id", "dd", "uname"];

#[test]
fn other_file_systems_caches_and_large_files_are_left_out_on_demand() {
    let mounted = tempfile::tempdir().unwrap();
    // Seen by the machine, since it was mounted before it began.
    let _disk = Tmpfs::mount(&mounted.path().join("disk"), "1m");
    fs::write(mounted.path().join("disk/inside"), "x").unwrap();
    fs::write(mounted.path().join("beside"), "x").unwrap();
    let machine = Machine::new();
    machine.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# for people");
    machine.write("cache/sub/file", "x");
    machine.write("no-cache/CACHEDIR.TAG", "Signature: none, but just as long as that of a cache");
    machine.write("no-cache/file", "x");
    machine.write("large", noise(5000));
    machine.write("limit", noise(4096));
    let paths = [machine.source(), mounted.path().to_path_buf()];
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    let all = "one-file-system = true\nexclude-caches = true\nexclude-larger-than = \"4KiB\"\n";
    machine.configure_paths(&paths, all);
    let item = machine.backup(0);
    assert_eq!(item["problems"], json!([]));
    assert_eq!(files(&machine), set(&["cache/CACHEDIR.TAG", "limit", "no-cache/CACHEDIR.TAG", "no-cache/file"]));
    let names = |machine: &Machine| machine.saved_below("ssh.there", mounted.path()).len();
    // The mount point itself is there.
    assert_eq!(names(&machine), 3);
    machine.configure_paths(&paths, "");
    machine.backup(0);
    assert_eq!(files(&machine).len(), 6);
    assert_eq!(names(&machine), 4);
}

#[test]
fn roots_may_be_anything_that_is_there() {
    let machine = Machine::new();
    let at = |name: &str| machine.source().join(name);
    for name in ["one.tmp", "dir.tmp/file", "dir.tmp/sub/file", "dir.tmp/x.tmp", "other/file"] {
        machine.write(name, name);
    }
    symlink("other", at("link")).unwrap();
    // Nested ones count once; what is named is wanted, whatever the globs say.
    let paths = ["one.tmp", "dir.tmp", "dir.tmp/sub", "link"].map(at);
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    machine.configure_paths(&paths, "exclude = [\"*.tmp\", \"link\"]\n");
    assert_eq!(machine.counts()[0], 4);
    machine.is_saved_like_files();
    assert_eq!(files(&machine), set(&["one.tmp", "dir.tmp/file", "dir.tmp/sub/file", "link"]));
    machine.has_not_changed(4);
}

#[test]
fn root_that_is_missing_or_cannot_be_seen_fails() {
    let machine = Machine::start(Sshd::builder().account(Account::new("keeper")), "");
    machine.write("file", "x");
    machine.write("closed/inside/file", "x");
    set_mode(&machine.source().join("closed"), 0o700);
    for (name, why) in [
        ("missing", "it is not there"),
        ("closed/inside", "Permission denied"),
        ("closed/nothing", "Permission denied"),
    ] {
        let root = machine.source().join(name);
        machine.configure_paths(&[&machine.source().join("file"), &root], "");
        let item = machine.backup(1);
        let error = item["error"].as_str().unwrap();
        assert!(error.contains(root.to_str().unwrap()) && error.contains(why), "{item}");
        assert!(item["hint"].as_str().unwrap().contains("mounted"), "{item}");
    }
    assert_eq!(machine.run(["list", "--json"]).code(0).json(), json!([]));
}

#[test]
fn source_that_is_empty_and_was_not_before_is_an_error() {
    let machine = Machine::new();
    machine.write("file", "x");
    machine.backup(0);
    fs::remove_file(machine.source().join("file")).unwrap();
    let item = machine.backup(1);
    assert!(item["hint"].as_str().unwrap().contains("allow-empty"), "{item}");
    machine.configure("allow-empty = true\n");
    machine.backup(0);
}
