//! Webhooks: what ntfy, Gotify and others are sent, and servers that do not take it.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::env::TestEnv;
use support::http::{Answer, Request, Server};

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";
const TOKEN: &str = "tk_51f0_secret";

/// A server, and an environment that tells it; `keys` are further keys of the webhook.
fn told(answers: Vec<Answer>, keys: &str) -> (Server, TestEnv) {
    let server = Server::start(answers);
    let env = TestEnv::new().file("file", "x");
    env.onboard_store();
    env.write_secret("hook.url", &server.url("/secret-path/backups?key=1"));
    env.write_secret("hook.token", TOKEN);
    env.configure(&webhook("phone", keys));
    (server, env)
}

fn webhook(name: &str, keys: &str) -> String {
    format!("[[notify.webhook]]\nname = \"{name}\"\nurl-file = \"{{root}}/hook.url\"\n{keys}\n{HOME}")
}

fn ok() -> Vec<Answer> {
    vec![Answer::Status(200, Vec::new())]
}

fn only(server: Server) -> Request {
    let mut requests = server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

/// A run that fails, and what was told of it.
fn failed_run(keys: &str) -> Request {
    let (server, env) = told(ok(), keys);
    env.run(["backup"]).code(0);
    fs::remove_dir_all(env.source()).unwrap();
    env.run(["backup"]).code(1).stderr_lacks(TOKEN);
    let request = only(server);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/secret-path/backups"));
    assert_eq!(request.query_value("key"), Some("1"));
    request
}

fn host() -> String {
    rustix::system::uname().nodename().to_str().unwrap().to_owned()
}

#[test]
fn text_is_the_report_with_its_subject() {
    let request = failed_run("token-file = \"{root}/hook.token\"");
    assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(request.header("content-type"), Some("text/plain; charset=utf-8"));
    let begin = format!("holdall on {}: failed: files.home\n\nfailed: 1 failed, in ", host());
    assert!(
        request.body.starts_with(&begin) && request.body.contains("hint: Is something not mounted?"),
        "{}",
        request.body
    );
}

#[test]
fn ntfy_has_title_priority_and_tags() {
    let request = failed_run("format = \"ntfy\"\ntoken-file = \"{root}/hook.token\"");
    assert_eq!(request.header("title"), Some(format!("holdall on {}: failed: files.home", host()).as_str()));
    assert_eq!((request.header("priority"), request.header("tags")), (Some("high"), Some("rotating_light")));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert!(request.body.starts_with("failed: 1 failed, in ") && request.body.len() <= 4096, "{}", request.body);
}

#[test]
fn gotify_has_its_token_in_a_header_of_its_own() {
    let request = failed_run("format = \"gotify\"\ntoken-file = \"{root}/hook.token\"");
    assert_eq!((request.header("x-gotify-key"), request.header("authorization")), (Some(TOKEN), None));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["title"], format!("holdall on {}: failed: files.home", host()));
    assert_eq!(body["priority"], 8);
    assert!(body["message"].as_str().unwrap().contains("\nfiles.home: "), "{body}");
}

#[test]
fn json_is_the_run_as_one_document() {
    let request = failed_run("format = \"json\"");
    let run: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((&run["type"], &run["outcome"], &run["exit_code"]), (&"run".into(), &"failed".into(), &1.into()));
    assert_eq!((&run["host"], &run["failed"]), (&host().into(), &serde_json::json!(["files.home"])));
    assert_eq!((&run["items"][0]["item"], &run["items"][0]["outcome"]), (&"files.home".into(), &"failed".into()));
    assert!(run["items"][0]["error"].as_str().unwrap().contains("No such file"), "{run}");
    assert_eq!((&run["stale"], &run["errors"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn template_is_filled_and_stays_json() {
    let request = failed_run(
        "body = '{\"text\": \"{host}: {outcome}: {failed}\", \"all\": \"{report}\"}'\ncontent-type = \"application/json\"",
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["text"], format!("{}: failed: files.home", host()));
    assert!(body["all"].as_str().unwrap().contains("\nfiles.home: "), "{body}");
    let request = failed_run("body = \"{summary} {x}\"".replace(" {x}", "").as_str());
    assert!(request.body.starts_with("failed: 1 failed, in ") && request.body.lines().count() == 1, "{}", request.body);
}

#[test]
fn always_is_after_each_run_that_had_something_to_do_and_dry_runs_are_none() {
    let server = Server::start(ok());
    let env = TestEnv::new().file("file", "x");
    env.onboard_store();
    env.write_secret("hook.url", &server.url("/x"));
    env.configure(&format!("{}every = \"1h\"\n", webhook("phone", "on = \"always\"\nformat = \"ntfy\"")));
    env.run(["backup", "-n"]).code(0);
    env.run(["backup"]).code(0);
    env.run(["backup"]).code(0).stderr_has("1 not due");
    assert_eq!(only(server).header("tags"), Some("white_check_mark"));
}

#[test]
fn broken_configuration_is_told() {
    let (server, env) = told(ok(), "format = \"json\"");
    fs::write(env.config_file(), fs::read_to_string(env.config_file()).unwrap() + "evry = 1\n").unwrap();
    env.run(["backup"]).code(2);
    let run: Value = serde_json::from_str(&only(server).body).unwrap();
    assert_eq!(run["exit_code"], 2);
    assert!(run["errors"][0]["error"].as_str().unwrap().contains("did you mean `every`?"), "{run}");
}

/// A run that saves everything, and what is said of the webhook that does not hear of it.
fn untold(env: &TestEnv) -> support::outcome::Outcome {
    let run = env.run(["backup", "-vv"]).code(0).stderr_has("ok: 1 saved");
    run.stderr_has("the webhook phone is not told of this run").stderr_lacks("secret")
}

#[test]
fn server_error_is_tried_again_until_it_passes_or_is_given_up() {
    let busy = || Answer::Status(500, Vec::new());
    let (server, env) = told(vec![busy(), Answer::Close, Answer::Status(200, Vec::new())], "on = \"always\"");
    env.run(["backup"]).code(0).stderr_lacks("not told");
    assert_eq!(server.requests().len(), 3);
    let (server, env) = told(vec![busy()], "on = \"always\"");
    untold(&env).stderr_has("given up, tries 4: the server answers 500");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn refusal_is_not_tried_again() {
    let (server, env) =
        told(vec![Answer::Status(403, Vec::new())], "on = \"always\"\ntoken-file = \"{root}/hook.token\"");
    untold(&env)
        .stderr_has("tries 1: the server answers 403")
        .stderr_has("the token of the [[notify.webhook]] \"phone\"");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn nobody_is_followed_to_another_address() {
    let elsewhere = Server::start(ok());
    for status in [301, 302, 307, 308] {
        let location = format!("Location: {}", elsewhere.url("/other"));
        let keys = "on = \"always\"\ntoken-file = \"{root}/hook.token\"";
        let (server, env) = told(vec![Answer::Status(status, vec![location])], keys);
        untold(&env).stderr_has("which leads elsewhere").stderr_has("tries 1");
        assert_eq!(server.requests().len(), 1);
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn server_that_is_gone_never_answers_or_never_ends_does_not_hold_up_the_run() {
    let (server, env) = told(ok(), "on = \"always\"");
    drop(server.requests());
    untold(&env).stderr_has("tries 4");
    let (_server, env) = told(vec![Answer::Silence], "on = \"always\"\ntimeout = \"1s\"");
    untold(&env).stderr_has("tries 4");
    let (server, env) = told(vec![Answer::Endless(200)], "on = \"always\"");
    let begun = Instant::now();
    env.run(["backup"]).code(0).stderr_lacks("not told");
    assert!(begun.elapsed() < Duration::from_secs(120));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn check_reads_the_secrets_and_tells_nobody() {
    let (server, env) = told(ok(), "token-file = \"{root}/hook.token\"");
    env.run(["check"])
        .code(0)
        .stdout_has("ok      notify.webhook phone: tells http://127.0.0.1:")
        .stdout_lacks("secret");
    fs::remove_file(env.path("hook.token")).unwrap();
    env.run(["check"]).code(1).stdout_has("FAILED  notify.webhook phone: read its token");
    env.write_secret("hook.url", "no-url-but-secret");
    env.run(["check"]).code(1).stdout_has("FAILED  notify.webhook phone: use its URL").stdout_lacks("no-url-but");
    assert_eq!(server.requests().len(), 0);
}
