//! Dumps: what a command in a container prints is a file of the snapshot, and one that fails fails the item.

use std::time::Duration;

use crate::items::env;
use crate::support::dockerd::Dockerd;
use crate::support::postgres;

fn dump(command: &str) -> String {
    format!("containers = [\"db\"]\n[[docker.nas.dump]]\ncontainer = \"db\"\ncommand = {command}\nfile = \"all.sql\"")
}

#[test]
fn dump_that_fails_leaves_no_point() {
    let engine = Dockerd::start();
    engine.idle("db", &[]);
    let script = r#"["sh", "-c", "echo half; echo disk on fire >&2; exit 3"]"#;
    let env = env(&engine, &dump(script));
    env.run(["backup"]).code(1).stderr_has("dump all.sql in container db: sh ended with 3: disk on fire");
    env.run(["list"]).code(0).stdout_lacks("docker.nas");
    env.configure(&format!("[docker.nas]\nhost = \"{}\"\n{}", engine.host(), dump(r#"["no-such-program"]"#)));
    env.run(["backup"]).code(1).stderr_has("no-such-program ended with 127");
}

#[test]
fn dump_in_a_container_that_does_not_run_or_ends_meanwhile_leaves_no_point() {
    let engine = Dockerd::start();
    engine.idle("db", &[]);
    let env = env(&engine, &dump(r#"["sh", "-c", "echo begun; sleep 600"]"#));
    let mut run = env.start(["backup"]);
    engine.wait_until("the dump runs", || engine.docker(["top", "db"]).contains("sleep 600"));
    engine.docker(["kill", "db"]);
    assert_eq!(run.wait(Duration::from_secs(60)).code(), Some(1));
    env.run(["backup"]).code(1).stderr_has("the container does not run");
    env.run(["list"]).code(0).stdout_lacks("docker.nas");
}

#[test]
fn engine_that_ends_in_the_middle_of_a_dump_leaves_no_point() {
    let mut engine = Dockerd::start();
    engine.idle("db", &[]);
    let env = env(&engine, &dump(r#"["sh", "-c", "echo begun; sleep 600"]"#));
    let mut run = env.start(["backup"]);
    engine.wait_until("the dump runs", || engine.docker(["top", "db"]).contains("sleep 600"));
    engine.daemon().kill();
    assert_eq!(run.wait(Duration::from_secs(120)).code(), Some(1), "{}", run.log());
    engine.restart();
    env.run(["list"]).code(0).stdout_lacks("docker.nas");
}

#[test]
fn large_binary_dump_is_given_byte_for_byte_and_as_the_user_that_is_named() {
    let engine = Dockerd::start();
    engine.idle("db", &["--user", "0"]);
    engine.docker([
        "exec",
        "db",
        "sh",
        "-c",
        "dd if=/dev/urandom of=/dump bs=1M count=20 2>/dev/null; chown 7 /dump; chmod 400 /dump",
    ]);
    let env = env(&engine, &format!("{}\nuser = \"7\"", dump(r#"["cat", "/dump"]"#)));
    env.run(["backup"]).code(0);
    let saved = env.run(["dump", "docker.nas/container/db:/dumps/all.sql"]).code(0).bytes;
    let copied = env.path("copied");
    engine.docker(["cp", "db:/dump", copied.to_str().unwrap()]);
    assert!(saved == std::fs::read(copied).unwrap(), "{} bytes differ", saved.len());
}

#[test]
fn dump_of_a_container_without_a_shell_is_taken_too() {
    let engine = Dockerd::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy("/bin/busybox", folder.path().join("busybox")).unwrap();
    engine.import_folder("bare:1", folder.path());
    engine.docker(["run", "--detach", "--network", "none", "--name", "db", "bare:1", "/busybox", "sleep", "600"]);
    let env = env(&engine, &dump(r#"["/busybox", "echo", "rows"]"#));
    env.run(["backup"]).code(0);
    assert_eq!(env.run(["dump", "docker.nas/container/db:/dumps/all.sql"]).code(0).stdout, "rows\n");
    env.configure(&format!("[docker.nas]\nhost = \"{}\"\n{}", engine.host(), dump(r#"["/busybox", "false"]"#)));
    env.run(["backup"]).code(1).stderr_has("/busybox ended with 1");
}

#[test]
fn label_that_names_no_dump_is_an_error() {
    let engine = Dockerd::start();
    engine.idle("db", &["--label", "holdall.dump=postgrs"]);
    let env = env(&engine, "containers = [\"db\"]");
    env.run(["backup"]).code(1).stderr_has("says `postgrs`").stderr_has("Did you mean postgres?");
}

#[test]
fn dump_of_a_real_postgresql_brings_all_rows_back() {
    let engine = Dockerd::start();
    postgres::import(&engine);
    let start = |name: &str, label: &[&str]| {
        let volume = format!("data-of-{name}");
        engine.filled_volume(&volume, "chown 999:999 .");
        let mut words = vec!["run", "--detach", "--network", "none", "--name", name];
        let options = postgres::options(&volume);
        words.extend(options.iter().map(String::as_str));
        words.extend(label);
        words.extend([postgres::IMAGE, "sh", "/entry"]);
        engine.docker(words);
        postgres::wait(&engine, name);
    };
    start("db", &["--label", "holdall.dump=postgres"]);
    postgres::query(&engine, "db", "create database shop");
    let fill = "create table orders as select n, 'order ' || n as what from generate_series(1, 5000) n";
    engine.docker(["exec", "db", "psql", "--username=postgres", "--quiet", "--dbname=shop", "--command", fill]);
    // It is stopped for its files, after it was dumped.
    let env = env(&engine, "containers = [\"db\"]\nhold = \"stop\"");
    env.run(["backup"]).code(0).stderr_has("container/db  saved");
    engine.docker(["rm", "--force", "--volumes", "db"]);

    start("again", &[]);
    let dump = env.path("dump.sql");
    std::fs::write(&dump, env.run(["dump", "docker.nas/container/db:/dumps/postgres.sql"]).code(0).bytes).unwrap();
    engine.docker(["cp", dump.to_str().unwrap(), "again:/tmp/dump.sql"]);
    engine.docker(["exec", "again", "psql", "--username=postgres", "--quiet", "--file", "/tmp/dump.sql"]);
    let count = [
        "exec",
        "again",
        "psql",
        "--username=postgres",
        "-At",
        "--dbname=shop",
        "--command",
        "select count(*), max(what) from orders",
    ];
    assert_eq!(engine.docker(count), "5000|order 999");
}

#[test]
fn dump_is_made_in_its_own_container_only_and_not_in_a_dry_run() {
    let engine = Dockerd::start();
    engine.idle("db", &[]);
    engine.idle("web", &[]);
    let rest = dump(r#"["sh", "-c", "echo run >/ran; echo rows"]"#).replace("[\"db\"]", "[\"*\"]");
    let env = env(&engine, &rest);
    env.run(["backup", "--dry-run"]).code(0).stderr_has("/dumps/all.sql: sh is not run in a dry run");
    assert_ne!(engine.docker(["exec", "db", "ls"]).lines().find(|name| *name == "ran"), Some("ran"));
    env.run(["backup"]).code(0);
    env.run(["ls", "-R", "docker.nas/container/db"]).code(0).stdout_has("/dumps/all.sql");
    env.run(["ls", "-R", "docker.nas/container/web"]).code(0).stdout_lacks("/dumps");
}
