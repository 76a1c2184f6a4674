//! What is done to the containers of a stack while it is read.

use crate::bench::{Bench, json};

/// Three services in a row, of which the files alone tell the order, and one that shares a volume from outside.
const ROW: &str = "
services:
  a-needs-b:
    {idle}
    depends_on: [b-needs-c]
  b-needs-c:
    {idle}
    depends_on: [c]
    volumes: [data:/data]
  c:
    {idle}
volumes:
  data:
";

fn since(before: &[String], after: &[String]) -> Vec<String> {
    after[before.len()..].to_vec()
}

#[test]
fn stack_is_stopped_once_in_the_order_of_its_files() {
    let bench = Bench::new("");
    bench.up("web", ROW);
    bench.engine.idle("alien", &[]);
    let before = bench.events();
    bench.env.run(["backup"]).code(0);
    assert_eq!(
        since(&before, &bench.events()),
        [
            "stop web_a-needs-b_1",
            "stop web_b-needs-c_1",
            "stop web_c_1",
            "start web_c_1",
            "start web_b-needs-c_1",
            "start web_a-needs-b_1",
        ]
    );
}

#[test]
fn whoever_shares_a_volume_is_stopped_too_and_what_was_stopped_stays_so() {
    let bench = Bench::new("");
    bench.up("web", ROW);
    bench.engine.idle("sharer", &["--volume", "web_data:/x"]);
    bench.engine.docker(["stop", "--time", "1", "web_c_1"]);
    let before = bench.events();
    bench.env.run(["backup"]).code(0);
    let mut done = since(&before, &bench.events());
    done.sort();
    assert_eq!(
        done,
        [
            "start sharer",
            "start web_a-needs-b_1",
            "start web_b-needs-c_1",
            "stop sharer",
            "stop web_a-needs-b_1",
            "stop web_b-needs-c_1",
        ]
    );
    assert!(!bench.engine.is_running("web_c_1"));
}

#[test]
fn stack_that_keeps_running_is_read_live_and_marked_so() {
    let bench = Bench::new("keep-running = [\"we*\"]");
    bench.up("web", ROW);
    bench.up("other", "services:\n  x:\n    {idle}\n");
    let before = bench.events();
    bench.env.run(["backup"]).code(0);
    assert_eq!(since(&before, &bench.events()), ["stop other_x_1", "start other_x_1"]);
    let stack = json(&bench.restored("web").join("stack.json"));
    assert_eq!((stack["keep-running"].as_bool(), stack["held"].as_str()), (Some(true), Some("none")));
}

#[test]
fn frozen_is_enough_if_it_is_configured() {
    let bench = Bench::new("hold = \"pause\"");
    bench.up("web", ROW);
    let before = bench.events();
    bench.env.run(["backup"]).code(0);
    let mut done = since(&before, &bench.events());
    done.sort();
    assert_eq!(done, ["pause web_a-needs-b_1", "pause web_b-needs-c_1", "pause web_c_1"]);
    assert!(bench.engine.is_running("web_c_1"));
    assert_eq!(json(&bench.restored("web").join("stack.json"))["held"], "pause");
}

#[test]
fn label_exempts_a_single_container() {
    let bench = Bench::new("");
    bench.up("web", "services:\n  a:\n    {idle}\n    labels: [holdall.hold=none]\n  b:\n    {idle}\n");
    let before = bench.events();
    bench.env.run(["backup"]).code(0);
    assert_eq!(since(&before, &bench.events()), ["stop web_b_1", "start web_b_1"]);
}

#[test]
fn dry_run_names_whom_it_would_hold_and_holds_nobody() {
    let bench = Bench::new("");
    bench.up("web", ROW);
    let before = bench.events();
    bench.env.run(["backup", "--dry-run"]).code(0).stderr_has("nothing is held in a dry run").stderr_has("web_c_1");
    assert_eq!(bench.events(), before);
    assert_eq!(bench.items(), [""; 0]);
}

#[test]
fn stack_is_started_again_when_it_cannot_be_read() {
    let bench = Bench::new("read = \"direct\"");
    bench.up("web", ROW);
    bench.engine.docker([
        "volume",
        "create",
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--label",
        "com.docker.compose.project=web",
        "odd",
    ]);
    bench.env.run(["backup"]).code(1).stderr_has("read the volume odd");
    assert!(bench.engine.is_running("web_a-needs-b_1") && bench.engine.is_running("web_c_1"));
    assert_eq!(bench.items(), [""; 0]);
}
