//! An environment for one test: nothing of the machine's own configuration, home or cache is seen or touched.
//!
//! The binary is the real one. It gets the directories as a systemd unit would give them (`RUNTIME_DIRECTORY`,
//! `CACHE_DIRECTORY`), a `HOME` of its own, and a `PATH` that finds the programs of `scripts/deps test` first.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::daemon::{Daemon, run_by};
use super::outcome::Outcome;

/// No run of a test takes this long; a program that hangs is ended, and its outcome has no exit code.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The password of every store that a test makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// Directories, configuration and environment of one test; removed when dropped.
#[derive(Debug)]
pub struct TestEnv {
    root: TempDir,
    variables: Vec<(OsString, OsString)>,
    path_first: Vec<PathBuf>,
    within: Vec<OsString>,
    reads_everything: bool,
}

impl TestEnv {
    /// An environment without configuration and without a store; the password file is there.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("holdall-test-").tempdir().unwrap();
        for name in ["home", "config/holdall", "cache", "run", "tmp", "source"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let env =
            Self { root, variables: Vec::new(), path_first: Vec::new(), within: Vec::new(), reads_everything: true };
        env.write_secret("store.password", PASSWORD);
        env
    }

    /// An environment with a store at [`TestEnv::store`] and one source, `files.home`, that reads [`TestEnv::source`].
    pub fn with_store() -> Self {
        let env = Self::new();
        env.onboard_store();
        env.run([OsStr::new("onboard"), "files".as_ref(), "home".as_ref(), env.source().as_os_str()]).code(0);
        env
    }

    /// An environment with a store at [`TestEnv::store`], and a configuration of it and of what `rest` says.
    pub fn with_store_and(rest: &str) -> Self {
        let env = Self::new();
        env.onboard_store();
        env.configure(rest);
        env
    }

    /// Everything of this environment is below this directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// What the tests back up.
    pub fn source(&self) -> PathBuf {
        self.root().join("source")
    }

    /// Where the local store is.
    pub fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.root().join("config/holdall/config.toml")
    }

    /// The file with [`PASSWORD`].
    pub fn password_file(&self) -> PathBuf {
        self.root().join("store.password")
    }

    /// A path below the root of the environment, for whatever a test needs.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root().join(relative)
    }

    /// Makes a file below [`TestEnv::source`], with its directories.
    pub fn file(self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Self {
        self.write(relative, content);
        self
    }

    /// Makes a file below [`TestEnv::source`] that holdall may not read, whoever runs the tests.
    pub fn unreadable(mut self, relative: impl AsRef<Path>) -> Self {
        self.write(relative.as_ref(), "secret");
        fs::set_permissions(self.source().join(relative), fs::Permissions::from_mode(0o000)).unwrap();
        self.reads_everything = false;
        self
    }

    /// From here on holdall runs without the right to read what file modes forbid, also when root runs the tests.
    pub fn without_override(mut self) -> Self {
        self.reads_everything = false;
        self
    }

    /// Sets a variable for every program of this environment.
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Programs are looked for in this directory first.
    pub fn path_first(mut self, directory: impl Into<PathBuf>) -> Self {
        self.path_first.insert(0, directory.into());
        self
    }

    /// From here on holdall is run by this command: somewhere else, for instance on one side of a [`super::netns::Network`].
    pub fn within(mut self, command: Vec<OsString>) -> Self {
        self.within = command;
        self
    }

    /// Writes a file below [`TestEnv::source`], with its directories.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let file = self.source().join(relative);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// Writes a file below the root that only its owner can read, and returns its path.
    pub fn write_secret(&self, name: &str, content: &str) -> PathBuf {
        let file = self.root().join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// Writes the configuration file; `{root}` in it is the root of the environment.
    pub fn config(&self, text: &str) {
        fs::write(self.config_file(), text.replace("{root}", self.root().to_str().unwrap())).unwrap();
    }

    /// Writes a configuration of the store at [`TestEnv::store`] and of what `rest` says; see [`TestEnv::config`].
    pub fn configure(&self, rest: &str) {
        let store = "repository = \"{root}/store\"\npassword-file = \"{root}/store.password\"";
        self.config(&format!("[store]\n{store}\n\n{rest}"));
    }

    /// Makes the store at [`TestEnv::store`] with holdall.
    pub fn onboard_store(&self) {
        let (store, password_file) = (self.store(), self.password_file());
        self.run([
            OsStr::new("onboard"),
            "store".as_ref(),
            store.as_os_str(),
            "--password-file".as_ref(),
            password_file.as_os_str(),
        ])
        .code(0);
    }

    /// Runs holdall to its end.
    #[must_use = "assert the exit code at least"]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        finish(self.holdall(arguments))
    }

    /// Starts holdall and does not wait: for tests that interrupt it. Ended when dropped.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Daemon {
        Daemon::start(self.holdall(arguments), &self.root().join("holdall.log"))
    }

    /// Runs restic on the local store.
    #[must_use = "assert the exit code at least"]
    pub fn restic<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.restic_at(self.store(), arguments)
    }

    /// Brings a snapshot back with restic, and returns where [`TestEnv::source`] came out.
    pub fn restored_by_restic(&self, snapshot: &str) -> PathBuf {
        let target = self.path(format!("restored-{snapshot}"));
        drop(fs::remove_dir_all(&target));
        self.restic([OsStr::new("restore"), snapshot.as_ref(), "--target".as_ref(), target.as_os_str()]).code(0);
        target.join(self.source().strip_prefix("/").unwrap())
    }

    /// Runs restic on any store with [`PASSWORD`], without a cache, so that it sees what is really there.
    #[must_use = "assert the exit code at least"]
    pub fn restic_at<S: AsRef<OsStr>>(
        &self,
        repository: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Outcome {
        let mut command = self.command("restic");
        command.arg("--no-cache").arg("--password-file").arg(self.password_file());
        command.arg("--repo").arg(repository).args(arguments);
        finish(command)
    }

    /// A program in this environment, not started yet.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.surround(&mut command);
        command
    }

    /// holdall in this environment, not started yet.
    pub fn holdall<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let binary = env!("CARGO_BIN_EXE_holdall");
        let mut command = if self.reads_everything || !rustix::process::geteuid().is_root() {
            Command::new(binary)
        } else {
            // Root without these is root that file modes bind.
            let dropped = "-dac_override,-dac_read_search";
            let mut command = Command::new("setpriv");
            command.arg(format!("--bounding-set={dropped}")).arg(format!("--inh-caps={dropped}")).arg(binary);
            command
        };
        command.args(arguments);
        let mut command = run_by(&self.within, command);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        let path_of_machine = std::env::var_os("PATH").unwrap_or_default();
        let mut path = self.path_first.clone();
        path.push(super::daemon::venv());
        path.extend(std::env::split_paths(&path_of_machine));
        command.env_clear().env("PATH", std::env::join_paths(path).unwrap());
        for (name, directory) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("CACHE_DIRECTORY", "cache"),
            ("XDG_RUNTIME_DIR", "run"),
            ("RUNTIME_DIRECTORY", "run"),
            ("TMPDIR", "tmp"),
            // Where it would be found anyway, unless the machine has one in /etc and the test none.
            ("HOLDALL_CONFIG", "config/holdall/config.toml"),
        ] {
            command.env(name, self.root().join(directory));
        }
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("NO_COLOR", "1");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.root()).stdin(Stdio::null());
    }
}

/// Runs a program to its end, or until it has hung for long enough.
#[must_use = "assert the exit code at least"]
pub fn finish(command: Command) -> Outcome {
    let shown = format!("{command:?}");
    let output: Output = match assert_cmd::Command::from_std(command).timeout(TIMEOUT).output() {
        Ok(output) => output,
        Err(error) => panic!("start {shown}: {error}; `scripts/deps test` installs what the tests need"),
    };
    Outcome::new(shown, output)
}
