//! The Incus servers that other tests use do what those tests take for granted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::incus_proxy::IncusProxy;
use support::incusd::{Incusd, LOCAL, PLAIN, Pair};

/// What of a folder is still mounted, attached to a loop device, or run.
fn left(root: &Path) -> Vec<String> {
    let root = root.to_str().unwrap();
    let loops = Command::new("losetup").args(["--list", "--noheadings", "--output=BACK-FILE"]).output().unwrap();
    let processes = Command::new("ps").args(["-eo", "args", "-ww"]).output().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let texts = [mounts, String::from_utf8(loops.stdout).unwrap(), String::from_utf8_lossy(&processes.stdout).into()];
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| line.contains(root));
    lines.map(str::to_owned).chain(Path::new(root).exists().then(|| root.to_owned())).collect()
}

#[test]
fn instances_and_volumes_hold_what_was_written_also_after_the_server_was_killed() {
    let mut server = Incusd::start();
    server.volume(LOCAL, "v1", "echo one >file");
    server.volume(PLAIN, "v2", "mkdir sub; echo two >sub/file");
    server.launch("c1", &[]);
    server.incus(["storage", "volume", "attach", LOCAL, "v1", "c1", "/data"]);
    assert_eq!(server.exec("c1", "cat /data/file; echo three >>/data/file; echo kept >/root/kept"), "one");
    server.in_volume(LOCAL, "v1", "echo four >new");
    assert_eq!(server.exec("c1", "stat -c %u /data/file /data/new"), "0\n0");
    assert_eq!(server.read_volume(LOCAL, "v1", "file"), "one\nthree\n");
    assert_eq!(server.read_volume(PLAIN, "v2", "/sub/file"), "two\n");

    for snapshot in ["s2", "s1"] {
        server.incus(["snapshot", "create", "c1", snapshot]);
        server.incus(["storage", "volume", "snapshot", "create", LOCAL, "v1", snapshot]);
    }
    assert_eq!(server.snapshots("default", "instance", "c1"), ["s1", "s2"]);
    assert_eq!(server.snapshots("default", "volume", "local/v1"), ["s1", "s2"]);

    let before = server.pid();
    server.kill();
    server.restart();
    assert_ne!(server.pid(), before);
    assert_eq!(server.query("/1.0/instances/c1")["status"], "Running");
    assert_eq!(server.read_instance("c1", "/root/kept"), "kept\n");
    let begun = Instant::now();
    server.incus(["stop", "c1"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "the container does not end when it is asked to");
    assert_eq!(server.incus(["file", "pull", "c1/root/kept", "-"]), "kept");
    assert_eq!(server.read_instance("c1", "/root/kept"), "kept\n");
}

#[test]
fn a_pair_has_one_image_two_ports_and_bridges_of_its_own() {
    let Pair { source, target } = Pair::start();
    assert_ne!(source.port(), target.port());
    let print = |server: &Incusd| server.query("/1.0/images/aliases/bb")["target"].clone();
    assert_eq!(print(&source), print(&target));
    assert!(print(&source).is_string());
    let bridge = source.bridge("br");
    assert_ne!(bridge, target.bridge("br"));
    source.launch("c1", &["--network", &bridge]);
    assert_eq!(source.query("/1.0/instances/c1/state")["network"]["eth0"]["type"], "broadcast");

    for server in [&source, &target] {
        server.network("lan");
        server.create("c2", &["--network", "lan"]);
    }

    source.incus(["project", "create", "lab"]);
    let token = source.token(&["--restricted", "--projects", "lab"]);
    assert_ne!(token, source.token(&[]));
    assert_eq!(source.query("/1.0")["config"]["core.https_address"], source.url().trim_start_matches("https://"));
}

#[test]
fn a_proxy_hands_everything_on_but_what_its_rules_name() {
    let server = Incusd::start();
    server.launch("c1", &[]);
    let token = server.token(&[]);
    server.incus(["remote", "add", "direct", &server.url(), "--accept-certificate", "--token", &token]);
    let own = server.root().join("client");
    let proxy = IncusProxy::start(&server, &own.join("client.crt"), &own.join("client.key"));
    server.incus(["remote", "add", "proxy", &proxy.url(), "--accept-certificate"]);
    let pinned = |name: &str| fs::read(own.join(format!("servercerts/{name}.crt"))).unwrap();
    assert_eq!(pinned("proxy"), pinned("direct"));

    proxy.forget();
    assert_eq!(server.incus(["query", "proxy:/1.0/instances?recursion=0"]), server.incus(["query", "/1.0/instances"]));
    assert_eq!(proxy.requests(), ["GET /1.0", "GET /1.0/instances?recursion=0"]);

    // A file of more bytes than all buffers hold goes in by a request's body and comes back by a websocket.
    let file = server.root().join("file");
    fs::write(&file, vec![b'x'; 8 << 20]).unwrap();
    server.incus(["file", "push", file.to_str().unwrap(), "proxy:c1/root/file"]);
    let back = server.try_incus(["exec", "proxy:c1", "--", "cat", "/root/file"]).code(0);
    assert!(back.bytes == fs::read(&file).unwrap());
    assert!(proxy.requests().iter().any(|request| request.contains("/websocket?secret=")));

    let ask = || server.try_incus(["query", "proxy:/1.0/projects/default"]);
    let error = r#"{"type":"error","error":"the disk is full","error_code":500}"#;
    proxy.answer("GET", "/1.0/*/default", 500, error).times(1);
    ask().code(1).stderr_has("the disk is full");
    ask().code(0);
    proxy.cut("POST", "/1.0/projects");
    ask().code(0);
    proxy.cut("GET", "/1.0/projects");
    ask().code(1).stderr_has("EOF");
    proxy.clear();
    ask().code(0);

    proxy.cut_answer("PUT", "/1.0/instances/c1/state", 0);
    server.try_incus(["pause", "proxy:c1"]).code(1);
    let is_frozen = || server.query("/1.0/instances/c1")["status"] == "Frozen";
    let begun = Instant::now();
    while !is_frozen() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the server did not hear of it");
    }

    proxy.hang("GET", "/1.0/projects");
    thread::scope(|scope| {
        let asked = scope.spawn(ask);
        proxy.wait_until_hanging();
        assert!(!asked.is_finished());
        proxy.clear();
        asked.join().unwrap().code(1);
    });
}

#[test]
fn a_server_leaves_nothing_behind_when_the_test_panics() {
    let (mut root, mut device) = (None, None);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut server = Incusd::start();
        root = Some(server.root().to_owned());
        server.incus([
            "project",
            "create",
            "lab",
            "--config",
            "features.images=false",
            "--config",
            "features.profiles=false",
        ]);
        server.launch("c1", &["--project", "lab"]);
        device = Some(Path::new("/sys/class/net").join(server.bridge("br")));
        assert!(device.as_ref().unwrap().exists());
        server.kill();
        assert!(left(server.root()).iter().any(|line| line.contains("lxc monitor")));
        panic!("a test fails");
    }));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "a test fails");
    assert_eq!(left(&root.unwrap()), Vec::<String>::new());
    assert!(!device.unwrap().exists());
}
