//! Runs holdall with something going wrong at a moment that the test chooses, without waiting for luck.
//!
//! Two ways: a library that is preloaded (`fault.c`, compiled here) acts before a read, at a look-up or at a write; strace lets a system call
//! fail. The program under test is the real one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::daemon::Daemon;
use super::env::{TestEnv, finish};
use super::outcome::Outcome;

/// One faulty run of holdall.
#[derive(Debug)]
pub struct Fault<'e> {
    env: &'e TestEnv,
    variables: Vec<(&'static str, OsString)>,
    under: Vec<OsString>,
}

impl<'e> Fault<'e> {
    pub fn new(env: &'e TestEnv) -> Self {
        Self { env, variables: Vec::new(), under: Vec::new() }
    }

    /// The clock stands still at this moment, given as RFC 3339.
    pub fn at(self, time: &str) -> Self {
        let time: chrono::DateTime<chrono::Utc> = time.parse().unwrap();
        self.preload("FAULT_TIME", time.timestamp().to_string())
    }

    /// Before the `nth` read (from 1) of a file a shell command is run and waited for.
    pub fn before_read(self, nth: u32, file: impl AsRef<Path>, command: &str) -> Self {
        let file = fs::canonicalize(file).unwrap();
        self.preload("FAULT_ON_READ", file).preload("FAULT_NTH", nth.to_string()).preload("FAULT_RUN", command)
    }

    /// Runs a shell command when the first file of this owner is looked at: after its `stat`, before its attributes and content.
    pub fn at_first_of(self, owner: u32, command: &str) -> Self {
        self.preload("FAULT_ON_OWNER", owner.to_string()).preload("FAULT_RUN", command)
    }

    /// Counts the calls that change something below a directory, into `counter`.
    pub fn count_changes(self, directory: &Path, counter: &Path) -> Self {
        self.preload("FAULT_BELOW", directory).preload("FAULT_COUNT_TO", counter)
    }

    /// Kills holdall at the `nth` call (from 1) that changes something below a directory; half of a write is done.
    pub fn kill_at_change(self, nth: u64, directory: &Path) -> Self {
        self.preload("FAULT_BELOW", directory).preload("FAULT_KILL_AT", nth.to_string())
    }

    /// Lets a system call fail, each time that it is about this name (as the call spells it) or open file (by its path).
    pub fn failing(mut self, call: &str, name: impl AsRef<OsStr>, error: &str) -> Self {
        self.under.extend(["strace", "-P"].map(OsString::from));
        self.under.push(name.as_ref().to_owned());
        self.inject(call, error)
    }

    /// From the `nth` thread on (from 1) each is refused, as by a limit of the service manager.
    pub fn refusing_threads_from(mut self, nth: u32) -> Self {
        self.under.push("strace".into());
        self.inject("clone3", &format!("EAGAIN:when={nth}+"))
    }

    fn inject(mut self, call: &str, error: &str) -> Self {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}"));
        self.under.extend(["-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject].map(OsString::from));
        self
    }

    fn preload(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        if self.variables.is_empty() {
            self.variables.push(("LD_PRELOAD", library().into()));
        }
        self.variables.push((name, value.into()));
        self
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let plain = self.env.holdall(arguments);
        let mut command = match self.under.split_first() {
            None => plain,
            Some((program, rest)) => {
                let mut command = self.env.command(program);
                command.args(rest).arg(plain.get_program()).args(plain.get_args());
                command
            }
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs holdall to its end.
    #[must_use = "assert the exit code at least"]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        finish(self.command(arguments))
    }

    /// Starts holdall and does not wait.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Daemon {
        Daemon::start(self.command(arguments), &self.env.path("faulty.log"))
    }

    /// The same in a terminal of its own, which is gone when what this returns is killed.
    pub fn start_in_terminal<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Daemon {
        let plain = self.command(arguments);
        let words = std::iter::once(plain.get_program()).chain(plain.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut command = self.env.command("script");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(["--quiet", "--command", &format!("exec {}", line.join(" ")), "/dev/null"]);
        Daemon::start(command, &self.env.path("terminal.log"))
    }
}

/// The library, compiled once in each process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = directory.join("fault.so");
        // Under a name of its own first: another test may be starting with the finished one.
        let fresh = directory.join(format!("fault-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fault.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&fresh).arg(source).arg("-ldl");
        let output = compiler.output().unwrap();
        assert!(output.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&fresh, &library).unwrap();
        library
    })
}

/// A named pipe at which a command run by a [`Fault`] waits for the test.
#[derive(Debug)]
pub struct Gate(PathBuf);

impl Gate {
    pub fn new(env: &TestEnv) -> Self {
        let path = env.path("gate");
        finish_ok(Command::new("mkfifo").arg(&path));
        Self(path)
    }

    /// The command that waits.
    pub fn command(&self) -> String {
        format!("cat '{}'", self.0.display())
    }

    /// Returns as soon as somebody waits; he waits until the result is dropped.
    pub fn reached(&self) -> fs::File {
        fs::OpenOptions::new().write(true).open(&self.0).unwrap()
    }
}

/// A file system of its own in memory, at a directory of the test; gone when dropped.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `size` as mount(8) takes it: `20m`.
    pub fn mount(at: &Path, size: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test mounts a file system: run it as root");
        fs::create_dir_all(at).unwrap();
        finish_ok(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at));
        Self(at.to_path_buf())
    }

    /// Changes its size.
    pub fn resize(&self, size: &str) {
        finish_ok(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// Runs a program of the system; it must succeed.
#[track_caller]
pub fn finish_ok(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `scripts/deps test`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
