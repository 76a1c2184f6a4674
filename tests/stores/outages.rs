//! A server that goes away in the middle of a backup, at a chosen byte, for a while or for good.

use std::fs;
use std::time::Duration;

use crate::support::env::TestEnv;
use crate::support::proxy::Proxy;
use crate::support::rclone::{self, RcloneRest};
use crate::support::seaweed::{self, SeaweedFs};
use crate::support::sshd::Sshd;
use crate::support::tree::noise;
use crate::{configure, is_clear};

/// Enough for several packs of data to go over the wire, more than any test lets through.
const PLENTY: usize = 12 << 20;
/// Where the connection is cut: past the opening of the repository, within the data.
const HALF_WAY: usize = 3 << 20;

/// A store on S3 behind a proxy, with one point in it, and new data to back up.
fn s3_behind_proxy(server: &SeaweedFs, retry: u32) -> (TestEnv, Proxy) {
    let proxy = Proxy::start(server.port);
    let env = TestEnv::new()
        .variable("AWS_ACCESS_KEY_ID", seaweed::ACCESS_KEY_ID)
        .variable("AWS_SECRET_ACCESS_KEY", seaweed::SECRET_ACCESS_KEY);
    configure(
        &env,
        &format!("s3:http://127.0.0.1:{}/{}/holdall", proxy.port, seaweed::BUCKET),
        &format!("retry = {retry}"),
    );
    with_new_data(&env);
    (env, proxy)
}

fn with_new_data(env: &TestEnv) {
    env.run(["onboard", "store"]).code(0);
    env.write("first", "first");
    env.run(["backup"]).code(0);
    env.write("second", noise(1, PLENTY));
}

fn points(env: &TestEnv) -> usize {
    env.run(["list", "--json"]).code(0).json().as_array().unwrap().len()
}

#[test]
fn backup_succeeds_when_the_s3_server_is_back_in_time() {
    let server = SeaweedFs::start();
    let (env, proxy) = s3_behind_proxy(&server, 5);
    proxy.cut_after(HALF_WAY, 4);
    env.run(["backup"]).code(0);
    assert!(proxy.has_cut());
    assert_eq!(points(&env), 2);
    env.run(["verify", "--read-data"]).code(0);
    env.restic_at(server.repository("holdall"), ["check", "--read-data"]).code(0);
}

#[test]
fn s3_server_stopped_half_way_is_an_error_and_no_point() {
    let mut server = SeaweedFs::start();
    let (env, proxy) = s3_behind_proxy(&server, 1);
    // First a network that is gone and comes back after the run.
    proxy.cut_after(HALF_WAY, u32::MAX);
    is_clear(env.run(["backup"]), "write to the store", "hint: Is the server running and within reach?");
    proxy.release();
    assert_eq!(points(&env), 1);
    env.restic_at(server.repository("holdall"), ["unlock"]).code(0);
    env.restic_at(server.repository("holdall"), ["check", "--read-data"]).code(0);

    // Then the server itself, killed while data is on its way to it.
    proxy.hold_after(HALF_WAY);
    let mut run = env.start(["backup"]);
    proxy.wait_until_held();
    server.daemon.kill();
    proxy.release();
    let status = run.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(1), "{}", run.log());
    assert!(run.log().contains("hint: Is the server running and within reach?"), "{}", run.log());
    assert!(!run.log().contains(seaweed::SECRET_ACCESS_KEY), "{}", run.log());
}

#[test]
fn backup_succeeds_when_the_rest_server_is_back_in_time_and_fails_when_not() {
    let server = RcloneRest::start();
    let proxy = Proxy::start(server.port);
    let env = TestEnv::new();
    env.write_secret("rest.password", rclone::PASSWORD);
    let options = format!("username = \"{}\"\npassword-file = \"{{root}}/rest.password\"\nretry = 2", rclone::USER);
    configure(&env, &format!("rest:http://127.0.0.1:{}/holdall", proxy.port), &options);
    with_new_data(&env);
    proxy.cut_after(HALF_WAY, u32::MAX);
    is_clear(env.run(["backup"]), "write to the store", "hint: Is the server running and within reach?");
    proxy.release();
    assert_eq!(points(&env), 1);
    env.restic_at(server.repository("holdall"), ["unlock"]).code(0);
    env.restic_at(server.repository("holdall"), ["check", "--read-data"]).code(0);
    proxy.cut_after(HALF_WAY, 1);
    env.run(["backup"]).code(0);
    assert_eq!(points(&env), 2);
    env.restic_at(server.repository("holdall"), ["check", "--read-data"]).code(0);
}

#[test]
fn backup_succeeds_when_the_sftp_server_is_back_in_time_and_fails_when_not() {
    let server = Sshd::start();
    let proxy = Proxy::start(server.port);
    let env = TestEnv::new();
    let known = fs::read_to_string(server.known_hosts()).unwrap();
    let known_hosts = env.path("known_hosts");
    fs::write(&known_hosts, known.replace(&server.port.to_string(), &proxy.port.to_string())).unwrap();
    let options =
        format!("key = \"{}\"\nknown-hosts = \"{}\"\nretry = 2", server.key_file().display(), known_hosts.display());
    let store = server.data().join("holdall");
    configure(&env, &format!("sftp://{}@127.0.0.1:{}/{}", server.user, proxy.port, store.display()), &options);
    with_new_data(&env);
    proxy.cut_after(HALF_WAY, u32::MAX);
    is_clear(env.run(["backup"]), "write to the store", "hint: Is the server running and within reach?");
    proxy.release();
    assert_eq!(points(&env), 1);
    env.restic_at(&store, ["unlock"]).code(0);
    env.restic_at(&store, ["check", "--read-data"]).code(0);
    proxy.cut_after(HALF_WAY, 1);
    env.run(["backup"]).code(0);
    assert_eq!(points(&env), 2);
    env.restic_at(&store, ["check", "--read-data"]).code(0);
}
