//! What the tests of replication share.

use std::fs;

use serde_json::Value;

use crate::support::incus_bench::Bench;
use crate::support::incus_proxy::IncusProxy;
use crate::support::incusd::{Incusd, LOCAL};
use crate::support::outcome::Outcome;

/// Everything of the default project.
pub const EVERYTHING: &str =
    "[[incus.lab.project]]\nname = \"default\"\ninstances = [{ name = \"*\" }]\nvolumes = [{ name = \"*\" }]\n";

/// The id of an instance of the default project.
pub fn instance(name: &str) -> String {
    format!("incus.lab/default/instance/{name}")
}

/// The id of a volume of the default project.
pub fn volume(name: &str) -> String {
    format!("incus.lab/default/volume/{name}")
}

/// Questions that many tests ask of servers.
pub trait Asked {
    /// An instance of the default project.
    fn instance(&self, name: &str) -> Value;
    /// A volume of [`LOCAL`] in the default project.
    fn custom(&self, name: &str) -> Value;
    /// The snapshots of an instance of the default project.
    fn points(&self, name: &str) -> Vec<String>;
    /// The snapshots of a volume of [`LOCAL`] in the default project.
    fn volume_points(&self, name: &str) -> Vec<String>;
    /// Whether there is this instance.
    fn has(&self, name: &str) -> bool;
}

impl Asked for Incusd {
    #[track_caller]
    fn instance(&self, name: &str) -> Value {
        self.query(&format!("/1.0/instances/{name}"))
    }

    #[track_caller]
    fn custom(&self, name: &str) -> Value {
        self.query(&format!("/1.0/storage-pools/{LOCAL}/volumes/custom/{name}"))
    }

    #[track_caller]
    fn points(&self, name: &str) -> Vec<String> {
        self.snapshots("default", "instance", name)
    }

    #[track_caller]
    fn volume_points(&self, name: &str) -> Vec<String> {
        self.snapshots("default", "volume", &format!("{LOCAL}/{name}"))
    }

    fn has(&self, name: &str) -> bool {
        self.query("/1.0/instances?recursion=1").as_array().unwrap().iter().any(|one| one["name"] == name)
    }
}

/// Backs everything up, which must go well; the line of an item in JSON.
#[track_caller]
pub fn backup(bench: &Bench) -> Outcome {
    bench.run(["backup", "--json"]).code(0)
}

/// The line of one item.
#[track_caller]
pub fn line(outcome: &Outcome, item: &str) -> Value {
    let lines = outcome.json_lines();
    lines.iter().find(|line| line["item"] == item).unwrap_or_else(|| panic!("no {item} in {lines:?}")).clone()
}

/// The paths of the problems of an item.
#[track_caller]
pub fn problems(outcome: &Outcome, item: &str) -> Vec<String> {
    let line = line(outcome, item);
    line["problems"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect()
}

/// A proxy before the target.
pub trait Through {
    /// From now on the target is asked through a proxy.
    fn through_proxy(&self) -> IncusProxy;
}

impl Through for Bench {
    fn through_proxy(&self) -> IncusProxy {
        let own = self.credentials();
        let proxy = IncusProxy::start(&self.target, &own.join("client.crt"), &own.join("client.key"));
        let url = proxy.url();
        let pinned =
            |url: &str| own.join(format!("servers/{}.pem", url.trim_start_matches("https://").replace(':', "_")));
        fs::copy(pinned(&self.target.url()), pinned(&url)).unwrap();
        let text = fs::read_to_string(self.env.config_file()).unwrap();
        fs::write(self.env.config_file(), text.replace(&self.target.url(), &url)).unwrap();
        proxy
    }
}
