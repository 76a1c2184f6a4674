//! `holdall discover docker compose`: what an engine has, and what no source covers.

use crate::items::env;
use crate::support::dockerd::{Dockerd, IMAGE};
use crate::support::env::TestEnv;

#[test]
fn what_no_source_covers_is_named() {
    let engine = Dockerd::start();
    for volume in ["covered", "of-a-container", "lonely", "cache_x"] {
        engine.docker(["volume", "create", volume]);
    }
    let labels =
        ["--label", "com.docker.compose.project=paper", "--label", "com.docker.compose.project.working_dir=/opt/paper"];
    engine.docker(["create", "--name", "web", "--volume", "of-a-container:/data", IMAGE, "true"]);
    engine.docker(["create", "--name", "paper_db_1"].iter().chain(&labels).chain(&[IMAGE, "true"]));
    let env = env(&engine, "volumes = [\"cov*\", \"cache_*\"]\ncontainers = [\"web\"]\nexclude = [\"volume/cache_*\"]");
    let covered = |outcome: &str, name: &str| {
        let rows: Vec<serde_json::Value> = serde_json::from_str(outcome).unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {outcome}"));
        row["covered_by"].as_str().map(str::to_owned)
    };
    let found = env.run(["discover", "docker", "compose", "--json"]).code(0).stdout;
    let nas = Some("docker.nas".to_owned());
    for name in ["volume/covered", "volume/of-a-container", "container/web"] {
        assert_eq!(covered(&found, name), nas, "{name}");
    }
    for name in ["volume/lonely", "volume/cache_x", "image/bb:latest", "container/paper_db_1", "paper"] {
        assert_eq!(covered(&found, name), None, "{name}");
    }
    env.run(["discover", "docker"]).code(0).stdout_has("not covered").stdout_lacks("compose");
}

#[test]
fn engine_that_no_source_names_is_looked_into_when_it_is_there() {
    let engine = Dockerd::start();
    let env = TestEnv::new().variable("DOCKER_HOST", engine.host());
    env.run(["discover", "docker"]).code(0).stdout_has("image/bb:latest");
    let nobody = TestEnv::new().variable("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    nobody.run(["discover", "docker"]).code(0).stderr_has("No container engine answers");
    nobody.run(["discover", "ssh"]).code(0).stderr_lacks("engine");
}
