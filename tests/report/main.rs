//! The report at the end of a run, and tables, on terminals of every kind: narrow, dumb, without UTF-8, and none at all.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::env::{TestEnv, finish};

/// What holdall shows on a terminal of this many columns, of this kind, in this locale.
fn on_terminal(env: &TestEnv, columns: u32, term: &str, locale: &str, arguments: &str) -> String {
    let holdall = env!("CARGO_BIN_EXE_holdall");
    let dropped = "-dac_override,-dac_read_search";
    let run = format!("setpriv --bounding-set={dropped} --inh-caps={dropped} {holdall} {arguments}");
    let mut command = env.command("script");
    command.args(["--quiet", "--return", "--command", &format!("stty cols {columns} rows 50; {run}"), "/dev/null"]);
    command.env("TERM", term).env("LC_ALL", locale);
    finish(command).stdout.replace('\r', "")
}

/// A source with something new, something that cannot be read, and one that is not there.
fn with_everything() -> TestEnv {
    let sources =
        "[files.home]\npaths = [\"{root}/source\"]\nmax-age = \"3d\"\n[files.gone]\npaths = [\"/nowhere/x\"]\n";
    let env = TestEnv::with_store_and(sources).file("file", "content");
    env.write("b\u{fc}ro", "secret");
    fs::set_permissions(env.source().join("b\u{fc}ro"), fs::Permissions::from_mode(0o000)).unwrap();
    env
}

/// Lines that are broken between words: none is wider than the terminal, unless it is a single word.
#[track_caller]
fn fits(shown: &str, columns: usize) {
    let is_too_wide = |line: &&str| line.chars().count() > columns && line.split_whitespace().count() > 1;
    let wide: Vec<&str> = shown.lines().filter(is_too_wide).collect();
    assert!(wide.is_empty(), "wider than {columns}: {wide:#?}\n{shown}");
}

#[test]
fn narrow_dumb_terminal_without_utf8_shows_everything_in_ascii() {
    let env = with_everything();
    let shown = on_terminal(&env, 40, "dumb", "C", "backup");
    assert!(shown.is_ascii() && !shown.contains('\u{1b}'), "{shown:?}");
    fits(&shown, 40);
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "files.gone: failed look at /nowhere/x: No such file or directory (os error 2) hint: Is something not mounted?",
        "files.home: incomplete 1 new, 0 changed, 0 unchanged, added ",
        "/source/b\\u{fc}ro: ",
        "failed: 1 incomplete, 1 failed, in ",
    ] {
        assert!(words.contains(part), "{part} is not in {words}");
    }
    let shown = on_terminal(&env, 40, "dumb", "C", "status");
    fits(&shown, 40);
    assert!(shown.contains("files.home\n  newest (UTC): 2") && shown.contains("  points: 1\n"), "{shown}");
}

#[test]
fn wide_terminal_has_a_table_and_shows_names_as_they_are() {
    let env = with_everything();
    let shown = on_terminal(&env, 132, "dumb", "C.UTF-8", "backup");
    let header = "item        outcome     new  changed  unchanged  ";
    assert!(shown.lines().any(|line| line.starts_with(header)), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("files.home  incomplete    1        0          0  ")), "{shown}");
    assert!(shown.contains("/source/b\u{fc}ro: "), "{shown}");
    assert!(shown.trim_end().lines().last().unwrap().starts_with("failed: 1 incomplete, 1 failed, in "), "{shown}");
}

#[test]
fn bars_on_a_narrow_terminal_leave_nothing_behind() {
    let env = with_everything();
    let shown = on_terminal(&env, 40, "xterm", "C", "backup");
    assert!(shown.is_ascii(), "{shown:?}");
    assert!(shown.contains("files.home: incomplete\n"), "{shown}");
    // What draws and what clears are commands for the cursor; colours are not among them, as NO_COLOR asks.
    let commands = shown.split("\u{1b}[").skip(1).filter_map(|rest| rest.chars().find(char::is_ascii_alphabetic));
    assert!(commands.into_iter().all(|command| command != 'm'), "{shown:?}");
}

#[test]
fn elsewhere_it_is_a_table_of_any_width() {
    let env = TestEnv::with_store_and("[files.home]\npaths = [\"{root}/source\"]\n").file("b\u{fc}ro", "content");
    let env = env.variable("LC_ALL", "C");
    let told = env.run(["backup"]).code(0);
    let rows: Vec<&str> = told.stderr.lines().collect();
    assert_eq!(rows.len(), 3, "{}", told.stderr);
    assert!(rows[0].starts_with("item        outcome  new  changed  unchanged ") && rows[0].ends_with("  took"));
    assert!(rows[1].starts_with("files.home  saved      1        0          0 "));
    assert!(rows[2].starts_with("ok: 1 saved, in "));
    // A pipe takes what it is given.
    env.run(["ls", "files.home", "-R"]).code(0).stdout_has("b\u{fc}ro");
}
