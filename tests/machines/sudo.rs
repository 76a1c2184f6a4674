//! A user that is not root reads everything with sudo, and may do no more than the lines that holdall prints.

use std::fs;

use serde_json::{Value, json};

use crate::bench::Machine;
use crate::everything::{everything, set_mode};
use crate::support::outcome::Outcome;
use crate::support::sshd::{Account, Builder, Sshd};
use crate::support::tree;

const SUDO: &str = "sudo = true\n";

fn builder() -> Builder {
    Sshd::builder().account(Account::new("keeper"))
}

/// What `check` says of the machine.
fn finding(outcome: &Outcome) -> Value {
    outcome.json().as_array().unwrap().iter().find(|one| one["what"] == "ssh.there").unwrap().clone()
}

/// The lines that a refused command prints for sudoers.
#[track_caller]
fn lines(hint: &str) -> String {
    let (_, lines) = hint.split_once("these lines:\n").unwrap_or_else(|| panic!("no lines in {hint}"));
    let is_line = |line: &&str| line.starts_with("keeper ") || line.starts_with("Defaults:keeper ");
    lines.lines().map(str::trim_start).take_while(is_line).map(|line| format!("{line}\n")).collect()
}

#[track_caller]
fn lines_of_check(machine: &Machine) -> String {
    let finding = finding(&machine.run(["check", "--json"]).code(1));
    assert_eq!(finding["ok"], json!(false), "{finding}");
    lines(finding["hint"].as_str().unwrap())
}

/// The lines that a restore in place prints.
#[track_caller]
fn lines_of_restore(machine: &Machine) -> String {
    // Not even the safety point is made.
    let refused = machine.run(["restore", "ssh.there", "--in-place", "--yes"]).code(1).stderr_lacks("To undo");
    let text: String = refused.stderr.lines().map(|line| line.trim_start().to_owned() + "\n").collect();
    lines(&text)
}

#[test]
fn printed_lines_are_what_a_backup_and_a_restore_need() {
    let excludes = "exclude = [\"*.tmp\", \"cache/\", \"a b\", \"!kept.tmp\", \"/odd:,=#\\\\\\\\[x]*?\"]\none-file-system = true\n";
    let settings = format!("{SUDO}{excludes}");
    let mut machine = Machine::start(builder().sudoers(""), &settings);
    everything(&machine.source());
    for name in ["left.tmp", "kept.tmp", "cache/file", "a b"] {
        machine.write(name, "x");
    }
    set_mode(&machine.source(), 0o700);
    let printed = lines_of_check(&machine);

    machine.replace(builder().sudoers(&format!("Defaults requiretty\n{printed}")), &settings);
    assert_eq!(finding(&machine.run(["check", "--json"]).code(0))["detail"], "ready");
    assert_eq!(machine.backup(0)["outcome"], "saved");
    let saved = machine.saved("ssh.there");
    machine.is_saved_like_files();
    assert!(
        saved.keys().any(|path| path.ends_with("kept.tmp")) && !saved.keys().any(|path| path.ends_with("left.tmp"))
    );

    // Reading is not writing.
    let more = lines_of_restore(&machine);
    assert!(more.contains("--extract"), "{more:?}");
    let list = |directory: &std::path::Path| fs::read_dir(directory).unwrap().count();
    let before = list(&machine.source());
    for name in ["cache", "left.tmp", "a b"] {
        drop(fs::remove_dir_all(machine.source().join(name)));
        drop(fs::remove_file(machine.source().join(name)));
    }
    crate::bench::sh(&format!("cp -a '{}' '{}'", machine.source().display(), machine.path("copy").display()));
    fs::remove_dir_all(machine.source().join("links")).unwrap();
    fs::remove_file(machine.source().join("modes/suid")).unwrap();
    machine.write("attributes/file", "changed");
    machine.replace(builder().sudoers(&format!("{printed}{more}")), &settings);
    machine.run(["restore", "ssh.there", "--in-place", "--yes"]).code(0);
    assert!(list(&machine.source()) < before);
    let differences = tree::differences(&machine.path("copy"), &machine.source());
    assert!(differences.iter().all(|line| line.starts_with("\"\": modified")), "{differences:?}");
}

#[test]
fn each_line_is_needed() {
    let mut machine = Machine::start(builder().sudoers(""), SUDO);
    machine.write("file", "x");
    set_mode(&machine.source(), 0o700);
    let printed = lines_of_check(&machine);
    let all: Vec<&str> = printed.lines().collect();
    assert_eq!(all.len(), 3, "{printed}");
    for missing in 1..all.len() {
        let rest: Vec<&str> = all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, line)| *line).collect();
        machine.replace(builder().sudoers(&rest.join("\n")), SUDO);
        assert_eq!(lines_of_check(&machine), printed);
        // Nothing is saved of a machine that does not let all be read.
        let item = machine.backup(1);
        assert_eq!(lines(item["hint"].as_str().unwrap()), printed, "{item}");
    }
}

#[test]
fn sudo_that_asks_for_a_password_is_refused_and_not_waited_for() {
    let machine = Machine::start(builder().sudoers("keeper ALL=(ALL) ALL"), SUDO);
    machine.write("file", "x");
    let finding = finding(&machine.run(["check", "--json"]).code(1));
    let detail = finding["detail"].as_str().unwrap();
    assert!(detail.contains("sudo") && detail.contains("a password is required"), "{finding}");
    assert!(lines(finding["hint"].as_str().unwrap()).contains("NOPASSWD"));
    let item = machine.backup(1);
    assert!(item["error"].as_str().unwrap().contains("a password is required"), "{item}");
}

#[test]
fn password_that_is_asked_for_only_when_something_is_run_is_seen() {
    let rules = "keeper ALL=(root) NOPASSWD: /usr/bin/true\nkeeper ALL=(ALL) ALL\n";
    for builder in [builder(), builder().only_programs(WITHOUT_TAR)] {
        let machine = Machine::start(builder.sudoers(rules), SUDO);
        machine.write("file", "x");
        let finding = finding(&machine.run(["check", "--json"]).code(1));
        assert!(finding["detail"].as_str().unwrap().contains("a password is required"), "{finding}");
    }
}

#[test]
fn requiretty_is_told_and_cured_by_the_printed_lines() {
    let rules = "keeper ALL=(ALL) NOPASSWD: ALL\nDefaults requiretty\n";
    let mut machine = Machine::start(builder().sudoers(rules), SUDO);
    machine.write("file", "x");
    let printed = lines_of_check(&machine);
    machine.replace(builder().sudoers(&format!("Defaults requiretty\n{printed}")), SUDO);
    machine.backup(0);
}

#[test]
fn machine_without_sudo_is_told() {
    let programs = ["sh", "find", "tar", "gzip", "id", "uname", "dd", "cat", "printf"];
    let machine = Machine::start(builder().only_programs(&programs), SUDO);
    let finding = finding(&machine.run(["check", "--json"]).code(1));
    assert!(finding["detail"].as_str().unwrap().contains("has no sudo"), "{finding}");
    assert!(finding["hint"].as_str().unwrap().contains("Install sudo"), "{finding}");
}

#[test]
fn root_needs_no_sudo() {
    let machine = Machine::start(Sshd::builder().only_programs(&["sh", "find", "tar", "gzip", "id", "dd"]), SUDO);
    machine.write("file", "x");
    machine.backup(0);
}

/// What a machine without GNU's tar has.
const WITHOUT_TAR: &[&str] = &["sh", "find", "xargs", "stat", "readlink", "cat", "id", "dd", "uname", "sudo"];

/// Lines with the programs where sudo finds them: each server of the tests has a directory of links to them.
fn placed(lines: &str) -> String {
    let place = |line: &str| match (line.find(": /"), line.rfind('/')) {
        (Some(from), Some(to)) => format!("{}/usr/bin{}\n", &line[..from + 2], &line[to..]),
        _ => format!("{line}\n"),
    };
    lines.lines().map(place).collect()
}

#[test]
fn machine_without_tar_needs_programs_with_any_arguments_and_is_told_what_that_means() {
    let builder = || builder().only_programs(WITHOUT_TAR);
    let mut machine = Machine::start(builder().sudoers("keeper ALL=(ALL) NOPASSWD: /usr/bin/find / -print\n"), SUDO);
    machine.write("file", "x");
    machine.write("closed/inside", "x");
    crate::bench::sh(&format!("ln -s 'odd -> ' '{}'", machine.source().join("link").display()));
    set_mode(&machine.source(), 0o700);
    let finding = finding(&machine.run(["check", "--json"]).code(1));
    let hint = finding["hint"].as_str().unwrap();
    assert!(hint.contains("may run anything as root"), "{hint}");
    let printed = placed(&lines(hint));
    let expected: String = ["find", "stat", "readlink", "cat"]
        .iter()
        .map(|program| format!("keeper ALL=(root) NOPASSWD: /usr/bin/{program}\n"))
        .collect();
    assert_eq!(printed, format!("Defaults:keeper !requiretty\n{expected}"));

    machine.replace(builder().sudoers(&format!("Defaults requiretty\n{printed}")), SUDO);
    machine.run(["check"]).code(0);
    assert_eq!(machine.backup(0)["problems"], json!([]));
    machine.is_saved_like_files();
    // Each of them.
    for missing in ["/find", "/stat", "/readlink", "/cat"] {
        let rest: Vec<&str> = printed.lines().filter(|line| !line.ends_with(missing)).collect();
        machine.replace(builder().sudoers(&rest.join("\n")), SUDO);
        assert_eq!(placed(&lines_of_check(&machine)), printed);
    }
    machine.replace(builder().sudoers("keeper ALL=(ALL) ALL"), SUDO);
    let item = machine.backup(1);
    assert!(item["error"].as_str().unwrap().contains("a password is required"), "{item}");
    // Nothing can be put back with sudo and without tar.
    let refused = machine.run(["restore", "ssh.there", "--in-place", "--yes"]).code(1);
    refused.stderr_has("no GNU tar, and over SFTP there is no sudo").stderr_lacks("To undo");
}
