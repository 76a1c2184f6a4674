//! `prune`.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::lab::{EVERYTHING, Lab, retention, text};

const NAMES: [&str; 4] = ["IAB_20260101-000000", "IAB_20260101-120000", "IAB_20260102-000000", "IAB_20260103-000000"];

/// Of each item and place what `prune --json` removes.
fn removed(document: &Value) -> BTreeMap<String, Vec<String>> {
    let rows = document.as_array().unwrap().iter();
    rows.map(|row| {
        let points = row["removed"].as_array().unwrap().iter().map(|point| text(&point["point"]).to_owned());
        let item = text(&row["item"]).trim_start_matches("incus.lab/default/");
        (format!("{item} {}", text(&row["where"])), points.collect())
    })
    .collect()
}

/// The names of snapshots that are so many days old.
fn days(days: &[i64]) -> Vec<String> {
    let name = |days: &i64| (Utc::now() - chrono::Duration::days(*days)).format("IAB_%Y%m%d-%H%M%S").to_string();
    days.iter().map(name).collect()
}

#[test]
fn each_side_is_pruned_by_its_own_rule_and_nothing_of_others_is_touched() {
    let rules = retention("3", "role = \"source\"") + &retention("1", "role = \"target\"");
    let lab = Lab::new(&format!("{EVERYTHING}{rules}"));
    let others = ["IAB_20260101-000000-2", "IAB_x", "auto-1", "iab_20260101-000000"];
    let all: Vec<&str> = NAMES.into_iter().chain(others).collect();
    lab.instance("vm1", &all);
    lab.volume("v1", &all);
    lab.copy_instance("vm1");
    lab.copy_volume("v1");
    let before = |lab: &Lab| {
        let (source, target) = (&lab.bench.source, &lab.bench.target);
        [
            lab.of_instance(source, "vm1"),
            lab.of_instance(target, "vm1"),
            lab.of_volume(source, "v1"),
            lab.of_volume(target, "v1"),
        ]
    };
    let untouched = before(&lab);
    let dry = lab.run(&["prune", "-n"]).code(0).stderr_has("would remove 8 points and keep 8; nothing was changed");
    let line = "incus.lab/default/instance/vm1 on the target: `1`, line 12 of the configuration\n";
    assert!(dry.stdout.contains(line), "{}", dry.stdout);
    dry.clone()
        .stdout_has("incus.lab/default/volume/v1 on the source: `3`, line 9 of the configuration\n")
        .stdout_has("  remove  IAB_20260101-000000  2026-01-01 00:00:00\n")
        .stdout_has("  keep    IAB_20260103-000000  2026-01-03 00:00:00  keep 3, newest complete, pinned\n");
    assert_eq!(before(&lab), untouched, "a dry run changes nothing");
    let done = lab.run(&["prune", "--json"]).code(0).stderr_has("removed 8 points, kept 8");
    let first = vec![NAMES[0].to_owned()];
    let three = NAMES[..3].iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = [
        ("instance/vm1 source", first.clone()),
        ("instance/vm1 target", three.clone()),
        ("volume/v1 source", first),
        ("volume/v1 target", three),
    ];
    let expected: BTreeMap<String, Vec<String>> =
        expected.into_iter().map(|(key, names)| (key.to_owned(), names)).collect();
    assert_eq!(removed(&done.json()), expected);
    let left = |kept: &[&str]| kept.iter().chain(&others).map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (mut source, mut target) = (left(&NAMES[1..]), left(&NAMES[3..]));
    source.sort();
    target.sort();
    assert_eq!(before(&lab), [source.clone(), target.clone(), source, target]);
    lab.run(&["prune"]).code(0).stderr_has("removed 0 points, kept 8");
}

#[test]
fn newest_snapshot_of_both_servers_stays_on_both_though_no_rule_keeps_it() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    lab.instance("vm1", &NAMES[..2]);
    lab.copy_instance("vm1");
    // The target was away for some days.
    lab.snapshots("vm1", &NAMES[2..]);
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), [NAMES[1], NAMES[3]]);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), [NAMES[1]]);
    lab.copy_instance("vm1");
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), [NAMES[3]]);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), [NAMES[3]]);
}

#[test]
fn nothing_is_pruned_while_one_of_the_servers_cannot_be_asked() {
    let mut lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    lab.instance("vm1", &NAMES);
    lab.copy_instance("vm1");
    lab.bench.target.kill();
    let said = "incus.lab: nothing is pruned on its servers, as it is not known which snapshots both have";
    lab.run(&["prune"]).code(1).stderr_has(said).stderr_has("the target does not answer");
    lab.run(&["prune", "-n"]).code(1).stderr_has("would remove 0 points");
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), NAMES);
    lab.bench.target.restart();
    lab.bench.source.kill();
    lab.run(&["prune"]).code(1).stderr_has(said).stderr_has("the source does not answer");
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), NAMES);
}

#[test]
fn item_that_cannot_be_pruned_on_the_source_is_left_alone_on_the_target_and_others_are_not() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    for name in ["vm1", "vm2"] {
        lab.instance(name, &NAMES);
        lab.copy_instance(name);
    }
    let proxy = lab.put_proxy_before_source();
    let snapshot = format!("/1.0/instances/vm1/snapshots/{}", NAMES[1]);
    proxy.answer("DELETE", &snapshot, 400, &refusal("the disk is on fire"));
    let said = "prune incus.lab/default/instance/vm1 on the source";
    lab.run(&["prune"])
        .code(1)
        .stderr_has(said)
        .stderr_has("the disk is on fire")
        .stderr_has("removed 7 points, kept 9");
    // The first failure ends the item.
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), NAMES[1..]);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), NAMES);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm2"), [NAMES[3]]);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm2"), [NAMES[3]]);
}

#[test]
fn snapshot_of_a_clock_in_the_future_stays_and_does_not_count() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    let future = "IAB_29991231-000000";
    lab.instance("vm1", &[NAMES[0], NAMES[3], future]);
    let pruned = lab.run(&["prune"]).code(0);
    let said =
        format!("point {future} of incus.lab/default/instance/vm1 on the source is dated in the future and is kept");
    pruned.stderr_has(&said);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), [NAMES[3], future]);
}

#[test]
fn after_an_outage_longer_than_every_rule_the_newest_stays() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1h2d,1d2w", "")));
    lab.instance("vm1", &NAMES);
    lab.copy_instance("vm1");
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), [NAMES[3]]);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), [NAMES[3]]);
}

#[test]
fn with_same_retention_the_target_keeps_what_the_source_keeps() {
    let rules = retention("2", "role = \"source\"") + &retention("9", "role = \"target\"");
    let lab = Lab::new(&format!("same-retention = true\n{EVERYTHING}{rules}"));
    lab.instance("vm1", &NAMES);
    lab.copy_instance("vm1");
    lab.run(&["prune", "-n"])
        .code(0)
        .stdout_has("vm1 on the target: `2`, line 10 of the configuration, as on the source\n")
        .stderr_lacks("of no use");
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), NAMES[2..]);
}

#[test]
fn target_that_is_to_keep_more_than_its_source_is_warned_of() {
    let rules = retention("2", "role = \"source\"") + &retention("1d2w", "role = \"target\"");
    let lab = Lab::new(&format!("{EVERYTHING}{rules}"));
    lab.instance("vm1", &NAMES);
    lab.instance("vm2", &NAMES);
    lab.copy_instance("vm1");
    let said = "on the target `1d2w` (line 12) keeps what `2` (line 9) does not keep on the source";
    let warned = lab.run(&["prune", "-n"]).code(0);
    assert_eq!(warned.stderr.matches(said).count(), 1, "{}", warned.stderr);
    warned.stderr_has("Incus takes away from the target whatever the source has no more").stderr_has("export = true");
    lab.run(&["check"]).code(0).stdout_has(said);
}

#[test]
fn foreign_and_unmarked_copies_are_left_alone() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "role = \"target\"")));
    for name in ["vm1", "vm2"] {
        lab.instance(name, &NAMES);
        lab.copy_instance(name);
    }
    lab.bench.target.incus(["config", "unset", "vm1", "user.holdall.source"]);
    let foreign = "user.holdall.source=incus.lab/default/instance/vm2 0000000000000000";
    lab.bench.target.incus(["config", "set", "vm2", foreign]);
    lab.run(&["prune"]).code(0).stderr_has("removed 0 points");
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), NAMES);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm2"), NAMES);
}

#[test]
fn name_says_more_than_kind_project_and_role() {
    let rules = [
        retention("1", "role = \"source\""),
        retention("2", "role = \"source\"\nproject = \"default\"\nkind = \"volume\""),
        retention("3", "role = \"source\"\nproject = \"default\"\nkind = \"volume\"\nname = \"v2\""),
    ];
    let lab = Lab::new(&format!("{EVERYTHING}{}", rules.concat()));
    lab.instance("vm1", &NAMES);
    lab.volume("v1", &NAMES);
    lab.volume("v2", &NAMES);
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), NAMES[3..]);
    assert_eq!(lab.of_volume(&lab.bench.source, "v1"), NAMES[2..]);
    assert_eq!(lab.of_volume(&lab.bench.source, "v2"), NAMES[1..]);
}

#[test]
fn buckets_are_those_of_every_other_kind_of_source() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1d2w", "")));
    let names = days(&[20, 13, 5, 2]);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lab.instance("vm1", &names);
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), names[1..]);
    let newest: DateTime<Utc> = text(&lab.run(&["list", "--json"]).json()[2]["time"]).parse().unwrap();
    assert!((Utc::now() - newest).num_hours() >= 47);
}

#[test]
fn run_that_holds_the_source_is_not_disturbed() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    lab.instance("vm1", &NAMES);
    let held = File::create(lab.bench.env.path("run/incus.lab.lock")).unwrap();
    held.lock().unwrap();
    lab.run(&["prune"]).code(11).stderr_has("incus.lab is in use by");
    lab.run(&["prune", "-n"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), NAMES);
    drop(held);
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), NAMES[3..]);
}

#[test]
fn snapshot_that_somebody_else_has_removed_meanwhile_is_no_failure() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    lab.instance("vm1", &NAMES);
    let proxy = lab.put_proxy_before_source();
    let snapshot = format!("/1.0/instances/vm1/snapshots/{}", NAMES[0]);
    proxy.answer("DELETE", &snapshot, 404, &refusal("Instance snapshot not found"));
    lab.run(&["prune"]).code(0);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm1"), [NAMES[0], NAMES[3]]);
}

#[test]
fn absurd_names_and_times_of_a_server_remove_nothing_and_break_nothing() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    lab.instance("vm1", &NAMES[..2]);
    let proxy = lab.put_proxy_before_source();
    let snapshot = |name: &str, time: &str| json!({ "name": name, "created_at": time });
    let instances = |name: &str, snapshots: Vec<Value>| {
        let instance = json!({ "name": name, "type": "container", "status": "Stopped", "snapshots": snapshots });
        json!({ "type": "sync", "status": "Success", "status_code": 200, "metadata": [instance] }).to_string()
    };
    let absurd = vec![
        snapshot(NAMES[0], "+262143-12-31T23:59:59Z"),
        snapshot(NAMES[1], "not a time"),
        snapshot("IAB_99991231-235959", "9999-12-31T23:59:59Z"),
        snapshot("IAB_20260101-000000/../../../vm1", "2026-01-01T00:00:00Z"),
        snapshot("\u{1b}[2J", "2026-01-01T00:00:00Z"),
    ];
    proxy.answer("GET", "/1.0/instances?", 200, &instances("vm1", absurd));
    let listed = lab.run(&["list", "--json"]).code(0).json();
    let listed: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", text(&row["point"]), text(&row["time"])))
        .collect();
    assert_eq!(
        listed,
        [
            "IAB_20260101-000000 2026-01-01T00:00:00Z",
            "IAB_20260101-120000 2026-01-01T12:00:00Z",
            "IAB_99991231-235959 9999-12-31T23:59:59Z",
        ]
    );
    proxy.forget();
    lab.run(&["prune"]).code(0);
    let removed: Vec<String> = proxy.requests().into_iter().filter(|request| request.starts_with("DELETE")).collect();
    assert_eq!(removed, [format!("DELETE /1.0/instances/vm1/snapshots/{}?project=default", NAMES[0])]);
    proxy.answer("GET", "/1.0/instances?", 200, &instances("../../vm1", Vec::new()));
    lab.run(&["list"]).code(1).stderr_has("cannot be a name");
    proxy.answer("GET", "/1.0/instances?", 200, "{\"type\":\"sync\",\"metadata\":{\"a\":1}}");
    lab.run(&["prune"]).code(1).stderr_has("the answer is of another form").stderr_has("nothing is pruned");
}

#[test]
fn thousands_of_snapshots_are_planned_at_once() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("6,1h2d,1d2w,1w3m", "")));
    lab.instance("vm1", &[]);
    let proxy = lab.put_proxy_before_source();
    let now = Utc::now();
    let snapshots: Vec<Value> = (0..5000)
        .map(|hours| {
            let time = now - chrono::Duration::hours(hours);
            json!({ "name": time.format("IAB_%Y%m%d-%H%M%S").to_string(), "created_at": time })
        })
        .collect();
    let instance = json!({ "name": "vm1", "snapshots": snapshots });
    let answer = json!({ "type": "sync", "status_code": 200, "metadata": [instance] }).to_string();
    proxy.answer("GET", "/1.0/instances?", 200, &answer);
    let begun = Instant::now();
    let plan = lab.run(&["prune", "-n", "--json"]).code(0).json();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let kept = plan[0]["kept"].as_array().unwrap().len();
    assert!((60..100).contains(&kept), "{kept}");
    assert_eq!(plan[0]["removed"].as_array().unwrap().len(), 5000 - kept);
}

/// What a server answers that does not do it.
fn refusal(text: &str) -> String {
    json!({ "type": "error", "error": text, "error_code": 0, "metadata": null }).to_string()
}
