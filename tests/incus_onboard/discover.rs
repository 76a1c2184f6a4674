//! `holdall discover incus`: what the servers have, and what no source covers.

use std::fs;

use serde_json::Value;

use crate::support::incus_bench::Bench;
use crate::support::incusd::{LOCAL, PLAIN};

fn rows(text: &str) -> Vec<(String, Option<String>)> {
    let rows: Vec<Value> = serde_json::from_str(text).unwrap();
    let rows = rows.iter().filter(|row| row["kind"] == "incus");
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row["covered_by"].as_str().map(str::to_owned))).collect()
}

#[test]
fn what_no_source_covers_is_named_and_so_is_the_server_of_this_machine() {
    let mut bench = Bench::without_store(
        "[[incus.lab.project]]\ninstances = [{ name = \"c*\" }]\nvolumes = [{ name = \"*\", pool = \"local\" }]\nexclude = [\"instance/cache\"]",
    );
    let shared =
        ["-c", "features.profiles=false", "-c", "features.images=false", "-c", "features.storage.volumes=false"];
    bench.source.incus(["project", "create", "other"].iter().chain(&shared));
    for name in ["c1", "cache", "web"] {
        bench.source.create(name, &[]);
    }
    bench.source.create("far", &["--project", "other"]);
    bench.source.incus(["storage", "volume", "create", LOCAL, "v1", "size=64MiB"]);
    bench.source.incus(["storage", "volume", "snapshot", "create", LOCAL, "v1", "s"]);
    bench.source.incus(["storage", "volume", "create", PLAIN, "v2"]);
    bench.source.incus(["storage", "volume", "attach", LOCAL, "v1", "c1", "/data"]);
    let lab = Some("incus.lab".to_owned());
    let expected = [
        ("default/instance/c1", lab.clone()),
        ("default/instance/cache", None),
        ("default/instance/web", None),
        ("default/volume/v1", lab),
        ("default/volume/v2", None),
        ("other/instance/far", None),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(name, by)| (name.to_owned(), by)).collect();
    let found = bench.run(["discover", "incus", "--json"]).code(0);
    assert_eq!(rows(&found.stdout), expected);
    bench
        .run(["discover", "incus"])
        .code(0)
        .stdout_has("filesystem on local, 64MiB, used by c1")
        .stdout_has("container on local, stopped");

    let socket = |name: &str| name.starts_with("unix:");
    let here = |bench: &Bench| {
        rows(&bench.run(["discover", "incus", "--json"]).code(0).stdout).iter().any(|row| socket(&row.0))
    };
    bench.env = bench.env.variable("INCUS_SOCKET", bench.target.dir().join("unix.socket"));
    assert!(here(&bench), "the target is covered by nothing");
    bench.env = bench.env.variable("INCUS_SOCKET", bench.source.dir().join("unix.socket"));
    assert!(!here(&bench), "the source is what is backed up");
}

#[test]
fn server_that_is_away_is_an_error_and_the_other_one_is_shown() {
    let mut bench = Bench::without_store("[[incus.lab.project]]\ninstances = [{ name = \"*\" }]");
    let two = format!(
        "{}\n[incus.two]\nsource = \"{}\"\nexport = true\ncredentials = \"{}\"\n[[incus.two.project]]\ninstances = [{{ name = \"*\" }}]\n",
        bench.stanza("[[incus.lab.project]]\ninstances = [{ name = \"*\" }]"),
        bench.target.url(),
        bench.credentials().display()
    );
    fs::write(bench.env.config_file(), two).unwrap();
    bench.target.create("c2", &[]);
    bench.source.kill();
    let outcome =
        bench.run(["discover", "incus"]).code(1).stdout_has("default/instance/c2").stdout_has("covered by incus.two");
    outcome.stderr_has("connect to the source").stderr_has("does not answer");
    bench.source.restart();
}
