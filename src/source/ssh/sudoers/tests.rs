//! The lines as the real sudo reads them, in a mount namespace in which they are `/etc/sudoers`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::*;
use crate::process;

/// Somebody whom every machine has, and who may do nothing.
const USER: &str = "nobody";

/// Puts the file in place for what follows, and nobody else, and runs it as that user.
const INSIDE: &str = "mount --make-rprivate / && mount --bind \"$1\" /etc/sudoers && shift &&
    exec setpriv --reuid nobody --regid nogroup --clear-groups sudo -n \"$@\"";

/// Arguments that the file, fnmatch, or a shell could trip over.
const ODD: [&str; 30] = [
    "(",
    ")",
    "\\(",
    "!",
    "-prune",
    "-o",
    "^/home/[^/]*/\\.cache$",
    ".*/[^/]*\\.tmp",
    "%y/%m\\0",
    "*",
    "?",
    "[a-z]",
    "[!a]",
    "\\",
    "\\\\",
    "\"",
    "\"\"",
    "'",
    "`id`",
    "$HOME",
    "#1000",
    "a,b",
    "a:b",
    "a=b",
    "=",
    "é",
    "{a,b}",
    "~",
    "%wheel",
    "@x",
];

/// A file of sudoers for one test.
struct Sudoers(TempDir);

impl Sudoers {
    fn new(lines: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test replaces /etc/sudoers for itself: run it as root");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sudoers");
        // Nobody is told of what is refused here, and no name is looked up.
        fs::write(&file, format!("Defaults !fqdn, !syslog, !mail_badpass, !mail_no_user\n{lines}")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
        let checked = run(Command::new("visudo").arg("-cf").arg(&file));
        assert!(checked.status.success(), "{lines}{}", String::from_utf8_lossy(&checked.stderr));
        Self(directory)
    }

    /// What comes of it when the user runs this with sudo.
    fn run(&self, argv: &[Vec<u8>]) -> Output {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", INSIDE, "sh"]).arg(self.0.path().join("sudoers"));
        run(command.args(argv.iter().map(|word| OsStr::from_bytes(word))))
    }

    #[track_caller]
    fn allows(&self, argv: &[Vec<u8>]) {
        let output = self.run(argv);
        assert!(output.status.success(), "{}: {}", shown(argv), String::from_utf8_lossy(&output.stderr));
    }

    #[track_caller]
    fn refuses(&self, argv: &[Vec<u8>]) {
        let output = self.run(argv);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("a password is required"), "{}: {complaint}", shown(argv));
        assert_eq!(output.status.code(), Some(1), "{}", shown(argv));
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `scripts/deps test`"))
}

fn shown(argv: &[Vec<u8>]) -> String {
    argv.iter().map(|word| format!("{} ", process::shell_word(OsStr::from_bytes(word)))).collect()
}

fn argv(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// The same without one word, with one more, and with another one, at this place behind the program.
fn others(argv: &[Vec<u8>], place: usize) -> Vec<Vec<Vec<u8>>> {
    let mut others = vec![argv.to_vec(), argv.to_vec(), argv.to_vec(), argv.to_vec()];
    others[0].insert(place, b"x".to_vec());
    others[1].push(Vec::new());
    if place < argv.len() {
        others[2].remove(place);
        others[3][place].push(b'x');
    }
    others.retain(|other| other != argv);
    others
}

#[test]
fn command_with_odd_arguments_is_allowed_and_no_other() {
    let command = argv(&[&["/usr/bin/true"], &ODD[..]].concat());
    let sudoers = Sudoers::new(&lines(USER, std::slice::from_ref(&command)).unwrap());
    sudoers.allows(&command);
    for place in 1..=command.len() {
        for other in others(&command, place) {
            sudoers.refuses(&other);
        }
    }
    sudoers.refuses(&argv(&["/usr/bin/true"]));
    sudoers.refuses(&argv(&["/usr/bin/false"]));
}

#[test]
fn wildcards_match_only_themselves() {
    let command = argv(&["/usr/bin/true", "/home/*", "?", "[ab]", "!", "\\*"]);
    let sudoers = Sudoers::new(&lines(USER, std::slice::from_ref(&command)).unwrap());
    sudoers.allows(&command);
    for (place, other) in [(1, "/home/me"), (1, "/home/"), (2, "x"), (3, "a"), (4, "x"), (5, "*"), (5, "\\x"), (5, "x")]
    {
        let mut changed = command.clone();
        changed[place] = other.as_bytes().to_vec();
        sudoers.refuses(&changed);
    }
}

#[test]
fn arguments_arrive_as_they_were_given() {
    let command = argv(&["/usr/bin/printf", "%s|", "\\(", "-regex", "^/a[^/]*\\.b$", "%y/%m\\0", "é*"]);
    let sudoers = Sudoers::new(&lines(USER, std::slice::from_ref(&command)).unwrap());
    assert_eq!(String::from_utf8_lossy(&sudoers.run(&command).stdout), "\\(|-regex|^/a[^/]*\\.b$|%y/%m\\0|é*|");
}

#[test]
fn command_without_arguments_takes_none() {
    let commands = [argv(&["/usr/bin/true"]), argv(&["/usr/bin/env", "true"])];
    let sudoers = Sudoers::new(&lines(USER, &commands).unwrap());
    commands.iter().for_each(|command| sudoers.allows(command));
    for other in
        [&["/usr/bin/true", "x"][..], &["/usr/bin/true", ""], &["/usr/bin/env"], &["/usr/bin/env", "true", "x"]]
    {
        sudoers.refuses(&argv(other));
    }
}

#[test]
fn several_arguments_can_be_given_as_one() {
    let sudoers = Sudoers::new(&lines(USER, &[argv(&["/usr/bin/true", "a", "b"])]).unwrap());
    sudoers.allows(&argv(&["/usr/bin/true", "a b"]));
    sudoers.refuses(&argv(&["/usr/bin/true", "a ", "b"]));
}

#[test]
fn what_sudo_cannot_tell_apart_gets_no_line() {
    for (command, error) in [
        (&["/usr/bin/find", "/srv/my files"][..], "`/srv/my files`, which has a blank in it"),
        (&["/usr/bin/find", "a\tb"], "which has a blank in it"),
        (&["/usr/bin/find", ""], "empty"),
        (&["/usr/bin/find", "a\u{1}"], "control character"),
        (&["/usr/bin/find", "\"\""], "for none"),
        (&["/usr/bin/find", "^a$", "b"], "regular expression"),
        (&["find"], "not a plain path"),
        (&["/usr/bin/"], "not a plain path"),
        (&["/usr/bin/*"], "not a plain path"),
        (&[], "no program"),
    ] {
        let found = lines(USER, &[argv(command)]).unwrap_err();
        assert!(format!("{found:#}").contains(error), "{found:#}");
    }
    assert!(can_say(b"-regex") && can_say(b"^a$") && !can_say(b"a b") && !can_say(b"") && !can_say(b"\xff"));
    for user in ["", "#0", "a\nb ALL=(ALL) ALL"] {
        assert!(lines(user, &[]).is_err(), "{user}");
    }
}

#[test]
fn lines_are_those_that_people_would_write() {
    let commands = [argv(&["/usr/bin/find", "/etc", "(", "-regex", ".*/[^/]*\\.tmp", ")", "-printf", "%y:%m\\0"])];
    assert_eq!(
        lines("backup", &commands).unwrap(),
        "Defaults:backup !requiretty\n\
         backup ALL=(root) NOPASSWD: /usr/bin/find /etc ( -regex .\\*/\\[^/\\]\\*\\\\\\\\.tmp ) -printf %y\\:%m\\\\\\\\0\n"
    );
}

#[test]
fn user_is_that_name_and_nothing_else_that_it_could_be() {
    for user in [
        "me@example.org",
        "DOM\\x41 user",
        "ALL",
        "ADMINS",
        "%wheel",
        "+net",
        "!me",
        "10.0.0.1",
        "pc-1$",
        "josé",
        "a\"b",
        "a=b,c:d",
        "-x",
    ] {
        let sudoers = Sudoers::new(&lines(user, &[argv(&["/usr/bin/true"])]).unwrap());
        let output = run(Command::new("cvtsudoers").args(["-f", "json"]).arg(sudoers.0.path().join("sudoers")));
        let parsed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let name = serde_json::json!([{ "username": user }]);
        assert_eq!(parsed["User_Specs"][0]["User_List"], name, "{parsed}");
        assert_eq!(parsed["Defaults"][1]["Binding"], name, "{parsed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn any_command_is_allowed_and_its_neighbours_are_not(
        words in prop::collection::vec(prop::collection::vec(prop_oneof![select(ODD.to_vec()), Just("a"), Just("x")], 1..4), 1..5),
        place in 0_usize..5,
    ) {
        let words: Vec<String> = words.into_iter().map(|pieces| pieces.concat()).collect();
        prop_assume!(!words[0].starts_with('^') && words != ["\"\""]);
        let mut command = argv(&["/usr/bin/true"]);
        command.extend(words.into_iter().map(String::into_bytes));
        let sudoers = Sudoers::new(&lines(USER, std::slice::from_ref(&command)).unwrap());
        sudoers.allows(&command);
        for other in others(&command, 1 + place % command.len()) {
            sudoers.refuses(&other);
        }
    }
}
