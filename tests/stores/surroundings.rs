//! What a store must do without: a home, a cache, a password file; and what it says of half a listing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::configure;
use crate::support::env::{PASSWORD, TestEnv, finish};

fn with_store() -> TestEnv {
    let env = TestEnv::new().file("a", "a");
    configure(&env, env.store().to_str().unwrap(), "");
    env.run(["onboard", "store"]).code(0);
    env.run(["backup"]).code(0);
    env
}

/// What becomes of the content of a file.
type Damage<'d> = &'d dyn Fn(&[u8]) -> Vec<u8>;

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn half_a_listing_is_an_error_and_not_a_store_without_points() {
    let env = TestEnv::new().file("a", "a").without_override();
    configure(&env, env.store().to_str().unwrap(), "");
    env.run(["onboard", "store"]).code(0);
    env.run(["backup"]).code(0);
    let snapshots = env.store().join("snapshots");
    fs::set_permissions(&snapshots, fs::Permissions::from_mode(0o000)).unwrap();
    for command in [&["list"][..], &["backup"], &["prune"], &["status"]] {
        env.run(command)
            .code(1)
            .stderr_has("The listing of the snapshot files is not whole")
            .stderr_has("Permission denied");
    }
    fs::set_permissions(&snapshots, fs::Permissions::from_mode(0o700)).unwrap();
    env.run(["list"]).code(0).stdout_has("files.home");
}

#[test]
fn cache_may_go_at_any_time() {
    let env = with_store();
    let cache = env.path("cache");
    assert!(!files(&cache).is_empty(), "there is a cache");
    fs::remove_dir_all(&cache).unwrap();
    env.run(["backup"]).code(0);
    env.run(["verify"]).code(0);
    fs::remove_dir_all(&cache).unwrap();
    // Somebody puts something else there.
    fs::write(&cache, "").unwrap();
    env.run(["backup"]).code(0);
    env.run(["list"]).code(0).stdout_has("files.home");
}

#[test]
fn damage_in_the_cache_is_not_damage_in_the_store() {
    let env = with_store();
    let zeroes = |content: &[u8]| vec![0; content.len()];
    let flipped = |content: &[u8]| content.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 40)).collect();
    let damages: [Damage; 4] = [&|_| Vec::new(), &|_| b"rubbish".to_vec(), &zeroes, &flipped];
    for damage in damages {
        let run = |arguments: &[&str]| {
            for file in files(&env.path("cache")) {
                fs::write(&file, damage(&fs::read(&file).unwrap())).unwrap();
            }
            env.run(arguments).code(0)
        };
        run(&["list"]).stdout_has("files.home");
        run(&["backup"]);
        run(&["restore", "files.home", "--overwrite", "--to", env.path("out").to_str().unwrap()]);
        run(&["ls", "files.home"]);
        run(&["verify"]);
        run(&["prune"]);
    }
    env.restic(["check", "--read-data"]).code(0);
}

#[test]
fn cache_that_cannot_be_written_is_done_without() {
    let env = with_store().without_override();
    fs::remove_dir_all(env.path("cache")).unwrap();
    fs::create_dir(env.path("cache")).unwrap();
    fs::set_permissions(env.path("cache"), fs::Permissions::from_mode(0o500)).unwrap();
    env.write("b", "b");
    env.run(["backup"]).code(0);
    env.run(["list"]).code(0).stdout_has("files.home");
    assert!(files(&env.path("cache")).is_empty());
}

#[test]
fn backup_needs_no_home_and_no_cache_directory() {
    let env = with_store();
    let mut backup = env.command(env!("CARGO_BIN_EXE_holdall"));
    backup.arg("--config").arg(env.config_file()).arg("backup");
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "CACHE_DIRECTORY"] {
        backup.env_remove(name);
    }
    finish(backup).code(0);
    assert_eq!(env.run(["list", "--json"]).code(0).json().as_array().unwrap().len(), 2);
}

#[test]
fn password_may_come_from_a_command() {
    let env = with_store();
    let config = fs::read_to_string(env.config_file()).unwrap();
    let with_command = |command: &str| {
        let file = format!("password-file = \"{}\"", env.password_file().display());
        assert!(config.contains(&file));
        fs::write(env.config_file(), config.replace(&file, &format!("password-command = {command}"))).unwrap();
    };
    with_command(&format!("[\"cat\", \"{}\"]", env.password_file().display()));
    env.run(["backup"]).code(0);
    with_command("[\"echo\", \"wrong\"]");
    env.run(["backup"])
        .code(12)
        .stderr_has("does not open with this password")
        .stderr_has("hint: ")
        .stderr_lacks("wrong");
    with_command("[\"false\"]");
    env.run(["backup"]).code(1).stderr_has("false").stderr_lacks(PASSWORD);
}
