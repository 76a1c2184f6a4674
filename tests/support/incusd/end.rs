//! The end of a server: its containers first, then it, then what they have left on the machine. Nothing in here panics: a test that fails gets here as well.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Incusd, incusd, launch};

const POLL_EVERY: Duration = Duration::from_millis(20);

impl Incusd {
    /// Stops all containers and then the server, in the way that leaves no control group and no network.
    fn end(&mut self) {
        // Nobody waits for a server that hangs: what it leaves is cleared away after this.
        let asked = |arguments: &[&str]| {
            let mut command = Command::new("timeout");
            command.args(["30", "incus"]).args(arguments).stdin(Stdio::null());
            self.as_client(&mut command).output().map(|output| output.stdout).unwrap_or_default()
        };
        let projects: Value = serde_json::from_slice(&asked(&["query", "/1.0/projects"])).unwrap_or_default();
        let names = projects.as_array().into_iter().flatten().filter_map(|url| url.as_str()?.rsplit('/').next());
        for project in names {
            asked(&["stop", "--all", "--force", "--project", project]);
        }
        // What gives files of instances to clients goes on for ten seconds after the last one, and would be waited for.
        self.end_others(|id| {
            let command = fs::read(format!("/proc/{}/cmdline", id.as_raw_nonzero())).unwrap_or_default();
            String::from_utf8_lossy(&command).contains("forkfile")
        });
        let mut shutdown = incusd(self.root());
        shutdown.args(["shutdown", "--force", "--timeout=20"]).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = shutdown.status();
        let begun = Instant::now();
        while self.daemon.is_running() && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(POLL_EVERY);
        }
    }

    /// The processes that work for this server, but not the server: those that hold its containers, or files of them.
    fn others(&self) -> Vec<Pid> {
        let own = self.dir();
        let own = own.to_str().unwrap_or_default();
        let names_own = |file: String| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).contains(own);
        let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        // Those that hold containers have named themselves after the folder; helpers of the server have only its environment.
        let ids = ids.filter(|id| names_own(format!("/proc/{id}/cmdline")) || names_own(format!("/proc/{id}/environ")));
        let server = self.daemon.id();
        ids.filter_map(Pid::from_raw).filter(|id| *id != server).collect()
    }

    fn end_others(&self, which: impl Fn(Pid) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            let others: Vec<Pid> = self.others().into_iter().filter(|id| which(*id)).collect();
            if others.is_empty() {
                return;
            }
            for process in others {
                let _ = kill_process(process, Signal::KILL);
            }
            thread::sleep(POLL_EVERY);
        }
    }
}

impl Drop for Incusd {
    fn drop(&mut self) {
        if !self.daemon.is_running() && !self.others().is_empty() {
            self.daemon = launch(self.root());
            self.is_ready();
        }
        if self.daemon.is_running() {
            self.end();
        }
        self.daemon.kill();
        self.end_others(|_| true);
        for bridge in self.bridges.lock().into_iter().flat_map(|bridges| bridges.clone()) {
            quietly(Command::new("ip").args(["link", "delete", &bridge]));
        }
        let own = self.root().to_str().unwrap_or_default().to_owned();
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mounted = table.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&own));
        for at in mounted.collect::<Vec<_>>().into_iter().rev() {
            quietly(Command::new("umount").args(["-l", at]));
        }
        // A loop device goes with its mount; one whose mount did not come about stays.
        let loops = Command::new("losetup").args(["--list", "--noheadings", "--output=NAME,BACK-FILE"]).output();
        let loops = loops.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for (device, file) in loops.lines().filter_map(|line| line.split_once(char::is_whitespace)) {
            if file.trim().starts_with(&own) {
                quietly(Command::new("losetup").args(["--detach", device]));
            }
        }
    }
}

fn quietly(command: &mut Command) {
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}
