//! What breaks while a machine is read: connections, networks, machines, and holdall itself. Nothing that looks whole remains, and the next
//! run goes on.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::daemon::Daemon;
use super::support::env::TestEnv;
use super::support::netns::Network;
use super::support::sshd::{Account, Sshd};
use super::{env, failed, item_of, points, running, saves, start_backup, wait_for, with_key};
use crate::support::tree::noise;

/// A run that is to end does so within this.
const SOON: Duration = Duration::from_secs(60);

/// A machine on which a program stops half-way, and what is backed up from it.
struct Held {
    server: Sshd,
    env: TestEnv,
}

/// A tar whose output stops half-way, as on a disk that does not answer any more.
const SLOW_TAR: &str = "#!/bin/sh\ncase \" $* \" in *' --create '*) ;; *) exec /usr/bin/tar \"$@\";; esac\n\
    /usr/bin/tar \"$@\" | { head -c 3000000; touch \"$HOME/half\"; sleep 3600 & wait; }\n";

/// The same for find.
const SLOW_FIND: &str = "#!/bin/sh\ncase \" $* \" in *' -maxdepth '*|*' --version '*) exec /usr/bin/find \"$@\";; esac\n\
    /usr/bin/find \"$@\" | head -c 300; touch \"$HOME/half\"; sleep 3600 & wait\n";

impl Held {
    /// A machine whose `program` stops half-way.
    fn start(program: &str, script: &str, table: &str) -> Self {
        let profile =
            Account::new("root").shell("/bin/bash").file(".bashrc", "PATH=$HOME/bin:$PATH\n").file(program, script);
        let server = Sshd::builder().account(profile).start();
        Self::on(server, program, table)
    }

    fn on(server: Sshd, program: &str, table: &str) -> Self {
        let program = server.home("root").join(program);
        fs::set_permissions(program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let env = env(&format!("{}{table}", with_key(&server)));
        for file in 0..20 {
            env.write(format!("small/{file}"), noise(file, 100 + file as usize));
        }
        env.write("large", noise(1, 4 << 20));
        env.write("other", noise(2, 2 << 20));
        Self { server, env }
    }

    /// A backup that is half-way.
    fn half_way(&self) -> Daemon {
        let half = self.server.home("root").join("half");
        drop(fs::remove_file(&half));
        let mut run = start_backup(&self.env);
        run.wait_until(|| half.exists());
        run
    }

    /// The run fails for these reasons and leaves no point; without the slow program the next one saves everything.
    #[track_caller]
    fn fails_and_goes_on(&self, mut run: Daemon, reasons: &[&str]) {
        assert_eq!(run.wait(SOON).code(), Some(1), "{}", run.log());
        failed(&item_of(&run), reasons);
        assert_eq!(points(&self.env), Vec::<String>::new());
        self.goes_on();
    }

    #[track_caller]
    fn goes_on(&self) {
        fs::remove_dir_all(self.server.home("root").join("bin")).unwrap();
        saves(&self.env);
    }
}

const TAR: (&str, &str) = ("bin/tar", SLOW_TAR);
const FIND: (&str, &str) = ("bin/find", SLOW_FIND);

#[test]
fn connection_that_breaks_off_leaves_no_point() {
    for (program, script) in [TAR, FIND] {
        let held = Held::start(program, script, "");
        let run = held.half_way();
        held.server.kill_sessions();
        held.fails_and_goes_on(run, &["the connection to 127.0.0.1 broke off"]);
    }
}

#[test]
fn machine_that_falls_silent_is_given_up() {
    for (program, script) in [TAR, FIND] {
        let held = Held::start(program, script, "idle-timeout = \"2s\"\n");
        let run = held.half_way();
        held.server.stall_sessions();
        held.fails_and_goes_on(run, &["127.0.0.1 said nothing for 2.0s"]);
    }
}

#[test]
fn program_that_is_ended_there_leaves_no_point() {
    for ((program, script), reason) in [(TAR, "tar"), (FIND, "Killed")] {
        let held = Held::start(program, script, "");
        let run = held.half_way();
        // The shell in its place, and what it runs: it may be about to start more.
        let is_of_it = |process: &Pid| {
            let line = fs::read_to_string(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap_or_default();
            line.contains(program) || line.starts_with("sleep")
        };
        wait_for(|| {
            let left: Vec<Pid> = held.server.sessions().into_iter().filter(is_of_it).collect();
            for &process in &left {
                // It may have ended by itself.
                let _ = kill_process(process, Signal::KILL);
            }
            left.is_empty()
        });
        held.fails_and_goes_on(run, &[reason]);
    }
}

#[test]
fn network_that_is_cut_is_noticed() {
    let network = Network::start();
    let (program, script) = TAR;
    let profile =
        Account::new("root").shell("/bin/bash").file(".bashrc", "PATH=$HOME/bin:$PATH\n").file(program, script);
    let server = Sshd::builder().account(profile).inside(&network).start();
    let mut held = Held::on(server, program, "idle-timeout = \"2s\"\n");
    held.env = held.env.within(network.at_client());
    let run = held.half_way();
    network.cut();
    let mut run = run;
    assert_eq!(run.wait(SOON).code(), Some(1), "{}", run.log());
    network.join();
    failed(&item_of(&run), &["10.98.2.2 said nothing for 2.0s"]);
    assert_eq!(points(&held.env), Vec::<String>::new());
    held.goes_on();
}

#[test]
fn holdall_that_is_ended_leaves_nothing_running_and_runs_after() {
    let (program, script) = TAR;
    for (signal, code) in [(Signal::TERM, Some(143)), (Signal::INT, Some(130)), (Signal::KILL, None)] {
        let script = script.replace("sleep 3600 & wait;", "until [ -e \"$HOME/go\" ]; do sleep 0.05; done; cat;");
        let held = Held::start(program, &script, "after = [\"touch\", \"{root}/after\"]\n");
        // More than fits into what lies between tar and a holdall that is stopped: tar has not ended when the signal comes.
        held.env.write("large", noise(3, 20 << 20));
        let mut run = held.half_way();
        run.signal(Signal::STOP);
        fs::write(held.server.home("root").join("go"), "").unwrap();
        assert!(running(&held.server, "tar") > 0, "{}", run.log());
        run.signal(signal);
        run.signal(Signal::CONT);
        assert_eq!(run.wait(SOON).code(), code, "{}", run.log());
        assert_eq!(held.env.path("after").exists(), signal != Signal::KILL);
        wait_for(|| ["tar", "find", "sh", "cat"].iter().all(|name| running(&held.server, name) == 0));
        assert_eq!(points(&held.env), Vec::<String>::new());
        if signal == Signal::KILL {
            held.goes_on();
        }
    }
}
