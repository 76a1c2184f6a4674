//! When hooks are run, and what they are told.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::support::fault::{Fault, Gate};
use super::{HOME, does, hooked, hooks, said};

#[test]
fn hooks_of_the_run_are_around_those_of_its_sources() {
    let both = format!("{}{HOME}{}", hooks("hooks", ""), hooks("files.home.hooks", "-home"));
    let other = format!("[files.other]\npaths = [\"{{root}}/home\"]\n{}", hooks("files.other.hooks", "-other"));
    let env = hooked(&format!("{both}{other}"));
    fs::write(env.path("home/x"), "x").unwrap();
    env.run(["backup"]).code(0);
    assert_eq!(said(&env), ["before", "before-home", "after-home", "before-other", "after-other", "after"]);
    env.run(["backup", "files.other"]).code(0);
    assert_eq!(said(&env), ["before", "before-other", "after-other", "after"]);
    fs::remove_dir_all(env.source()).unwrap();
    env.run(["backup"]).code(1);
    let told = said(&env);
    assert_eq!(told[..4], ["before", "before-home", "after-home", "on-failure-home"]);
    assert_eq!(told[4..], ["before-other", "after-other", "after", "on-failure"]);
}

#[test]
fn hooks_of_a_source_are_not_run_when_nothing_of_it_is_due() {
    let env = hooked(&format!("{}{HOME}every = \"1h\"\n{}", hooks("hooks", ""), hooks("files.home.hooks", "-home")));
    env.run(["backup"]).code(0);
    assert_eq!(said(&env), ["before", "before-home", "after-home", "after"]);
    env.run(["backup"]).code(0).stderr_has("1 not due");
    assert_eq!(said(&env), ["before", "after"], "what is around the run may be what makes the store reachable");
}

#[test]
fn hook_before_can_make_the_store_and_the_source_reachable() {
    let env = hooked(&format!("{}{HOME}{}", hooks("hooks", ""), hooks("files.home.hooks", "-home")));
    env.run(["backup"]).code(0);
    fs::rename(env.store(), env.path("unmounted-store")).unwrap();
    fs::rename(env.source(), env.path("unmounted-source")).unwrap();
    does(&env, "before", "mv {root}/unmounted-store {root}/store");
    does(&env, "after", "mv {root}/store {root}/unmounted-store");
    does(&env, "before-home", "mv {root}/unmounted-source {root}/source");
    does(&env, "after-home", "mv {root}/source {root}/unmounted-source");
    env.run(["backup"]).code(0).stderr_has("ok: 1 saved");
    assert!(!env.store().exists() && !env.source().exists());
}

#[test]
fn environment_tells_what_happens_and_nothing_that_is_a_credential() {
    let tell = "env | grep -E '^(HOLDALL_|CREDENTIALS_)' | sort >>{root}/told-$1";
    let env = hooked(&format!("{}{HOME}{}", hooks("hooks", ""), hooks("files.home.hooks", "-home")))
        .variable("CREDENTIALS_DIRECTORY", "/run/credentials/x")
        .variable("HOLDALL_SOURCE", "somebody else's");
    let events = ["before", "after", "on-failure", "before-home", "after-home", "on-failure-home"];
    events.iter().for_each(|word| does(&env, word, tell));
    let env = env.unreadable("closed");
    env.run(["backup"]).code(3);
    let told = |word: &str| {
        let text = fs::read_to_string(env.path(format!("told-{word}"))).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let config = format!("HOLDALL_CONFIG={}", env.config_file().display());
    assert_eq!(told("before"), [config.as_str(), "HOLDALL_EVENT=before"]);
    assert_eq!(told("before-home"), [config.as_str(), "HOLDALL_EVENT=before", "HOLDALL_SOURCE=files.home"]);
    let after = told("after-home");
    assert_eq!(after[..2], [config.as_str(), "HOLDALL_EVENT=after"]);
    assert_eq!(after[2..5], ["HOLDALL_EXIT_CODE=3", "HOLDALL_ITEMS_FAILED=files.home", "HOLDALL_OUTCOME=incomplete"]);
    assert_eq!(after[5], "HOLDALL_SOURCE=files.home");
    assert!(after[6].starts_with("HOLDALL_SUMMARY=incomplete: 1 incomplete, in "), "{after:?}");
    let failed = told("on-failure");
    assert_eq!(failed[1..4], ["HOLDALL_EVENT=on-failure", "HOLDALL_EXIT_CODE=3", "HOLDALL_ITEMS_FAILED=files.home"]);
    assert_eq!(failed.len(), 6);
}

#[test]
fn run_that_cannot_go_on_is_told_to_what_comes_after() {
    let env = hooked(&format!("{}{HOME}", hooks("hooks", "")));
    does(&env, "after", "echo \"$HOLDALL_OUTCOME $HOLDALL_EXIT_CODE $HOLDALL_SUMMARY\" >>{root}/said");
    fs::remove_dir_all(env.store()).unwrap();
    env.run(["backup"]).code(10);
    let told = said(&env);
    assert_eq!((told[0].as_str(), told[1].as_str(), told[3].as_str()), ("before", "after", "on-failure"));
    assert!(told[2].starts_with("failed 10 failed: ") && told[2].contains("there is no repository at"), "{told:?}");
}

#[test]
fn dry_run_runs_none_and_says_what_would_be_run() {
    let env = hooked(&format!("{}{HOME}{}", hooks("hooks", ""), hooks("files.home.hooks", "-home")));
    let run = env.run(["backup", "-n"]).code(0).stderr_has("would run before: ").stderr_has("say before-home");
    run.stderr_has("would run after: ").stderr_has("would run on failure: ");
    assert_eq!(said(&env), [""; 0]);
}

#[test]
fn several_commands_are_run_in_their_order() {
    let list = |event: &str| {
        format!("{event} = [[\"{{root}}/say\", \"{event}-1\", \"two words\"], [\"{{root}}/say\", \"{event}-2\"]]\n")
    };
    let env = hooked(&format!("[hooks]\n{}{}{HOME}", list("before"), list("after")));
    env.run(["backup"]).code(0);
    assert_eq!(said(&env), ["before-1 two words", "before-2", "after-1 two words", "after-2"]);
}

#[test]
fn signal_ends_the_run_and_what_comes_after_is_run() {
    for signal in [Signal::INT, Signal::TERM] {
        let env = hooked(&format!("{}{HOME}{}", hooks("hooks", ""), hooks("files.home.hooks", "-home")));
        let gate = Gate::new(&env);
        let mut run = Fault::new(&env).before_read(1, env.source().join("file"), &gate.command()).start(["backup"]);
        let held = gate.reached();
        run.signal(signal);
        let code = if signal == Signal::INT { 130 } else { 143 };
        assert_eq!(run.wait(Duration::from_secs(120)).code(), Some(code), "{}", run.log());
        drop(held);
        let expected = ["before", "before-home", "after-home", "on-failure-home", "after", "on-failure"];
        assert_eq!(said(&env), expected, "{}", run.log());
    }
}

#[test]
fn output_is_in_the_json_lines() {
    let env = hooked(&format!("{HOME}{}", hooks("files.home.hooks", "-home")));
    does(&env, "before-home", "echo one; echo two >&2");
    let lines = env.run(["backup", "--json"]).code(0).json_lines();
    let hooks: Vec<_> = lines.iter().filter(|line| line["type"] == "hook").collect();
    assert_eq!(hooks.len(), 2);
    assert_eq!((&hooks[0]["event"], &hooks[0]["source"]), (&"before".into(), &"files.home".into()));
    assert_eq!((&hooks[0]["outcome"], &hooks[0]["output"]), (&"ok".into(), &serde_json::json!(["one", "two"])));
    assert_eq!(hooks[1]["event"], "after");
    env.run(["backup", "-v"]).code(0).stderr_has("hook before of files.home").stderr_has("two");
}
