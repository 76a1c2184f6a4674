//! An Incus server of a test's own: Debian's incusd with its own folder, client and loopback port, ended with the test.
//!
//! It has two pools, [`LOCAL`] (btrfs, in a file) and [`PLAIN`] (a folder), an image [`IMAGE`] of the static busybox, and a default
//! profile that has only a root disk: no container has a network unless a test gives it one. Both servers of a [`Pair`] have the
//! very same image.
//!
//! A test that ends, also by a panic, leaves nothing. When the test itself is killed, the kernel tells the server that power
//! fails: it stops its containers, unmounts its pools and ends. What then stays is the folder `holdall-incus-*` in the folder for
//! temporary files. A test that is killed while its server is not there also leaves containers, mounts and a loop device.

mod end;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::daemon::{Daemon, free_ports};
use super::outcome::Outcome;

/// The image that every server of a test has: busybox.
pub const IMAGE: &str = "bb";
/// The pool that the default profile names: btrfs, which copies only what has changed.
pub const LOCAL: &str = "local";
/// The pool without snapshots of its own: a folder.
pub const PLAIN: &str = "plain";

const INCUSD: &str = "/usr/libexec/incus/incusd";

/// What the image can run.
const APPLETS: [&str; 20] = [
    "sh", "sleep", "cat", "echo", "ls", "touch", "rm", "mkdir", "date", "dd", "ln", "sync", "test", "chown", "chmod",
    "mv", "mknod", "kill", "true", "stat",
];

/// The first process of a container: ends at once when it is asked to.
const INIT: &str = "#!/bin/sh\ntrap 'exit 0' PWR TERM INT\nwhile :; do sleep 1000 & wait $!; done\n";

/// How long a server may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Incusd {
    daemon: Daemon,
    port: u16,
    clients: AtomicU32,
    bridges: Mutex<Vec<String>>,
    root: TempDir,
}

impl Incusd {
    /// A server that has the two pools, the image, and nothing else.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with further settings of the server: `("core.https_trusted_proxy", "…")`.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let server = Self::begun();
        server.set_up(settings);
        server
    }

    /// A server that has been started by the calling thread; it may not be ready.
    ///
    /// The kernel ends what a test has started when the thread ends that started it, not when the process does.
    fn begun() -> Self {
        let root = tempfile::Builder::new().prefix("holdall-incus-").tempdir().unwrap();
        // The ids of containers pass through here to their own files.
        fs::set_permissions(root.path(), Permissions::from_mode(0o711)).unwrap();
        fs::create_dir_all(root.path().join("client")).unwrap();
        let [port] = free_ports();
        let daemon = launch(root.path());
        Self { daemon, port, clients: AtomicU32::new(0), bridges: Mutex::default(), root }
    }

    fn set_up(&self, settings: &[(&str, &str)]) {
        self.wait_ready();
        let mut config = serde_json::json!({
            "core.https_address": format!("127.0.0.1:{}", self.port),
            "images.auto_update_interval": "0",
        });
        for (key, value) in settings {
            config[*key] = Value::from(*value);
        }
        let preseed = serde_json::json!({
            "config": config,
            "storage_pools": [
                { "name": LOCAL, "driver": "btrfs", "config": { "size": "1GiB" } },
                { "name": PLAIN, "driver": "dir" },
            ],
            "profiles": [
                { "name": "default", "devices": { "root": { "type": "disk", "path": "/", "pool": LOCAL } } },
            ],
        });
        let file = self.root().join("preseed.json");
        fs::write(&file, preseed.to_string()).unwrap();
        run(self.client().args(["admin", "init", "--preseed"]).stdin(fs::File::open(file).unwrap())).code(0);
        self.incus(["image", "import", self.image().to_str().unwrap(), "--alias", IMAGE]);
    }

    /// Makes the image; the same bytes every time, so that every server knows it by the same fingerprint.
    fn image(&self) -> PathBuf {
        let image = self.root().join("image");
        let root = image.join("rootfs");
        for folder in ["bin", "data", "dev", "etc", "proc", "root", "sbin", "sys", "tmp", "var"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("sbin/init"), INIT).unwrap();
        fs::set_permissions(root.join("sbin/init"), Permissions::from_mode(0o755)).unwrap();
        let metadata = "architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  description: busybox\n";
        fs::write(image.join("metadata.yaml"), metadata.replace("x86_64", std::env::consts::ARCH)).unwrap();
        let file = self.root().join("image.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&image).arg("-cf").arg(&file);
        tar.args(["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--numeric-owner"]);
        run(tar.args(["metadata.yaml", "rootfs"])).code(0);
        file
    }

    /// Its own folder; nothing of the machine's is used.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of the server, `INCUS_DIR`: `server.crt`, `unix.socket`, `storage-pools`.
    pub fn dir(&self) -> PathBuf {
        self.root().join("incus")
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, as in a configuration.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Runs Incus's own client; what it says is for the caller to judge.
    pub fn try_incus<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        run(self.client().args(arguments).stdin(Stdio::null()))
    }

    /// Runs Incus's own client, which must succeed, and returns what it prints without the blanks at its ends.
    #[track_caller]
    pub fn incus<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.try_incus(arguments).code(0).stdout.trim().to_owned()
    }

    fn client(&self) -> Command {
        let mut command = Command::new("incus");
        self.as_client(&mut command);
        command
    }

    fn as_client<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let own = self.root().join("client");
        command.env("INCUS_DIR", self.dir()).env("HOME", &own).env("INCUS_CONF", own);
        for name in ["INCUS_SOCKET", "INCUS_PROJECT", "INCUS_REMOTE"] {
            command.env_remove(name);
        }
        command
    }

    /// What the server answers to `GET` of a path, without the envelope: `/1.0/instances?recursion=1`.
    #[track_caller]
    pub fn query(&self, path: &str) -> Value {
        self.try_incus(["query", path]).code(0).json()
    }

    /// A token with which one client can make itself trusted; `options` as `incus config trust add` takes them.
    #[track_caller]
    pub fn token(&self, options: &[&str]) -> String {
        let client = format!("client{}", self.clients.fetch_add(1, Ordering::Relaxed));
        let said = self.incus(["config", "trust", "add", &client].iter().chain(options));
        said.lines().next_back().unwrap().to_owned()
    }

    /// Starts a container of [`IMAGE`]; `options` as `incus launch` takes them.
    #[track_caller]
    pub fn launch(&self, name: &str, options: &[&str]) {
        self.incus(["launch", IMAGE, name].iter().chain(options));
    }

    /// Makes a container of [`IMAGE`] that has not run yet.
    #[track_caller]
    pub fn create(&self, name: &str, options: &[&str]) {
        self.incus(["create", IMAGE, name].iter().chain(options));
    }

    /// Runs a script in a container, which must succeed; `name` may be `PROJECT/NAME`.
    #[track_caller]
    pub fn exec(&self, name: &str, script: &str) -> String {
        let (project, name) = in_project(name);
        self.incus(["exec", "--project", project, name, "--", "sh", "-ec", script])
    }

    /// A file of an instance that runs or not; `name` may be `PROJECT/NAME`.
    ///
    /// Read from the pool: `incus file pull` leaves a process that holds the pool for ten seconds.
    #[track_caller]
    pub fn read_instance(&self, name: &str, file: &str) -> String {
        let folder = match in_project(name) {
            ("default", name) => name.to_owned(),
            (project, name) => format!("{project}_{name}"),
        };
        let root = self.dir().join("containers").join(folder).join("rootfs");
        read(&root.join(file.trim_start_matches('/')))
    }

    /// Makes a custom volume, and fills it with what this script of the machine's own shell does in it; `name` may be `PROJECT/NAME`.
    #[track_caller]
    pub fn volume(&self, pool: &str, name: &str, script: &str) {
        let (project, own) = in_project(name);
        self.incus(["storage", "volume", "create", "--project", project, pool, own]);
        self.in_volume(pool, name, script);
    }

    /// Runs a script of the machine's own shell in a custom volume, as the user that a container would call root.
    #[track_caller]
    pub fn in_volume(&self, pool: &str, name: &str, script: &str) -> String {
        let folder = self.volume_path(pool, name);
        // A volume that a container has used may have been given to the ids of containers.
        let owner = fs::metadata(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut command = Command::new("setpriv");
        if owner.uid() != 0 {
            command.args([format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid())]);
            command.arg("--clear-groups");
        }
        run(command.args(["--", "sh", "-ec", script]).current_dir(folder)).code(0).stdout
    }

    /// A file of a custom volume; `name` may be `PROJECT/NAME`.
    #[track_caller]
    pub fn read_volume(&self, pool: &str, name: &str, file: &str) -> String {
        read(&self.volume_path(pool, name).join(file.trim_start_matches('/')))
    }

    /// Where the content of a custom volume lies; `name` may be `PROJECT/NAME`.
    pub fn volume_path(&self, pool: &str, name: &str) -> PathBuf {
        let (project, name) = in_project(name);
        self.dir().join("storage-pools").join(pool).join("custom").join(format!("{project}_{name}"))
    }

    /// The names of the snapshots of an `instance` (`NAME`) or of a custom `volume` (`POOL/NAME`), sorted.
    #[track_caller]
    pub fn snapshots(&self, project: &str, kind: &str, name: &str) -> Vec<String> {
        let owner = match (kind, name.split_once('/')) {
            ("instance", None) => format!("instances/{name}"),
            ("volume", Some((pool, volume))) => format!("storage-pools/{pool}/volumes/custom/{volume}"),
            _ => panic!("no {kind} is called {name}"),
        };
        let answer = self.query(&format!("/1.0/{owner}/snapshots?project={project}"));
        let last = |url: &Value| url.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let mut names: Vec<String> = answer.as_array().unwrap().iter().map(last).collect();
        names.sort();
        names
    }

    /// Makes a bridge without addresses, and returns its name: `name` and something that no other test has, at most 15 bytes.
    ///
    /// Bridges of all servers are in the one network namespace of this machine.
    #[track_caller]
    pub fn bridge(&self, name: &str) -> String {
        let mut bridges = self.bridges.lock().unwrap();
        let name = format!("{name}{:x}", self.port);
        self.incus(["network", "create", &name, "--type=bridge", "ipv4.address=none", "ipv6.address=none"]);
        bridges.push(name.clone());
        name
    }

    /// Makes a network that servers of one machine can all have: one on an interface that carries no such network.
    ///
    /// A container with it can be made and copied, but not started.
    #[track_caller]
    pub fn network(&self, name: &str) {
        self.incus(["network", "create", name, "--type=macvlan", "parent=lo"]);
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.daemon.id().as_raw_nonzero().get()
    }

    /// The process of the server, with its log.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Ends the server at once, as a crash would; its containers go on.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Ends the server as the machine does before it is switched off: it stops its containers, and starts them again next time.
    #[track_caller]
    pub fn stop_gently(&mut self) {
        self.daemon.signal(Signal::POWER);
        self.daemon.wait(END_WITHIN);
    }

    /// Starts the server again, after it is ended at once if it still runs.
    pub fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = launch(self.root());
        self.wait_ready();
    }

    fn wait_ready(&self) {
        assert!(self.is_ready(), "the server is not ready\n{}", self.daemon.log());
    }

    fn is_ready(&self) -> bool {
        let mut waits = Command::new("setpriv");
        waits.args(["--pdeathsig", "KILL", "--", INCUSD, "waitready", "--timeout=90"]);
        waits.env("INCUS_DIR", self.dir()).env_remove("INCUS_SOCKET").stdin(Stdio::null());
        waits.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

/// Two servers that do not know each other.
#[derive(Debug)]
pub struct Pair {
    /// The one whose instances are saved.
    pub source: Incusd,
    /// The one that gets the copies.
    pub target: Incusd,
}

impl Pair {
    /// Starts both at the same time.
    pub fn start() -> Self {
        let pair = Self { source: Incusd::begun(), target: Incusd::begun() };
        thread::scope(|scope| {
            scope.spawn(|| pair.source.set_up(&[]));
            pair.target.set_up(&[]);
        });
        pair
    }
}

fn incusd(root: &Path) -> Command {
    let mut command = Command::new(INCUSD);
    command.env("INCUS_DIR", root.join("incus")).env_remove("INCUS_SOCKET").stdin(Stdio::null());
    command
}

/// Starts the server; the caller's thread must live as long as the server shall.
fn launch(root: &Path) -> Daemon {
    let mut command = incusd(root);
    command.args(["--group", "root"]).current_dir(root);
    // There Debian's lxcfs has a hook that makes every container sleep for half a second after its end, for the sake of reboots.
    command.env("INCUS_LXC_TEMPLATE_CONFIG", root.join("no-hooks"));
    Daemon::start_with("PWR", command, &root.join("incusd.log"))
}

/// `PROJECT/NAME`, or a name in the default project.
fn in_project(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("default", name))
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path:?}: {error}"))
}

fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    Outcome::new(shown, command.output().unwrap())
}
