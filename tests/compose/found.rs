//! Which stacks there are.

use std::fs;

use serde_json::json;

use crate::bench::{Bench, files, item, json};
use crate::support::dockerd::IMAGE;

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

/// Debian has no second version of Compose: these are the labels that it writes.
#[test]
fn stack_of_the_second_version_is_understood_by_its_labels() {
    let bench = Bench::new("");
    let folder = bench.write("elsewhere/app/compose.yaml", "services: {web: {}, db: {}}\n");
    bench.write("elsewhere/prod.env", "A=1\n");
    let make = |service: &str, depends: &str| {
        let labels = [
            ("project", "app".to_owned()),
            ("service", service.to_owned()),
            ("container-number", "1".to_owned()),
            ("oneoff", "False".to_owned()),
            ("depends_on", depends.to_owned()),
            ("project.working_dir", folder.display().to_string()),
            ("project.config_files", folder.join("compose.yaml").display().to_string()),
            ("project.environment_file", bench.env.path("elsewhere/prod.env").display().to_string()),
        ];
        let mut arguments = ["run", "--detach", "--network", "none", "--name"].map(str::to_owned).to_vec();
        arguments.push(format!("app-{service}-1"));
        arguments.extend(labels.map(|(name, value)| format!("--label=com.docker.compose.{name}={value}")));
        arguments.extend([IMAGE, "sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"].map(str::to_owned));
        bench.engine.docker(arguments);
    };
    make("db", "");
    make("web", "db:service_started:false");
    let before = bench.events();
    bench.backup().code(0);
    assert_eq!(
        bench.events()[before.len()..],
        ["stop app-web-1", "stop app-db-1", "start app-db-1", "start app-web-1"]
    );
    let restored = bench.restored("app");
    assert_eq!(files(&restored), ["binds.json", "binds/0", "project/compose.yaml", "stack.json"]);
    assert_eq!(fs::read_to_string(restored.join("binds/0")).unwrap(), "A=1\n");
    let stack = json(&restored.join("stack.json"));
    assert_eq!(stack["environment_files"], json!([bench.env.path("elsewhere/prod.env")]));
    bench.engine.docker(["stop", "app-db-1", "app-web-1"]);
    let before = bench.events();
    bench.restore("app", &["--in-place"]).code(0);
    assert_eq!(bench.events()[before.len()..], ["start app-db-1", "start app-web-1"]);
    bench.engine.docker(["stop", "app-db-1"]);
    bench.engine.docker(["rm", "--force", "app-web-1"]);
    bench.restore("app", &["--in-place"]).code(0).stderr_has("elsewhere/prod.env up -d");
}

/// Where holdall runs on a machine of another name, the engine and what it mounts are another machine's.
#[test]
fn stack_of_another_machine_needs_its_folder_here() {
    let mut bench = Bench::new("");
    bench.write("stacks/here/data/file", "data");
    bench
        .up("here", "services:\n  a:\n    {idle}\n    volumes: ['./data:/data', 'named:/named']\nvolumes: {named: }\n");
    bench.engine.docker(["exec", "here_a_1", "sh", "-c", "echo named >/named/file"]);
    let folder = bench.write("elsewhere/there/docker-compose.yml", ONE);
    bench.engine.compose(&folder, ["up", "--detach"]);
    let other = ["unshare", "--uts", "sh", "-c", "hostname another; exec \"$@\"", "sh"];
    bench.env = bench.env.within(other.map(Into::into).to_vec());
    let outcome = bench.backup().code(1);
    let told = item(&outcome, "there");
    assert!(told["error"].as_str().unwrap().starts_with("the files of the stack there are on "), "{told}");
    assert!(told["hint"].as_str().unwrap().starts_with("Run holdall on that machine"), "{told}");
    assert_eq!(item(&outcome, "here")["outcome"], "saved");
    let restored = bench.restored("here");
    for (file, text) in [
        ("project/docker-compose.yml", None),
        ("binds/0/file", Some("data")),
        ("volumes/here_named/data/file", Some("named\n")),
    ] {
        let found = fs::read_to_string(restored.join(file)).unwrap();
        assert!(text.is_none_or(|text| text == found), "{file}: {found}");
    }
}
