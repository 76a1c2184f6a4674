//! `holdall onboard docker`: what it looks at, and what it writes.

use crate::support::dockerd::Dockerd;
use crate::support::env::TestEnv;

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.onboard_store();
    env
}

#[test]
fn engine_is_looked_at_and_what_was_written_can_be_backed_up() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo x >x");
    let env = env();
    let host = engine.host();
    env.run(["onboard", "docker", "nas", "--host", &host])
        .code(0)
        .stderr_has("volumes are read where they lie")
        .stderr_has("docker.nas/volume/data")
        .stderr_has("Next:");
    env.run(["backup"]).code(0).stderr_has("docker.nas/volume/data  saved");
    env.run(["onboard", "docker", "nas", "--host", &host]).code(2).stderr_has("is taken");
}

#[test]
fn what_is_not_there_is_not_written() {
    let engine = Dockerd::start();
    let env = env();
    let host = engine.host();
    let before = std::fs::read_to_string(env.config_file()).unwrap();
    env.run(["onboard", "docker", "nas", "--host", &host, "--volume", "pg*"]).code(2).stderr_has("nothing there");
    env.run(["onboard", "docker", "nas", "--host", "unix:///nonexistent/sock"])
        .code(1)
        .stderr_has("Is the engine running?");
    env.run(["onboard", "docker", "nas", "--host", "tcp://nas.lan:2375"]).code(2).stderr_has("could be anybody");
    env.run(["onboard", "docker", "nas", "--host", &host, "--image", "bb:*", "--hold", "stop", "-n"])
        .code(0)
        .stdout_has("images = [\"bb:*\"]")
        .stdout_has("hold = \"stop\"")
        .stdout_lacks("volumes");
    assert_eq!(std::fs::read_to_string(env.config_file()).unwrap(), before);
}

#[test]
fn engine_of_the_environment_is_written_down_for_the_timer() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo x >x");
    let env = env().variable("DOCKER_HOST", engine.host());
    env.run(["onboard", "docker", "nas"]).code(0);
    let written = std::fs::read_to_string(env.config_file()).unwrap();
    assert!(written.contains(&format!("host = \"{}\"", engine.host())), "{written}");
}
