//! Volumes, containers and images: which there are, and what a snapshot has of each.

use crate::support::dockerd::Dockerd;
use crate::support::env::TestEnv;

/// An environment whose source `docker.nas` is this engine.
pub fn env(engine: &Dockerd, rest: &str) -> TestEnv {
    TestEnv::with_store_and(&format!("[docker.nas]\nhost = \"{}\"\n{rest}", engine.host()))
}

#[test]
fn volume_is_saved_with_what_the_engine_says_of_it() {
    let engine = Dockerd::start();
    engine.docker(["volume", "create", "--label", "of=test", "data"]);
    engine.filled_volume("data", "echo one >a; mkdir d; echo two >d/b; ln -s ../a d/link");
    let env = env(&engine, "volumes = [\"*\"]");
    env.run(["backup"]).code(0).stderr_has("docker.nas/volume/data  saved");
    env.run(["ls", "-R", "docker.nas/volume/data"])
        .code(0)
        .stdout_has("/data/a\n/data/d/\n/data/d/b\n/data/d/link\n/volume.json");
    assert_eq!(env.run(["dump", "docker.nas/volume/data:/data/d/b"]).code(0).stdout, "two\n");
    env.run(["dump", "docker.nas/volume/data:/volume.json"]).code(0).stdout_has("\"of\": \"test\"");
}

#[test]
fn new_volumes_are_picked_up_and_those_left_out_are_not() {
    let engine = Dockerd::start();
    engine.filled_volume("first", "echo 1 >x");
    engine.filled_volume("cache_1", "echo 1 >x");
    let env = env(&engine, "volumes = [\"*\"]\nexclude = [\"volume/cache_*\"]");
    env.run(["backup"]).code(0).stderr_has("volume/first").stderr_lacks("cache_1");
    engine.filled_volume("second.Odd_Name-1", "echo 2 >x");
    let anonymous = engine.docker(["volume", "create"]);
    // An empty one was not there before, so that nobody has lost anything.
    env.run(["backup"]).code(0).stderr_has("volume/second.Odd_Name-1").stderr_has(&anonymous);
    env.run(["backup", "docker.nas/volume/second*"]).code(0).stderr_lacks("volume/first");
}

#[test]
fn what_is_new_can_be_named_before_it_has_a_point() {
    let engine = Dockerd::start();
    engine.filled_volume("first", "echo 1 >x");
    let env = env(&engine, "volumes = [\"*\"]");
    env.run(["backup"]).code(0);
    engine.filled_volume("second", "echo 2 >x");
    env.run(["backup", "docker.nas/volume/second"]).code(0).stderr_has("volume/second  saved").stderr_lacks("first");
    env.run(["backup", "docker.nas/volume/secnd"]).code(2).stderr_has("docker.nas/volume/second");
}

#[test]
fn name_that_is_written_out_and_not_there_fails_and_the_rest_is_saved() {
    let engine = Dockerd::start();
    engine.filled_volume("pgdata", "echo 1 >x");
    let env = env(&engine, "volumes = [\"pgdata\", \"pgdta\"]\ncontainers = [\"web\"]\nimages = [\"app:1\"]");
    env.run(["backup"])
        .code(1)
        .stderr_has("docker.nas/volume/pgdata  saved")
        .stderr_has("there is no volume `pgdta`")
        .stderr_has("Did you mean `pgdata`?")
        .stderr_has("there is no container `web`")
        .stderr_has("there is no image `app:1`");
    env.run(["check"]).code(1).stdout_has("there is no volume `pgdta`").stdout_has("there is no image `app:1`");
}

#[test]
fn volume_that_has_lost_everything_is_an_error() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo 1 >x");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    engine.filled_volume("data", "rm x");
    env.run(["backup"]).code(1).stderr_has("allow-empty");
}

#[test]
fn container_is_saved_with_all_that_belongs_to_it() {
    let engine = Dockerd::start();
    let world = tempfile::tempdir().unwrap();
    std::fs::write(world.path().join("app.conf"), "key = 1\n").unwrap();
    let bind = format!("{}:/etc/app:ro", world.path().display());
    engine.idle("web", &["--volume", "data:/data", "--volume", &bind, "--volume", "/sys:/sys:ro", "--env", "A=b"]);
    engine.docker(["exec", "web", "sh", "-c", "echo row >/data/table"]);
    let dump = "[[docker.nas.dump]]\ncontainer = \"web\"\ncommand = [\"cat\", \"/data/table\"]\nfile = \"db/all.sql\"";
    let env = env(&engine, &format!("containers = [\"web\"]\n{dump}"));
    env.run(["backup"]).code(0).stderr_has("container/web  saved").stderr_has("is a part of the machine itself");
    let listed = env.run(["ls", "-R", "docker.nas/container/web"]).code(0).stdout;
    let paths: Vec<&str> = listed.lines().collect();
    let number = paths.iter().find_map(|path| path.strip_suffix("/app.conf")).unwrap().to_owned();
    assert_eq!(
        paths,
        [
            "/binds/",
            &format!("{number}/"),
            &format!("{number}/app.conf"),
            "/binds.json",
            "/container.json",
            "/dumps/",
            "/dumps/db/",
            "/dumps/db/all.sql",
            "/image.json",
            "/volumes/",
            "/volumes/data/",
            "/volumes/data/data/",
            "/volumes/data/data/table",
            "/volumes/data/volume.json",
        ]
    );
    assert_eq!(env.run(["dump", "docker.nas/container/web:/dumps/db/all.sql"]).code(0).stdout, "row\n");
    let inspect = env.run(["dump", "docker.nas/container/web:/container.json"]).code(0).stdout;
    let inspect: serde_json::Value = serde_json::from_str(&inspect).unwrap();
    assert_eq!(inspect["Name"], "/web");
    assert!(inspect["Config"]["Env"].as_array().unwrap().iter().any(|variable| variable == "A=b"));
}

#[test]
fn image_is_saved_as_docker_saves_it_and_can_be_loaded_again() {
    let engine = Dockerd::start();
    let env = env(&engine, "images = [\"bb:*\"]");
    env.run(["backup"]).code(0).stderr_has("docker.nas/image/bb:latest  saved");
    let archive = env.run(["dump", "docker.nas/image/bb:latest:/image.tar"]).code(0).bytes;
    let file = env.path("image.tar");
    std::fs::write(&file, archive).unwrap();
    let id = engine.inspect("bb:latest", "{{.Id}}");
    engine.docker(["rmi", "bb:latest"]);
    engine.docker(["load", "--input", file.to_str().unwrap()]);
    assert_eq!(engine.inspect("bb:latest", "{{.Id}}"), id);
    let again = env.run(["backup", "--json"]).code(0).stdout;
    let item: serde_json::Value =
        serde_json::from_str(again.lines().find(|it| it.contains("\"item\"")).unwrap()).unwrap();
    assert!(item["bytes_added"].as_u64().unwrap() < 10_000, "{item}");
}

#[test]
fn restic_restores_what_was_saved() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo one >a; ln a b");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    env.restic(["check", "--read-data"]).code(0);
    let out = env.path("out");
    env.restic(["restore", "latest", "--host", "docker.nas", "--target", out.to_str().unwrap()]).code(0);
    assert_eq!(std::fs::read_to_string(out.join("data/b")).unwrap(), "one\n");
    assert!(out.join("volume.json").exists());
}

#[test]
fn layers_that_images_share_are_stored_once() {
    let engine = Dockerd::start();
    let grow = |from: &str, to: &str, script: &str| {
        engine.docker(["run", "--network", "none", "--name", "growing", from, "sh", "-ec", script]);
        engine.docker(["commit", "growing", to]);
        engine.docker(["rm", "growing"]);
    };
    grow("bb:latest", "app:1", "dd if=/dev/urandom of=/layer bs=1M count=48 2>/dev/null");
    grow("app:1", "app:2", "echo more >/more");
    let env = env(&engine, "images = [\"app:*\"]");
    let added = |item: &str| {
        let told = env.run(["backup", "--json", item]).code(0).stdout;
        let line = told.lines().find(|line| line.contains("\"type\":\"item\"")).unwrap();
        serde_json::from_str::<serde_json::Value>(line).unwrap()["bytes_added"].as_u64().unwrap()
    };
    assert!(added("docker.nas/image/app:1") > 48 << 20);
    // Where a layer begins elsewhere in the archive, a few pieces of it are cut anew.
    let second = added("docker.nas/image/app:2");
    assert!(second < 16 << 20, "{second} bytes of 50 MiB");
}
