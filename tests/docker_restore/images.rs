//! An image comes back, from its own point.

use super::env;
use super::support::dockerd::Dockerd;

const IMAGE: &str = "docker.nas/image/app:1.2";

#[test]
fn removed_image_is_loaded_and_runs() {
    let engine = Dockerd::start();
    engine.import("app:1.2", &[("/etc/motto", std::path::Path::new("/etc/hostname"))]);
    let env = env(&engine, "images = [\"app:*\"]");
    env.run(["backup"]).code(0);
    let id = engine.inspect("app:1.2", "{{.Id}}");
    env.run(["restore", IMAGE, "--in-place", "--yes"]).code(0).stderr_has("the image app:1.2 is there already");
    engine.docker(["rmi", "app:1.2"]);
    env.run(["restore", IMAGE, "--in-place", "-n"]).code(0).stdout_has("+ app:1.2").stderr_has("would restore 1 file");
    engine.try_docker(["inspect", "app:1.2"]).code(1);
    env.run(["restore", IMAGE, "--in-place", "--yes", "--verify"]).code(0).stderr_has("restored 1 file");
    assert_eq!(engine.inspect("app:1.2", "{{.Id}}"), id);
    engine.docker(["run", "--rm", "--network", "none", "app:1.2", "cat", "/etc/motto"]);
}

#[test]
fn name_that_has_gone_to_another_image_comes_back() {
    let engine = Dockerd::start();
    engine.import("app:1.2", &[]);
    let env = env(&engine, "images = [\"app:*\"]");
    env.run(["backup"]).code(0);
    let id = engine.inspect("app:1.2", "{{.Id}}");
    engine.import("app:1.2", &[("/new", std::path::Path::new("/etc/hostname"))]);
    let newer = engine.inspect("app:1.2", "{{.Id}}");
    env.run(["restore", IMAGE, "--in-place", "--yes"])
        .code(0)
        .stderr_has("takes the name app:1.2 from the image")
        .stderr_has(&newer);
    assert_eq!(engine.inspect("app:1.2", "{{.Id}}"), id);
    assert_eq!(engine.inspect(&newer, "{{.Id}}"), newer);
}

#[test]
fn image_has_no_other_name_and_no_parts() {
    let engine = Dockerd::start();
    engine.import("app:1.2", &[]);
    let env = env(&engine, "images = [\"app:*\"]");
    env.run(["backup"]).code(0);
    env.run(["restore", IMAGE, "--as", "b"]).code(2).stderr_has("docker tag OLD NEW");
    env.run(["restore", &format!("{IMAGE}:/image.json"), "--in-place", "--yes"])
        .code(2)
        .stderr_has("only a part of an image");
}
