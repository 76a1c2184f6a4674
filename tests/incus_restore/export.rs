//! Exports: what the store has of a snapshot, and what is made of it.

use std::fs;

use crate::support::incus_bench::Bench;
use crate::support::incus_proxy::IncusProxy;
use crate::support::incusd::{Incusd, LOCAL};
use crate::{ALL, C1, V1, all_of};

/// One server without a target: everything goes into the store.
fn alone(url: &str, bench: &Bench) {
    let credentials = bench.credentials();
    let stanza =
        format!("[incus.lab]\nsource = \"{url}\"\ncredentials = \"{}\"\nexport = true\n{ALL}", credentials.display());
    bench.env.configure(&stanza);
}

/// A proxy before the source, through which everything goes now.
fn proxy(bench: &Bench) -> IncusProxy {
    let (certificate, key) = (bench.credentials().join("client.crt"), bench.credentials().join("client.key"));
    let proxy = IncusProxy::start(&bench.source, &certificate, &key);
    let port = proxy.url().rsplit(':').next().unwrap().to_owned();
    let pinned = bench.credentials().join(format!("servers/127.0.0.1_{port}.pem"));
    fs::copy(bench.source.dir().join("server.crt"), pinned).unwrap();
    alone(&proxy.url(), bench);
    proxy
}

fn filled() -> Bench {
    let bench = Bench::new();
    bench.env.onboard_store();
    alone(&bench.source.url(), &bench);
    bench.source.volume(LOCAL, "v1", "echo one >file; mkdir deep; echo two >deep/file");
    bench.source.launch("c1", &["-c", "boot.autostart=true", "-c", "user.x=1"]);
    bench.source.incus(["storage", "volume", "attach", LOCAL, "v1", "c1", "/data"]);
    bench
        .source
        .exec("c1", "echo one >/root/file; dd if=/dev/urandom of=/root/random bs=1M count=30 2>/dev/null; sync");
    bench
}

/// What is left of an export, on the server's disk as well.
fn left(server: &Incusd) -> Vec<String> {
    let temporary = all_of(server).into_iter().filter(|name| name.contains("holdall-"));
    let backups = server.dir().join("backups/instances");
    let files = fs::read_dir(backups).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string());
    temporary.chain(files).collect()
}

#[test]
fn what_was_saved_is_made_anew_under_its_own_name_and_another_one_after_the_server_lost_it() {
    let bench = filled();
    bench.run(["backup"]).code(0);
    assert_eq!(left(&bench.source), Vec::<String>::new());
    bench.run(["ls", C1]).code(0).stdout_has("backup.tar").stdout_has("instance.json");
    let before = bench.source.query("/1.0/instances/c1");
    bench.source.incus(["delete", "-f", "c1"]);
    bench.source.incus(["storage", "volume", "delete", LOCAL, "v1"]);

    bench.run(["restore", V1, "--from", "store"]).code(0);
    bench.run(["restore", C1, "--from", "store"]).code(0).stderr_has("incus start c1");
    let after = bench.source.query("/1.0/instances/c1");
    for key in ["devices", "profiles", "description", "architecture", "ephemeral", "type"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    for key in ["boot.autostart", "user.x", "volatile.uuid", "user.holdall.export", "security.privileged"] {
        assert_eq!(after["config"][key], before["config"][key], "{key}");
    }
    bench.source.incus(["start", "c1"]);
    let said =
        bench.source.exec("c1", "cat /root/file /data/file /data/deep/file; stat -c %u:%g /root/file /data/file");
    assert_eq!(said, "one\none\ntwo\n0:0\n0:0");

    bench.run(["restore", C1, "--from", "store"]).code(2).stderr_has("there is an instance c1");
    bench.run(["restore", C1, "--from", "store", "--as", "c3"]).code(0);
    bench.run(["restore", V1, "--from", "store", "--as", "v3"]).code(0);
    assert_eq!(bench.source.read_instance("c3", "/root/file"), "one\n");
    assert_eq!(bench.source.read_volume(LOCAL, "v3", "deep/file"), "two\n");
    assert_eq!(bench.source.query("/1.0/instances/c3")["config"]["boot.autostart"], "false");
    assert_eq!(left(&bench.source), Vec::<String>::new());
    bench.run(["backup"]).code(0);
}

#[test]
fn small_change_adds_little_and_the_archive_is_of_the_snapshot() {
    let bench = filled();
    bench.run(["backup"]).code(0);
    bench.source.exec("c1", "echo two >/root/file; sync");
    let lines = bench.run(["--json", "backup", C1]).code(0);
    let item = lines.line("item");
    let (stored, read) = (item["bytes_stored"].as_u64().unwrap(), item["bytes_processed"].as_u64().unwrap());
    assert!(read > 30 << 20 && stored < 6 << 20, "{item}");

    let to = bench.env.path("out");
    bench.run(["restore", &format!("{C1}@latest~1"), "--to", to.to_str().unwrap()]).code(0);
    let archive = to.join("backup.tar");
    bench.target.incus(["import", archive.to_str().unwrap(), "again"]);
    assert_eq!(bench.target.read_instance("again", "/root/file"), "one\n");
}

#[test]
fn snapshot_of_a_server_is_written_to_a_directory_without_a_store() {
    let bench = Bench::without_store(ALL);
    bench.source.launch("c1", &[]);
    bench.source.exec("c1", "echo one >/root/file; sync");
    bench.run(["backup"]).code(0);
    for from in ["target", "source"] {
        let to = bench.env.path(from);
        let to = to.to_str().unwrap();
        bench.run(["restore", C1, "--from", from, "--to", to, "-n"]).code(0).stdout_has("would write");
        bench.run(["restore", C1, "--from", from, "--to", to]).code(0).stderr_has("incus import");
        bench.run(["restore", C1, "--from", from, "--to", to]).code(1).stderr_has("--overwrite");
        bench.source.incus(["import", &format!("{to}/backup.tar"), &format!("from-{from}")]);
        assert_eq!(bench.source.read_instance(&format!("from-{from}"), "/root/file"), "one\n");
        assert_eq!(fs::read_dir(to).unwrap().count(), 2);
    }
    assert_eq!((left(&bench.source), left(&bench.target)), (Vec::new(), Vec::new()));
}

#[test]
fn archive_that_was_cut_short_makes_no_point_and_leaves_nothing() {
    let bench = filled();
    let proxy = proxy(&bench);
    proxy.cut_answer("GET", "/1.0/instances/*/export", 5 << 20).times(1);
    bench.run(["backup", C1]).code(1).stderr_has("export");
    bench.run(["list", "--json"]).code(0).stdout_lacks("\"store\"");
    assert_eq!(left(&bench.source), Vec::<String>::new());
    bench.run(["backup", C1]).code(0);
    bench.run(["list", "--json"]).code(0).stdout_has("\"store\"");
}

#[test]
fn export_that_was_killed_is_swept_by_the_next_run_and_is_no_item() {
    let bench = filled();
    let proxy = proxy(&bench);
    proxy.hang("GET", "/1.0/instances/*/export");
    let mut run = bench.env.start(["backup", C1]);
    proxy.wait_until_hanging();
    run.kill();
    assert_eq!(left(&bench.source).len(), 2, "{:?}", left(&bench.source));
    bench.run(["backup", "-n"]).code(0).stderr_lacks("holdall-");
    proxy.clear();
    bench.run(["backup", V1]).code(0);
    assert_eq!(left(&bench.source), Vec::<String>::new());
}

#[test]
fn item_that_is_only_on_servers_cannot_be_looked_into_and_the_error_says_how_to_get_at_it() {
    let bench = Bench::with(ALL);
    bench.source.launch("c1", &[]);
    bench.run(["backup"]).code(0);
    for command in ["ls", "dump"] {
        bench.run([command, C1]).code_among(&[1, 2]).stderr_has("export = true").stderr_has("--to DIR");
    }
}
