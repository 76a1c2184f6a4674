//! The engines of the tests are what they claim to be: real servers that restic can use, and that keep strangers out.
//!
//! When one of these fails, the fault is in `tests/support/` or in `scripts/deps`, and what other tests say about
//! holdall on such a server means nothing.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use support::env::{TestEnv, finish};
use support::rclone::RcloneRest;
use support::seaweed::{self, SeaweedFs};
use support::sshd::Sshd;
use support::tree;

/// restic makes a store, saves the source, checks all data, and restores it as it was.
fn restic_round_trip(env: &TestEnv, repository: &str, options: &[&str]) {
    let restic = |arguments: &[&str]| env.restic_at(repository, options.iter().chain(arguments));
    env.write("a/b", "content");
    fs::set_permissions(env.source().join("a/b"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("b", env.source().join("a/link")).unwrap();
    restic(&["init"]).code(0);
    restic(&["backup", env.source().to_str().unwrap()]).code(0);
    restic(&["check", "--read-data"]).code(0);
    let target = env.path("target");
    restic(&["restore", "latest", "--target", target.to_str().unwrap()]).code(0);
    tree::assert_same(&env.source(), &target.join(env.source().strip_prefix("/").unwrap()));
}

#[test]
fn restic_works_on_a_local_directory() {
    let env = TestEnv::new();
    restic_round_trip(&env, env.store().to_str().unwrap(), &[]);
}

#[test]
fn restic_works_on_seaweedfs_with_the_right_key_only() {
    let server = SeaweedFs::start();
    let env = TestEnv::new()
        .variable("AWS_ACCESS_KEY_ID", seaweed::ACCESS_KEY_ID)
        .variable("AWS_SECRET_ACCESS_KEY", seaweed::SECRET_ACCESS_KEY);
    restic_round_trip(&env, &server.repository("restic"), &[]);
    let stranger =
        TestEnv::new().variable("AWS_ACCESS_KEY_ID", seaweed::ACCESS_KEY_ID).variable("AWS_SECRET_ACCESS_KEY", "guess");
    stranger.restic_at(server.repository("restic"), ["snapshots"]).code(1).stderr_has("signature");
}

#[test]
fn restic_works_on_rclone_with_the_right_password_only() {
    let server = RcloneRest::start();
    let env = TestEnv::new();
    restic_round_trip(&env, &server.repository("restic"), &[]);
    assert!(server.directory("restic").join("config").is_file());
    env.restic_at(server.repository_without_password("restic"), ["snapshots"]).code(1).stderr_has("401");
}

#[test]
fn restic_works_on_sshd_whose_host_key_is_known_only() {
    let server = Sshd::start();
    let env = TestEnv::new().path_first(server.client_path());
    restic_round_trip(&env, &server.repository("restic"), &[]);
    assert!(server.data().join("restic/config").is_file());
    server.forget_host_key();
    env.restic_at(server.repository("restic"), ["snapshots"]).code(1);
    // restic does not always wait for what its ssh has to say.
    let mut ssh = env.command("ssh");
    ssh.args(["-p", &server.port.to_string(), &format!("{}@127.0.0.1", server.user), "true"]);
    finish(ssh).code(255).stderr_has("REMOTE HOST IDENTIFICATION HAS CHANGED");
}

#[test]
fn engine_ends_when_it_is_dropped() {
    let mut server = RcloneRest::start();
    assert!(server.daemon.is_running());
    let repository = server.repository("x");
    drop(server);
    TestEnv::new().restic_at(repository, ["snapshots"]).code(1).stderr_has("connection refused");
}

#[test]
fn trees_that_differ_in_anything_are_told_apart() {
    let env = TestEnv::new().file("one/f", "abcd").file("two/f", "abXd");
    let (one, two) = (env.source().join("one"), env.source().join("two"));
    let copy = || {
        drop(fs::remove_dir_all(&two));
        let mut command = env.command("cp");
        command.arg("-a").arg(&one).arg(&two);
        finish(command).code(0);
    };
    assert_eq!(
        tree::differences(&one, &two).into_iter().filter(|line| line.contains("content")).collect::<Vec<_>>(),
        ["\"f\": content: differs from byte 2; sizes 4 and 4"]
    );
    copy();
    tree::assert_same(&one, &two);
    let expect = |what: &str, change: &dyn Fn()| {
        copy();
        change();
        let lines = tree::differences(&one, &two);
        assert!(lines.iter().any(|line| line.contains(what)), "{what}: {lines:?}");
    };
    expect("mode", &|| fs::set_permissions(two.join("f"), fs::Permissions::from_mode(0o600)).unwrap());
    expect("modified", &|| fs::write(two.join("f"), "abcd").unwrap());
    expect("hard links", &|| fs::hard_link(two.join("f"), two.join("g")).unwrap());
    expect("missing", &|| fs::remove_file(two.join("f")).unwrap());
    expect("not expected", &|| symlink("f", two.join("g")).unwrap());
    expect("extended attributes", &|| {
        let flags = rustix::fs::XattrFlags::CREATE;
        rustix::fs::setxattr(two.join("f"), "user.holdall", b"x", flags).unwrap();
    });
}
