//! Volumes that are read through the engine: as archives, over helper containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use crate::items::env;
use crate::support::dockerd::{Dockerd, IMAGE};
use crate::support::engine_proxy::EngineProxy;
use crate::support::outcome::Outcome;

/// What is wanted of a volume, and how it is read.
const API: &str = "volumes = [\"data\"]\nread = \"api\"";

/// The ids of all containers, also of those that do not run.
fn containers(engine: &Dockerd) -> String {
    engine.docker(["ps", "--all", "--quiet"])
}

fn item(outcome: &Outcome) -> serde_json::Value {
    let line = outcome.stdout.lines().find(|line| line.contains("\"type\":\"item\"")).unwrap();
    serde_json::from_str(line).unwrap()
}

#[test]
fn volume_is_the_same_read_through_the_engine_as_where_it_lies() {
    let engine = Dockerd::start();
    engine.filled_volume(
        "data",
        "mkdir -p a/b 'odd name'; echo one >a/b/one; printf 'two\\nlines' >'odd name/new
line'; ln -s ../nowhere a/link; mknod char c 1 3; mknod block b 7 9; mknod fifo p; chmod 6755 a/b/one
chown 12345:54321 a/b/one; touch -d '2001-02-03 04:05:06' a/b/one; : >empty; dd if=/dev/zero of=big bs=1M count=3 2>/dev/null
printf x >$(printf 'not\\377utf8'); touch a.b a-b; chmod 1777 a",
    );
    let direct = env(&engine, "volumes = [\"data\"]\nread = \"direct\"");
    let api = env(&engine, API);
    let listed = |env: &crate::support::env::TestEnv| {
        env.run(["backup"]).code(0);
        // Only where it lies owners have names, which are those of this machine.
        let listed = env.run(["ls", "-l", "-R", "docker.nas/volume/data:/data"]).code(0).stdout;
        listed.replace("root     root    ", "0        0       ")
    };
    assert_eq!(listed(&api), listed(&direct));
    assert_eq!(containers(&engine), "", "helpers are left");
    api.run(["restore", "docker.nas/volume/data:/data", "--to", api.path("out").to_str().unwrap()]).code(0);
    assert_eq!(fs::read(api.path("out/odd name/new\nline")).unwrap(), b"two\nlines");
    assert_eq!(fs::metadata(api.path("out/big")).unwrap().len(), 3 << 20);
}

#[test]
fn unchanged_volume_is_read_again_and_nothing_is_added() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "for i in $(seq 300); do echo $i >$i; done".replace("seq", "busybox seq").as_str());
    let env = env(&engine, API);
    env.run(["backup"]).code(0);
    let second = env.run(["backup", "--json"]).code(0);
    assert_eq!(item(&second)["bytes_added"], 0, "{}", second.stdout);
}

#[test]
fn further_names_of_a_file_are_one_file_again_when_they_are_restored() {
    let engine = Dockerd::start();
    engine
        .filled_volume("data", "mkdir a z; echo linked >a/first; ln a/first z/second; ln a/first third; echo alone >b");
    let env = env(&engine, API);
    env.run(["backup"]).code(0).stderr_lacks("incomplete");
    env.run(["restore", "docker.nas/volume/data:/data", "--to", env.path("out").to_str().unwrap()]).code(0);
    let inode = |name: &str| fs::metadata(env.path("out").join(name)).unwrap().ino();
    assert_eq!(inode("a/first"), inode("z/second"));
    assert_eq!(inode("a/first"), inode("third"));
    assert_ne!(inode("a/first"), inode("b"));
    assert_eq!(fs::read_to_string(env.path("out/z/second")).unwrap(), "linked\n");
}

#[test]
fn dry_run_makes_no_helper_and_says_what_it_does_not_read() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo x >x");
    let env = env(&engine, API);
    env.run(["backup", "--dry-run"]).code(0).stderr_has("is not read in a dry run");
    assert_eq!(engine.docker(["images", "--quiet", "holdall/empty"]), "");
}

#[test]
fn helper_that_a_killed_run_has_left_goes_with_the_next_run() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "dd if=/dev/urandom of=big bs=1M count=200 2>/dev/null");
    let env = env(&engine, API);
    let mut run = env.start(["backup"]);
    engine.wait_until("a helper", || !containers(&engine).is_empty());
    run.kill();
    assert_ne!(containers(&engine), "");
    env.run(["backup"]).code(0);
    assert_eq!(containers(&engine), "");
}

#[test]
fn helper_goes_when_a_signal_ends_the_run() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "dd if=/dev/urandom of=big bs=1M count=200 2>/dev/null");
    let env = env(&engine, API);
    let mut run = env.start(["backup"]);
    engine.wait_until("a helper", || !containers(&engine).is_empty());
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.wait(Duration::from_secs(60)).code(), Some(143), "{}", run.log());
    assert_eq!(containers(&engine), "");
    env.run(["list"]).code(0).stdout_lacks("docker.nas");
}

#[test]
fn helper_of_which_the_engine_has_not_told_yet_goes_when_a_signal_ends_the_run() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo one >a");
    let env = env(&engine, API);
    let late = |request: &str| {
        if request == "POST /containers/create" {
            std::thread::sleep(Duration::from_secs(2));
        }
        None
    };
    let proxy = EngineProxy::cutting(&engine.socket(), &env.path("late.sock"), late);
    env.configure(&format!("[docker.nas]\nhost = \"unix://{}\"\n{API}", proxy.socket.display()));
    let mut run = env.start(["backup"]);
    engine.wait_until("a helper", || !containers(&engine).is_empty());
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.wait(Duration::from_secs(60)).code(), Some(143), "{}", run.log());
    assert_eq!(containers(&engine), "");
}

#[test]
fn engine_that_is_killed_in_the_middle_leaves_no_point() {
    let mut engine = Dockerd::start();
    engine.filled_volume("data", "dd if=/dev/urandom of=big bs=1M count=300 2>/dev/null");
    let env = env(&engine, API);
    let mut run = env.start(["backup"]);
    engine.wait_until("a helper", || !containers(&engine).is_empty());
    engine.daemon().kill();
    let status = run.wait(Duration::from_secs(120));
    assert_eq!(status.code(), Some(1), "{}", run.log());
    env.run(["list"]).code(0).stdout_lacks("docker.nas");
    engine.restart();
    env.run(["backup"]).code(0);
    assert_eq!(containers(&engine), "");
}

#[test]
fn what_is_bound_into_a_container_is_read_through_the_engine_too() {
    let engine = Dockerd::start();
    let world = tempfile::tempdir().unwrap();
    fs::create_dir(world.path().join("tree")).unwrap();
    fs::write(world.path().join("tree/file"), "bound").unwrap();
    symlink("file", world.path().join("tree/link")).unwrap();
    fs::write(world.path().join("single"), "alone").unwrap();
    let bind = |name: &str| format!("{}:/{name}:ro", world.path().join(name).display());
    let socket = format!("{}:/docker.sock", engine.socket().display());
    let options = ["--network", "none", "--volume", &bind("tree"), "--volume", &bind("single"), "--volume", &socket];
    engine.docker(["create", "--name", "web"].iter().chain(&options).chain(&[IMAGE, "sleep", "1"]));
    let env = env(&engine, "containers = [\"web\"]\nread = \"api\"");
    env.run(["backup"]).code(0).stderr_has("is nothing that an archive can hold");
    env.run(["ls", "-R", "docker.nas/container/web"]).code(0).stdout_has("/file\n").stdout_has("/link\n");
    let table = env.run(["dump", "docker.nas/container/web:/binds.json"]).code(0).stdout;
    let binds: Vec<serde_json::Value> = serde_json::from_str(&table).unwrap();
    let number = binds.iter().position(|bind| bind["destination"] == "/single").unwrap();
    assert_eq!(env.run(["dump", &format!("docker.nas/container/web:/binds/{number}")]).code(0).stdout, "alone");
}

#[test]
fn file_that_changes_within_a_second_and_keeps_its_size_is_saved_anew() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo old >a; touch -d '2001-02-03 04:05:06' a");
    let env = env(&engine, API);
    env.run(["backup"]).code(0);
    engine.filled_volume("data", "echo new >a; touch -d '2001-02-03 04:05:06' a");
    env.run(["backup"]).code(0);
    assert_eq!(env.run(["dump", "docker.nas/volume/data:/data/a"]).code(0).stdout, "new\n");
}

#[test]
fn volume_that_is_written_to_meanwhile_is_saved() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo 1 >a");
    let script = "trap exit TERM; while :; do echo x >/data/$(date +%N); rm -f /data/?????????; done";
    engine.run("busy", &["--volume", "data:/data"], &["sh", "-c", script]);
    let env = env(&engine, API);
    for _ in 0..3 {
        // What goes while it is read may make the archive break off: never for the reason that the volume is another one.
        env.run(["backup"]).stderr_lacks("was removed just now");
    }
}
