//! What `holdall history` shows.

use std::fs;
use std::io::Write;

use serde_json::json;

use super::support::env::{TestEnv, finish};
use super::support::fault::Fault;
use super::{report, with_report};

/// Puts lines of runs into the report file, one a day from 2026-02-01 on.
fn written(env: &TestEnv, runs: &[(&str, &str)]) {
    fs::create_dir_all(env.path("state")).unwrap();
    let mut file = fs::File::create(report(env)).unwrap();
    for (number, (outcome, items)) in runs.iter().enumerate() {
        let day = number + 1;
        writeln!(
            file,
            r#"{{"type":"run","time":"2026-02-{day:02}T03:00:00Z","command":"backup","outcome":"{outcome}","exit_code":1,"seconds":60,"summary":"{outcome}: day {day}","items":[{items}],"errors":[]}}"#
        )
        .unwrap();
    }
}

const SAVED: &str = r#"{"item":"ssh.pi","outcome":"saved","seconds":90,"bytes_added":1048576}"#;
const FAILED: &str = r#"{"item":"ssh.pi","outcome":"failed","seconds":30,"error":"no route to host"}"#;
const AWAY: &str = r#"{"item":"ios.phone","outcome":"away","seconds":1,"error":"not home"}"#;

#[test]
fn items_are_shown_with_rates_durations_and_the_last_failure() {
    let env = with_report("");
    written(&env, &[("ok", SAVED), ("failed", FAILED), ("ok", SAVED), ("ok", AWAY)]);
    let shown = env.run(["history"]).code(0);
    let rows: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(
        rows,
        [
            "item       runs  saved  incomplete  away  failed  success   average   longest     added  last failure (UTC)",
            "ios.phone     1      0           0     1       0                                    0 B",
            "ssh.pi        3      2           0     0       1     66 %  1min 10s  1min 30s  2.00 MiB  2026-02-02 03:00:00  no route to host",
        ]
    );
    shown.stderr_has("backup: 4 runs, 3 ok, 1 failed (75 %); 1min on average, 1min at most; last failed 2026-02-02 03:00:00: ssh.pi: no route to host");
    let expected = json!([{
        "item": "ssh.pi", "runs": 2, "saved": 1, "incomplete": 0, "away": 0, "failed": 1, "success_percent": 50.0,
        "average_seconds": 60.0, "longest_seconds": 90.0, "bytes_added": 1_048_576,
        "last_failure": {"time": "2026-02-02T03:00:00Z", "outcome": "failed", "error": "no route to host"},
    }]);
    let since = ["history", "--json", "ssh.*", "--since", "2026-02-02"];
    assert_eq!(env.run(since).code(0).json(), expected);
    let ago = Fault::new(&env).at("2026-02-04T03:00:00Z").run(["history", "--json", "ssh.*", "--since", "2d"]);
    assert_eq!(ago.code(0).json(), expected);
}

#[test]
fn runs_are_shown_one_a_row() {
    let env = with_report("");
    written(&env, &[("ok", SAVED), ("failed", FAILED), ("ok", AWAY)]);
    let shown = env.run(["history", "--runs"]).code(0);
    let rows: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(
        rows,
        [
            "time (UTC)           command   outcome           took      added  what",
            "2026-02-01 03:00:00  backup    ok                1min   1.00 MiB  ok: day 1",
            "2026-02-02 03:00:00  backup    failed            1min        0 B  failed: day 2; ssh.pi: no route to host",
            "2026-02-03 03:00:00  backup    ok                1min        0 B  ok: day 3",
        ]
    );
    let rows = env.run(["history", "--runs", "--json", "ssh.pi"]).code(0).json();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[1]["items"][0]["error"], "no route to host");
    assert_eq!(env.run(["history", "--runs", "--json", "--since", "2027-01-01"]).code(0).json(), json!([]));
}

#[test]
fn names_that_are_in_no_run_are_an_error() {
    let env = with_report("");
    written(&env, &[("ok", SAVED)]);
    env.run(["history", "ssh.pie"]).code(2).stderr_has("Did you mean `ssh.pi`?");
    env.run(["history", "ssh.pie", "--runs"]).code(2).stderr_has("Did you mean `ssh.pi`?").stdout_lacks("time");
    env.run(["history", "--since", "yesterday"]).code(2).stderr_has("neither a duration");
    // It has no run since then, which is no mistake.
    env.run(["history", "ssh.pi", "--since", "2027-01-01"]).code(0).stdout_lacks("ssh.pi");
}

#[test]
fn without_a_report_file_it_says_how_to_have_one() {
    let env = TestEnv::with_store();
    env.run(["history"]).code(2).stderr_has("hint: Write `report-file = \"/var/lib/holdall/report.jsonl\"` into it");
    let env = with_report("");
    env.run(["history"]).code(0).stderr_has("is not there yet");
    assert_eq!(env.run(["history", "--json"]).code(0).json(), json!([]));
    env.run(["history", "--file", "/nowhere/report.jsonl"])
        .code(1)
        .stderr_has("there is no file /nowhere/report.jsonl");
}

#[test]
fn what_stands_in_the_file_cannot_control_the_terminal() {
    let env = with_report("");
    let hostile = r#"{"item":"ssh.\u001b[2Jpi\nok","outcome":"failed","error":"a\u001b]0;x\u0007\nok: all saved"}"#;
    written(&env, &[("failed", hostile)]);
    for arguments in [&["history"][..], &["history", "--runs"]] {
        let shown = env.run(arguments).code(0);
        for text in [&shown.stdout, &shown.stderr] {
            assert!(!text.contains(['\u{1b}', '\u{7}']) && !text.lines().any(|line| line.starts_with("ok")), "{text}");
        }
    }
}

#[test]
fn hundred_megabytes_of_history_take_less_than_64() {
    let env = with_report("");
    let items: Vec<String> =
        (0..20).map(|number| SAVED.replace("ssh.pi", &format!("docker.nas/volume/v{number}"))).collect();
    let items = items.join(",");
    written(&env, &[("ok", &items)]);
    let line = fs::read_to_string(report(&env)).unwrap();
    let count = 100_000_000 / line.len();
    let mut file = std::io::BufWriter::new(fs::File::create(report(&env)).unwrap());
    (0..count).for_each(|_| file.write_all(line.as_bytes()).unwrap());
    file.flush().unwrap();
    for arguments in [&["history", "--json"][..], &["history", "--runs", "--json", "docker.nas/volume/v1"]] {
        let plain = env.holdall(arguments);
        let mut command = env.command("prlimit");
        command.arg("--data=67108864").arg(plain.get_program()).args(plain.get_args());
        let shown = finish(command).code(0);
        shown.stdout_has("docker.nas/volume/v1\"");
    }
}
