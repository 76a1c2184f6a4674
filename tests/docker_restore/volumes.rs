//! A volume comes back: into itself, under another name, or in part.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::support::dockerd::Dockerd;
use super::support::tree;
use super::{copy, env, everything, points};

const READS: [&str; 2] = ["auto", "api"];

#[test]
fn lost_volume_comes_back_with_everything_in_it() {
    let engine = Dockerd::start();
    engine.docker(["volume", "create", "--label", "of=test", "--label", "x=", "data"]);
    everything(&engine.volume("data"));
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    let before = env.path("before");
    copy(&engine.volume("data"), &before);
    for read in READS {
        env.configure(&format!("[docker.nas]\nhost = \"{}\"\nvolumes = [\"data\"]\nread = \"{read}\"", engine.host()));
        engine.docker(["volume", "rm", "data"]);
        env.run(["restore", "docker.nas/volume/data", "--in-place", "--yes", "--verify"])
            .code(0)
            .stderr_has("makes the volume data")
            .stderr_has("compared with the store");
        tree::assert_same(&before, &engine.volume("data"));
        let labels = engine.docker(["volume", "inspect", "--format", "{{json .Labels}}", "data"]);
        assert_eq!(labels, r#"{"of":"test","x":""}"#);
        // Nothing was there, so there was nothing to be saved; and nothing of ours is left.
        assert_eq!((points(&env, "docker.nas/volume/data"), engine.docker(["ps", "-aq"])), (1, String::new()));
        let is_sparse = fs::metadata(engine.volume("data").join("sparse")).unwrap().blocks() < 1000;
        assert_eq!(is_sparse, read == "auto");
    }
}

#[test]
fn volume_goes_back_to_what_it_was_and_what_is_new_stays() {
    let engine = Dockerd::start();
    for read in READS {
        let (volume, item) = (format!("data-{read}"), format!("docker.nas/volume/data-{read}"));
        engine.filled_volume(
            &volume,
            "echo old >a; echo same >b; mkdir -p d/e; echo x >d/e/x; ln -s a l; mkdir dir; echo t >typed",
        );
        let env = env(&engine, &format!("volumes = [\"{volume}\"]\nread = \"{read}\""));
        env.run(["backup"]).code(0);
        engine.filled_volume(
            &volume,
            "echo newer >a; rm -r d l; ln -s /etc d; echo mine >new; rm typed; mkdir typed; echo y >typed/y",
        );
        let told = env.run(["restore", &item, "--in-place", "-n"]).code(3);
        for line in ["M ", "T ", "+ "] {
            assert!(told.stdout.lines().any(|told| told.starts_with(line)), "{line}\n{}", told.stdout);
        }
        told.stdout_lacks("/_data/data/")
            .stdout_has("/a\n")
            .stdout_has("/d/e/x\n")
            .stdout_lacks("/new\n")
            .stderr_has("would restore");
        assert_eq!(fs::read(engine.volume(&volume).join("a")).unwrap(), b"newer\n");
        // A directory is never replaced by a file.
        let done =
            env.run(["restore", &item, "--in-place", "--yes"]).code(3).stderr_has("a directory stands in its place");
        let safety = done.stderr.split("holdall restore ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let read_back = |name: &str| fs::read_to_string(engine.volume(&volume).join(name)).unwrap();
        for (name, content) in
            [("a", "old\n"), ("b", "same\n"), ("d/e/x", "x\n"), ("l", "old\n"), ("new", "mine\n"), ("typed/y", "y\n")]
        {
            assert_eq!(read_back(name), content, "{name}");
        }
        assert!(!std::path::Path::new("/etc/e/x").exists());
        // And back again to what was overwritten.
        env.run(["restore", &safety, "--in-place", "--yes", "--no-safety"]).code_among(&[0, 3]);
        assert_eq!(read_back("a"), "newer\n");
    }
}

#[test]
fn rehearsal_gets_a_volume_of_its_own() {
    let engine = Dockerd::start();
    engine.docker(["volume", "create", "--label", "com.docker.compose.project=p", "--label", "mine=1", "data"]);
    engine.filled_volume("data", "echo old >a");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    engine.filled_volume("data", "echo new >a");
    engine.idle("user", &["--volume", "data:/data"]);
    env.run(["restore", "docker.nas/volume/data", "--as", "try", "-n"]).code(0).stdout_has("+ try:/a");
    assert_eq!(engine.docker(["volume", "ls", "-q"]), "data");
    env.run(["restore", "docker.nas/volume/data", "--as", "try"]).code(0).stderr_has("makes the volume try");
    let read = |name: &str| fs::read_to_string(engine.volume(name).join("a")).unwrap();
    assert_eq!((read("data"), read("try")), ("new\n".into(), "old\n".into()));
    // A copy is no part of the project that the original is of.
    assert_eq!(engine.docker(["volume", "inspect", "--format", "{{json .Labels}}", "try"]), r#"{"mine":"1"}"#);
    assert!(engine.is_running("user"));
    assert_eq!(points(&env, "docker.nas/volume/data"), 1);
    env.run(["restore", "docker.nas/volume/data", "--as", "try"]).code(1).stderr_has("there is a volume try already");
    env.run(["restore", "docker.nas/volume/data", "--as", "../x"]).code(2).stderr_has("no name that a volume");
    env.run(["restore", "docker.nas/volume/data", "--as", "x", "--to", "/tmp/x"])
        .code(2)
        .stderr_has("cannot be used with");
    env.run(["restore", "docker.nas/volume/data", "--in-place", "--as", "again"]).code(0);
}

#[test]
fn rehearsal_of_a_volume_that_lies_elsewhere_does_not_share_its_storage() {
    let engine = Dockerd::start();
    let place = engine.root().join("elsewhere");
    fs::create_dir(&place).unwrap();
    let device = format!("device={}", place.display());
    let options = ["--opt", "type=none", "--opt", "o=bind", "--opt", &device];
    engine.docker(["volume", "create"].iter().chain(&options).chain(&["data"]));
    engine.filled_volume("data", "echo old >a");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    fs::write(place.join("a"), "new\n").unwrap();
    env.run(["restore", "docker.nas/volume/data", "--as", "try"]).code(0).stderr_has("the same storage");
    assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(engine.volume("try").join("a")).unwrap(), "old\n");
    // The original is made with its options again, and filled where these lead.
    engine.docker(["volume", "rm", "data"]);
    fs::remove_file(place.join("a")).unwrap();
    env.run(["restore", "docker.nas/volume/data", "--in-place", "--yes"]).code(0);
    assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "old\n");
}

#[test]
fn part_of_a_volume_goes_to_its_place_and_nothing_else_is_touched() {
    let engine = Dockerd::start();
    for read in READS {
        let (volume, item) = (format!("data-{read}"), format!("docker.nas/volume/data-{read}"));
        engine.filled_volume(&volume, "mkdir -p base/1; echo one >base/1/x; echo two >base/y; echo other >other");
        let env = env(&engine, &format!("volumes = [\"{volume}\"]\nread = \"{read}\""));
        env.run(["backup"]).code(0);
        engine.filled_volume(&volume, "echo lost >base/1/x; echo lost >other; chmod 701 base; rm base/y");
        env.run(["restore", &format!("{item}:/data/base/1"), "--in-place", "--yes"])
            .code(0)
            .stderr_has("restored 1 file");
        let place = engine.volume(&volume);
        let read_back = |name: &str| fs::read_to_string(place.join(name)).unwrap();
        assert_eq!((read_back("base/1/x"), read_back("other")), ("one\n".into(), "lost\n".into()));
        // What leads to the part is left as it is.
        assert_eq!(fs::metadata(place.join("base")).unwrap().mode() & 0o7777, 0o701);
        env.run(["restore", &format!("{item}:/data/base/y"), "--in-place", "--yes"]).code(0);
        assert_eq!(read_back("base/y"), "two\n");
        env.run(["restore", &format!("{item}:/volume.json"), "--in-place", "--yes"])
            .code(2)
            .stderr_has("/volume.json of docker.nas")
            .stderr_has("What has a place: /data");
    }
}

#[test]
fn dry_run_says_what_would_be_made_and_changes_nothing() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo one >a");
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    engine.docker(["volume", "rm", "data"]);
    env.run(["restore", "docker.nas/volume/data", "--in-place", "-n"])
        .code(0)
        .stderr_has("would make the volume data")
        .stdout_has("+ data:/a");
    assert_eq!(engine.docker(["volume", "ls", "-q"]), "");
}

#[test]
fn what_only_containers_know_is_refused_for_files() {
    let env = super::TestEnv::with_store().file("a", "x");
    env.run(["backup"]).code(0);
    for flag in [&["--stop"][..], &["--as", "x"]] {
        let arguments = ["restore", "files.home", "--in-place", "--yes"].iter().chain(flag);
        env.run(arguments).code(2).stderr_has("has no meaning for files.home");
    }
}

#[test]
fn description_that_is_as_long_as_before_is_saved_anew() {
    let engine = Dockerd::start();
    let env = env(&engine, "volumes = [\"data\"]");
    for label in ["of=a", "of=b"] {
        engine.docker(["volume", "create", "--label", label, "data"]);
        engine.filled_volume("data", "echo one >a");
        env.run(["backup"]).code(0);
        engine.docker(["volume", "rm", "data"]);
    }
    env.run(["restore", "docker.nas/volume/data", "--in-place", "--yes"]).code(0);
    assert_eq!(engine.docker(["volume", "inspect", "--format", "{{.Labels.of}}", "data"]), "b");
}
