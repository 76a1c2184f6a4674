//! Which stacks there are.

use std::fs;

use crate::bench::{Bench, item};

const ONE: &str = "services:\n  a:\n    {idle}\n";

#[test]
fn stack_is_called_as_its_containers_say() {
    let bench = Bench::new("");
    let folder = bench.write("stacks/web/docker-compose.yml", ONE);
    bench.engine.compose(&folder, ["-p", "shop", "up", "--detach"]);
    bench.write("stacks/never-up/compose.yaml", "name: Other\nservices: {}\n");
    bench.write("stacks/no-stack/readme", "");
    bench.backup().code(0);
    assert_eq!(bench.items(), ["compose.s/other", "compose.s/shop"]);
}

#[test]
fn stack_whose_folder_was_moved_is_read_where_it_is_now() {
    let bench = Bench::new("");
    let folder = bench.write("elsewhere/web/docker-compose.yml", ONE);
    bench.engine.compose(&folder, ["up", "--detach"]);
    fs::rename(&folder, bench.stacks().join("web")).unwrap();
    bench.backup().code(0);
    assert_eq!(bench.items(), ["compose.s/web"]);
    assert!(bench.restored("web").join("project/docker-compose.yml").exists());
}

#[test]
fn container_of_a_single_command_is_no_part_of_a_stack() {
    let bench = Bench::new("");
    let folder = bench.write("elsewhere/docker-compose.yml", ONE);
    bench.engine.compose(&folder, ["run", "--detach", "a"]);
    assert_eq!(bench.engine.docker(["ps", "--quiet"]).lines().count(), 1);
    bench.backup().code(0);
    assert_eq!(bench.items(), [""; 0]);
}

#[test]
fn two_folders_of_one_name_fail_alone() {
    let bench = Bench::new("");
    for folder in ["one", "two"] {
        bench.write(&format!("stacks/{folder}/compose.yaml"), "name: same\nservices: {}\n");
    }
    bench.write("stacks/three/compose.yaml", "services: {}\n");
    let outcome = bench.backup().code(1);
    let told = item(&outcome, "same");
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("stacks/one and ") && error.contains("stacks/two"), "{error}");
    assert_eq!(item(&outcome, "three")["outcome"], "saved");
}

#[test]
fn stacks_are_chosen_by_globs_and_names() {
    let bench = Bench::new("stacks = [\"web*\", \"pictures\", \"papreless\"]");
    for name in ["web-a", "web-b", "other", "paperless", "pictures"] {
        bench.write(&format!("stacks/{name}/compose.yaml"), "services: {}\n");
    }
    let outcome = bench.backup().code(1);
    let told = item(&outcome, "papreless");
    assert_eq!(told["error"], "there is no stack `papreless`");
    assert!(told["hint"].as_str().unwrap().starts_with("Did you mean `paperless`?"), "{told}");
    assert_eq!(bench.items(), ["compose.s/pictures", "compose.s/web-a", "compose.s/web-b"]);
}

#[test]
fn directory_that_is_gone_is_an_error_and_not_nothing() {
    let bench = Bench::new("");
    fs::remove_dir(bench.stacks()).unwrap();
    bench.env.run(["backup"]).code(1).stderr_has("look for stacks in").stderr_has("Is something not mounted?");
}

#[test]
fn engine_that_does_not_answer_fails_the_source() {
    let mut bench = Bench::new("");
    bench.write("stacks/web/compose.yaml", "services: {}\n");
    bench.engine.daemon().kill();
    bench.env.run(["backup"]).code(1).stderr_has("connect to the container engine");
    assert_eq!(bench.items(), [""; 0]);
}
