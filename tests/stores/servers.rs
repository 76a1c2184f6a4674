//! The whole way of a backup on every kind of server, and what is said when one cannot be reached.
//!
//! restic works on the same repository by the same spelling wherever it knows it. Azure, Google Cloud, B2 and Swift have no
//! server that can run here: for them the translation of options is tested beside it, in `store::location`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::daemon::free_ports;
use crate::support::env::{TestEnv, finish};
use crate::support::rclone::{self, RcloneRest, RcloneWebdav};
use crate::support::seaweed::{self, SeaweedFs};
use crate::support::sshd::Sshd;
use crate::support::tree;
use crate::support::tree::noise;
use crate::{configure, is_clear};

/// Sets up, backs up twice, lists, verifies, prunes, restores.
fn round_trip(env: &TestEnv) {
    env.run(["list"]).code(10).stderr_has("there is no repository at").stderr_has("hint: ");
    env.run(["onboard", "store"]).code(0);
    env.run(["onboard", "store"]).code(0).stderr_has("already");

    env.write("big", noise(1, 3_000_000));
    env.write("gone", noise(2, 1_500_000));
    env.write("etc/text", "text\n".repeat(1000));
    env.write("empty", "");
    fs::set_permissions(env.source().join("etc/text"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(env.source().join("big"), env.source().join("etc/same")).unwrap();
    symlink("../big", env.source().join("etc/link")).unwrap();
    env.run(["backup"]).code(0);
    fs::remove_file(env.source().join("gone")).unwrap();
    env.write("etc/text", "other");
    let outcome = env.run(["backup", "--json"]).code(0);
    let item = &outcome.json_lines()[outcome.json_lines().len() - 2];
    assert_eq!((&item["outcome"], &item["files_changed"]), (&"saved".into(), &1.into()), "{item}");
    assert_eq!(env.run(["list", "--json"]).code(0).json().as_array().unwrap().len(), 2);
    env.run(["verify", "--read-data"]).code(0);

    env.run(["prune", "--keep-delete", "0s", "--max-repack", "unlimited"]).code(0).stderr_has("removed 1 point");
    env.run(["prune", "--keep-delete", "0s", "--max-repack", "unlimited"]).code(0).stderr_lacks("deleted 0 B");
    let points = env.run(["list", "--json"]).code(0).json();
    assert_eq!(points.as_array().unwrap().len(), 1, "{points}");
    env.run(["verify", "--read-data"]).code(0);
    let target = env.path("restored");
    env.run(["restore", "files.home", "--verify", "--to", target.to_str().unwrap()]).code(0);
    tree::assert_same(&env.source(), &target.join(env.source().strip_prefix("/").unwrap()));
}

/// restic finds the repository in order, restores what holdall saved, and leaves it so that holdall goes on.
fn restic_agrees(env: &TestEnv, repository: &str) {
    env.restic_at(repository, ["check", "--read-data"]).code(0).stdout_has("no errors were found");
    let target = env.path("restored by restic");
    env.restic_at(repository, ["restore", "latest", "--target", target.to_str().unwrap()]).code(0);
    tree::assert_same(&env.source(), &target.join(env.source().strip_prefix("/").unwrap()));
    env.restic_at(repository, ["backup", env.source().join("etc").to_str().unwrap()]).code(0);
    env.run(["backup"]).code(0);
    env.run(["verify", "--read-data"]).code(0);
    assert_eq!(env.run(["list", "--json"]).code(0).json().as_array().unwrap().len(), 2);
}

#[test]
fn store_on_this_machine() {
    let env = TestEnv::new();
    configure(&env, env.store().to_str().unwrap(), "");
    round_trip(&env);
    restic_agrees(&env, env.store().to_str().unwrap());
    configure(&env, &format!("local:{}", env.store().display()), "");
    env.run(["list"]).code(0).stdout_has("files.home");
}

#[test]
fn store_on_s3() {
    let server = SeaweedFs::start();
    let env = TestEnv::new()
        .variable("AWS_ACCESS_KEY_ID", seaweed::ACCESS_KEY_ID)
        .variable("AWS_SECRET_ACCESS_KEY", seaweed::SECRET_ACCESS_KEY);
    let repository = server.repository("nas/holdall");
    configure(&env, &repository, "");
    round_trip(&env);
    restic_agrees(&env, &repository);

    // The same with the login in the configuration, and with wrong ones.
    let stranger = TestEnv::new();
    let key = |secret: &str| {
        stranger.write_secret("s3.key", secret);
        format!("access-key-id = \"{}\"\nsecret-access-key-file = \"{{root}}/s3.key\"", seaweed::ACCESS_KEY_ID)
    };
    configure(&stranger, &repository, &key(seaweed::SECRET_ACCESS_KEY));
    stranger.run(["list"]).code(0).stdout_has("files.home");
    configure(&stranger, &repository, &key("wrong-secret"));
    is_clear(stranger.run(["list"]), "SignatureDoesNotMatch", "hint: Check the login under [store.options]");
    is_clear(stranger.run(["onboard", "store"]), "SignatureDoesNotMatch", "hint: Check the login");
    configure(&stranger, &repository, "");
    is_clear(stranger.run(["list"]), "signing credential", "hint: Check the login under [store.options]");
    configure(&stranger, &repository.replace(seaweed::BUCKET, "nothing"), &key(seaweed::SECRET_ACCESS_KEY));
    is_clear(stranger.run(["list"]), "NoSuchBucket", "hint: Make the bucket first");
    is_clear(stranger.run(["onboard", "store"]), "NoSuchBucket", "hint: Make the bucket first");
}

#[test]
fn store_on_a_rest_server() {
    let server = RcloneRest::start();
    let env = TestEnv::new();
    let login = |env: &TestEnv, password: &str| {
        env.write_secret("rest.password", password);
        format!("username = \"{}\"\npassword-file = \"{{root}}/rest.password\"", rclone::USER)
    };
    let repository = server.repository_without_password("nas/holdall");
    configure(&env, &repository, &login(&env, rclone::PASSWORD));
    round_trip(&env);
    restic_agrees(&env, &server.repository("nas/holdall"));

    configure(&env, &repository, &login(&env, "wrong-secret"));
    for command in [&["list"][..], &["backup"], &["onboard", "store"]] {
        is_clear(env.run(command), "401 Unauthorized", "hint: Check the login under [store.options]");
    }
    configure(&env, &server.repository_without_password("elsewhere"), &login(&env, rclone::PASSWORD));
    env.run(["list"]).code(10);
}

#[test]
fn store_on_a_rest_server_without_login() {
    let server = RcloneRest::start_open();
    let env = TestEnv::new();
    let repository = server.repository_without_password("holdall");
    configure(&env, &repository, "");
    round_trip(&env);
    restic_agrees(&env, &repository);
}

#[test]
fn store_on_a_webdav_server() {
    let server = RcloneWebdav::start();
    let env = TestEnv::new();
    let login = |password: &str| {
        env.write_secret("webdav.password", password);
        format!("username = \"{}\"\npassword-file = \"{{root}}/webdav.password\"", rclone::USER)
    };
    configure(&env, &server.repository("nas/holdall"), &login(rclone::PASSWORD));
    round_trip(&env);
    // restic has no WebDAV; it reads the files of the server.
    restic_agrees(&env, server.directory("nas/holdall").to_str().unwrap());
    configure(&env, &server.repository("nas/holdall"), &login("wrong-secret"));
    is_clear(env.run(["list"]), "401 Unauthorized", "hint: Check the login under [store.options]");
}

#[test]
fn store_behind_rclone() {
    let env = TestEnv::new();
    let conf = env.write_secret("rclone.conf", "[disk]\ntype = local\n");
    let env = env.variable("RCLONE_CONFIG", conf);
    let repository = format!("rclone:disk:{}/nas/holdall", env.root().display());
    configure(&env, &repository, "");
    round_trip(&env);
    restic_agrees(&env, &repository);
    configure(&env, "rclone:nothing:holdall", "");
    is_clear(env.run(["list"]), "rclone exited before it could start the REST server", "hint: ");
}

#[test]
fn store_on_an_sftp_server() {
    let server = Sshd::start();
    let env = TestEnv::new();
    let options =
        format!("key = \"{}\"\nknown-hosts = \"{}\"", server.key_file().display(), server.known_hosts().display());
    let repository = server.repository("nas/holdall");
    configure(&env, &repository, &options);
    round_trip(&env);
    let left: Vec<_> = fs::read_dir(server.data().join("nas/holdall/snapshots")).unwrap().collect();
    assert_eq!(left.len(), 1, "files appear under their names only: {left:?}");
    // restic takes key and known hosts from the user's `ssh`.
    let env = env.path_first(server.client_path());
    restic_agrees(&env, &repository);
    let in_other_spelling = server.data().join("nas/holdall");
    configure(
        &env,
        &format!("sftp:127.0.0.1:{}", in_other_spelling.display()),
        &format!("{options}\nport = {}\nuser = \"{}\"", server.port, server.user),
    );
    env.run(["list"]).code(0).stdout_has("files.home");
    // Neither in the home directory nor anywhere else.
    assert_eq!(fs::read_dir(env.path("home")).unwrap().count(), 0);

    // A place that is only looked at stays as it is.
    configure(&env, &server.repository("elsewhere/holdall"), &options);
    env.run(["list"]).code(10);
    assert!(!server.data().join("elsewhere").exists());

    configure(&env, &repository, &options);
    let allowed = server.key_file().with_file_name("authorized_keys");
    let keys = fs::read(&allowed).unwrap();
    fs::write(&allowed, "").unwrap();
    is_clear(env.run(["list"]), "Permission denied (publickey)", "hint: Check the login under [store.options]");
    fs::write(&allowed, keys).unwrap();
    let known = fs::read(server.known_hosts()).unwrap();
    fs::write(server.known_hosts(), "").unwrap();
    is_clear(env.run(["list"]), "Host key verification failed", "hint: Connect once with `ssh`");
    fs::write(server.known_hosts(), known).unwrap();
    server.forget_host_key();
    is_clear(
        env.run(["backup"]),
        "the server shows another host key than the known one: SHA256:",
        "hint: Find out why",
    );
}

#[test]
fn sftp_needs_no_home_and_leaves_no_process_behind() {
    let server = Sshd::start();
    let env = TestEnv::new().file("a", noise(1, 100_000));
    let options =
        format!("key = \"{}\"\nknown-hosts = \"{}\"", server.key_file().display(), server.known_hosts().display());
    configure(&env, &server.repository("holdall"), &options);
    env.run(["onboard", "store"]).code(0);
    let mut backup = env.command(env!("CARGO_BIN_EXE_holdall"));
    backup.arg("backup").env_remove("HOME").env_remove("XDG_CONFIG_HOME").env("HOLDALL_CONFIG", env.config_file());
    finish(backup).code(0);
    // Each has the host's key file in its arguments, which are this test's own.
    let mut pgrep = env.command("pgrep");
    pgrep.arg("-f").arg(server.known_hosts());
    finish(pgrep).code(1);
}

#[test]
fn server_that_is_not_there_is_an_error_with_a_hint() {
    let env = TestEnv::new();
    let [port] = free_ports();
    let unreachable = [
        (
            format!("s3:http://127.0.0.1:{port}/bucket/x"),
            "access-key-id = \"x\"\nsecret-access-key-file = \"{root}/key\"\n",
        ),
        (format!("rest:http://127.0.0.1:{port}/x"), ""),
        (format!("webdav:http://127.0.0.1:{port}/x"), ""),
        (format!("sftp://127.0.0.1:{port}//x"), ""),
    ];
    env.write_secret("key", "wrong-secret");
    for (repository, options) in unreachable {
        configure(&env, &repository, &format!("{options}retry = 0"));
        is_clear(env.run(["list"]), "Connection refused", "hint: Is the server running and within reach?");
        is_clear(env.run(["-vv", "backup"]), "Connection refused", "hint: Is the server running and within reach?");
    }
    for repository in ["rest:http://nas.invalid/x", "webdav:http://nas.invalid/x", "sftp:nas.invalid:/x"] {
        configure(&env, repository, "retry = 0");
        is_clear(env.run(["list"]), "nas.invalid", "hint: Is the server running and within reach?");
    }
    // A server without https, asked in https.
    let plain = RcloneRest::start_open();
    configure(&env, &format!("rest:https://127.0.0.1:{}/x", plain.port), "retry = 0");
    is_clear(env.run(["list"]), "InvalidContentType", "hint: Check that the server speaks https");
}
