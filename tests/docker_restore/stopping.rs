//! Whoever uses what is overwritten: refused, or stopped and started again.

use std::fs;

use super::support::dockerd::Dockerd;
use super::{env, points};

const VOLUME: &str = "docker.nas/volume/data";

#[test]
fn volume_in_use_is_left_alone_unless_its_users_may_be_stopped() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo old >a");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    engine.filled_volume("data", "echo new >a");
    // Also one that wants to run through each backup.
    engine.idle("writer", &["--volume", "data:/data", "--label", "holdall.hold=none"]);
    engine.idle("reader", &["--volume", "data:/other:ro"]);
    engine.idle("bystander", &[]);
    let started = |name: &str| engine.inspect(name, "{{.State.StartedAt}}");
    let before = ["writer", "reader", "bystander"].map(started);
    let read = || fs::read_to_string(engine.volume("data").join("a")).unwrap();

    for dry in [&["--yes"][..], &["-n"]] {
        let arguments = ["restore", VOLUME, "--in-place"].iter().chain(dry);
        env.run(arguments)
            .code(1)
            .stderr_has("reader, writer are running and use what would be overwritten")
            .stderr_has("docker stop reader writer");
    }
    env.run(["restore", VOLUME, "--in-place", "--stop", "-n"])
        .code(0)
        .stderr_has("would stop, and start again: reader, writer");
    assert_eq!(
        (read(), points(&env, VOLUME), ["writer", "reader", "bystander"].map(started)),
        ("new\n".into(), 1, before.clone())
    );

    env.run(["restore", VOLUME, "--in-place", "--stop", "--yes"])
        .code(0)
        .stderr_has("stops ")
        .stderr_lacks("bystander");
    assert_eq!(read(), "old\n");
    for name in ["writer", "reader", "bystander"] {
        assert!(engine.is_running(name), "{name}");
    }
    let after = ["writer", "reader", "bystander"].map(started);
    assert_eq!(before[2], after[2]);
    assert!(before[0] != after[0] && before[1] != after[1]);
}

#[test]
fn users_run_again_when_nothing_could_be_saved_or_restored() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo old >a");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    engine.idle("user", &["--volume", "data:/data"]);
    // The store is read, but takes nothing more.
    let snapshots = env.store().join("snapshots");
    fs::rename(&snapshots, env.store().join("away")).unwrap();
    let broken = env.store().join("locks");
    let aside = env.store().join("locks-aside");
    fs::rename(env.store().join("away"), &snapshots).unwrap();
    fs::rename(&broken, &aside).unwrap();
    fs::write(&broken, "no directory").unwrap();
    env.run(["restore", VOLUME, "--in-place", "--stop", "--yes"]).code(1).stderr_has("nothing was changed");
    assert!(engine.is_running("user"));
}

#[test]
fn who_would_be_removed_by_being_stopped_is_left_alone() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo old >a");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    engine.filled_volume("data", "echo new >a");
    engine.idle("user", &["--volume", "data:/data", "--rm"]);
    env.run(["restore", VOLUME, "--in-place", "--stop", "--yes"])
        .code(1)
        .stderr_has("user uses what would be overwritten, and could not be stopped without harm");
    assert!(engine.is_running("user"));
    assert_eq!(fs::read_to_string(engine.volume("data").join("a")).unwrap(), "new\n");
}

#[test]
fn who_does_not_come_back_fails_the_restore_with_a_line_of_its_own() {
    let engine = Dockerd::start();
    let file = engine.root().join("needed");
    fs::write(&file, "x").unwrap();
    engine.filled_volume("data", "echo old >a");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    let bind = format!("{}:/needed", file.display());
    engine.idle(
        "user",
        &[
            "--volume",
            "data:/data",
            "--mount",
            &format!("type=bind,source={},target=/needed", bind.split(':').next().unwrap()),
        ],
    );
    fs::remove_file(&file).unwrap();
    env.run(["restore", VOLUME, "--in-place", "--stop", "--yes"])
        .code(1)
        .stderr_has("everything is restored, but not everything runs again")
        .stderr_has("user");
    assert_eq!(fs::read_to_string(engine.volume("data").join("a")).unwrap(), "old\n");
}
