//! Dumps of the services of a stack.

use std::fs;

use crate::bench::{Bench, item};

const STACK: &str = "
services:
  db:
    image: pg
    network_mode: none
    command: [sh, -c, 'trap exit TERM; while :; do sleep 0.05; done']
    labels: [holdall.dump=postgres]
    volumes: [data:/data]
volumes:
  data:
";

/// A stack with a service whose program for dumps does this.
fn bench(rest: &str, program: &str) -> Bench {
    let bench = Bench::new(rest);
    let script = bench.env.path("pg_dumpall");
    bench.write("pg_dumpall", &format!("#!/bin/sh\n{program}\n"));
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bench.engine.import("pg", &[("/bin/pg_dumpall", &script)]);
    bench.up("web", STACK);
    bench
}

const MORE: &str =
    "[[compose.s.dump]]\nstack = \"web\"\nservice = \"db\"\ncommand = [\"echo\", \"more\"]\nfile = \"more.txt\"\n";

#[test]
fn dumps_are_taken_before_the_stack_is_stopped() {
    let bench = bench(MORE, "echo dump");
    bench.backup().code(0);
    let restored = bench.restored("web");
    assert_eq!(fs::read_to_string(restored.join("dumps/db/postgres.sql")).unwrap(), "dump\n");
    assert_eq!(fs::read_to_string(restored.join("dumps/db/more.txt")).unwrap(), "more\n");
    assert_eq!(bench.events().iter().filter(|event| event.starts_with("stop")).count(), 1);
}

#[test]
fn dumps_of_a_stack_that_keeps_running_are_read_as_they_come() {
    let bench = bench(&format!("keep-running = [\"web\"]\n{MORE}"), "echo dump");
    bench.backup().code(0);
    assert_eq!(fs::read_to_string(bench.restored("web").join("dumps/db/postgres.sql")).unwrap(), "dump\n");
}

#[test]
fn dump_that_fails_leaves_no_point_and_the_stack_alone() {
    for rest in ["", "keep-running = [\"web\"]"] {
        let bench = bench(rest, "echo half; echo no database >&2; exit 3");
        let told = item(&bench.backup().code(1), "web");
        let error = told["error"].as_str().unwrap();
        assert!(error.contains("postgres.sql") && error.contains("no database"), "{error}");
        assert_eq!(bench.items(), [""; 0]);
        assert_eq!(bench.events(), ["start web_db_1"]);
    }
}

#[test]
fn dump_of_a_service_that_does_not_run_is_missing_and_said_to_be() {
    let bench = bench(MORE, "echo dump");
    bench.engine.compose(&bench.stacks().join("web"), ["stop"]);
    let told = item(&bench.backup().code(3), "web");
    assert_eq!(told["outcome"], "incomplete");
    assert_eq!(told["problems"][0]["error"], "its container does not run");
    bench.engine.compose(&bench.stacks().join("web"), ["down"]);
    let told = item(&bench.backup().code(3), "web");
    assert_eq!(told["problems"][0]["error"], "the service has no container");
    assert!(bench.restored("web").join("volumes/web_data/volume.json").exists());
}
