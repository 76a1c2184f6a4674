//! A machine behind another one.

use super::support::env::TestEnv;
use super::support::sshd::{Account, KeyType, Sshd};
use super::{SOURCE, backup, check, fails, saves, with_key, with_store};
use crate::support::tree::noise;

struct Both {
    bastion: Sshd,
    server: Sshd,
    env: TestEnv,
}

impl Both {
    fn start() -> Self {
        let bastion = Sshd::builder().account(Account::new("jump")).bastion().start();
        let server = Sshd::builder().start();
        bastion.authorize(&server.key_file());
        let env = with_store();
        let both = Self { bastion, server, env };
        both.configure(&both.bastion.fingerprint(KeyType::Ed25519), "");
        both
    }

    fn configure(&self, jump_key: &str, more: &str) {
        let (server, port) = (with_key(&self.server), self.bastion.port);
        let jump = format!("jump = \"jump@127.0.0.1:{port}\"\njump-host-key = \"{jump_key}\"\n");
        self.env.configure(&format!("{server}{jump}{more}{SOURCE}"));
    }
}

#[test]
fn machine_behind_another_one_is_backed_up_through_it() {
    let both = Both::start();
    both.env.write("small", "content");
    // More than the windows of both connections hold.
    both.env.write("large", noise(1, 12 << 20));
    saves(&both.env);
    assert!(both.bastion.daemon.log().contains("Accepted publickey for jump"));
    let log = both.server.daemon.log();
    assert!(log.contains("Accepted publickey for root"), "{log}");
}

#[test]
fn wrong_machine_on_the_way_gets_nothing() {
    let both = Both::start();
    let wrong = both.server.fingerprint(KeyType::Ed25519);
    both.configure(&wrong, "optional = true\n");
    let shown = both.bastion.fingerprint(KeyType::Ed25519);
    let checked = check(&both.env).fails(&["go through 127.0.0.1", "is not the machine it was", &wrong, &shown]);
    checked.hints("change `jump-host-key`");
    assert!(!both.bastion.daemon.log().contains("jump"), "{}", both.bastion.daemon.log());
    assert!(!both.server.daemon.log().contains("Connection from"), "{}", both.server.daemon.log());
}

#[test]
fn machine_that_the_one_on_the_way_cannot_reach_is_named() {
    let mut both = Both::start();
    let (port, pin) = (both.server.port, both.bastion.fingerprint(KeyType::Ed25519));
    both.server.daemon.kill();
    let reason = format!("127.0.0.1 cannot reach 127.0.0.1:{port}");
    fails(&both.env, &["log in on 127.0.0.1", &reason]);
    both.configure(&pin, "optional = true\n");
    let outcome = backup(&both.env).code(0);
    assert_eq!(outcome.line("item")["outcome"], "away", "{outcome:?}");
}

#[test]
fn machine_on_the_way_that_does_not_answer_or_lets_nobody_in_is_named() {
    let mut both = Both::start();
    let pin = both.bastion.fingerprint(KeyType::Ed25519);
    let port = both.bastion.port;
    both.env.configure(&format!(
        "{}jump = \"stranger@127.0.0.1:{port}\"\njump-host-key = \"{pin}\"\n{SOURCE}",
        with_key(&both.server)
    ));
    check(&both.env).fails(&["go through 127.0.0.1", "127.0.0.1 does not let stranger in"]);
    both.configure(&pin, "");
    both.bastion.daemon.kill();
    fails(&both.env, &["go through 127.0.0.1", &format!("cannot reach 127.0.0.1:{port}: Connection refused")]);
}
