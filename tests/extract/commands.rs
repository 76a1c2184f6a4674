//! The commands that read points, as users see them: output, exit code, and what they leave behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

use crate::bench::{Bench, everything};

/// A bench with a configuration and a source directory of four entries, backed up once.
struct Desk {
    bench: Bench,
    source: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let bench = Bench::new();
        let source = bench.path("source");
        fs::create_dir_all(source.join("sub")).unwrap();
        fs::write(source.join("sub/a"), "first\n").unwrap();
        fs::write(source.join("b\x1b[2J"), "").unwrap();
        fs::set_permissions(source.join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("sub/a", source.join("link")).unwrap();
        let config = format!(
            "[store]\nrepository = {:?}\npassword-file = {:?}\n\n[files.test]\npaths = [{source:?}]\n",
            bench.config.repository,
            bench.path("password"),
        );
        fs::write(bench.path("config.toml"), config).unwrap();
        bench.back_up(&source);
        Self { bench, source }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_holdall"))
            .arg("--config")
            .arg(self.bench.path("config.toml"))
            .args(arguments)
            .env("XDG_CACHE_HOME", self.bench.path("cache"))
            .env("XDG_RUNTIME_DIR", self.bench.path("runtime"))
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed, and returns its standard output.
    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// `files.test@latest:PATH` for a path below the source.
    fn spec(&self, below: &str) -> String {
        format!("files.test:{}", self.source.join(below).display())
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn ls_shows_one_level_or_everything_and_no_control_characters() {
    let desk = Desk::new();
    assert_eq!(desk.stdout(&["ls", &desk.spec("")]), "b\\u{1b}[2J\nlink\nsub/\n");
    let source = desk.source.display();
    assert_eq!(
        desk.stdout(&["ls", "-R", &desk.spec("")]),
        format!("{source}/b\\u{{1b}}[2J\n{source}/link\n{source}/sub/\n{source}/sub/a\n")
    );
    let long = desk.stdout(&["ls", "-l", &desk.spec("")]);
    let lines: Vec<&str> = long.lines().collect();
    assert!(lines[1].starts_with("lrwxrwxrwx ") && lines[1].ends_with(" link -> sub/a"), "{long}");
    assert!(lines[2].starts_with("drwxr-x--- ") && lines[2].ends_with(" sub/"), "{long}");
    let rows: Value = serde_json::from_str(&desk.stdout(&["ls", "--json", &desk.spec("sub")])).unwrap();
    assert_eq!(rows[0]["path"], desk.source.join("sub/a").to_str().unwrap());
    assert_eq!((&rows[0]["type"], &rows[0]["size"], &rows[1]), (&"file".into(), &6.into(), &Value::Null));
}

#[test]
fn path_that_is_not_there_fails_and_names_what_is_near() {
    let desk = Desk::new();
    let output = desk.run(&["ls", &desk.spec("sbu")]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(&format!("There is {}.", desk.source.join("sub").display())), "{text}");
}

#[test]
fn dump_writes_a_file_as_it_is_and_a_directory_as_tar() {
    let desk = Desk::new();
    let long = "n".repeat(150);
    fs::write(desk.source.join("sub").join(&long), "long\n").unwrap();
    fs::hard_link(desk.source.join("sub/a"), desk.source.join("sub/second")).unwrap();
    rustix::fs::setxattr(desk.source.join("sub/a"), "user.note", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    desk.bench.back_up(&desk.source);

    assert_eq!(desk.stdout(&["dump", &desk.spec("sub/a")]), "first\n");
    let archive = desk.run(&["dump", &desk.spec("")]);
    assert!(archive.status.success(), "{}", stderr(&archive));
    let unpacked = desk.bench.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .args(["-x", "--xattrs", "--xattrs-include=*", "-p", "-f", "-", "-C"])
        .arg(&unpacked)
        .write_stdin(archive.stdout)
        .output()
        .unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", stderr(&tar));
    let below = unpacked.join(desk.source.strip_prefix("/").unwrap());
    assert_eq!(everything(&below), everything(&desk.source));
    assert_eq!(fs::read(below.join("sub").join(&long)).unwrap(), b"long\n");
    assert_same(&desk.source, &below, &["sub", "sub/a", "sub/second", "link"]);
    let mut value = [0; 4];
    assert_eq!(rustix::fs::getxattr(below.join("sub/a"), "user.note", &mut value[..]), Ok(1));
}

/// Asserts that mode, owner, time and number of names are the same.
fn assert_same(was: &Path, is: &Path, names: &[&str]) {
    use std::os::unix::fs::MetadataExt;
    for name in names {
        let [was, is] = [was, is].map(|below| below.join(name).symlink_metadata().unwrap());
        assert_eq!(
            (is.mode(), is.uid(), is.mtime(), is.mtime_nsec(), is.nlink()),
            (was.mode(), was.uid(), was.mtime(), was.mtime_nsec(), was.nlink()),
            "{name}"
        );
    }
}

#[test]
fn diff_names_each_change_by_its_letter() {
    let desk = Desk::new();
    fs::write(desk.source.join("sub/a"), "second\n").unwrap();
    fs::create_dir(desk.source.join("new")).unwrap();
    fs::write(desk.source.join("new/c"), "").unwrap();
    fs::remove_file(desk.source.join("link")).unwrap();
    fs::set_permissions(desk.source.join("b\x1b[2J"), fs::Permissions::from_mode(0o600)).unwrap();
    let old = desk.bench.newest().id;
    desk.bench.back_up(&desk.source);
    let new = desk.bench.newest().id;
    let source = desk.source.display();
    let output = desk.run(&["diff", &old, &new]);
    assert_eq!(
        String::from_utf8(output.stdout.clone()).unwrap(),
        format!("U {source}/b\\u{{1b}}[2J\n- {source}/link\n+ {source}/new/\n+ {source}/new/c\nM {source}/sub/a\n")
    );
    assert!(stderr(&output).contains("2 added, 1 removed, 1 modified, 1 with other metadata"), "{}", stderr(&output));
    let rows = desk.stdout(&["diff", "--json", &format!("{old}:{source}/sub"), &new]);
    let expected = serde_json::json!([{"path": format!("{source}/sub/a"), "change": "M"}]);
    assert_eq!(serde_json::from_str::<Value>(&rows).unwrap(), expected);
}

#[test]
fn restore_needs_to_know_where_to() {
    let desk = Desk::new();
    let target = desk.bench.path("target");
    let to = ["--to", target.to_str().unwrap()];
    for wrong in [&[][..], &[to[0], to[1], "--in-place"], &[to[0], to[1], "--yes"], &[to[0], to[1], "--no-safety"]] {
        let output = desk.run(&[&["restore", "files.test"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    assert!(!target.exists());
}

#[test]
fn restore_below_a_directory_reports_in_json() {
    let desk = Desk::new();
    let target = desk.bench.path("target");
    let report = desk.stdout(&["restore", &desk.spec(""), "--to", target.to_str().unwrap(), "--verify", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["point"], desk.bench.newest().id);
    let count = |key: &str| report[key].as_u64().unwrap();
    assert_eq!((count("files"), count("directories"), count("others"), count("bytes")), (2, 1, 1, 6));
    assert_eq!((&report["dry_run"], &report["problems"]), (&false.into(), &Value::Array(Vec::new())));
    assert_eq!(everything(&target), everything(&desk.source));
}

#[test]
fn restore_in_place_is_refused_without_terminal_and_yes() {
    let desk = Desk::new();
    fs::write(desk.source.join("sub/a"), "changed\n").unwrap();
    let output = desk.run(&["restore", "files.test", "--in-place"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--yes"), "{}", stderr(&output));
    assert_eq!(fs::read(desk.source.join("sub/a")).unwrap(), b"changed\n");
}

#[test]
fn restore_in_place_can_be_undone_with_the_point_it_saved() {
    let desk = Desk::new();
    fs::write(desk.source.join("sub/a"), "changed\n").unwrap();
    fs::write(desk.source.join("mine"), "stays\n").unwrap();

    let listed = desk.stdout(&["restore", "files.test", "--in-place", "--dry-run"]);
    // The directory gets back the time it had before `mine` was made in it.
    assert_eq!(listed, format!("U {0}/\nM {0}/sub/a\n", desk.source.display()));
    assert_eq!(fs::read(desk.source.join("sub/a")).unwrap(), b"changed\n");

    let output = desk.run(&["restore", "files.test", "--in-place", "--yes"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(desk.source.join("sub/a")).unwrap(), b"first\n");
    assert_eq!(fs::read(desk.source.join("mine")).unwrap(), b"stays\n");

    let text = stderr(&output);
    let (_, undo) = text.split_once("To undo: holdall ").unwrap();
    let undo: Vec<&str> =
        undo.split(' ').take_while(|word| !word.starts_with('(')).chain(["--yes", "--no-safety"]).collect();
    assert!(undo[1].starts_with("files.test/before-restore@"), "{text}");
    desk.stdout(&undo);
    assert_eq!(fs::read(desk.source.join("sub/a")).unwrap(), b"changed\n");
}

#[test]
fn restore_that_misses_something_ends_with_3_and_names_it() {
    let desk = Desk::new();
    let target = desk.bench.path("target");
    fs::create_dir_all(target.join("sub/a")).unwrap();
    let output = desk.run(&["restore", &desk.spec(""), "--to", target.to_str().unwrap(), "--overwrite"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("sub/a: a directory stands in its place"), "{}", stderr(&output));
}
