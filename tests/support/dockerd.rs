//! A container engine of a test's own: Debian's dockerd with its own folders and socket, ended with the test.
//!
//! There is no network for its containers and no registry: images are made of the static busybox on the spot.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::daemon::Daemon;
use super::outcome::Outcome;

/// The image that every engine of a test has: busybox.
pub const IMAGE: &str = "bb:latest";

/// What the image can run.
const APPLETS: [&str; 24] = [
    "sh", "sleep", "cat", "echo", "date", "ls", "touch", "rm", "mkdir", "ln", "mknod", "chown", "chmod", "dd", "true",
    "false", "test", "printf", "kill", "env", "id", "tail", "mv", "sync",
];

/// How long a condition may take to become true.
const SOON: Duration = Duration::from_secs(60);

/// A running engine.
#[derive(Debug)]
pub struct Dockerd {
    daemon: Daemon,
    arguments: Vec<String>,
    root: TempDir,
}

impl Dockerd {
    /// An engine that has [`IMAGE`] and nothing else.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with further arguments of `dockerd`; `{root}` in them is its own folder.
    pub fn with(arguments: &[&str]) -> Self {
        let root = tempfile::Builder::new().prefix("holdall-dockerd-").tempdir().unwrap();
        let own = root.path().to_str().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.replace("{root}", own)).collect();
        let daemon = launch(root.path(), &arguments);
        let engine = Self { daemon, arguments, root };
        engine.import(IMAGE, &[]);
        engine
    }

    /// Its own folder.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.root().join("sock")
    }

    /// Where it is, as in a configuration.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Where the content of a volume lies.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.root().join("data/volumes").join(name).join("_data")
    }

    /// Runs Docker's own client; what it says is for the caller to judge.
    pub fn try_docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        run(self.client("docker").args(arguments))
    }

    /// Runs Docker's own client, which must succeed, and returns what it prints without the last line break.
    #[track_caller]
    pub fn docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.try_docker(arguments).code(0).stdout.trim_end_matches('\n').to_owned()
    }

    /// Runs Debian's docker-compose in a folder, which must succeed.
    #[track_caller]
    pub fn compose<S: AsRef<OsStr>>(&self, directory: &Path, arguments: impl IntoIterator<Item = S>) -> Outcome {
        run(self.client("/usr/bin/docker-compose").current_dir(directory).args(arguments)).code(0)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", self.host()).env("HOME", self.root()).env_remove("DOCKER_CONTEXT");
        command
    }

    /// Makes an image of busybox and of further files: where each is in the image, and on this machine.
    pub fn import(&self, name: &str, files: &[(&str, &Path)]) {
        let files_of_image = tempfile::tempdir_in(self.root()).unwrap();
        let root = files_of_image.path();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        for (path, file) in files {
            let path = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(file, path).unwrap();
        }
        self.import_folder(name, root);
    }

    /// Makes an image of all that is in a folder.
    pub fn import_folder(&self, name: &str, folder: &Path) {
        let mut tar =
            Command::new("tar").arg("-C").arg(folder).args(["-c", "."]).stdout(Stdio::piped()).spawn().unwrap();
        let mut import = self.client("docker");
        run(import.args(["import", "-", name]).stdin(tar.stdout.take().unwrap())).code(0);
        assert!(tar.wait().unwrap().success());
    }

    /// Starts a container of [`IMAGE`] without a network; `options` as `docker run` takes them.
    #[track_caller]
    pub fn run(&self, name: &str, options: &[&str], command: &[&str]) -> String {
        let begin = ["run", "--detach", "--network", "none", "--name", name];
        self.docker(begin.iter().chain(options).chain(&[IMAGE]).chain(command))
    }

    /// Starts a container that does nothing until it is told to end.
    #[track_caller]
    pub fn idle(&self, name: &str, options: &[&str]) -> String {
        self.run(name, options, &["sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"])
    }

    /// Makes a volume and fills it with what this script does in `/data`.
    #[track_caller]
    pub fn filled_volume(&self, name: &str, script: &str) {
        let mount = format!("{name}:/data");
        let arguments =
            ["run", "--rm", "--network", "none", "--volume", &mount, "--workdir", "/data", IMAGE, "sh", "-ec", script];
        self.docker(arguments);
    }

    /// A part of what the engine says of a thing, by a template of Docker's client: `{{.State.Status}}`.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.docker(["inspect", "--format", template, name])
    }

    /// Whether a container runs, and is not frozen.
    pub fn is_running(&self, name: &str) -> bool {
        self.inspect(name, "{{.State.Status}}") == "running"
    }

    /// Waits until a condition holds.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < SOON, "{what}: not in time\n{}", self.daemon.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process of the engine.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Ends the containerd that an engine leaves when it is killed.
    fn end_containerd(&self) {
        let file = self.root().join("exec/containerd/containerd.pid");
        let Some(id) = fs::read_to_string(&file).ok().and_then(|id| id.trim().parse::<i32>().ok()) else { return };
        // By then the number may be somebody else's.
        let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(self.root().to_str().unwrap()) {
            let process = rustix::process::Pid::from_raw(id).unwrap();
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            self.wait_until("containerd ends", || !Path::new(&format!("/proc/{id}/exe")).exists());
        }
        let _ = fs::remove_file(file);
    }

    /// Starts the engine again after it was ended or killed.
    pub fn restart(&mut self) {
        self.daemon.kill();
        self.end_containerd();
        let _ = fs::remove_file(self.root().join("pid"));
        self.daemon = launch(self.root.path(), &self.arguments);
    }
}

fn launch(root: &Path, arguments: &[String]) -> Daemon {
    let below = |name: &str| root.join(name).into_os_string();
    let socket = root.join("sock");
    let mut command = Command::new("/usr/sbin/dockerd");
    command.arg("--data-root").arg(below("data")).arg("--exec-root").arg(below("exec"));
    command.arg("--pidfile").arg(below("pid")).arg("-H").arg(format!("unix://{}", socket.display()));
    command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--shutdown-timeout=1"]).args(arguments);
    let mut daemon = Daemon::start_gently(command, &root.join("dockerd.log"));
    daemon.wait_until(|| {
        let mut asked = Command::new("docker");
        asked.arg("version").env("DOCKER_HOST", format!("unix://{}", socket.display()));
        asked.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    daemon
}

fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    Outcome::new(shown, command.output().unwrap())
}

impl Drop for Dockerd {
    /// Containers end first, then the engine, then what it has mounted.
    fn drop(&mut self) {
        if self.daemon.is_running() {
            let all = self.try_docker(["ps", "--all", "--quiet"]);
            let ids: Vec<&str> = all.stdout.split_whitespace().collect();
            if !ids.is_empty() {
                self.try_docker(["rm", "--force"].iter().chain(&ids));
            }
        }
        self.daemon.end();
        self.end_containerd();
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = self.root().to_str().unwrap().to_owned();
        let mounted = table.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&own));
        for at in mounted.collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").args(["-l", at]).stderr(Stdio::null()).status();
        }
    }
}
