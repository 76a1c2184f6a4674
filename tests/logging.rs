//! The log as users see it: on a terminal or in a pipe, in the journal, as JSON.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use support::env::TestEnv;

/// A run that is sure to log one warning, and nothing else.
const UNREADABLE_RUST_LOG: &str = "holdall=loud";

#[test]
fn people_see_a_warning_in_words_and_data_stays_apart() {
    let env = TestEnv::new().variable("RUST_LOG", UNREADABLE_RUST_LOG);
    let outcome = env.run(["completions", "bash"]);
    let outcome = outcome.code(0).stdout_has("_holdall").stdout_lacks("RUST_LOG");
    assert!(outcome.stderr.starts_with("warning: ignoring RUST_LOG: "), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

#[test]
fn quiet_leaves_out_warnings() {
    let env = TestEnv::new().variable("RUST_LOG", UNREADABLE_RUST_LOG);
    let outcome = env.run(["-q", "completions", "bash"]).code(0);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn json_log_is_one_object_a_line_with_time_level_target_and_message() {
    let env = TestEnv::new().variable("RUST_LOG", UNREADABLE_RUST_LOG);
    let outcome = env.run(["--log-format", "json", "completions", "bash"]).code(0);
    let record: serde_json::Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(record["level"], "warn");
    assert_eq!(record["target"], "holdall::logging");
    assert!(record["message"].as_str().unwrap().starts_with("ignoring RUST_LOG: "), "{record}");
    let time = record["time"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok() && time.ends_with('Z'), "{time}");
}

#[test]
fn journal_gets_a_priority_when_standard_error_is_really_its_stream() {
    let log = |env: &TestEnv, stream: String| {
        let file = File::create(env.path("stderr")).unwrap();
        let mut command = env.command(env!("CARGO_BIN_EXE_holdall"));
        let metadata = file.metadata().unwrap();
        command.env("JOURNAL_STREAM", stream.replace("{here}", &format!("{}:{}", metadata.dev(), metadata.ino())));
        command.args(["completions", "bash"]).stdout(Stdio::null()).stderr(file);
        assert!(command.status().unwrap().success());
        fs::read_to_string(env.path("stderr")).unwrap()
    };
    let env = TestEnv::new().variable("RUST_LOG", UNREADABLE_RUST_LOG);
    let in_journal = log(&env, "{here}".into());
    assert!(in_journal.starts_with("<4>ignoring RUST_LOG: "), "{in_journal}");
    let elsewhere = log(&env, "1:2".into());
    assert!(elsewhere.starts_with("warning: ignoring RUST_LOG: "), "{elsewhere}");
}
