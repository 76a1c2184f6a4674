//! The report file, and `holdall history` that reads it: every run leaves a line, whatever becomes of the run or of the file.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

mod file;
mod shown;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use support::env::TestEnv;

/// A store, one source with a file, and a report file.
fn with_report(rest: &str) -> TestEnv {
    let env = TestEnv::new().file("file", "content");
    env.onboard_store();
    configure(&env, rest);
    env
}

fn configure(env: &TestEnv, rest: &str) {
    let store = "[store]\nrepository = \"{root}/store\"\npassword-file = \"{root}/store.password\"\n";
    let home = "[files.home]\npaths = [\"{root}/source\"]\n";
    env.config(&format!("report-file = \"{{root}}/state/report.jsonl\"\n{store}{home}{rest}"));
}

fn report(env: &TestEnv) -> PathBuf {
    env.path("state/report.jsonl")
}

/// The lines of the report file.
fn lines(env: &TestEnv) -> Vec<Value> {
    let text = fs::read_to_string(report(env)).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
