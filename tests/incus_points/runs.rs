//! Points that real runs make, and `backup --prune`.

use serde_json::Value;

use crate::lab::{EVERYTHING, Lab, retention, text};

const OLD: [&str; 3] = ["IAB_20260101-000000", "IAB_20260102-000000", "IAB_20260103-000000"];

#[test]
fn run_prunes_both_sides_of_what_it_has_copied() {
    let lab = Lab::new(&format!("max-age = \"1d\"\n{EVERYTHING}{}", retention("2", "")));
    lab.instance("vm1", &OLD);
    lab.volume("v1", &OLD);
    lab.run(&["backup", "--prune", "--adopt"]).code(0).stderr_has("removed 8 points, kept 8");
    let source = lab.of_instance(&lab.bench.source, "vm1");
    assert_eq!((source.len(), source[0].as_str()), (2, OLD[2]));
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), source);
    assert_eq!(lab.of_volume(&lab.bench.target, "v1"), lab.of_volume(&lab.bench.source, "v1"));
    let rows = lab.run(&["status", "--json"]).code(0).json();
    for row in rows.as_array().unwrap() {
        assert!(row["stale"] == false && row["points"] == 2, "{row}");
    }
    let places: Vec<String> = lab.points("incus.lab/default/instance/vm1");
    assert_eq!(places.len(), 4, "{places:?}");
}

#[test]
fn item_that_failed_in_this_run_is_not_pruned() {
    let lab = Lab::new(&format!("{EVERYTHING}{}", retention("1", "")));
    for name in ["vm1", "vm2"] {
        lab.instance(name, &OLD);
        lab.copy_instance(name);
    }
    lab.bench.target.incus(["config", "unset", "vm1", "user.holdall.source"]);
    let run = lab.run(&["backup", "--prune", "--json"]).code(1);
    let outcome = |item: &str| -> Value {
        let lines = run.json_lines();
        lines.into_iter().find(|line| line["item"] == item).unwrap()["outcome"].clone()
    };
    assert_eq!(text(&outcome("incus.lab/default/instance/vm1")), "failed");
    assert_eq!(text(&outcome("incus.lab/default/instance/vm2")), "saved");
    assert!(lab.of_instance(&lab.bench.source, "vm1").starts_with(&OLD.map(ToOwned::to_owned)));
    assert_eq!(lab.of_instance(&lab.bench.target, "vm1"), OLD);
    assert_eq!(lab.of_instance(&lab.bench.source, "vm2").len(), 1);
    assert_eq!(lab.of_instance(&lab.bench.target, "vm2").len(), 1);
}

#[test]
fn what_is_exported_counts_in_the_store_too_and_is_pruned_there_by_its_own_rule() {
    let lab = Lab::new(EVERYTHING);
    lab.bench.env.onboard_store();
    lab.bench
        .configure(&format!("export = true\nmax-age = \"1d\"\n{EVERYTHING}{}", retention("1", "role = \"source\"")));
    lab.volume("v1", &OLD[..1]);
    lab.run(&["backup", "--prune"]).code(0);
    let places = lab.points("incus.lab/default/volume/v1");
    let at = |place: &str| places.iter().filter(|row| row.starts_with(place)).count();
    assert_eq!((at("source"), at("target"), at("store")), (1, 2, 1), "{places:?}");
    let status = lab.run(&["status", "--json"]).code(0).json()[0].clone();
    // What both servers and the store have of one moment is one.
    assert!(status["points"] == 2 && status["stale"] == false, "{status}");
    let item = "incus.lab/default/volume/v1";
    let stored = places.iter().find_map(|row| row.strip_prefix("store ")).unwrap();
    lab.run(&["diff", &format!("{item}@{}", &stored[..8]), &format!("{item}@live")])
        .code(0)
        .stderr_has("no difference");
    lab.bench.source.incus(["storage", "volume", "set", "local", "v1", "user.a=1"]);
    lab.run(&["diff", &format!("{item}@{}", &stored[..8]), &format!("{item}@live")])
        .code(0)
        .stdout_has("+ /config/user.a: 1");
    // Without its points in the store it is as old as if it had never been saved.
    let away = lab.bench.env.path("away");
    std::fs::rename(lab.bench.env.store().join("snapshots"), &away).unwrap();
    std::fs::create_dir(lab.bench.env.store().join("snapshots")).unwrap();
    let status = lab.run(&["status", "--json"]).code(1).json()[0].clone();
    assert!(status["newest"].is_null() && status["stale"] == true, "{status}");
}

#[test]
fn one_server_and_a_store_are_enough() {
    let lab = Lab::new(EVERYTHING);
    lab.bench.env.onboard_store();
    let rules = retention("2", "role = \"source\"") + &retention("all", "");
    lab.bench.configure(&format!("export = true\n{EVERYTHING}{rules}"));
    let file = lab.bench.env.config_file();
    let config = std::fs::read_to_string(&file).unwrap();
    let lines = config.split_inclusive('\n').filter(|line| !line.starts_with("target = "));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    lab.volume("v1", &OLD);
    lab.run(&["check"]).code(0).stdout_lacks("target");
    for _ in 0..2 {
        lab.run(&["backup", "--prune"]).code(0);
    }
    // The source keeps few, the store all: only there history can be longer.
    let places = lab.points("incus.lab");
    let at = |place: &str| places.iter().filter(|row| row.starts_with(place)).count();
    assert_eq!((at("source"), at("store"), places.len()), (2, 2, 4), "{places:?}");
    lab.run(&["prune", "-n"]).code(0).stdout_has("incus.lab/default/volume/v1: `all`").stderr_lacks("of no use");
    lab.run(&["status"]).code(0).stdout_has("incus.lab/default/volume/v1");
}
