//! Replicas that are made anew.

use serde_json::Value;

use crate::lab::{Asked, EVERYTHING, Through, backup, instance, volume};
use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;

fn bench() -> Bench {
    let bench = Bench::without_store(EVERYTHING);
    bench.source.volume(LOCAL, "v1", "echo x >file");
    bench.source.create("c1", &[]);
    bench.source.incus(["config", "device", "add", "c1", "data", "disk", "pool=local", "source=v1", "path=/data"]);
    backup(&bench);
    bench
}

/// Whether the target has nothing that was put aside.
fn is_tidy(bench: &Bench) -> bool {
    let all = [bench.target.query("/1.0/instances"), bench.target.query("/1.0/storage-pools/local/volumes/custom")];
    !all.iter().any(|all| all.to_string().contains("before-reseed"))
}

#[test]
fn replica_is_made_anew_and_the_old_one_deleted() {
    let bench = bench();
    for (item, made) in [(volume("v1"), "volume"), (instance("c1"), "instance")] {
        let made = || match made {
            "volume" => bench.target.custom("v1")["created_at"].clone(),
            _ => bench.target.instance("c1")["created_at"].clone(),
        };
        let before = made();
        bench.run(["backup", "--reseed", &item]).code(0);
        assert_ne!(made(), before);
        assert!(is_tidy(&bench));
    }
    assert_eq!(bench.target.instance("c1")["devices"]["data"]["source"], "v1");
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
    bench.run(["backup", "--reseed"]).code(2);
    backup(&bench);
}

#[test]
fn replica_that_cannot_be_made_anew_stays() {
    let bench = bench();
    let proxy = bench.through_proxy();
    let points = bench.target.points("c1");
    let no = r#"{"type":"error","error":"no","error_code":500}"#;
    proxy.answer("POST", "/1.0/instances?", 500, no);
    bench.run(["backup", "--reseed", &instance("c1")]).code(1).stderr_has("no");
    assert_eq!(bench.target.points("c1"), points);
    assert!(is_tidy(&bench));
}

#[test]
fn replica_that_a_killed_run_has_put_aside_is_put_back() {
    let bench = bench();
    bench.target.incus(["rename", "c1", "c1-before-reseed"]);
    backup(&bench);
    assert!(is_tidy(&bench));
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
}

#[test]
fn replica_without_a_common_snapshot_is_explained() {
    let bench = bench();
    let proxy = bench.through_proxy();
    // What Incus 7.1 says; 6.0 does not know it.
    let state = r#"{"type":"sync","metadata":{"id":"0fe2193b-35f4-4c08-b19f-7e3d7e180000","status_code":400,"err":"Failed migration on target: no common base (GUID mismatch). Delete the target volume and copy again."}}"#;
    proxy.answer("GET", "/1.0/operations/*/wait", 200, state);
    let outcome = bench.run(["backup", &instance("c1")]).code(1);
    outcome
        .stderr_has("no common base")
        .stderr_has("`holdall backup incus.lab/default/instance/c1 --reseed` copies it anew");
    proxy.clear();
    bench.run(["backup", &instance("c1"), "--reseed"]).code(0);
    assert_eq!(bench.target.points("c1"), bench.source.points("c1"));
    assert_eq!(bench.target.instance("c1")["config"]["user.holdall.copying"], Value::Null);
}
