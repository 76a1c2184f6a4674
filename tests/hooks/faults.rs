//! Hooks that fail, hang, die, shout and tell secrets.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::env::{PASSWORD, TestEnv};
use super::{HOME, does, hooked, hooks, said};

fn around_home() -> TestEnv {
    let env =
        hooked(&format!("{HOME}{}[files.other]\npaths = [\"{{root}}/home\"]\n", hooks("files.home.hooks", "-home")));
    fs::write(env.path("home/x"), "x").unwrap();
    env
}

fn outcome(lines: &[serde_json::Value], item: &str) -> String {
    let line = lines.iter().find(|line| line["item"] == item).unwrap_or_else(|| panic!("no {item} in {lines:?}"));
    line["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn source_whose_hook_says_not_now_is_away_and_the_others_are_saved() {
    let env = around_home();
    does(&env, "before-home", "echo 'the disk is not there'; exit 75");
    let lines = env.run(["backup", "--json"]).code(0).json_lines();
    assert_eq!((outcome(&lines, "files.home"), outcome(&lines, "files.other")), ("away".into(), "saved".into()));
    let home = lines.iter().find(|line| line["item"] == "files.home").unwrap();
    assert!(home["error"].as_str().unwrap().ends_with("says: the disk is not there"), "{home}");
    assert_eq!(said(&env), ["before-home"], "nothing was done that has to be undone");
}

#[test]
fn source_that_is_put_off_for_too_long_is_stale() {
    let env = hooked(&format!("{HOME}max-age = \"1d\"\n{}", hooks("files.home.hooks", "-home")));
    does(&env, "before-home", "exit 75");
    env.run(["backup"]).code(1).stderr_has("stale: there is no point of files.home yet");
}

#[test]
fn run_whose_hook_says_not_now_does_nothing_and_nothing_is_wrong() {
    let env = hooked(&format!("{}{HOME}", hooks("hooks", "")));
    does(&env, "before", "exit 75");
    fs::rename(env.store(), env.path("unplugged")).unwrap();
    let lines = env.run(["backup", "--json"]).code(0).json_lines();
    assert_eq!(outcome(&lines, "files.home"), "away");
    assert_eq!(said(&env), ["before"]);
}

#[test]
fn second_hook_that_says_not_now_has_the_first_one_undone() {
    let list = "before = [[\"{root}/say\", \"one\"], [\"{root}/say\", \"two\"], [\"{root}/say\", \"three\"]]\n";
    let env = hooked(&format!("[hooks]\n{list}after = [\"{{root}}/say\", \"after\"]\n{HOME}"));
    does(&env, "two", "exit 75");
    env.run(["backup"]).code(0).stderr_has("1 away");
    assert_eq!(said(&env), ["one", "two", "after"]);
}

#[test]
fn source_whose_hook_fails_is_not_saved_and_what_comes_after_is_run() {
    let env = around_home();
    does(&env, "before-home", "echo no such device >&2; exit 32");
    let lines = env.run(["backup", "--json"]).code(1).json_lines();
    assert_eq!((outcome(&lines, "files.home"), outcome(&lines, "files.other")), ("failed".into(), "saved".into()));
    let home = lines.iter().find(|line| line["item"] == "files.home").unwrap();
    let error = home["error"].as_str().unwrap();
    assert!(
        error.starts_with("hook before of files.home: ") && error.ends_with("ended with 32: no such device"),
        "{error}"
    );
    assert_eq!(said(&env), ["before-home", "after-home", "on-failure-home"]);
    assert_eq!(env.run(["list", "files.other", "--json"]).code(0).json().as_array().unwrap().len(), 1);
}

#[test]
fn hook_after_that_fails_fails_the_run_and_the_point_is_good() {
    let env = around_home();
    does(&env, "after-home", "exit 1");
    env.run(["backup"]).code(1).stderr_has("error: hook after of files.home: ").stderr_has("2 saved, 1 other error");
    assert_eq!(said(&env), ["before-home", "after-home", "on-failure-home"]);
    let env = hooked(&format!("{}{HOME}", hooks("hooks", "")));
    does(&env, "after", "kill -9 $$");
    env.run(["backup"]).code(1).stderr_has("was ended by signal: 9").stderr_has("1 saved, 1 other error");
    assert_eq!(said(&env), ["before", "after", "on-failure"]);
}

#[test]
fn run_whose_hook_fails_ends_with_its_error() {
    let env = hooked(&format!("{}{HOME}", hooks("hooks", "")));
    does(&env, "before", "exit 3");
    env.run(["backup"]).code(1).stderr_has("hook before: ").stderr_has("ended with 3");
    assert_eq!(said(&env), ["before", "after", "on-failure"]);
    env.configure(&format!("[hooks]\nbefore = [\"{{root}}/nothing\"]\n{HOME}"));
    env.run(["backup"]).code(1).stderr_has("hook before: start ").stderr_has("No such file");
    env.run(["check"]).code(1).stdout_has("FAILED  hooks: there is no program").stdout_has("chmod +x");
    env.configure(&format!("{}{HOME}{}", hooks("hooks", ""), hooks("files.home.hooks", "-home")));
    let check = env.run(["check"]).code(0).stdout_has("ok      hooks: 3 programs there");
    check.stdout_has("ok      files.home.hooks: 3 programs there");
}

#[test]
fn hook_that_hangs_is_ended_with_all_that_it_has_started() {
    let env = around_home();
    let text = fs::read_to_string(env.config_file()).unwrap();
    fs::write(env.config_file(), text.replace("[files.home.hooks]\n", "[files.home.hooks]\ntimeout = \"1s\"\n"))
        .unwrap();
    does(&env, "before-home", "sleep 1000 & echo $! >{root}/started; echo waiting; wait");
    let run = env.run(["backup"]).code(1).stderr_has("did not end within 1.0s: waiting");
    run.stderr_has("Give it longer with `timeout`").stderr_has("1 saved, 1 failed");
    let started = fs::read_to_string(env.path("started")).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/stat", started.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn hook_that_is_at_work_when_a_signal_comes_is_ended_first() {
    let env = hooked(&format!("{}{HOME}", hooks("hooks", "")));
    does(&env, "before", "trap 'echo trapped >>{root}/said; exit 1' TERM; touch {root}/reached; sleep 1000 & wait");
    let mut run = env.start(["backup"]);
    run.wait_until(|| env.path("reached").exists());
    run.signal(Signal::TERM);
    assert_eq!(run.wait(Duration::from_secs(60)).code(), Some(143), "{}", run.log());
    assert_eq!(said(&env), ["before", "trapped", "after", "on-failure"], "{}", run.log());
}

#[test]
fn megabytes_and_escapes_and_secrets_do_not_come_out() {
    let env = around_home();
    let shout = "seq 1 500000; head -c 3000000 /dev/zero | tr '\\0' x; echo; printf 'red\\033[31m\\n'; cat {root}/store.password; echo; exit 1";
    does(&env, "before-home", shout);
    let begun = Instant::now();
    let run =
        env.run(["backup", "-vv"]).code(1).stderr_has("red\\u{1b}[31m").stderr_lacks("\x1b[31m").stderr_lacks(PASSWORD);
    assert!(run.stderr.contains("***") && run.stderr.len() < 100_000, "{}", run.stderr.len());
    assert!(!run.stderr.contains("\n499900\n") && begun.elapsed() < Duration::from_secs(120));
}
