//! A program that runs beside a test, and ends with it: also when the test panics, also when it is killed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long an engine may take to be ready; a loaded machine with two cores needs some of it.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long a program may take to end when it is asked to.
const END_WITHIN: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A running program; dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    shown: String,
}

impl Daemon {
    /// Starts a program with its output going to `log`.
    pub fn start(command: Command, log: &Path) -> Self {
        Self::start_with("KILL", command, log)
    }

    /// The same for a program that must end by itself, since it has started others: it is asked to when the test is killed.
    pub fn start_gently(command: Command, log: &Path) -> Self {
        Self::start_with("TERM", command, log)
    }

    /// The same with the signal that the program gets when the test is killed.
    pub fn start_with(signal: &str, command: Command, log: &Path) -> Self {
        let shown = format!("{command:?}");
        let file = File::create(log).unwrap();
        // `Drop` does not run in a test that is killed: the kernel then ends what it has started.
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", signal, "--"]).arg(command.get_program()).args(command.get_args());
        if let Some(directory) = command.get_current_dir() {
            guarded.current_dir(directory);
        }
        let variables: Vec<_> = command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
        if variables.iter().any(|(name, _)| *name == "PATH") {
            guarded.env_clear();
        }
        // A group of its own, so that what it has started ends with it.
        guarded.process_group(0);
        guarded.envs(variables).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = guarded.spawn().unwrap_or_else(|error| panic!("start {shown}: {error}"));
        Self { child, log: log.to_path_buf(), shown }
    }

    /// Waits until `ready` says so; shows the log when the program ends first or takes too long.
    #[track_caller]
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended before it was ready: {status}\n{}", self.shown, self.log());
            }
            assert!(begun.elapsed() < READY_WITHIN, "{} is not ready in time\n{}", self.shown, self.log());
            thread::sleep(POLL_EVERY);
        }
    }

    /// Waits until the program ends by itself.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < within, "{} does not end in time\n{}", self.shown, self.log());
            thread::sleep(POLL_EVERY);
        }
    }

    /// Whether the program still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Ends the program and what it has started at once, as a loss of power would.
    pub fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            drop(self.child.wait());
        }
    }

    /// What the program has written so far.
    pub fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        format!("--- {}\n{}\n---", self.log.display(), String::from_utf8_lossy(&text))
    }
}

impl Daemon {
    /// Asks the program to end, and ends it when it does not.
    pub fn end(&mut self) {
        // A child that has ended and was waited for has no process id any more that could be signalled.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < END_WITHIN && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(POLL_EVERY);
        }
        self.kill();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// The same command, run by another one that takes it as its last arguments; an empty one changes nothing. The environment is not kept.
pub fn run_by(runner: &[OsString], command: Command) -> Command {
    let [program, rest @ ..] = runner else { return command };
    let mut outer = Command::new(program);
    outer.args(rest).arg(command.get_program()).args(command.get_args());
    outer
}

/// Ports on the loopback interface that were free a moment ago, all different.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Whether something listens on this port of the loopback interface.
pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Where `scripts/deps test` puts programs that Debian does not have.
pub fn venv() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin")
}

/// A program that `scripts/deps test` has put there; a test that needs it fails without it.
pub fn from_venv(name: &str) -> PathBuf {
    let program = venv().join(name);
    assert!(program.exists(), "there is no {program:?}: run `scripts/deps test`");
    program
}
