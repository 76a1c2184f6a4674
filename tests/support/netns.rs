//! A network that can go dead: a client and a server, and a router between them that stops forwarding when a test says so.
//!
//! Packets then vanish without a word, as they do when somebody pulls a plug further away: no side sees its line go down, none is told that
//! the other cannot be reached. All three stand in network namespaces without a name, those of one process each: nothing
//! of the machine's own network is touched, and nothing remains when the processes end. It takes root.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Pid;
use tempfile::TempDir;

use super::daemon::Daemon;
use super::env::finish;

/// A running network; gone when dropped.
#[derive(Debug)]
pub struct Network {
    client: Daemon,
    router: Daemon,
    server: Daemon,
    _logs: TempDir,
}

impl Network {
    /// The address of the server, as the client reaches it.
    pub const SERVER: &str = "10.98.2.2";
    const CLIENT: &str = "10.98.1.2";

    /// Makes the network; packets go through.
    pub fn start() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes a network: run it as root");
        let logs = tempfile::Builder::new().prefix("holdall-net-").tempdir().unwrap();
        let [client, router, server] = ["client", "router", "server"].map(|name| namespace(&logs.path().join(name)));
        let network = Self { client, router, server, _logs: logs };
        for (end, name, address) in
            [(&network.client, "client", Self::CLIENT), (&network.server, "server", Self::SERVER)]
        {
            let gateway = format!("{}1", address.trim_end_matches('2'));
            let run = |at: &Daemon, line: &str| run_in(at, ["ip"].into_iter().chain(line.split(' ')));
            run(&network.router, &format!("link add to-{name} type veth peer name line netns {}", raw(end.id())));
            run(&network.router, &format!("address add {gateway}/24 dev to-{name}"));
            run(&network.router, &format!("link set to-{name} up"));
            run(end, "link set lo up");
            run(end, &format!("address add {address}/24 dev line"));
            run(end, "link set line up");
            run(end, &format!("route add default via {gateway}"));
        }
        network.join();
        network
    }

    /// From now on no packet arrives at the other side, and nobody is told.
    pub fn cut(&self) {
        self.forward(false);
    }

    /// Packets go through again.
    pub fn join(&self) {
        self.forward(true);
    }

    /// What comes before a command so that it runs on the client's side.
    pub fn at_client(&self) -> Vec<OsString> {
        enter(&self.client)
    }

    /// What comes before a command so that it runs on the server's side.
    pub fn at_server(&self) -> Vec<OsString> {
        enter(&self.server)
    }

    fn forward(&self, does: bool) {
        // This file is about the network namespace of whoever opens it.
        run_in(&self.router, ["sh", "-c", &format!("echo {} >/proc/sys/net/ipv4/ip_forward", i32::from(does))]);
    }
}

/// A process in a network namespace of its own.
fn namespace(log: &Path) -> Daemon {
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sleep", "infinity"]);
    let mut daemon = Daemon::start(command, log);
    let link = format!("/proc/{}/ns/net", raw(daemon.id()));
    // unshare becomes sleep: from then on the namespace of this process is the new one.
    daemon.wait_until(|| fs::read_link(&link).is_ok_and(|own| own != fs::read_link("/proc/self/ns/net").unwrap()));
    daemon
}

fn enter(place: &Daemon) -> Vec<OsString> {
    ["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", raw(place.id())), "--".to_owned()]
        .map(OsString::from)
        .into()
}

/// Runs a command there.
fn run_in<'w>(place: &Daemon, words: impl IntoIterator<Item = &'w str>) {
    let enter = enter(place);
    let mut command = Command::new(&enter[0]);
    command.args(&enter[1..]).args(words);
    finish(command).code(0);
}

fn raw(process: Pid) -> i32 {
    process.as_raw_nonzero().get()
}
