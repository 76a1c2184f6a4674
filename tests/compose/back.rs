//! A stack is brought back to where it was.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use crate::bench::Bench;

/// A stack with data in a volume, in its folder, and elsewhere.
pub const STACK: &str = "
services:
  web:
    {idle}
    depends_on: [db]
    volumes: ['./data:/data', '{root}/outside:/outside']
  db:
    {idle}
    volumes: [named:/named]
volumes:
  named: {labels: {mine: 'yes'}}
";

/// Such a stack, backed up while it ran.
pub fn saved() -> Bench {
    saved_with("")
}

fn saved_with(rest: &str) -> Bench {
    let bench = Bench::new(rest);
    bench.write("outside/file", "outside");
    bench.write("stacks/web/data/file", "data");
    bench.write("stacks/web/.env", "A=b\n");
    bench.up("web", STACK);
    bench.engine.docker(["exec", "web_db_1", "sh", "-c", "echo named >/named/file"]);
    bench.backup().code(0);
    bench
}

/// The data of the stack is as it was.
#[track_caller]
fn is_as_it_was(bench: &Bench) {
    assert_eq!(bench.text("stacks/web/data/file"), "data");
    assert_eq!(bench.text("outside/file"), "outside");
    assert_eq!(bench.in_volume("web_named", "file"), "named\n");
}

/// Other data than was saved.
fn change(bench: &Bench) {
    bench.write("stacks/web/data/file", "changed");
    bench.write("outside/file", "changed");
    fs::write(bench.engine.volume("web_named").join("file"), "changed").unwrap();
}

#[test]
fn stack_that_was_removed_is_brought_up_again_with_its_data() {
    let bench = saved();
    let folder = bench.stacks().join("web");
    bench.engine.compose(&folder, ["down", "--volumes"]);
    fs::remove_dir_all(&folder).unwrap();
    fs::remove_dir_all(bench.env.path("outside")).unwrap();
    let at = folder.display();
    let command = format!("docker compose -p web --project-directory {at} -f {at}/docker-compose.yml up -d");
    bench.restore("web", &["--in-place"]).code(0).stderr_has(&command).stderr_has("makes the volume web_named");
    is_as_it_was(&bench);
    assert_eq!(bench.engine.docker(["ps", "--all", "--quiet"]), "");
    assert_eq!(bench.engine.inspect("web_named", "{{.Labels.mine}}"), "yes");
    // Compose takes the volume for its own, and does not make another one.
    let outcome = bench.engine.compose(&folder, ["up", "--detach"]);
    outcome.stderr_lacks("already exists").stderr_lacks("Creating volume");
    assert_eq!(bench.engine.docker(["exec", "web_db_1", "cat", "/named/file"]), "named");
    assert_eq!(bench.engine.docker(["exec", "web_web_1", "cat", "/data/file", "/outside/file"]), "dataoutside");
}

#[test]
fn stack_that_runs_is_left_alone_unless_it_may_be_stopped() {
    let bench = saved();
    change(&bench);
    let before = bench.events();
    bench
        .restore("web", &["--in-place"])
        .code(1)
        .stderr_has("web_db_1, web_web_1 are running")
        .stderr_has("Add --stop");
    assert_eq!((bench.events(), bench.text("outside/file").as_str()), (before.clone(), "changed"));
    bench.restore("web", &["--in-place", "--stop"]).code(0).stderr_has("To undo: holdall restore compose.s/web");
    is_as_it_was(&bench);
    let done = bench.events()[before.len()..].to_vec();
    assert_eq!(done, ["stop web_web_1", "stop web_db_1", "start web_db_1", "start web_web_1"]);
}

#[test]
fn what_was_overwritten_can_be_brought_back() {
    let bench = saved();
    bench.engine.compose(&bench.stacks().join("web"), ["stop", "--timeout", "1"]);
    change(&bench);
    let outcome = bench.restore("web", &["--in-place"]).code(0);
    is_as_it_was(&bench);
    let undo = outcome.stderr.lines().find_map(|line| line.split_once("To undo: holdall restore ")).unwrap().1;
    let spec = undo.split(' ').next().unwrap().strip_prefix("compose.s/").unwrap().to_owned();
    bench.restore(&spec, &["--in-place", "--stop"]).code(0);
    assert_eq!(bench.text("stacks/web/data/file"), "changed");
    assert_eq!(bench.text("outside/file"), "changed");
    assert_eq!(bench.in_volume("web_named", "file"), "changed");
}

#[test]
fn containers_that_ran_are_started_if_they_are_there() {
    let bench = saved();
    bench.engine.compose(&bench.stacks().join("web"), ["stop", "--timeout", "1"]);
    let before = bench.events();
    bench.restore("web", &["--in-place"]).code(0).stderr_has("starts web_db_1").stderr_lacks("docker compose");
    assert_eq!(bench.events()[before.len()..], ["start web_db_1", "start web_web_1"]);
    // One that is gone is for Compose to make, which brings the others up with it.
    bench.engine.compose(&bench.stacks().join("web"), ["stop", "--timeout", "1"]);
    bench.engine.docker(["rm", "web_db_1"]);
    let before = bench.events();
    bench.restore("web", &["--in-place"]).code(0).stderr_has("docker compose -p web").stderr_lacks("starts");
    assert_eq!(bench.events(), before);
}

#[test]
fn part_of_a_stack_is_brought_back_alone() {
    let bench = saved();
    change(&bench);
    bench.restore("web:/volumes/web_named", &["--in-place"]).code(1).stderr_has("web_db_1 is running and uses");
    bench.restore("web:/volumes/web_named", &["--in-place", "--stop"]).code(0);
    assert_eq!(bench.in_volume("web_named", "file"), "named\n");
    assert_eq!(bench.text("stacks/web/data/file"), "changed");
    bench.write("stacks/web/.env", "A=changed\n");
    // Nobody has it mounted.
    bench.restore("web:/project/.env", &["--in-place"]).code(0);
    assert_eq!(bench.text("stacks/web/.env"), "A=b\n");
    assert_eq!(bench.text("stacks/web/data/file"), "changed");
    bench.restore("web:/project", &["--in-place"]).code(1).stderr_has("web_web_1 is running and uses");
    bench.restore("web:/project/data/file", &["--in-place"]).code(1).stderr_has("web_web_1 is running and uses");
    bench.restore("web:/stack.json", &["--in-place"]).code(2).stderr_has("has no place where it came from");
}

#[test]
fn dry_run_lists_what_would_be_written_and_changes_nothing() {
    let bench = saved();
    bench.engine.compose(&bench.stacks().join("web"), ["down", "--volumes"]);
    change_files(&bench);
    let outcome = bench.restore("web", &["--in-place", "--dry-run"]).code(0);
    outcome.stdout_has("stacks/web/data/file").stdout_has("outside/file").stderr_has("would make the volume web_named");
    assert_eq!(bench.text("stacks/web/data/file"), "changed");
    assert_eq!(bench.engine.docker(["volume", "ls", "--quiet"]), "");
}

fn change_files(bench: &Bench) {
    bench.write("stacks/web/data/file", "changed");
    bench.write("outside/file", "changed");
}

#[test]
fn folder_of_a_stack_elsewhere_stays_as_it_is() {
    let bench = Bench::new("");
    let folder =
        bench.write("elsewhere/app/docker-compose.yml", "services:\n  a:\n    {idle}\n    env_file: conf/a.env\n");
    bench.write("elsewhere/app/conf/a.env", "A=1\n");
    bench.engine.compose(&folder, ["up", "--detach"]);
    bench.backup().code(0);
    bench.engine.compose(&folder, ["down"]);
    bench.write("elsewhere/app/conf/a.env", "A=2\n");
    bench.write("elsewhere/app/own", "not of the stack");
    chown(folder.join("conf"), Some(1234), Some(1234)).unwrap();
    bench.restore("app", &["--in-place"]).code(0);
    assert_eq!(bench.text("elsewhere/app/conf/a.env"), "A=1\n");
    assert_eq!(bench.text("elsewhere/app/own"), "not of the stack");
    assert_eq!(fs::metadata(folder.join("conf")).unwrap().uid(), 1234);
}

#[test]
fn stack_is_saved_and_brought_back_through_the_engine() {
    let bench = saved_with("read = \"api\"");
    change(&bench);
    bench.restore("web", &["--in-place", "--stop"]).code(0);
    is_as_it_was(&bench);
}

#[test]
fn volume_without_a_name_comes_back_with_a_word() {
    let bench = Bench::new("");
    let folder = bench.up("web", "services:\n  a:\n    {idle}\n    volumes: [/nameless]\n");
    bench.engine.docker(["exec", "web_a_1", "sh", "-c", "echo x >/nameless/file"]);
    bench.backup().code(0);
    let volume = bench.engine.docker(["volume", "ls", "--quiet"]);
    bench.engine.compose(&folder, ["down", "--volumes"]);
    bench.restore("web", &["--in-place"]).code(0).stderr_has(&format!("the volume {volume} never had a name"));
    assert_eq!(bench.in_volume(&volume, "file"), "x\n");
}
