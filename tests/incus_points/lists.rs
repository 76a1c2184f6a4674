//! `list` and `status`.

use chrono::{DateTime, Utc};

use crate::lab::{EVERYTHING, Lab, text};

const OLD: &str = "IAB_20260101-000000";
const NEW: &str = "IAB_20260102-000000";

#[test]
fn points_of_both_servers_are_listed_with_where_they_are_and_no_store_is_needed() {
    let lab = Lab::new(EVERYTHING);
    lab.instance("vm1", &[OLD]);
    lab.volume("v1", &[OLD]);
    lab.copy_instance("vm1");
    lab.copy_volume("v1");
    lab.snapshots("vm1", &[NEW]);
    let rows = lab.run(&["list", "--json"]).code(0).json();
    let mut shown: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let short = text(&row["item"]).trim_start_matches("incus.lab/default/");
            format!(
                "{short} {} {} {} {}",
                text(&row["where"]),
                text(&row["point"]),
                text(&row["time"]),
                row["complete"]
            )
        })
        .collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            "instance/vm1 source IAB_20260101-000000 2026-01-01T00:00:00Z true",
            "instance/vm1 source IAB_20260102-000000 2026-01-02T00:00:00Z true",
            "instance/vm1 target IAB_20260101-000000 2026-01-01T00:00:00Z true",
            "volume/v1 source IAB_20260101-000000 2026-01-01T00:00:00Z true",
            "volume/v1 target IAB_20260101-000000 2026-01-01T00:00:00Z true",
        ]
    );
    let table = lab.run(&["list", "incus.lab/default/volume"]).code(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "item                         point                time (UTC)           where   files  size");
    assert_eq!(lines[1], "incus.lab/default/volume/v1  IAB_20260101-000000  2026-01-01 00:00:00  source");
    assert_eq!(lines.len(), 3);
}

#[test]
fn snapshots_of_others_are_no_points() {
    let lab = Lab::new(EVERYTHING);
    let others = ["IAB_x", "iab_20260101-000000", "IAB_20260101-000000-2", "auto-1", "IAB_20261301-000000"];
    lab.instance("vm1", &others);
    lab.volume("v1", &others);
    assert_eq!(lab.points("incus.lab"), [""; 0]);
    let rows = lab.run(&["status", "--json"]).code(0).json();
    let rows: Vec<(&str, u64)> =
        rows.as_array().unwrap().iter().map(|row| (text(&row["item"]), row["points"].as_u64().unwrap())).collect();
    assert_eq!(rows, [("incus.lab/default/instance/vm1", 0), ("incus.lab/default/volume/v1", 0)]);
}

#[test]
fn copy_whose_original_is_gone_is_listed_and_unmarked_ones_are_not() {
    let lab = Lab::new("[[incus.lab.project]]\ninstances = [{ name = \"vm*\" }]\n");
    for name in ["vm1", "vm2"] {
        lab.instance(name, &[OLD]);
        lab.copy_instance(name);
    }
    // A copy of the copy carries the mark, and is somebody's own.
    lab.bench.target.incus(["copy", "vm1", "vm1-test"]);
    lab.bench.target.incus(["config", "unset", "vm2", "user.holdall.source"]);
    lab.bench.source.incus(["delete", "vm1"]);
    assert_eq!(lab.points("incus.lab"), [format!("source {OLD}"), format!("target {OLD}")]);
    assert_eq!(lab.points("incus.lab/default/instance/vm1"), [format!("target {OLD}")]);
    // Named by the configuration or not: it is what brings the instance back.
    lab.configure("[[incus.lab.project]]\ninstances = [{ name = \"vm2\" }]\n");
    assert_eq!(lab.points("incus.lab/default/instance/vm1"), [format!("target {OLD}")]);
}

#[test]
fn half_a_copy_has_only_the_points_of_the_one_before() {
    let lab = Lab::new(EVERYTHING);
    lab.instance("vm1", &[OLD, NEW]);
    lab.copy_instance("vm1");
    let mark = |pairs: &[&str]| {
        lab.bench.target.incus(["config", "set", "vm1"].iter().chain(pairs));
    };
    let complete = || -> Vec<bool> {
        let rows = lab.run(&["list", "--json"]).code(0).json();
        let rows = rows.as_array().unwrap();
        rows.iter().filter(|row| row["where"] == "target").map(|row| row["complete"].as_bool().unwrap()).collect()
    };
    mark(&[&format!("user.holdall.copying={NEW}")]);
    assert_eq!(complete(), [false, false]);
    let newest = |lab: &Lab| lab.run(&["status", "--json"]).code(0).json()[0]["newest"].clone();
    assert!(newest(&lab).is_null());
    lab.run(&["list"]).code(0).stdout_has("incomplete");
    mark(&[&format!("user.holdall.point={OLD}")]);
    assert_eq!(complete(), [true, false]);
    assert_eq!(newest(&lab), "2026-01-01T00:00:00Z");
    mark(&["user.holdall.copying=", &format!("user.holdall.point={NEW}")]);
    assert_eq!(complete(), [true, true]);
}

#[test]
fn item_is_as_old_as_where_it_lags() {
    let lab = Lab::new(&format!("max-age = \"3d\"\n{EVERYTHING}"));
    let name = |days: i64| (Utc::now() - chrono::Duration::days(days)).format("IAB_%Y%m%d-%H%M%S").to_string();
    let (old, new) = (name(6), name(2));
    lab.instance("vm1", &[&old]);
    let status = |code: i32| lab.run(&["status", "--json"]).code(code).json()[0].clone();
    let nothing = status(1);
    assert!(nothing["newest"].is_null() && nothing["stale"] == true && nothing["points"] == 1, "{nothing}");
    lab.copy_instance("vm1");
    lab.snapshots("vm1", &[&new]);
    let stale = status(1);
    assert!(stale["stale"] == true && stale["points"] == 2, "{stale}");
    let newest: DateTime<Utc> = text(&stale["newest"]).parse().unwrap();
    assert_eq!(newest.format("IAB_%Y%m%d-%H%M%S").to_string(), old);
    lab.copy_instance("vm1");
    let fresh = status(0);
    assert!(fresh["stale"] == false && fresh["points"] == 2, "{fresh}");
}

#[test]
fn server_that_is_away_hides_nothing_of_the_other_one_and_fails_the_command() {
    let mut lab = Lab::new(&format!("max-age = \"3d\"\n{EVERYTHING}"));
    lab.instance("vm1", &[OLD]);
    lab.copy_instance("vm1");
    lab.bench.target.kill();
    let listed = lab.run(&["list"]).code(1).stderr_has("the target does not answer").stderr_has("hint: Is the target");
    assert!(listed.stdout.contains("source") && !listed.stdout.contains("target"), "{}", listed.stdout);
    // It may be fresh there, but nobody knows.
    lab.run(&["status"]).code(1).stdout_has("not known").stdout_lacks("STALE");
    lab.bench.target.restart();
    lab.bench.source.kill();
    let listed = lab.run(&["list"]).code(1).stderr_has("the source does not answer");
    assert!(listed.stdout.contains("target") && !listed.stdout.contains("source"), "{}", listed.stdout);
    lab.run(&["status", "incus.lab/default/instance/vm1"]).code(1).stdout_has("2026-01-01 00:00:00");
    // What nobody can say is no mistake of whoever asks.
    lab.bench.target.kill();
    let said = lab.run(&["list", "incus.lab/default/instance/vm1"]).code(1);
    said.stderr_has("the source does not answer")
        .stderr_has("the target does not answer")
        .stderr_lacks("nothing is called");
    lab.run(&["prune", "incus.lab/default/instance/vm1"]).code(1).stderr_lacks("nothing is called");
    lab.run(&["list", "incus.other/default/instance/vm1"]).code(2).stderr_has("nothing is called");
}

#[test]
fn servers_that_no_selector_means_are_not_asked() {
    let lab = Lab::new(EVERYTHING);
    lab.bench.env.onboard_store();
    lab.bench.configure(&format!("{EVERYTHING}\n[files.home]\npaths = [\"{}\"]\n", lab.bench.env.source().display()));
    let asked = lab.run(&["list", "files.home", "--log-level", "debug"]).code(0);
    assert!(!asked.stderr.contains("GET /1.0"), "{}", asked.stderr);
    let asked = lab.run(&["list", "incus.*", "--log-level", "debug"]).code(0);
    assert_eq!(asked.stderr.matches("GET /1.0 on").count(), 2, "{}", asked.stderr);
    lab.run(&["list", "incus.labb"]).code(2).stderr_has("Did you mean `incus.lab`?");
}

#[test]
fn listing_takes_a_call_a_server_project_and_pool_whatever_there_is() {
    let lab = Lab::new(EVERYTHING);
    let calls = || {
        let asked = lab.run(&["list", "--log-level", "debug"]).code(0).stderr;
        asked.lines().filter(|line| line.contains("GET /1.0")).count()
    };
    // Of each server: itself, its pools, the volumes of two pools, its instances.
    assert_eq!(calls(), 10);
    for number in 0..3 {
        lab.instance(&format!("vm{number}"), &[OLD, NEW]);
        lab.volume(&format!("v{number}"), &[OLD, NEW]);
    }
    assert_eq!(calls(), 10);
    assert_eq!(lab.points("incus.lab").len(), 12);
}

#[test]
fn name_in_local_time_is_taken_as_when_the_snapshot_was_made() {
    let lab = Lab::new(EVERYTHING);
    let ahead = (Utc::now() + chrono::Duration::hours(9)).format("IAB_%Y%m%d-%H%M%S").to_string();
    lab.instance("vm1", &[&ahead]);
    lab.copy_instance("vm1");
    let rows = lab.run(&["list", "--json"]).code(0).json();
    let times: Vec<DateTime<Utc>> =
        rows.as_array().unwrap().iter().map(|row| text(&row["time"]).parse().unwrap()).collect();
    assert_eq!(times.len(), 2);
    assert_eq!(times[0], times[1], "the copy is of the same moment");
    assert!((Utc::now() - times[0]).num_seconds().abs() < 600, "{times:?}");
}
