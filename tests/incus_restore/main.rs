//! What `holdall restore` brings back of Incus: two real servers, the real binary.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod export;
mod rollback;
#[path = "../support/mod.rs"]
mod support;
mod target;

use support::incus_bench::Bench;
use support::incusd::Incusd;

/// Everything of the default project.
const ALL: &str =
    "[[incus.lab.project]]\nname = \"default\"\ninstances = [{ name = \"*\" }]\nvolumes = [{ name = \"*\" }]\n";

const C1: &str = "incus.lab/default/instance/c1";
const V1: &str = "incus.lab/default/volume/v1";

/// The names of the instances and the custom volumes of a server, and of all snapshots.
fn all_of(server: &Incusd) -> Vec<String> {
    let mut all = Vec::new();
    for instance in server.query("/1.0/instances?recursion=2").as_array().unwrap() {
        let name = instance["name"].as_str().unwrap();
        all.push(name.to_owned());
        let snapshots = instance["snapshots"].as_array().into_iter().flatten();
        all.extend(snapshots.map(|snapshot| format!("{name}/{}", snapshot["name"].as_str().unwrap())));
    }
    for pool in ["local", "plain"] {
        let volumes = server.query(&format!("/1.0/storage-pools/{pool}/volumes/custom?recursion=1"));
        let names = volumes.as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap().to_owned());
        all.extend(names.map(|name| format!("{pool}:{name}")));
    }
    all.sort();
    all
}

/// The newest snapshot of ours of `c1` on the source.
fn newest(bench: &Bench) -> String {
    let names = bench.source.snapshots("default", "instance", "c1");
    names.into_iter().rfind(|name| name.starts_with("IAB_")).unwrap()
}
