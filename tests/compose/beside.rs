//! A stack is put beside the original, for a rehearsal.

use std::fs;

use crate::back::saved;
use crate::bench::Bench;

#[test]
fn copy_runs_beside_the_original_with_data_of_its_own() {
    let bench = saved();
    let before = bench.events();
    let copy = bench.stacks().join("copy");
    let at = copy.display();
    let command = format!("docker compose -p copy --project-directory {at} -f {at}/docker-compose.yml up -d");
    bench
        .restore("web", &["--as", "copy"])
        .code(0)
        .stderr_has(&command)
        .stderr_has("makes the volume copy_named")
        .stderr_has("/outside is outside of the folder, and not copied");
    assert_eq!(bench.events(), before);
    assert_eq!(bench.text("stacks/copy/data/file"), "data");
    let up = bench.engine.compose(&copy, ["-p", "copy", "up", "--detach"]);
    up.stderr_lacks("Creating volume").stderr_lacks("already exists");
    assert_eq!(bench.engine.docker(["exec", "copy_db_1", "cat", "/named/file"]), "named");
    bench.engine.docker(["exec", "copy_db_1", "sh", "-c", "echo copy >/named/file"]);
    bench.engine.docker(["exec", "copy_web_1", "sh", "-c", "echo copy >/data/file"]);
    assert_eq!(bench.in_volume("web_named", "file"), "named\n");
    assert_eq!(bench.text("stacks/web/data/file"), "data");
    // With its volumes it is gone, and the original is not.
    bench.engine.compose(&copy, ["-p", "copy", "down", "--volumes"]);
    assert_eq!(bench.engine.docker(["volume", "ls", "--quiet"]), "web_named");
}

#[test]
fn copy_has_a_name_and_places_that_are_free() {
    let bench = saved();
    bench.restore("web", &["--as", "Copy"]).code(2).stderr_has("`Copy` is no name that a project can have");
    bench.restore("web", &["--as", "../x"]).code(2);
    bench.restore("web", &["--as", "web"]).code(1).stderr_has("there is a stack web already");
    bench.write("stacks/taken/file", "");
    bench.restore("web", &["--as", "taken"]).code(1).stderr_has("stacks/taken already");
    bench.engine.docker(["volume", "create", "held_named"]);
    bench.restore("web", &["--as", "held"]).code(1).stderr_has("there is a volume held_named already");
    assert!(!bench.stacks().join("held").exists());
}

#[test]
fn what_is_not_the_stacks_own_is_shared_and_said_to_be() {
    let bench = Bench::new("");
    bench.engine.filled_volume("theirs", "echo theirs >file");
    let text = "services:\n  a:\n    {idle}\n    volumes: [theirs:/x]\nvolumes: {theirs: {external: true}}\n";
    bench.up("web", text);
    bench.backup().code(0);
    bench.restore("web", &["--as", "copy"]).code(0).stderr_has("the volume theirs is not the stack's own");
    assert_eq!(bench.engine.docker(["volume", "ls", "--quiet"]), "theirs");
}

#[test]
fn copy_that_was_not_brought_up_does_not_keep_the_original_from_being_saved() {
    let bench = Bench::new("");
    let folder = bench.write("stacks/web/compose.yaml", "name: shop\nservices:\n  a:\n    {idle}\n");
    // The first version of Compose does not know `name`.
    fs::write(folder.join("docker-compose.yml"), "services:\n  a:\n    image: x\n").unwrap();
    let text = bench.text("stacks/web/compose.yaml").replace("name: shop\n", "");
    bench.write("elsewhere/compose.yaml", &text);
    let files = bench.env.path("elsewhere/compose.yaml");
    let arguments = ["-p", "shop", "--project-directory", folder.to_str().unwrap(), "-f", files.to_str().unwrap()];
    bench.engine.compose(&folder, arguments.iter().chain(&["up", "--detach"]));
    bench.backup().code(0);
    assert_eq!(bench.items(), ["compose.s/shop"]);
    bench.restore("shop", &["--as", "copy"]).code(0);
    bench.env.run(["backup"]).code(0).stderr_has("has the project name shop as well, and is not saved");
}
