//! Whom we talk to: only a machine with the key that was pinned is told anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::env::{TestEnv, finish};
use super::support::sshd::{Account, KeyType, Login, Sshd};
use super::{PASSWORD, SOURCE, check, env, fails, pinned, text, with_key, with_store, with_store_and};

const KEYS: [KeyType; 3] = [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa];

/// A table that finds the key of this server in a file of known hosts.
fn known(server: &Sshd, file: &Path) -> String {
    let pin = format!("host-key = \"{}\"", server.fingerprint(KeyType::Ed25519));
    with_key(server).replace(&pin, &format!("known-hosts = \"{}\"", file.display()))
}

/// The public host key of a server, as its known hosts have it: type and base64.
fn public_key(server: &Sshd) -> String {
    text(&server.known_hosts()).lines().next().unwrap().split_once(' ').unwrap().1.to_owned()
}

fn configure(env: &TestEnv, table: &str) {
    env.configure(&format!("{table}{SOURCE}"));
}

#[test]
fn any_key_of_a_server_may_be_pinned() {
    let (server, env) = (Sshd::builder().host_keys(&KEYS).start(), with_store());
    let first = server.fingerprint(KeyType::Ed25519);
    for kind in KEYS {
        configure(&env, &with_key(&server).replace(&first, &server.fingerprint(kind)));
        check(&env).ready();
    }
    let another = Sshd::builder().start().fingerprint(KeyType::Ed25519);
    configure(&env, &with_key(&server).replace(&first, &another));
    let shown = KEYS.map(|kind| server.fingerprint(kind));
    check(&env).fails(&[&shown[..].iter().map(String::as_str).collect::<Vec<_>>()[..], &[&another]].concat());
}

#[test]
fn pinned_key_is_looked_for_once_in_a_run() {
    let server = Sshd::builder().host_keys(&KEYS).start();
    let table = with_key(&server).replace(&server.fingerprint(KeyType::Ed25519), &server.fingerprint(KeyType::Rsa));
    let dump = "[[ssh.box.dump]]\ncommand = [\"true\"]\nfile = \"empty\"\n";
    let env = with_store_and(&format!("{table}{SOURCE}{dump}"));
    super::backup(&env).code(0);
    // Two other keys come before it at first; the dump has a connection of its own.
    assert_eq!(server.daemon.log().matches("Connection from").count(), 3 + 1, "{}", server.daemon.log());
}

#[test]
fn known_hosts_are_found_whatever_else_the_file_has() {
    let (server, env) = (Sshd::builder().host_keys(&KEYS).start(), with_store());
    let file = env.path("known_hosts");
    let lines = text(&server.known_hosts());
    let odd = format!(
        "# comment\n\n@cert-authority *.lan {}\nother ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUNeW4UdZzQp2S8fIrmK0jgMWB1dHWAcOZmTe6Zj0pi\n\
         sk sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIHUNeW4UdZzQp2S8fIrmK0jgMWB1dHWAcOZmTe6Zj0piAAAABHNzaDo=\n\
         legacy 2048 35 1234567\n",
        public_key(&server)
    );
    fs::write(&file, format!("{odd}{lines}")).unwrap();
    configure(&env, &known(&server, &file));
    check(&env).ready();
    // Only the last type of key is known.
    fs::write(&file, lines.lines().last().unwrap()).unwrap();
    check(&env).ready();
    // As `HashKnownHosts yes` writes it.
    fs::write(&file, &lines).unwrap();
    let mut hash = Command::new("ssh-keygen");
    hash.arg("-H").arg("-f").arg(&file);
    finish(hash).code(0);
    assert!(!text(&file).contains("127.0.0.1") && text(&file).starts_with("|1|"), "{}", text(&file));
    check(&env).ready();
}

#[test]
fn host_that_is_not_known_is_refused_and_not_learnt() {
    let (server, env) = (Sshd::builder().start(), with_store());
    let file = env.path("known_hosts");
    configure(&env, &known(&server, &file));
    check(&env).fails(&["read the known hosts in", "known_hosts: "]);
    // The same key, under the name of another port, and another key under its name.
    let key = public_key(&server);
    let other = public_key(&Sshd::builder().start());
    let here = format!("[127.0.0.1]:{}", server.port);
    for lines in [String::new(), format!("[127.0.0.1]:1 {key}\n"), format!("{here} {other}\n")] {
        fs::write(&file, &lines).unwrap();
        let fingerprint = server.fingerprint(KeyType::Ed25519);
        check(&env).fails(&["127.0.0.1", file.to_str().unwrap(), &fingerprint]).hints("nothing was sent");
        assert_eq!(text(&file), lines);
    }
    // It was taken back.
    fs::write(&file, format!("{here} {key}\n@revoked * {key}\n")).unwrap();
    check(&env).fails(&["is revoked in", file.to_str().unwrap()]);
}

#[test]
fn machine_with_another_key_gets_nothing_and_nothing_is_learnt() {
    let account = || Account::new("alice").password(PASSWORD);
    let server = Sshd::builder().account(account()).login(Login::Password).start();
    let env = env(&format!("{}password-file = \"{{root}}/box.password\"\n", pinned(&server))).file("file", "content");
    env.write_secret("box.password", PASSWORD);
    super::saves(&env);
    let (port, pin, config) = (server.port, server.fingerprint(KeyType::Ed25519), text(&env.config_file()));
    drop(server);
    let impostor = Sshd::builder().account(account()).login(Login::Password).host_keys(&KEYS).port(port).start();
    let shown = impostor.fingerprint(KeyType::Ed25519);
    for _ in 0..2 {
        let item = fails(&env, &["127.0.0.1 is not the machine it was", &pin, &shown]);
        assert!(item["hint"].as_str().unwrap().contains("Somebody may be in between: nothing was sent."), "{item}");
    }
    assert_eq!(text(&env.config_file()), config);
    let log = impostor.daemon.log();
    assert!(log.contains("Connection from 127.0.0.1"), "{log}");
    for word in ["alice", "Failed", "Accepted", "userauth"] {
        assert!(!log.contains(word), "{log}");
    }
}
