//! Machines that do not answer, each in its own way: a failure, or away where that was allowed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::support::daemon::free_ports;
use super::support::env::TestEnv;
use super::support::netns::Network;
use super::support::sshd::Sshd;
use super::{SOURCE, backup, check, env, fails, pinned, with_key, with_store};

/// A pin that no machine has.
const NOBODY: &str = "host-key = \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n";

/// A backup of a machine that does not answer fails for this reason, and where it is optional it is away for the same.
#[track_caller]
fn does_not_answer(env: &TestEnv, table: &str, reason: &str) {
    env.configure(&format!("{table}{SOURCE}"));
    fails(env, &["log in on", reason]);
    env.configure(&format!("{table}optional = true\n{SOURCE}"));
    let outcome = backup(env).code(0);
    let item = outcome.line("item");
    assert_eq!(item["outcome"], "away", "{item}");
    assert_eq!(outcome.line("summary")["items"]["away"], 1);
    assert!(check(env).detail.contains(reason));
}

#[test]
fn name_that_nobody_has_and_port_where_nobody_listens() {
    let env = with_store();
    let agent = "agent = true\nconnect-timeout = \"5s\"\n";
    does_not_answer(
        &env,
        &format!("[ssh.box]\nhost = \"nobody.invalid\"\n{NOBODY}{agent}"),
        "cannot reach nobody.invalid:22",
    );
    let [port] = free_ports();
    let table = format!("[ssh.box]\nhost = \"127.0.0.1\"\nport = {port}\n{NOBODY}{agent}");
    does_not_answer(&env, &table, &format!("cannot reach 127.0.0.1:{port}: Connection refused"));
}

#[test]
fn host_that_is_off() {
    let network = Network::start();
    let server = Sshd::builder().inside(&network).start();
    let env = env(&with_key(&server)).file("file", "content").within(network.at_client());
    network.cut();
    let table = format!("{}connect-timeout = \"1s\"\n", with_key(&server));
    does_not_answer(&env, &table, &format!("cannot reach 10.98.2.2:{}", server.port));
    network.join();
    backup(&env).code(0);
}

#[test]
fn host_that_takes_the_connection_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let env = with_store();
    let table =
        format!("[ssh.box]\nhost = \"127.0.0.1\"\nport = {port}\n{NOBODY}agent = true\nconnect-timeout = \"1s\"\n");
    let begun = Instant::now();
    does_not_answer(&env, &table, "takes the connection and says nothing");
    // Each of the three runs waited for its second, and not for the minute that nobody answers in.
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn host_that_falls_silent_while_somebody_logs_in_is_not_away() {
    let asks = "AuthorizedKeysCommand /bin/sleep 3600\nAuthorizedKeysCommandUser root";
    let (server, other) = (Sshd::builder().config(asks).start(), Sshd::start());
    let env = with_store();
    let key = other.key_file();
    let table = pinned(&server);
    env.configure(&format!(
        "{table}key-file = \"{}\"\nconnect-timeout = \"1s\"\noptional = true\n{SOURCE}",
        key.display()
    ));
    fails(&env, &["log in on 127.0.0.1", "the connection broke off while root was logging in on 127.0.0.1"]);
}
