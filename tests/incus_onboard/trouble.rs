//! Tokens that are not good, servers that are not the ones that were meant, and keys that cannot be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::setup::{Setup, trusted, unused_tokens};
use crate::support::incus_bench::make_identity;

#[test]
fn token_that_has_ended_is_refused_before_anything_is_sent_or_made() {
    let setup = Setup::new();
    let good = setup.token(&setup.source, &[]);
    let text = fs::read_to_string(&good).unwrap();
    let mut token: Value = serde_json::from_slice(&STANDARD.decode(text.trim()).unwrap()).unwrap();
    token["expires_at"] = "2026-02-05T12:00:00Z".into();
    let ended = setup.env.write_secret("ended", &STANDARD.encode(token.to_string())).display().to_string();
    setup
        .onboard(&["--source-token-file", &ended, "--target-token-file", &good])
        .code(2)
        .stderr_has("the token ended at 2026-02-05 12:00:00 UTC")
        .stderr_has("`incus config trust add holdall --restricted --projects default`");
    let garbage = setup.env.write_secret("garbage", "hunter2 hunter2").display().to_string();
    let outcome = setup.onboard(&["--source-token-file", &garbage]).code(2).stderr_has("it is no base64");
    outcome.stderr_has("take the token of the source from").stderr_lacks("hunter2");
    setup.onboard(&["--source-token-file", "/nonexistent"]).code(2).stderr_has("read the token from /nonexistent");
    setup
        .env
        .run(["onboard", "incus", "lab", "--source-token-file", &good])
        .code(2)
        .stderr_has("--source-url is missing");
    setup.onboard(&[]).code(2).stderr_has("there is no token of it").stderr_has("--source-token-file");
    assert!(!setup.credentials().exists() && !setup.env.config_file().exists());
    assert_eq!((trusted(&setup.source).len(), unused_tokens(&setup.source)), (0, 1));
}

#[test]
fn token_of_another_server_is_not_sent_and_both_fingerprints_are_shown() {
    let setup = Setup::new();
    let [source, target] = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    let print = |token: &String| {
        let json = STANDARD.decode(fs::read_to_string(token).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&json).unwrap()["fingerprint"].as_str().unwrap().to_owned()
    };
    setup
        .onboard(&["--source-token-file", &target, "--target-token-file", &source])
        .code(1)
        .stderr_has(&format!("token:  {}", print(&target)))
        .stderr_has(&format!("server: {}", print(&source)))
        .stderr_has("nothing was sent to it");
    setup
        .onboard(&["--source-token-file", &source, "--target-token-file", &source])
        .code(2)
        .stderr_has("both tokens are of the same server");
    assert!(!setup.env.config_file().exists() && !setup.credentials().join("servers").exists());
    for server in [&setup.source, &setup.target] {
        assert_eq!((trusted(server).len(), unused_tokens(server)), (0, 1));
    }
}

#[test]
fn used_token_is_refused_in_the_words_of_the_server_and_half_an_onboarding_goes_on() {
    let setup = Setup::new();
    let other = Setup { env: crate::support::env::TestEnv::new(), ..Setup::new() };
    let used = setup.token(&setup.target, &[]);
    let url = setup.target.url();
    let words = ["onboard", "incus", "lab", "--source-url", &url, "--source-token-file", &used];
    other.env.run(words).code(0);

    let source = setup.token(&setup.source, &[]);
    let tokens = ["--source-token-file", &source, "--target-token-file", &used];
    setup
        .onboard(&tokens)
        .code(1)
        .stderr_has("the server does not take the token")
        .stderr_has("No matching certificate add operation found")
        .stderr_has("each is good once");
    assert!(!setup.env.config_file().exists() && !setup.pin(&setup.target).exists());
    assert_eq!((trusted(&setup.source).len(), trusted(&setup.target).len()), (1, 1));

    let target = setup.token(&setup.target, &[]);
    setup
        .onboard(&["--source-token-file", &source, "--target-token-file", &target])
        .code(0)
        .stderr_has("it trusts us already")
        .stderr_has("it trusts us now");
}

#[test]
fn key_that_cannot_be_used_is_an_error_and_stays_as_it_is() {
    let setup = Setup::new();
    let [source, target] = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    let arguments = ["--source-token-file", &source, "--target-token-file", &target];
    fs::create_dir_all(setup.credentials()).unwrap();
    let key = setup.credentials().join("client.key");
    for (content, mode, expected) in [
        ("garbage", 0o600, "is not a private key"),
        ("garbage", 0o644, "others than its owner can read or write it"),
        ("", 0o600, "it is empty"),
    ] {
        fs::write(&key, content).unwrap();
        fs::write(setup.credentials().join("client.crt"), "").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        setup.onboard(&arguments).code(1).stderr_has(expected);
        assert_eq!(fs::read_to_string(&key).unwrap(), content);
    }
    fs::set_permissions(&key, Permissions::from_mode(0o000)).unwrap();
    let Setup { env, source, target } = setup;
    let setup = Setup { env: env.without_override(), source, target };
    setup.onboard(&arguments).code(1).stderr_has("Permission denied");
    assert!(!setup.env.config_file().exists());
    assert_eq!((trusted(&setup.source).len(), unused_tokens(&setup.source)), (0, 1));
}

#[test]
fn server_with_a_new_certificate_is_stopped_at_until_it_is_onboarded_by_force() {
    let mut setup = Setup::new();
    let [source, target] = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    setup.onboard(&["--source-token-file", &source, "--target-token-file", &target]).code(0);
    let pinned = fs::read(setup.pin(&setup.source)).unwrap();
    setup.source.kill();
    for file in ["server.crt", "server.key"] {
        fs::remove_file(setup.source.dir().join(file)).unwrap();
    }
    setup.source.restart();

    setup.env.run(["list", "incus.lab"]).code(1).stderr_has("another certificate than the one that was pinned");
    let source = setup.token(&setup.source, &[]);
    setup.onboard(&["--source-token-file", &source]).code(2).stderr_has("has [incus.lab] already");
    let other = |rest: &[&str]| {
        let words = ["onboard", "incus", "two", "--source-url", &setup.source.url(), "--source-token-file", &source];
        setup.env.run(words.iter().chain(rest))
    };
    other(&[]).code(2).stderr_has("than the one that is pinned for this server").stderr_has("add --force");
    assert_eq!(fs::read(setup.pin(&setup.source)).unwrap(), pinned);
    let before = setup.config().replace("\"*\"", "\"c*\"");
    setup.env.config(&before);
    let renew = ["onboard", "incus", "lab", "--source-token-file", &source];
    setup.env.run(renew).code(2).stderr_has("add --force");
    setup.env.run(renew.iter().chain(&["--force"])).code(0).stderr_has("[incus.lab] stays as it is.");
    assert_eq!(setup.config(), before);
    assert_ne!(fs::read(setup.pin(&setup.source)).unwrap(), pinned);
    setup.env.run(["list", "incus.lab"]).code(0);
}

#[test]
fn one_server_under_two_names_is_no_pair() {
    let setup = Setup::new();
    let source = setup.token(&setup.source, &[]);
    let url = setup.source.url();
    setup.env.run(["onboard", "incus", "lab", "--source-url", &url, "--source-token-file", &source]).code(0);
    let before = setup.config();
    let alias = url.replace("127.0.0.1", "localhost");
    fs::copy(
        setup.pin(&setup.source),
        setup.credentials().join(format!("servers/localhost_{}.pem", setup.source.port())),
    )
    .unwrap();
    setup
        .env
        .run(["onboard", "incus", "lab", "--source-url", &url, "--target-url", &alias, "--force"])
        .code(2)
        .stderr_has("are the same server");
    assert_eq!(setup.config(), before);
}

#[test]
fn certificate_that_ends_within_thirty_days_is_told_of_when_onboarding_and_in_each_run() {
    let setup = Setup::new();
    let [source, target] = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    fs::create_dir_all(setup.credentials()).unwrap();
    make_identity(&setup.credentials(), 29);
    let warning = "client.crt ends in 28 days, on ";
    setup.onboard(&["--source-token-file", &source, "--target-token-file", &target]).code(0).stderr_has(warning);
    setup.env.run(["backup"]).code(0).stderr_has(warning).stderr_has("run `holdall onboard incus lab` with them");

    for file in ["client.key", "client.crt"] {
        fs::remove_file(setup.credentials().join(file)).unwrap();
    }
    let [source, target] = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    let words = ["onboard", "incus", "lab", "--source-token-file", &source, "--target-token-file", &target];
    setup.env.run(words).code(0).stderr_has("[incus.lab] stays as it is.").stderr_lacks("Warning");
    setup.env.run(["backup"]).code(0).stderr_lacks(warning);
}
