//! What lets us in, and what is said when nothing does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::env::TestEnv;
use super::support::ssh_agent::SshAgent;
use super::support::sshd::{Account, KeyType, Login, PASSPHRASE, Sshd};
use super::{PASSWORD, SOURCE, check, fails, pinned, saves, with_store};

fn configure(env: &TestEnv, server: &Sshd, lines: &str) {
    env.configure(&format!("{}{lines}\n{SOURCE}", pinned(server)));
}

fn key_file(key: &Path) -> String {
    format!("key-file = \"{}\"", key.display())
}

/// A server of somebody with [`PASSWORD`], and an environment with that in the file `box.password`.
fn with_password(login: Login) -> (Sshd, TestEnv) {
    let server = Sshd::builder().account(Account::new("alice").password(PASSWORD)).login(login).start();
    let env = with_store();
    env.write_secret("box.password", PASSWORD);
    env.write_secret("wrong.password", "a guess");
    (server, env)
}

const RIGHT: &str = "password-file = \"{root}/box.password\"";
const WRONG: &str = "password-file = \"{root}/wrong.password\"";

#[test]
fn keys_of_all_types_let_in() {
    let (server, env) = (Sshd::builder().start(), super::env("[ssh.box]\n").file("file", "content"));
    for kind in [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa] {
        configure(&env, &server, &key_file(&server.new_key(kind, false)));
        check(&env).ready();
    }
    saves(&env);
}

#[test]
fn locked_key_needs_its_passphrase() {
    let (server, env) = (Sshd::builder().start(), with_store());
    for kind in [KeyType::Ed25519, KeyType::Rsa] {
        let key = key_file(&server.new_key(kind, true));
        env.write_secret("passphrase", PASSPHRASE);
        configure(&env, &server, &format!("{key}\npassphrase-file = \"{{root}}/passphrase\""));
        check(&env).ready();
        env.write_secret("passphrase", "a guess");
        check(&env).fails(&["log in on 127.0.0.1", "does not open"]).hints("Is the passphrase right?");
        configure(&env, &server, &key);
        check(&env).fails(&["does not open"]).hints("name `passphrase-file`");
    }
}

#[test]
fn key_that_is_not_taken_is_told_with_what_the_server_offers() {
    let (server, env) = (Sshd::builder().start(), with_store());
    let other = Sshd::start();
    let key = key_file(&other.key_file());
    configure(&env, &server, &key);
    let item = fails(&env, &["log in on 127.0.0.1", "127.0.0.1 does not let root in", "client_key"]);
    assert!(item["hint"].as_str().unwrap().contains("The server offers: publickey."), "{item}");
}

#[test]
fn key_file_that_is_open_to_others_or_missing_is_refused() {
    let (server, env) = (Sshd::builder().start(), with_store());
    let key = server.key_file();
    configure(&env, &server, &key_file(&key));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    check(&env)
        .fails(&["others than its owner can read the key", "0640"])
        .hints(&format!("chmod 600 {}", key.display()));
    fs::remove_file(&key).unwrap();
    check(&env).fails(&["open the key", "client_key: No such file"]);
}

#[test]
fn agent_lets_in_with_keys_of_all_types() {
    let (server, env) = (Sshd::builder().start(), with_store());
    configure(&env, &server, "agent = true");
    check(&env).fails(&["ask the agent"]).hints("Is $SSH_AUTH_SOCK set?");
    for kind in [KeyType::Ecdsa, KeyType::Rsa] {
        let agent = SshAgent::start(&[&server.new_key(kind, true)]);
        let mut checked = env.holdall(["check", "ssh.box"]);
        checked.env("SSH_AUTH_SOCK", agent.socket());
        super::support::env::finish(checked).code(0).stdout_has("ssh.box: ready");
    }
    let other = Sshd::start();
    let agent = SshAgent::start(&[&other.key_file()]);
    let mut checked = env.holdall(["check", "ssh.box"]);
    checked.env("SSH_AUTH_SOCK", agent.socket());
    super::support::env::finish(checked).code(1).stdout_has("the agent: none of its 1 keys is taken");
}

#[test]
fn passwords_let_in_as_the_server_asks_for_them() {
    for (login, offers) in [(Login::Password, "password"), (Login::Keyboard, "keyboard-interactive")] {
        let (server, env) = with_password(login);
        configure(&env, &server, RIGHT);
        check(&env).ready();
        configure(&env, &server, WRONG);
        let wrong = check(&env).fails(&["127.0.0.1 does not let alice in", "the password"]);
        assert!(!wrong.detail.contains("a guess"), "{}", wrong.detail);
        wrong.hints(&format!("The server offers: {offers}."));
    }
}

#[test]
fn key_or_password_is_enough_where_the_server_takes_either() {
    let (server, env) = with_password(Login::KeyOrPassword);
    configure(&env, &server, RIGHT);
    check(&env).ready();
    // The key comes first, and the password is not even read.
    let key = key_file(&server.key_file());
    configure(&env, &server, &format!("{key}\npassword-file = \"{{root}}/missing\""));
    check(&env).ready();
    // A key that is not taken leaves the password.
    let other = Sshd::start();
    configure(&env, &server, &format!("{}\n{RIGHT}", key_file(&other.key_file())));
    check(&env).ready();
    configure(&env, &server, &format!("{}\n{WRONG}", key_file(&other.key_file())));
    check(&env).fails(&["does not let alice in", "client_key", "the password"]).hints("publickey, password");
}

#[test]
fn key_and_password_are_given_where_the_server_wants_both() {
    let (server, env) = with_password(Login::KeyAndPassword);
    let key = key_file(&server.key_file());
    configure(&env, &server, &format!("{key}\n{RIGHT}"));
    check(&env).ready();
    configure(&env, &server, &key);
    check(&env).fails(&["does not let alice in"]).hints("password");
}

#[test]
fn password_that_others_can_read_is_refused() {
    let (server, env) = with_password(Login::Password);
    configure(&env, &server, RIGHT);
    fs::set_permissions(env.path("box.password"), fs::Permissions::from_mode(0o644)).unwrap();
    check(&env).fails(&["box.password"]).hints("chmod 600");
}
