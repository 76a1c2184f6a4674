//! `backup`, `prune`, `list` and `status` as a timer and its owner use them: what is due, what is kept, what is printed.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::env::TestEnv;
use support::fault::Fault;
use support::outcome::Outcome;
use support::tree;

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";
const NOON: &str = "2026-02-05T12:00:00Z";

/// Runs holdall at this time.
fn at(env: &TestEnv, time: &str, arguments: &[&str]) -> Outcome {
    Fault::new(env).at(time).run(arguments)
}

fn outcome_at(env: &TestEnv, time: &str, arguments: &[&str]) -> String {
    at(env, time, arguments).code(0).line("item")["outcome"].as_str().unwrap().to_owned()
}

fn points(env: &TestEnv, selector: &str) -> Vec<Value> {
    env.run(["list", "--json", selector]).code(0).json().as_array().unwrap().clone()
}

fn times(points: &[Value]) -> Vec<&str> {
    points.iter().map(|point| point["time"].as_str().unwrap()).collect()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Every file below a directory with its content.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(
            |path| if path.is_dir() { contents(&path) } else { [(path.clone(), fs::read(&path).unwrap())].into() },
        )
        .collect()
}

#[test]
fn item_is_due_again_when_its_newest_point_is_as_old_as_every_says() {
    let env = TestEnv::with_store_and(&format!("{HOME}every = \"1h\"\n")).file("file", "x");
    let backup = ["backup", "--json"];
    assert_eq!(outcome_at(&env, NOON, &backup), "saved");
    assert_eq!(outcome_at(&env, NOON, &backup), "not-due");
    assert_eq!(outcome_at(&env, "2026-02-05T12:59:59Z", &backup), "not-due");
    let said = at(&env, "2026-02-05T12:59:59Z", &["backup"]).code(0);
    said.stderr_has("files.home  not due  newest 2026-02-05 12:00:00, due 2026-02-05 13:00:00\nok: 1 not due, in ");
    assert_eq!(outcome_at(&env, "2026-02-05T12:59:59Z", &["backup", "--json", "--force"]), "saved");
    assert_eq!(outcome_at(&env, "2026-02-05T13:00:00Z", &backup), "not-due");
    assert_eq!(outcome_at(&env, "2026-02-05T13:59:59Z", &backup), "saved");
    assert_eq!(times(&points(&env, "files.home")), [NOON, "2026-02-05T12:59:59Z", "2026-02-05T13:59:59Z"]);
}

#[test]
fn what_is_due_is_known_without_cache_and_runtime_directory() {
    let env = TestEnv::with_store_and(&format!("{HOME}every = \"1h\"\n")).file("file", "x");
    assert_eq!(outcome_at(&env, NOON, &["backup", "--json"]), "saved");
    for directory in ["cache", "run", "home"] {
        fs::remove_dir_all(env.path(directory)).unwrap();
    }
    assert_eq!(outcome_at(&env, "2026-02-05T12:59:59Z", &["backup", "--json"]), "not-due");
}

#[test]
fn point_dated_in_the_future_does_not_put_off_a_backup() {
    let env = TestEnv::with_store_and(&format!("{HOME}every = \"1h\"\n")).file("file", "x");
    assert_eq!(outcome_at(&env, "2027-01-01T00:00:00Z", &["backup", "--json"]), "saved");
    assert_eq!(outcome_at(&env, NOON, &["backup", "--json"]), "saved");
    assert_eq!(outcome_at(&env, NOON, &["backup", "--json"]), "not-due");
}

#[test]
fn status_says_what_is_older_than_max_age() {
    let env = TestEnv::with_store_and(&format!("{HOME}max-age = \"3d\"\n")).file("file", "12345");
    let row = json!([{
        "item": "files.home", "newest": null, "age_seconds": null, "max_age_seconds": 259_200, "stale": true, "points": 0, "bytes": null,
    }]);
    assert_eq!(at(&env, NOON, &["status", "--json"]).code(1).json(), row);
    at(&env, NOON, &["status"]).code(1).stdout_has("never").stdout_has("STALE");

    at(&env, NOON, &["backup"]).code(0);
    let row = |age: u64, stale: bool| {
        json!([{
            "item": "files.home", "newest": NOON, "age_seconds": age, "max_age_seconds": 259_200, "stale": stale, "points": 1, "bytes": 5,
        }])
    };
    assert_eq!(at(&env, "2026-02-08T12:00:00Z", &["status", "--json"]).code(0).json(), row(259_200, false));
    at(&env, "2026-02-08T12:00:00Z", &["status"]).code(0).stdout_lacks("STALE");
    assert_eq!(at(&env, "2026-02-08T12:00:01Z", &["status", "--json"]).code(1).json(), row(259_201, true));
    at(&env, "2026-02-08T12:00:01Z", &["status"]).code(1).stdout_has("STALE");
}

#[test]
fn json_lines_have_the_promised_fields_in_their_order() {
    let env = TestEnv::with_store_and(HOME).file("a", "12345").file("b/c", "678");
    let run = at(&env, NOON, &["backup", "--json"]).code(0);
    let last: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["type"], "summary");
    assert!(
        run.json_lines().iter().all(|line| ["progress", "item", "summary"].contains(&line["type"].as_str().unwrap()))
    );
    let item = run.line("item");
    assert_eq!(
        keys(&item),
        [
            "type",
            "item",
            "outcome",
            "snapshot",
            "time",
            "files_new",
            "files_changed",
            "files_unmodified",
            "bytes_processed",
            "bytes_added",
            "bytes_stored",
            "seconds",
            "problems",
            "error",
            "hint"
        ]
    );
    let expected = json!({
        "type": "item", "item": "files.home", "outcome": "saved", "snapshot": points(&env, "files.home")[0]["point"], "time": NOON,
        "files_new": 2, "files_changed": 0, "files_unmodified": 0, "bytes_processed": 8, "problems": [], "error": null, "hint": null,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&item[key], value, "{key}");
    }
    assert!(item["bytes_added"].as_u64().unwrap() >= 8 && item["bytes_stored"].as_u64().unwrap() > 0, "{item}");
    assert_eq!(keys(&last), ["type", "outcome", "exit_code", "items", "seconds", "errors"]);
    assert_eq!(last["items"], json!({"saved": 1, "incomplete": 0, "away": 0, "not_due": 0, "failed": 0}));
    assert_eq!((&last["outcome"], &last["exit_code"], &last["errors"]), (&json!("ok"), &json!(0), &json!([])));

    let point = &points(&env, "files.home")[0];
    assert_eq!(keys(point), ["item", "point", "time", "complete", "files", "bytes", "where"]);
    assert_eq!(
        *point,
        json!({"item": "files.home", "point": item["snapshot"], "time": NOON, "complete": true, "files": 2, "bytes": 8, "where": "store"})
    );
}

#[test]
fn point_is_an_ordinary_snapshot_with_host_label_and_tags() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    at(&env, NOON, &["backup"]).code(0);
    let snapshots = env.restic(["snapshots", "--json"]).code(0).json();
    let snapshot = &snapshots[0];
    assert_eq!(snapshots.as_array().unwrap().len(), 1);
    assert_eq!(snapshot["hostname"], "files.home");
    let tags: BTreeSet<&str> = snapshot["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    assert_eq!(tags, ["holdall", "item=files.home"].into());
    assert_eq!(snapshot["paths"], json!([env.source()]));
    assert_eq!(snapshot["time"], "2026-02-05T12:00:00Z");
}

#[test]
fn quiet_success_says_nothing_and_quiet_failure_says_the_error() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    let quiet = env.run(["backup", "-q"]).code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let quiet = env.run(["backup", "-q", "--prune"]).code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    fs::remove_dir_all(env.source()).unwrap();
    let failed = env.run(["backup", "-q"]).code(1).stderr_has("No such file or directory").stderr_has("hint: ");
    assert_eq!(failed.stdout, "");
}

#[test]
fn dry_run_says_what_would_be_saved_and_changes_nothing() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    env.run(["backup"]).code(0);
    env.write("more", "12345");
    let before = contents(&env.store());
    let item = env.run(["backup", "-n", "--json"]).code(0).line("item");
    assert_eq!((&item["outcome"], &item["snapshot"], &item["files_new"]), (&json!("saved"), &Value::Null, &json!(1)));
    env.run(["backup", "-n"]).code(0).stderr_has("would save").stderr_has("nothing was changed, and nobody was told");
    assert!(contents(&env.store()) == before, "the store was changed");
    assert_eq!(points(&env, "files.home").len(), 1);
}

/// Two sources; `files.broken` has lost its path after two backups of each.
fn one_of_two_is_broken(policy: &str) -> TestEnv {
    let env = TestEnv::with_store_and(&format!(
        "[[retention]]\npolicy = \"{policy}\"\n[files.well]\npaths = [\"{{root}}/source\"]\n[files.broken]\npaths = [\"{{root}}/other\"]\n"
    ))
    .file("file", "x");
    fs::create_dir(env.path("other")).unwrap();
    fs::write(env.path("other/file"), "x").unwrap();
    for time in ["2026-02-05T10:00:00Z", "2026-02-05T11:00:00Z"] {
        at(&env, time, &["backup"]).code(0);
    }
    fs::remove_dir_all(env.path("other")).unwrap();
    env
}

#[test]
fn pruning_with_the_backup_leaves_out_what_failed() {
    let env = one_of_two_is_broken("1");
    at(&env, NOON, &["backup", "--prune"]).code(1).stderr_has("removed 2 points, kept 1");
    assert_eq!(times(&points(&env, "files.well")), [NOON]);
    assert_eq!(times(&points(&env, "files.broken")), ["2026-02-05T10:00:00Z", "2026-02-05T11:00:00Z"]);
    env.restic(["check"]).code(0);
}

#[test]
fn selectors_choose_what_is_backed_up_and_pruned() {
    let env = one_of_two_is_broken("1");
    at(&env, NOON, &["backup", "files.w*"]).code(0);
    assert_eq!(points(&env, "files.well").len(), 3);
    at(&env, NOON, &["prune", "files.broken"]).code(0).stderr_has("removed 1 point, kept 1");
    assert_eq!((points(&env, "files.well").len(), points(&env, "files.broken").len()), (3, 1));
}

#[test]
fn source_that_left_the_configuration_keeps_its_points_and_its_retention() {
    let env = one_of_two_is_broken("1");
    env.configure("[[retention]]\npolicy = \"1\"\n[files.well]\npaths = [\"{root}/source\"]\n");
    at(&env, NOON, &["backup", "--prune"]).code(0);
    assert_eq!(points(&env, "files.broken").len(), 2);
    at(&env, NOON, &["prune"]).code(0);
    assert_eq!(points(&env, "files.broken").len(), 1);
}

/// The vector of the design: a backup at each of these times.
const TIMES: [&str; 13] = [
    "2025-12-31T10:00:00Z",
    "2026-01-22T11:59:59Z",
    "2026-01-22T12:00:00Z",
    "2026-01-28T23:59:59Z",
    "2026-01-29T00:00:00Z",
    "2026-02-03T11:59:59Z",
    "2026-02-03T12:00:00Z",
    "2026-02-04T00:00:00Z",
    "2026-02-04T23:59:59Z",
    "2026-02-05T00:00:00Z",
    "2026-02-05T10:59:59Z",
    "2026-02-05T11:00:00Z",
    "2026-02-05T11:59:00Z",
];
const KEPT: [&str; 7] = [
    "2026-01-22T12:00:00Z",
    "2026-01-28T23:59:59Z",
    "2026-01-29T00:00:00Z",
    "2026-02-03T12:00:00Z",
    "2026-02-04T23:59:59Z",
    "2026-02-05T11:00:00Z",
    "2026-02-05T11:59:00Z",
];

#[test]
fn retention_keeps_of_real_points_what_the_design_says() {
    let env = TestEnv::with_store_and(&format!("{HOME}[[retention]]\npolicy = \"2,1d2w\"\n"));
    for time in TIMES {
        env.write("file", time);
        at(&env, time, &["backup"]).code(0);
    }
    let before = contents(&env.store());
    let plan = at(&env, NOON, &["prune", "-n", "--json"]).code(0).json();
    assert_eq!(keys(&plan[0]), ["item", "kept", "removed", "where"]);
    assert_eq!(times(plan[0]["kept"].as_array().unwrap()), KEPT);
    assert_eq!(plan[0]["removed"].as_array().unwrap().len(), 6);
    assert!(
        plan[0]["kept"].as_array().unwrap().iter().all(|point| !point["reasons"].as_array().unwrap().is_empty()),
        "{plan}"
    );
    let said = at(&env, NOON, &["prune", "-n"]).code(0).stdout_has("files.home: `2,1d2w`, line ");
    said.stderr_has("would remove 6 points and keep 7; nothing was changed");
    assert!(contents(&env.store()) == before, "the store was changed");

    at(&env, NOON, &["prune"]).code(0).stderr_has("removed 6 points, kept 7");
    assert_eq!(times(&points(&env, "files.home")), KEPT);
    at(&env, NOON, &["prune"]).code(0).stderr_has("removed 0 points, kept 7");
    env.restic(["check", "--read-data"]).code(0);
    let oldest = points(&env, "files.home")[0]["point"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(env.restored_by_restic(&oldest).join("file")).unwrap(), KEPT[0]);
}

#[test]
fn without_a_policy_nothing_is_removed() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    for time in &TIMES[..3] {
        at(&env, time, &["backup", "--prune"]).code(0);
    }
    at(&env, NOON, &["prune"]).code(0).stderr_has("removed 0 points, kept 3");
    at(&env, NOON, &["prune", "-n"]).code(0).stdout_has("files.home: no rule applies, everything is kept");
}

#[test]
fn incomplete_point_does_not_push_out_the_newest_complete_one() {
    let env =
        TestEnv::with_store_and(&format!("{HOME}[[retention]]\npolicy = \"1\"\n")).file("file", "x").without_override();
    at(&env, TIMES[0], &["backup"]).code(0);
    at(&env, TIMES[1], &["backup"]).code(0);
    fs::set_permissions(env.source().join("file"), fs::Permissions::from_mode(0o000)).unwrap();
    env.write("other", "x");
    at(&env, TIMES[2], &["backup"]).code(3);
    at(&env, NOON, &["prune"]).code(0);
    let left = points(&env, "files.home");
    assert!(times(&left).contains(&TIMES[1]) && !times(&left).contains(&TIMES[0]), "{left:?}");
}

#[test]
fn prune_never_touches_what_holdall_did_not_make() {
    let env = TestEnv::with_store_and(&format!("{HOME}[[retention]]\npolicy = \"1\"\n")).file("file", "foreign");
    let source = env.source();
    let source = source.to_str().unwrap();
    for tags in [&[][..], &["--tag", "item=files.home"], &["--host", "files.home"]] {
        let arguments = ["backup", "--time", "2020-01-01 00:00:00", source];
        env.restic(arguments.iter().chain(tags)).code(0);
    }
    let foreign = env.restic(["snapshots", "--json"]).code(0).json();
    env.write("file", "ours");
    for time in &TIMES[..3] {
        at(&env, time, &["backup"]).code(0);
    }
    assert_eq!(points(&env, "files.home").len(), 3);
    at(&env, NOON, &["prune", "--keep-delete", "0s", "--max-repack", "unlimited"])
        .code(0)
        .stderr_has("removed 2 points, kept 1");
    let left = env.restic(["snapshots", "--json"]).code(0).json();
    assert_eq!(left.as_array().unwrap().len(), 4);
    for snapshot in foreign.as_array().unwrap() {
        assert!(left.as_array().unwrap().contains(snapshot), "{left}");
        let restored = env.restored_by_restic(snapshot["id"].as_str().unwrap());
        assert_eq!(fs::read_to_string(restored.join("file")).unwrap(), "foreign");
    }
    env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn space_is_freed_by_the_run_after_keep_delete() {
    let env = TestEnv::with_store_and(&format!("{HOME}[[retention]]\npolicy = \"1\"\n"));
    let packs = || contents(&env.store().join("data")).len();
    for (time, content) in [(TIMES[0], "first"), (TIMES[1], "second")] {
        env.write("file", content.repeat(100_000));
        at(&env, time, &["backup"]).code(0);
    }
    let before = packs();
    at(&env, "2026-02-05T12:00:00Z", &["prune"]).code(0).stderr_has("marked ");
    assert_eq!(packs(), before);
    env.restic(["check", "--read-data"]).code(0);
    at(&env, "2026-02-06T10:59:59Z", &["prune"]).code(0);
    assert_eq!(packs(), before);
    at(&env, "2026-02-06T11:00:01Z", &["prune"]).code(0);
    assert!(packs() < before);
    env.restic(["check", "--read-data"]).code(0);
    env.run(["verify", "--read-data"]).code(0);
    tree::assert_same(&env.source(), &env.restored_by_restic("latest"));
}

#[test]
fn holdall_works_without_home_and_cache() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    let config = env.config_file();
    for arguments in [&["backup"][..], &["list"], &["verify"], &["prune"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdall"));
        command.env_clear().env("RUNTIME_DIRECTORY", env.path("run")).arg("--config").arg(&config).args(arguments);
        support::env::finish(command).code(0);
    }
    assert_eq!(points(&env, "files.home").len(), 1);
}

#[test]
fn what_changes_beside_the_source_costs_no_more_than_the_directories_above_it() {
    let env = TestEnv::with_store().file("a/b", "x").file("a/c/d", "y");
    env.run(["backup"]).code(0);
    let added = |env: &TestEnv| {
        let item = env.run(["backup", "--json"]).code(0).line("item");
        assert_eq!((&item["files_unmodified"], &item["files_changed"]), (&2.into(), &0.into()), "{item}");
        item["bytes_added"].as_u64().unwrap()
    };
    // The times of a directory above the source belong to the point, as with restic; what is in the source is not written again.
    fs::write(env.path("beside-the-source"), "z").unwrap();
    let trees = added(&env);
    assert!((1..4096).contains(&trees), "{trees}");
}

#[test]
fn configuration_without_a_source_is_not_a_run_without_work() {
    let env = TestEnv::with_store_and("");
    env.run(["backup"]).code(2).stderr_has("names nothing to back up").stderr_has("hint: Add a source");
}
