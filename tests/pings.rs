//! What the monitor hears of a run of `holdall backup`, from a broken configuration to a panic.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod support;

use std::fs;

use support::env::TestEnv;
use support::fault::{Fault, Gate};
use support::http::{Answer, Request, Server};

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";

/// A server that answers all pings, and an environment that pings it.
fn watched(rest: &str) -> (Server, TestEnv) {
    let server = Server::start(vec![Answer::Status(200, Vec::new())]);
    let env = TestEnv::with_store_and(&format!("{}{rest}", monitor(&server.url("/secret-key/nas")))).file("file", "x");
    (server, env)
}

fn monitor(url: &str) -> String {
    format!("[notify.healthchecks]\nurl = \"{url}\"\n")
}

/// The last parts of the paths.
fn told(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.path.strip_prefix("/secret-key/nas/").unwrap()).collect()
}

#[test]
fn successful_run_is_told_from_start_to_end_under_one_id() {
    let (server, env) = watched(HOME);
    env.run(["backup"]).code(0);
    env.run(["backup"]).code(0);
    let requests = server.requests();
    assert_eq!(told(&requests), ["start", "0", "start", "0"]);
    let ids: Vec<&str> = requests.iter().map(|request| request.query_value("rid").unwrap()).collect();
    assert_eq!((ids[0], ids[2]), (ids[1], ids[3]));
    assert_ne!(ids[0], ids[2]);
    assert!(requests[1].body.starts_with("ok: 1 saved, in "), "{}", requests[1].body);
    assert!(requests[1].body.contains("\nfiles.home  saved  1 new, 0 changed, 0 unchanged, "), "{}", requests[1].body);
}

#[test]
fn failed_run_is_told_with_error_and_hint() {
    let (server, env) = watched(HOME);
    fs::remove_dir_all(env.source()).unwrap();
    env.run(["backup"]).code(1);
    let requests = server.requests();
    assert_eq!(told(&requests), ["start", "1"]);
    let body = &requests[1].body;
    assert!(body.starts_with("failed: 1 failed, in "), "{body}");
    assert!(body.contains("No such file or directory") && body.contains("hint: Is something not mounted?"), "{body}");
}

#[test]
fn run_in_which_nothing_is_due_is_only_logged() {
    let (server, env) = watched(&format!("{HOME}every = \"1h\"\n"));
    Fault::new(&env).at("2026-02-05T12:00:00Z").run(["backup"]).code(0);
    Fault::new(&env).at("2026-02-05T12:30:00Z").run(["backup"]).code(0);
    let requests = server.requests();
    assert_eq!(told(&requests), ["start", "0", "log"]);
    assert!(requests[2].body.starts_with("ok: 1 not due, in "), "{}", requests[2].body);
}

#[test]
fn broken_configuration_is_told() {
    let (server, env) = watched("[files.home]\npaths = [\"{root}/source\"]\nevry = \"1h\"\n");
    env.run(["backup"]).code(2);
    let requests = server.requests();
    assert_eq!(told(&requests), ["2"]);
    assert!(requests[0].body.contains("evry") && requests[0].body.contains("line "), "{}", requests[0].body);
}

#[test]
fn missing_store_and_wrong_password_are_told_with_their_codes() {
    let (server, env) = watched(HOME);
    env.write_secret("store.password", "wrong");
    env.run(["backup"]).code(12);
    fs::remove_dir_all(env.store()).unwrap();
    env.run(["backup"]).code(10);
    let requests = server.requests();
    assert_eq!(told(&requests), ["12", "10"]);
    assert!(requests[0].body.contains("does not open with this password"), "{}", requests[0].body);
    assert!(requests[1].body.contains("there is no repository at"), "{}", requests[1].body);
}

#[test]
fn run_that_finds_another_one_at_work_does_not_disturb_what_is_told_of_that() {
    let (server, env) = watched(HOME);
    let gate = Gate::new(&env);
    let mut first = Fault::new(&env).before_read(1, env.source().join("file"), &gate.command()).start(["backup"]);
    let held = gate.reached();
    env.run(["backup"]).code(11);
    drop(held);
    assert!(first.wait(std::time::Duration::from_secs(120)).success(), "{}", first.log());
    let requests = server.requests();
    assert_eq!(told(&requests), ["start", "log", "0"]);
    assert!(requests[1].body.contains("in use by another run"), "{}", requests[1].body);
}

#[test]
fn dry_run_and_other_commands_tell_nobody() {
    let (server, env) = watched(HOME);
    env.run(["backup", "-n"]).code(0);
    for command in ["list", "status", "check", "verify", "prune"] {
        env.run([command]).code(0);
    }
    fs::write(env.config_file(), fs::read_to_string(env.config_file()).unwrap() + "[oops]\n").unwrap();
    env.run(["backup", "-n"]).code(2);
    assert_eq!(told(&server.requests()), [""; 0]);
}

#[test]
fn monitor_that_is_gone_or_refuses_does_not_fail_the_backup_and_is_not_named() {
    let gone = Server::start(vec![Answer::Close]);
    let url = gone.url("/secret-key/nas");
    drop(gone.requests());
    let refusing = Server::start(vec![Answer::Status(404, Vec::new())]);
    for url in [url, refusing.url("/secret-key/nas")] {
        let env = TestEnv::with_store_and(&format!("{}{HOME}", monitor(&url))).file("file", "x");
        let run = env.run(["backup", "-vv"]).code(0).stderr_has("ok: 1 saved").stderr_has("given up");
        run.stderr_lacks("secret-key");
        assert_eq!(env.run(["list", "--json"]).code(0).json().as_array().unwrap().len(), 1);
    }
    assert_eq!(told(&refusing.requests()), ["start", "0"]);
}

#[test]
fn run_that_gets_no_threads_to_save_with_fails_and_is_told() {
    let (server, env) = watched(HOME);
    Fault::new(&env).refusing_threads_from(8).run(["backup"]).code(1).stderr_has("start a thread");
    assert_eq!(told(&server.requests()), ["start", "1"]);
    env.configure(HOME);
    env.run(["backup"]).code(0);
    env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn run_that_ends_in_a_panic_is_told() {
    let (server, env) = watched(HOME);
    // By now the threads that ping are there, and those that a library reads points with are not.
    Fault::new(&env).refusing_threads_from(4).run(["backup"]).code(101);
    let requests = server.requests();
    assert_eq!(told(&requests), ["1"]);
    assert_eq!(requests[0].body, "error: holdall broke off: this is a fault in the program\n");
    env.configure(HOME);
    env.run(["backup"]).code(0);
    env.restic(["check", "--read-data"]).code(0);
}
