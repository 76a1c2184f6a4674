//! `check`.

use serde_json::Value;

use crate::lab::{EVERYTHING, Lab, text};

const OLD: &str = "IAB_20260101-000000";
const NEW: &str = "IAB_20260102-000000";

/// `ok|FAILED WHAT: DETAIL` of every finding.
fn findings(lab: &Lab, code: i32) -> Vec<String> {
    let rows = lab.run(&["check", "--json"]).code(code).json();
    let line = |row: &Value| {
        let ok = if row["ok"] == true { "ok" } else { "FAILED" };
        format!("{ok} {}: {}", text(&row["what"]), text(&row["detail"]))
    };
    rows.as_array().unwrap().iter().map(line).collect()
}

#[test]
fn servers_that_are_well_are_introduced_and_items_counted() {
    let lab = Lab::new(EVERYTHING);
    lab.instance("vm1", &[OLD]);
    lab.instance("vm2", &[]);
    lab.volume("v1", &[]);
    lab.copy_instance("vm1");
    let [source, target] = [lab.bench.source.url(), lab.bench.target.url()];
    let found = findings(&lab, 0);
    assert_eq!(
        found[1..],
        [
            format!("ok incus.lab, source: {source}, Incus 6.0.4, trusts us for everything"),
            format!("ok incus.lab, target: {target}, Incus 6.0.4, trusts us for everything"),
            "ok incus.lab, items: 2 instances, 1 volume".to_owned(),
        ],
        "{found:?}"
    );
}

#[test]
fn restricted_certificate_says_which_project_it_does_not_let_us_see() {
    let lab =
        Lab::new(&format!("{EVERYTHING}[[incus.lab.project]]\nname = \"other\"\ninstances = [{{ name = \"*\" }}]\n"));
    lab.bench.source.incus(["project", "create", "other"]);
    lab.bench.target.incus(["project", "create", "other"]);
    lab.restrict_target("default");
    let found = findings(&lab, 1);
    assert!(found[2].ends_with("trusts us for some projects only"), "{found:?}");
    assert_eq!(found[3], "FAILED incus.lab, target: there is no project other, or we may not see it");
    lab.run(&["check"])
        .code(1)
        .stdout_has("hint: Make it with `incus project create other`")
        .stdout_has("We see: default.");
}

#[test]
fn what_stands_in_the_place_of_a_copy_is_told() {
    let lab = Lab::new(EVERYTHING);
    for name in ["half", "runs", "theirs", "well"] {
        lab.instance(name, &[OLD, NEW]);
        lab.copy_instance(name);
    }
    let target = &lab.bench.target;
    target.incus(["config", "unset", "theirs", "user.holdall.source"]);
    target.incus([
        "config",
        "set",
        "half",
        &format!("user.holdall.copying={NEW}"),
        &format!("user.holdall.point={OLD}"),
    ]);
    target.incus(["start", "runs"]);
    // What only the target has is nobody's business.
    target.create("another", &[]);
    let found = findings(&lab, 1);
    let item = |name: &str| format!("incus.lab/default/instance/{name}, target");
    assert_eq!(
        found[4..],
        [
            format!("ok {}: warning: the last copy broke off; {OLD} is whole", item("half")),
            format!("FAILED {}: the copy runs, and is not written to", item("runs")),
            format!(
                "FAILED {}: the instance theirs there was not made by holdall, and is not overwritten",
                item("theirs")
            ),
        ],
        "{found:?}"
    );
    lab.run(&["check"]).code(1).stdout_has("`holdall backup incus.lab/default/instance/theirs --adopt`");
}

#[test]
fn pool_that_the_target_lacks_and_name_that_the_source_lacks_are_told() {
    let lab = Lab::new(
        "[[incus.lab.project]]\ninstances = [{ name = \"vm1\", pool = \"fast\" }]\nvolumes = [{ name = \"*\" }]\n",
    );
    lab.instance("vm1", &[]);
    lab.bench.source.incus(["storage", "create", "extra", "dir"]);
    lab.bench.source.volume("extra", "v1", "true");
    let found = findings(&lab, 1);
    assert_eq!(
        found[4..],
        [
            "FAILED incus.lab, target: the target has no pool extra, which volume/v1 must be on",
            "FAILED incus.lab, target: the target has no pool fast, which instance/vm1 must be on",
        ],
        "{found:?}"
    );
    lab.configure("[[incus.lab.project]]\ninstances = [{ name = \"vm11\" }]\n");
    lab.run(&["check"]).code(1).stdout_has("there is no instance vm11").stdout_has("Did you mean `vm1`?");
}

#[test]
fn server_that_is_away_is_told_and_the_other_one_looked_at() {
    let mut lab = Lab::new(EVERYTHING);
    lab.instance("vm1", &[]);
    lab.bench.target.kill();
    let found = findings(&lab, 1);
    assert!(found[2].starts_with("FAILED incus.lab, target: ") && found[2].contains("does not answer"), "{found:?}");
    assert_eq!(found[3], "ok incus.lab, items: 1 instance, 0 volumes");
}

#[test]
fn certificate_that_ends_soon_is_a_warning() {
    let lab = Lab::new(EVERYTHING);
    lab.instance("vm1", &[]);
    lab.renew_client_certificate(20);
    let found = findings(&lab, 0);
    assert!(
        found.iter().any(|line| line.contains("ok incus.lab, certificates: warning: our own certificate")),
        "{found:?}"
    );
}

#[test]
fn check_changes_nothing_on_either_server() {
    let lab = Lab::new(EVERYTHING);
    lab.instance("vm1", &[OLD]);
    let proxy = lab.put_proxy_before_source();
    lab.run(&["check"]).code(0);
    assert!(proxy.requests().iter().all(|request| request.starts_with("GET ")), "{:?}", proxy.requests());
}
