//! What of a stack is in a point.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::bench::{Bench, files, item, json};

/// A stack with everything that a stack can have.
const FULL: &str = "
services:
  web:
    {idle}
    env_file: conf/web.env
    depends_on: [db]
    volumes:
      - ./data:/data
      - named:/named
      - /anonymous
      - ${OUTSIDE}:/outside:ro
      - /proc:/host/proc:ro
  db:
    {idle}
    volumes: [theirs:/theirs]
volumes:
  named: {labels: {mine: 'yes'}}
  theirs: {external: true}
";

fn full(rest: &str) -> Bench {
    let bench = Bench::new(rest);
    bench.engine.filled_volume("theirs", "echo theirs >file");
    bench.write("outside/file", "outside");
    bench.write("stacks/web/.env", "OUTSIDE={root}/outside\n");
    bench.write("stacks/web/conf/web.env", "A=b\n");
    bench.write("stacks/web/docker-compose.override.yml", "services: {db: {environment: [X=y]}}\n");
    bench.write("stacks/web/data/file", "data");
    bench.write("stacks/web/notes.txt", "notes");
    bench.up("web", FULL);
    bench.engine.docker(["exec", "web_web_1", "sh", "-c", "echo named >/named/file; echo anonymous >/anonymous/file"]);
    bench
}

#[test]
fn stack_is_saved_with_files_volumes_and_what_is_known_of_it() {
    let bench = full("");
    bench.backup().code(0);
    assert_eq!(bench.items(), ["compose.s/web"]);
    let restored = bench.restored("web");
    let volumes = bench.engine.docker(["volume", "ls", "--quiet"]);
    let anonymous = volumes.lines().find(|name| name.len() == 64).unwrap();
    let mut expected = vec![
        "binds.json".to_owned(),
        "binds/0/file".to_owned(),
        "project/.env".to_owned(),
        "project/conf/web.env".to_owned(),
        "project/data/file".to_owned(),
        "project/docker-compose.override.yml".to_owned(),
        "project/docker-compose.yml".to_owned(),
        "project/notes.txt".to_owned(),
        "stack.json".to_owned(),
    ];
    for volume in [anonymous, "theirs", "web_named"] {
        expected.extend([format!("volumes/{volume}/data/file"), format!("volumes/{volume}/volume.json")]);
    }
    expected.sort();
    assert_eq!(files(&restored), expected);
    assert_eq!(fs::read_to_string(restored.join("volumes/web_named/data/file")).unwrap(), "named\n");
    assert_eq!(json(&restored.join("volumes/web_named/volume.json"))["Labels"]["mine"], "yes");
    assert_eq!(
        json(&restored.join("binds.json")),
        json!([
            {
                "path": "/binds/0",
                "source": bench.env.path("outside"),
                "mounts": [{"service": "web", "destination": "/outside"}],
            },
            {"source": "/proc", "not-saved": "the system makes it anew"},
        ])
    );
    let stack = json(&restored.join("stack.json"));
    let folder = bench.stacks().join("web");
    assert_eq!(stack["project"], "web");
    assert_eq!(stack["working_dir"], json!(folder));
    assert_eq!(
        stack["config_files"],
        json!([folder.join("docker-compose.yml"), folder.join("docker-compose.override.yml")])
    );
    assert_eq!((&stack["held"], &stack["keep-running"]), (&json!("stop"), &json!(false)));
    assert_eq!(stack["running"], json!(["web_db_1", "web_web_1"]));
    let service = &stack["services"]["web"];
    assert_eq!(service["image"], "bb:latest");
    assert_eq!(service["image_id"].as_str().unwrap(), bench.engine.inspect("bb:latest", "{{.Id}}"));
    assert_eq!(service["containers"][0]["state"], "running");
}

#[test]
fn without_data_only_what_the_stack_is_made_of_is_saved_and_nothing_is_held() {
    let bench = full("include-data = false");
    let events = bench.events();
    bench.backup().code(0);
    assert_eq!(bench.events(), events);
    let saved = files(&bench.restored("web"));
    let expected = [
        "project/.env",
        "project/conf/web.env",
        "project/docker-compose.override.yml",
        "project/docker-compose.yml",
        "stack.json",
    ];
    let without: Vec<&String> = saved.iter().filter(|file| !file.ends_with("volume.json")).collect();
    assert_eq!(without, expected);
    assert_eq!(saved.len() - without.len(), 3);
}

#[test]
fn stack_that_is_down_is_saved_with_the_volumes_that_it_has_left() {
    let bench = full("");
    bench.engine.compose(&bench.stacks().join("web"), ["down"]);
    bench.backup().code(0);
    let restored = bench.restored("web");
    for file in ["project/data/file", "volumes/theirs/data/file", "volumes/web_named/data/file", "binds/0/file"] {
        assert!(restored.join(file).exists(), "{file}");
    }
    let stack = json(&restored.join("stack.json"));
    assert_eq!((&stack["running"], &stack["held"]), (&json!([]), &json!("none")));
    assert_eq!(stack["services"]["web"]["image_id"].as_str().unwrap(), bench.engine.inspect("bb:latest", "{{.Id}}"));
}

#[test]
fn stack_elsewhere_is_saved_without_the_rest_of_its_folder() {
    let bench = Bench::new("");
    let text = "
services:
  a:
    {idle}
    env_file: a.env
    volumes: ['./data:/data', '../shared:/shared', './data/deeper:/deeper']
    secrets: [s]
secrets: {s: {file: secret.txt}}
";
    for (name, text) in [
        ("elsewhere/app/docker-compose.yml", text),
        ("elsewhere/app/more.yml", "services: {a: {labels: [x=y]}}\n"),
        ("elsewhere/app/a.env", "A=1"),
        ("elsewhere/app/secret.txt", "s"),
        ("elsewhere/app/data/file", "data"),
        ("elsewhere/app/data/deeper/file", "deeper"),
        ("elsewhere/shared/file", "shared"),
        ("elsewhere/app/photos/large", "not of the stack"),
    ] {
        bench.write(name, text);
    }
    let folder = bench.env.path("elsewhere/app");
    bench.engine.compose(&folder, ["-f", "docker-compose.yml", "-f", "more.yml", "up", "--detach"]);
    bench.backup().code(0);
    let expected = [
        "binds.json",
        "binds/0/file",
        "project/a.env",
        "project/data/deeper/file",
        "project/data/file",
        "project/docker-compose.yml",
        "project/more.yml",
        "project/secret.txt",
        "stack.json",
    ];
    assert_eq!(files(&bench.restored("app")), expected);
}

#[test]
fn excludes_begin_at_the_directory_and_outside_of_it_at_the_root() {
    let bench = full("exclude = [\"*/data\", \"**/outside\", \"*.txt\"]");
    bench.write("stacks/web/conf/data/file", "not at the place of the glob");
    bench.backup().code(0);
    let saved = files(&bench.restored("web"));
    assert!(saved.contains(&"project/conf/data/file".to_owned()), "{saved:?}");
    for gone in ["project/data/file", "binds/0/file", "project/notes.txt"] {
        assert!(!saved.contains(&gone.to_owned()), "{gone}");
    }
}

#[test]
fn folder_that_is_a_link_comes_along_with_what_it_leads_to() {
    let bench = Bench::new("");
    bench.write("disk/file", "on another disk");
    fs::create_dir(bench.stacks().join("web")).unwrap();
    symlink(bench.env.path("disk"), bench.stacks().join("web/data")).unwrap();
    bench.up("web", "services:\n  a:\n    {idle}\n    volumes: ['./data:/data']\n");
    bench.backup().code(0);
    let restored = bench.restored("web");
    assert!(restored.join("project/data").is_symlink());
    assert_eq!(fs::read_to_string(restored.join("binds/0/file")).unwrap(), "on another disk");
}

#[test]
fn file_that_is_not_understood_is_saved_all_the_same() {
    let bench = Bench::new("");
    bench.write("stacks/web/docker-compose.yml", "services:\n  a: [\n  password: hunter2\n");
    let outcome = bench.backup().code(0);
    let told = item(&outcome, "web");
    let problems = told["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{told}");
    assert!(problems[0]["path"].as_str().unwrap().ends_with("stacks/web/docker-compose.yml"), "{told}");
    assert!(!told.to_string().contains("hunter2"));
    assert!(bench.restored("web").join("project/docker-compose.yml").exists());
}

#[test]
fn compose_file_that_is_gone_makes_the_point_incomplete() {
    let bench = Bench::new("");
    let folder = bench.write("elsewhere/app/docker-compose.yml", "services:\n  a:\n    {idle}\n");
    bench.engine.compose(&folder, ["up", "--detach"]);
    fs::remove_file(folder.join("docker-compose.yml")).unwrap();
    let told = item(&bench.backup().code(3), "app");
    assert_eq!(told["outcome"], "incomplete");
    assert_eq!(told["problems"][0]["error"], "this compose file is not there");
}

/// Programs that manage stacks have all of them mounted, and the engine's socket.
#[test]
fn what_all_stacks_share_is_not_saved_with_one() {
    let bench = Bench::new("");
    let socket = bench.engine.socket().display().to_string();
    let text = format!(
        "services:\n  a:\n    {{idle}}\n    volumes: ['{{root}}/stacks:/stacks', '{socket}:/run/engine', './own:/own']\n"
    );
    bench.write("stacks/manager/own/file", "own");
    bench.up("manager", &text);
    bench.write("stacks/web/compose.yaml", "services: {}\n");
    bench.backup().code(0);
    let restored = bench.restored("manager");
    assert_eq!(files(&restored), ["binds.json", "project/docker-compose.yml", "project/own/file", "stack.json"]);
    let mut told = json(&restored.join("binds.json"));
    told.as_array_mut().unwrap().sort_by_key(|line| line["not-saved"].to_string());
    assert_eq!(
        told,
        json!([
            {"source": bench.stacks(), "not-saved": "all stacks are in it"},
            {"source": socket, "not-saved": "it is neither a file nor a directory"},
        ])
    );
    // It looks at the other stacks, and does not keep them from being brought back.
    bench.restore("web", &["--in-place"]).code(0);
}

#[test]
fn folder_that_may_not_be_looked_at_keeps_no_stack_from_being_saved() {
    let mut bench = Bench::new("");
    bench.write("stacks/web/compose.yaml", "services: {}\n");
    let closed = bench.write("stacks/closed/file", "");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    bench.env = bench.env.without_override();
    bench.env.run(["backup"]).code(0).stderr_has("stacks/closed may not be looked at");
    assert_eq!(bench.items(), ["compose.s/web"]);
}
