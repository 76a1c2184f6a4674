//! Points of mirrors are thinned by rules of their own.

use std::fs;

use super::support::env::TestEnv;
use super::{HOME, OFFSITE, is_whole, line, mirrored, packs, restic, snapshots};
use crate::support::tree::noise;

const KEEP_TWO: &str = "[[retention]]\npolicy = \"3\"\n[[retention]]\nmirror = \"offsite\"\npolicy = \"2\"\n";

fn with_points(count: usize) -> TestEnv {
    let env = mirrored();
    for number in 0..count {
        env.write("file", format!("{number}"));
        env.run(["backup"]).code(0);
    }
    env
}

#[test]
fn mirror_keeps_what_its_rule_says_and_is_not_given_the_rest_again() {
    let env = with_points(4);
    restic(&env, ["backup".as_ref(), "--host".as_ref(), "other".as_ref(), env.source().as_os_str()]).code(0);
    env.configure(&format!("{OFFSITE}{KEEP_TWO}{HOME}"));
    env.run(["prune", "-n"]).code(0).stdout_has("in the mirror offsite: `2`").stderr_has("would remove 3 points");
    let plans = env.run(["prune", "--json"]).code(0).json();
    let removed = |place: &str| {
        let plan = plans.as_array().unwrap().iter().find(|plan| plan["where"] == place).unwrap();
        plan["removed"].as_array().unwrap().len()
    };
    assert_eq!((removed("store"), removed("offsite")), (1, 2));
    assert_eq!(snapshots(&env), 3, "two, and the one that holdall did not make");
    assert_eq!(line(&env.run(["mirror", "--json"]).code(0))["copied"], 0);
    env.write("file", "new");
    assert_eq!(line(&env.run(["backup", "--json"]).code(0))["copied"], 1);
    is_whole(&env);
}

#[test]
fn rules_of_the_store_apply_where_none_is_for_the_mirror() {
    let env = with_points(3);
    env.configure(&format!("{OFFSITE}[[retention]]\npolicy = \"1\"\n{HOME}"));
    env.run(["prune"]).code(0).stderr_has("mirror offsite: removed 2 points").stderr_has("removed 4 points, kept 2");
    assert_eq!(snapshots(&env), 1);
}

#[test]
fn mirror_can_keep_what_the_store_has_no_more() {
    let env = with_points(3);
    let rules = "[[retention]]\npolicy = \"1\"\n[[retention]]\nmirror = \"offsite\"\npolicy = \"all\"\n";
    env.configure(&format!("{OFFSITE}{rules}{HOME}"));
    env.write("file", "new");
    env.run(["backup", "--prune"]).code(0);
    assert_eq!((env.run(["list", "--json"]).json().as_array().unwrap().len(), snapshots(&env)), (1, 4));
    let oldest = env.run(["list", "--from", "offsite", "--json"]).json()[0]["point"].as_str().unwrap().to_owned();
    let file = format!("files.home@{oldest}:{}/file", env.source().display());
    assert_eq!(env.run(["dump", "--from", "offsite", &file]).code(0).stdout, "0");
}

#[test]
fn prune_frees_space_in_the_mirror() {
    let env = mirrored();
    for number in 0..3 {
        env.write("large", noise(number, 4 << 20));
        env.run(["backup"]).code(0);
    }
    let size = || packs(&env.path("offsite")).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum::<u64>();
    assert!(size() > 12 << 20);
    env.configure(&format!("{OFFSITE}{KEEP_TWO}{HOME}").replace("policy = \"2\"", "policy = \"1\""));
    env.run(["prune", "--keep-delete", "0s"]).code(0);
    env.run(["prune", "--keep-delete", "0s"]).code(0);
    assert!(size() < 6 << 20, "{}", size());
    is_whole(&env);
}

#[test]
fn mirror_that_is_away_keeps_nothing_else_from_being_pruned() {
    let env = with_points(3);
    fs::rename(env.path("offsite"), env.path("gone")).unwrap();
    env.configure(&format!("{OFFSITE}[[retention]]\npolicy = \"1\"\n{HOME}"));
    env.run(["prune"])
        .code(1)
        .stderr_has("removed 2 points, kept 1")
        .stderr_has("mirror offsite: there is no repository");
    assert_eq!(env.run(["list", "--json"]).code(0).json().as_array().unwrap().len(), 1);
    env.write("file", "new");
    env.run(["backup", "--prune"]).code(1).stderr_has("1 saved, 1 other error");
}
