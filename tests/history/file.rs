//! What is in the report file after which run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use super::support::env::PASSWORD;
use super::support::fault::{Fault, Gate, Tmpfs};
use super::{configure, lines, report, with_report};

#[test]
fn every_run_leaves_a_line_that_says_how_it_went() {
    let env = with_report("every = \"1h\"\n");
    env.run(["backup"]).code(0);
    env.run(["backup"]).code(0);
    env.run(["verify"]).code(0);
    env.run(["prune"]).code(0);
    let lines = lines(&env);
    let told: Vec<_> =
        lines.iter().map(|line| (line["command"].as_str().unwrap(), line["outcome"].as_str().unwrap())).collect();
    assert_eq!(told, [("backup", "ok"), ("backup", "ok"), ("verify", "ok"), ("prune", "ok")]);
    let item = &lines[0]["items"][0];
    assert_eq!(
        (&item["item"], &item["outcome"], &item["files_new"]),
        (&"files.home".into(), &"saved".into(), &1.into())
    );
    assert!(item["bytes_added"].as_u64().unwrap() > 0 && item.get("type").is_none());
    // What was not due is only counted.
    assert_eq!((lines[1]["items"].as_array().unwrap().len(), &lines[1]["not_due"]), (0, &1.into()));
    assert!(lines.iter().all(|line| line["type"] == "run" && line["exit_code"] == 0));
    assert!(lines[3]["summary"].as_str().unwrap().starts_with("removed 0 points, kept 1"), "{}", lines[3]);
    let mode = fs::metadata(report(&env)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!fs::read_to_string(report(&env)).unwrap().contains(PASSWORD));
}

#[test]
fn run_that_only_shows_what_it_would_do_leaves_none() {
    let env = with_report("");
    env.run(["backup", "--dry-run"]).code(0);
    env.run(["prune", "--dry-run"]).code(0);
    assert!(!report(&env).exists());
}

#[test]
fn run_that_could_not_begin_leaves_one_too() {
    let env = with_report("");
    fs::rename(env.store(), env.path("elsewhere")).unwrap();
    env.run(["backup"]).code(10);
    env.run(["verify"]).code(10);
    configure(&env, "color = \"blue\"\n");
    env.run(["backup"]).code(2);
    env.run(["prune"]).code(2);
    let lines = lines(&env);
    let codes: Vec<_> = lines.iter().map(|line| line["exit_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [10, 10, 2, 2]);
    assert!(lines.iter().all(|line| line["outcome"] == "failed"));
    assert!(lines[0]["errors"][0]["error"].as_str().unwrap().starts_with("there is no repository at "), "{}", lines[0]);
    assert!(lines[0]["errors"][0]["hint"].as_str().unwrap().contains("holdall onboard store"));
    assert!(lines[2]["errors"][0]["error"].as_str().unwrap().contains("files.home.color: unknown key"));
}

#[test]
fn what_went_wrong_with_an_item_is_in_its_line() {
    let env = with_report("[files.gone]\npaths = [\"/nowhere/x\"]\n").unreadable("locked");
    env.run(["backup"]).code(1);
    let lines = lines(&env);
    let items = lines[0]["items"].as_array().unwrap();
    assert_eq!(items[0]["item"], "files.gone");
    assert!(items[0]["error"].as_str().unwrap().contains("/nowhere/x"));
    assert_eq!((&items[1]["outcome"], &items[1]["problem_count"]), (&"incomplete".into(), &1.into()));
    assert!(items[1]["problems"][0]["path"].as_str().unwrap().ends_with("/locked"));
}

#[test]
fn run_that_is_stopped_by_a_signal_leaves_its_line() {
    let env = with_report("[files.second]\npaths = [\"{root}/second\"]\n");
    fs::create_dir(env.path("second")).unwrap();
    fs::write(env.path("second/last"), "x").unwrap();
    let gate = Gate::new(&env);
    let mut run = Fault::new(&env).before_read(1, env.path("second/last"), &gate.command()).start(["backup"]);
    let waiting = gate.reached();
    run.signal(Signal::TERM);
    assert_eq!(run.wait(std::time::Duration::from_secs(120)).code(), Some(143));
    drop(waiting);
    let lines = lines(&env);
    assert_eq!((lines.len(), &lines[0]["exit_code"], &lines[0]["outcome"]), (1, &143.into(), &"failed".into()));
    assert_eq!(lines[0]["errors"][0]["error"], "stopped by SIGTERM");
    // What was saved before that is no failure.
    assert_eq!(
        (&lines[0]["items"][0]["item"], &lines[0]["items"][0]["outcome"]),
        (&"files.home".into(), &"saved".into())
    );
}

#[test]
fn line_that_was_cut_short_costs_no_other_one() {
    let env = with_report("");
    env.run(["backup"]).code(0);
    let whole = fs::read(report(&env)).unwrap();
    fs::write(report(&env), &whole[..whole.len() / 2]).unwrap();
    env.run(["backup"]).code(0);
    let text = fs::read_to_string(report(&env)).unwrap();
    assert_eq!(text.lines().count(), 2);
    env.run(["history", "--json"])
        .code(0)
        .stderr_has("line 1 is no whole run, and is passed over")
        .stdout_has("\"runs\": 1");
    // Truncated, and rotated away.
    fs::write(report(&env), "").unwrap();
    env.run(["backup"]).code(0);
    assert_eq!(lines(&env).len(), 1);
    fs::rename(report(&env), env.path("state/report.jsonl.1")).unwrap();
    env.run(["backup"]).code(0);
    assert_eq!(lines(&env).len(), 1);
    let rotated = env.path("state/report.jsonl.1");
    let arguments = ["history".as_ref(), "--json".as_ref(), "--file".as_ref(), rotated.as_os_str()];
    env.run(arguments).code(0).stderr_lacks("passed over").stdout_has("\"runs\": 1");
}

#[test]
fn file_that_cannot_be_written_is_a_warning_and_costs_nothing() {
    let env = with_report("");
    fs::write(env.path("state"), "a file in the place of the directory").unwrap();
    let warned = env.run(["backup"]).code(0);
    warned.stderr_has("this run has no line in the report file: ").stderr_has("hint: ").stderr_has("ok: 1 saved");
    env.run(["list"]).code(0).stdout_has("files.home");
}

#[test]
fn disk_that_is_full_leaves_no_half_line() {
    let env = with_report("");
    let small = Tmpfs::mount(&env.path("state"), "16k");
    env.run(["backup"]).code(0).stderr_lacks("warning: ");
    let before = fs::read(report(&env)).unwrap();
    let filler = env.path("state/filler");
    // As much as goes in.
    let _ = fs::write(&filler, vec![0; 1 << 20]);
    let mut runs = 0;
    while !env.run(["backup"]).code(0).stderr.contains("this run has no line in the report file") {
        runs += 1;
        assert!(runs < 20, "the disk does not get full");
    }
    let after = fs::read(report(&env)).unwrap();
    assert!(after.starts_with(&before) && after.ends_with(b"\n"));
    assert_eq!(lines(&env).len(), 1 + runs);
    fs::remove_file(filler).unwrap();
    env.run(["backup"]).code(0).stderr_lacks("warning: ");
    assert_eq!(lines(&env).len(), 2 + runs);
    drop(small);
}
