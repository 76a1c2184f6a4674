//! `holdall discover` as users meet it: what there is, what no source covers, and that it needs neither store nor configuration.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its files fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: &str = "[ssh.pi]\nhost = \"pi.lan\"\nuser = \"backup\"\n\
    host-key = \"SHA256:uNiVztksCsDhcc0u9e8BrJlhSFTNiWmXPYq3Mf1lzLU\"\nagent = true\npaths = [\"/etc\"]\n";

/// A home directory with these files below it.
fn home(files: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = home.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    home
}

fn discover(home: &Path, arguments: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_holdall");
    Command::new(binary)
        .arg("discover")
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it prints as JSON, without what the machine that runs the test knows by itself.
fn rows(home: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = discover(home, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let place = home.display().to_string();
    rows.into_iter().filter(|row| row["detail"].as_str().unwrap().contains(&place)).collect()
}

#[test]
fn machines_are_listed_with_the_source_that_covers_them() {
    let home = home(&[
        (".ssh/config", "Host raspberry\n  HostName pi.lan\n  User me\nHost *\n  Port 22\n"),
        (".ssh/known_hosts", "nas.lan ssh-ed25519 AAAA\n|1|c2FsdA==|aGFzaA== ssh-ed25519 AAAA\n"),
        ("config.toml", CONFIG),
    ]);
    let place = home.path().display();
    let expected = [
        json!({"kind": "ssh", "name": "raspberry", "detail": format!("me@pi.lan, {place}/.ssh/config line 1"), "covered_by": "ssh.pi"}),
        json!({"kind": "ssh", "name": "nas.lan", "detail": format!("{place}/.ssh/known_hosts line 1"), "covered_by": null}),
    ];
    let config = ["--config", "config.toml"];
    assert_eq!(rows(home.path(), &config), expected);
    assert_eq!(rows(home.path(), &[&config[..], &["ssh"]].concat()), expected);

    let output = discover(home.path(), &config);
    let table = text(&output.stdout);
    let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("raspberry").starts_with("ssh ") && line("raspberry").ends_with("  covered by ssh.pi"), "{table}");
    assert!(line("nas.lan").ends_with("  not covered"), "{table}");
    assert!(text(&output.stderr).contains("1 line of known_hosts cannot be listed"), "{}", text(&output.stderr));
}

#[test]
fn neither_store_nor_configuration_is_needed_and_nothing_is_made() {
    let home = home(&[(".ssh/config", "Host pi\n")]);
    assert_eq!(rows(home.path(), &[])[0]["covered_by"], Value::Null);
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".ssh"]);
}

#[test]
fn kind_that_cannot_be_looked_for_is_refused() {
    let home = home(&[]);
    for (kind, error, hint) in [
        ("sshd", "there is no kind of source called `sshd`", "hint: Did you mean `ssh`?"),
        (
            "zzz",
            "there is no kind of source called `zzz`",
            "hint: `holdall discover` looks for: ssh, docker, compose, ios, incus.",
        ),
        (
            "files",
            "this version of holdall does not look for `files`",
            "hint: `holdall discover` looks for: ssh, docker, compose, ios, incus.",
        ),
    ] {
        let output = discover(home.path(), &["ssh", kind]);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(error) && complaint.contains(hint), "{complaint}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn broken_or_missing_configuration_is_an_error() {
    let home = home(&[("config.toml", "[ssh.pi]\n")]);
    for config in ["config.toml", "missing.toml"] {
        assert_eq!(discover(home.path(), &["--config", config]).status.code(), Some(2));
    }
}
