//! Pings against a real HTTP server that misbehaves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use holdall::config::{HealthchecksConfig, NotifyConfig};
use holdall::error::{Annotate, ExitCode};
use holdall::notify::Notifier;
use holdall::notify::healthchecks::Healthchecks;
use holdall::notify::http::Effort;
use holdall::report::{ItemReport, Outcome, Report, Saved};
use holdall::secret::Secret;

#[path = "support/http.rs"]
mod http;

use http::{Answer, Request, Server};

fn ok() -> Answer {
    Answer::Status(200, Vec::new())
}

fn status(status: u16) -> Answer {
    Answer::Status(status, Vec::new())
}

/// Quick retries; a timeout that only a server that never answers can exceed.
fn effort() -> Effort {
    let long = Duration::from_secs(30);
    Effort { timeout: long, tries: 3, backoff: Duration::from_millis(1), signal_timeout: long }
}

fn check(server: &Server, effort: Effort) -> Healthchecks {
    Healthchecks::new(&server.url("/ping-key/nas"), effort).unwrap()
}

fn item(name: &str, outcome: Outcome) -> ItemReport {
    ItemReport { item: name.into(), outcome, elapsed: Duration::from_secs(1) }
}

fn report(items: Vec<ItemReport>) -> Report {
    Report { items, elapsed: Duration::from_secs(2), ..Report::default() }
}

fn saved_report() -> Report {
    report(vec![item("files.host", Outcome::Saved(Saved { snapshot: "a1b2".into(), ..Saved::default() }))])
}

fn idle_report() -> Report {
    let newest = "2026-02-05T11:59:00Z".parse().unwrap();
    report(vec![
        item("files.host", Outcome::NotDue { newest, due: newest }),
        item("ios.phone", Outcome::Away("x".into())),
    ])
}

fn paths(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

/// Everything that is logged at any level while `work` runs.
fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn run_is_told_from_start_to_end_under_one_rid() {
    let server = Server::start(vec![ok()]);
    let config = NotifyConfig {
        healthchecks: Some(HealthchecksConfig { url: Secret::literal(server.url("/ping-key/nas?create=1")) }),
        ..NotifyConfig::default()
    };
    let notifier = Notifier::of(&config, Path::new("config.toml"));
    notifier.start();
    notifier.start();
    notifier.finish(&saved_report(), None);
    notifier.signal(ExitCode::Terminated);
    let requests = server.requests();
    assert_eq!(paths(&requests), ["/ping-key/nas/start", "/ping-key/nas/0"]);
    for request in &requests {
        assert_eq!(request.method, "POST");
        assert_eq!(request.query_value("create"), Some("1"));
        assert_eq!(request.header("user-agent"), Some(concat!("holdall/", env!("CARGO_PKG_VERSION"))));
    }
    let rid = requests[0].query_value("rid").unwrap();
    assert_eq!(rid.len(), 36);
    assert_eq!(requests[1].query_value("rid"), Some(rid));
    assert_eq!(requests[0].body, "");
    assert_eq!(
        requests[1].body,
        "ok: 1 saved, in 2.0s\nfiles.host  saved  0 new, 0 changed, 0 unchanged, added 0 B (stored 0 B), in 1.0s\n"
    );
}

#[test]
fn outcome_decides_the_status() {
    let server = Server::start(vec![ok()]);
    let incomplete = report(vec![item("files.host", Outcome::Incomplete(Saved::default()))]);
    let failed = report(vec![item("files.host", Outcome::Failed(anyhow!("no such directory")))]);
    check(&server, effort()).finish(&incomplete);
    check(&server, effort()).finish(&failed);
    let requests = server.requests();
    assert_eq!(paths(&requests), ["/ping-key/nas/3", "/ping-key/nas/1"]);
    assert_eq!(requests[1].body, "failed: 1 failed, in 2.0s\nfiles.host  failed  no such directory\n");
}

#[test]
fn run_in_which_nothing_was_due_is_only_logged() {
    let server = Server::start(vec![ok()]);
    check(&server, effort()).finish(&idle_report());
    let requests = server.requests();
    assert_eq!(paths(&requests), ["/ping-key/nas/log"]);
    assert!(requests[0].body.starts_with("ok: 1 away, 1 not due, in 2.0s\n"), "{}", requests[0].body);
}

#[test]
fn run_that_was_told_to_have_started_is_told_to_have_ended_also_when_nothing_came_of_it() {
    let server = Server::start(vec![ok()]);
    let check = check(&server, effort());
    check.start();
    check.finish(&idle_report());
    assert_eq!(paths(&server.requests()), ["/ping-key/nas/start", "/ping-key/nas/0"]);
}

#[test]
fn error_that_prevents_the_run_is_told_with_its_code_and_hint() {
    let server = Server::start(vec![ok()]);
    let error = Err::<(), _>(anyhow!("no such file"))
        .context("open the store")
        .hint("run `holdall onboard store`")
        .unwrap_err();
    check(&server, effort()).fail(&error, ExitCode::NoStore);
    let requests = server.requests();
    assert_eq!(paths(&requests), ["/ping-key/nas/10"]);
    assert_eq!(requests[0].body, "error: open the store: no such file\nhint: run `holdall onboard store`\n");
}

#[test]
fn run_that_finds_the_lock_taken_leaves_the_state_of_the_check_as_it_is() {
    let server = Server::start(vec![ok()]);
    check(&server, effort()).fail(&anyhow!("the store is in use"), ExitCode::Locked);
    assert_eq!(paths(&server.requests()), ["/ping-key/nas/log"]);
}

#[test]
fn broken_config_is_told_when_the_url_can_be_found() {
    let server = Server::start(vec![ok()]);
    let config = format!("[files.host]\npath = [\"/etc\n[notify.healthchecks]\nurl = \"{}\"\n", server.url("/uuid"));
    Notifier::for_broken_config(Path::new("config.toml"), &config)
        .fail(&anyhow!("config.toml: 1 problem"), ExitCode::Usage);
    let requests = server.requests();
    assert_eq!(paths(&requests), ["/uuid/2"]);
    assert_eq!(requests[0].body, "error: config.toml: 1 problem\n");
}

#[test]
fn signal_is_told_once_and_not_tried_again() {
    let server = Server::start(vec![status(500), ok()]);
    let check = check(&server, effort());
    check.signal(ExitCode::Interrupted);
    check.signal(ExitCode::Interrupted);
    let requests = server.requests();
    assert_eq!(paths(&requests), ["/ping-key/nas/130"]);
    assert_eq!(requests[0].body, "failed: ended by SIGINT\n");
}

#[test]
fn silent_notifier_tells_nobody() {
    let notifier = Notifier::silent();
    let log = logged(|| {
        notifier.start();
        notifier.finish(&saved_report(), None);
    });
    assert_eq!(log, "");
}

#[test]
fn answer_without_an_end_is_not_read() {
    let server = Server::start(vec![Answer::Endless(200)]);
    let log = logged(|| check(&server, effort()).finish(&saved_report()));
    assert!(!log.contains("WARN"), "{log}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn server_error_is_tried_again_until_it_passes() {
    let server = Server::start(vec![status(500), status(503), ok()]);
    let log = logged(|| check(&server, effort()).finish(&saved_report()));
    assert_eq!(server.requests().len(), 3);
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn lasting_server_error_is_given_up_with_a_warning() {
    let server = Server::start(vec![status(500)]);
    let log = logged(|| check(&server, effort()).finish(&saved_report()));
    assert_eq!(server.requests().len(), 3);
    assert!(log.contains("given up, tries 3: the server answers 500 Internal Server Error"), "{log}");
}

#[test]
fn refusal_is_not_tried_again() {
    let server = Server::start(vec![status(404)]);
    let log = logged(|| check(&server, effort()).finish(&saved_report()));
    assert_eq!(server.requests().len(), 1);
    assert!(log.contains("WARN") && log.contains("given up, tries 1: the server answers 404 Not Found"), "{log}");
}

#[test]
fn connection_closed_without_an_answer_is_tried_again() {
    let server = Server::start(vec![Answer::Close, Answer::Close, ok()]);
    let log = logged(|| check(&server, effort()).finish(&saved_report()));
    assert_eq!(server.requests().len(), 3);
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn server_that_does_not_answer_in_time_is_tried_again_and_given_up() {
    let server = Server::start(vec![Answer::Silence]);
    let short = Effort { timeout: Duration::from_millis(300), tries: 2, ..effort() };
    let log = logged(|| check(&server, short).finish(&saved_report()));
    assert_eq!(server.requests().len(), 2);
    assert!(log.contains("given up, tries 2") && log.contains("timed out"), "{log}");
}

#[test]
fn server_that_is_not_there_is_given_up() {
    let server = Server::start(vec![ok()]);
    let url = server.url("/ping-key/nas");
    drop(server.requests());
    let log = logged(|| Healthchecks::new(&url, effort()).unwrap().finish(&saved_report()));
    assert!(log.contains("given up, tries 3"), "{log}");
}

#[test]
fn log_names_the_server_but_never_the_secret_part_of_the_url() {
    let gone = Server::start(vec![ok()]);
    let gone_url = gone.url("/ping-key/nas?create=1");
    drop(gone.requests());
    let unusable = vec!["Location: http://127.0.0.1:1/ping-key/nas/0?rid=1".to_owned()];
    let server = Server::start(vec![status(500), status(404), Answer::Close, Answer::Status(307, unusable)]);
    let log = logged(|| {
        Healthchecks::new(&gone_url, effort()).unwrap().start();
        check(&server, effort()).start();
        check(&server, effort()).start();
    });
    drop(server.requests());
    assert_eq!(log.matches("WARN").count(), 3, "{log}");
    assert!(log.contains("http://127.0.0.1:"), "{log}");
    for secret in ["ping-key", "nas", "create", "rid"] {
        assert!(!log.contains(secret), "{secret} in: {log}");
    }
}

#[test]
fn unreadable_url_is_a_warning_and_no_failure() {
    let healthchecks = Some(HealthchecksConfig { url: Secret::literal("secret-text") });
    let config = NotifyConfig { healthchecks, ..NotifyConfig::default() };
    let log = logged(|| Notifier::of(&config, Path::new("config.toml")).finish(&saved_report(), None));
    assert!(log.contains("WARN") && log.contains("the monitor is not told of this run"), "{log}");
    assert!(!log.contains("secret-text"), "{log}");
}

#[test]
fn body_is_cut_to_the_limit_that_the_server_told() {
    let server = Server::start(vec![Answer::Status(200, vec!["Ping-Body-Limit: 100".into()])]);
    let check = check(&server, effort());
    check.start();
    check.finish(&report(vec![item("files.host", Outcome::Failed(anyhow!("ä".repeat(20_000))))]));
    let body = &server.requests()[1].body;
    assert!(body.len() <= 100 && body.len() > 95, "{} bytes", body.len());
    assert!(body.starts_with("failed: 1 failed, in 2.0s\nfiles.host  failed  ää"), "{body}");
    assert!(body.ends_with("ä\n… cut"), "{body}");
}

#[test]
fn body_is_cut_to_the_usual_limit_when_the_server_does_not_tell() {
    let server = Server::start(vec![ok()]);
    check(&server, effort()).finish(&report(vec![item("files.host", Outcome::Failed(anyhow!("x".repeat(20_000))))]));
    assert_eq!(server.requests()[0].body.len(), 10_000);
}

#[test]
fn redirect_is_followed() {
    let target = Server::start(vec![ok()]);
    let server = Server::start(vec![Answer::Status(308, vec![format!("Location: {}", target.url("/moved"))])]);
    let log = logged(|| check(&server, effort()).finish(&saved_report()));
    assert_eq!(server.requests().len(), 1);
    let requests = target.requests();
    assert_eq!(paths(&requests), ["/moved"]);
    assert!(requests[0].body.starts_with("ok: 1 saved"), "{}", requests[0].body);
    assert!(!log.contains("WARN"), "{log}");
}
