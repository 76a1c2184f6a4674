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
