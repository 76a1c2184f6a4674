//! Real OpenSSH servers, each with keys of its own.
//!
//! [`Sshd::start`] is a plain process that gives SFTP and nothing else; any user can run it. [`Sshd::builder`] makes
//! servers with accounts, shells and programs of their own, as whole machines look from outside; that takes root.
//!
//! Clients that run the system's `ssh` look for known hosts in the home directory of the password database, whatever
//! `$HOME` says. [`Sshd::client_path`] is a directory with an `ssh` that names this server's files instead; put in
//! front of `PATH`, it keeps host key checking strict and the machine's own files untouched.

mod builder;
mod keys;
mod machine;
mod sessions;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[allow(unused_imports, reason = "each test file uses a part of this")]
pub use self::builder::{Builder, Login};
pub use self::keys::{KeyType, PASSPHRASE, fingerprint_of};
pub use self::machine::Account;

use super::daemon::{Daemon, free_ports, listens};

/// A running sshd; ended and removed when dropped, with everything that its users run.
#[derive(Debug)]
pub struct Sshd {
    /// The server itself, for tests that stop it half-way.
    pub daemon: Daemon,
    /// The address that it listens to: 127.0.0.1, unless it stands in a network of its own.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// The user to log in as: who runs the tests, or the first of its accounts.
    pub user: String,
    accounts: Vec<Account>,
    host_keys: Vec<KeyType>,
    directory: TempDir,
}

impl Sshd {
    /// Starts a server that gives SFTP to whoever runs the tests; [`Sshd::key_file`] opens it.
    pub fn start() -> Self {
        let directory = new_directory();
        let at = |name: &str| directory.path().join(name);
        let host_keys = vec![KeyType::Ed25519];
        let [port] = free_ports();
        write_keys(directory.path(), &host_keys, &format!("[127.0.0.1]:{port}"));
        fs::copy(at("client_key.pub"), at("authorized_keys")).unwrap();
        let root = directory.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {root}/host_key_ed25519\nAuthorizedKeysFile {root}/authorized_keys\n\
             PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             PermitRootLogin prohibit-password\n# The directory is below one that everybody may write to.\n\
             StrictModes no\nSubsystem sftp internal-sftp\nForceCommand internal-sftp\nMaxStartups 100\nLogLevel VERBOSE\n"
        );
        fs::write(at("sshd_config"), config).unwrap();
        if rustix::process::geteuid().is_root() {
            // Where Debian's sshd locks up what it does before a login; its own unit makes it at boot.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(at("sshd_config"));
        let mut daemon = Daemon::start(command, &at("log"));
        daemon.wait_until(|| listens(port));
        let user = run(Command::new("id").arg("-un")).trim().to_owned();
        Self { daemon, host: "127.0.0.1".to_owned(), port, user, accounts: Vec::new(), host_keys, directory }
    }

    /// A server with accounts of its own, to be described and started.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// `ssh://USER@HOST:PORT`
    pub fn endpoint(&self) -> String {
        format!("ssh://{}@{}:{}", self.user, self.host, self.port)
    }

    /// The repository `name` in [`Sshd::data`], as restic and holdall spell it.
    pub fn repository(&self, name: &str) -> String {
        format!("sftp://{}@{}:{}/{}", self.user, self.host, self.port, self.data().join(name).display())
    }

    /// An empty directory for stores.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The home directory of an account. On a machine with busybox only, users see it as `/homes/NAME`.
    pub fn home(&self, user: &str) -> PathBuf {
        machine::home(self.directory.path(), user)
    }

    /// On a machine with busybox only: what its users see as `/`.
    pub fn machine_root(&self) -> PathBuf {
        self.directory.path().join(machine::ROOT)
    }

    /// The private key that opens the server, whoever logs in.
    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("client_key")
    }

    /// Another private key that opens the server, whoever logs in; locked with [`PASSPHRASE`] if that is asked.
    pub fn new_key(&self, kind: KeyType, is_locked: bool) -> PathBuf {
        let key = self.directory.path().join(format!("client_key_{kind}{}", if is_locked { "_locked" } else { "" }));
        keys::make(&key, kind, if is_locked { PASSPHRASE } else { "" });
        self.authorize(&key);
        key
    }

    /// From now on this private key opens the server as well, whoever logs in. Its public half lies beside it.
    pub fn authorize(&self, key: &Path) {
        for account in &self.accounts {
            machine::authorize(self.directory.path(), account, key);
        }
    }

    /// The host keys of the server, in the format of `known_hosts(5)`.
    pub fn known_hosts(&self) -> PathBuf {
        self.directory.path().join("known_hosts")
    }

    /// `SHA256:…` of a host key, which the server must have.
    pub fn fingerprint(&self, kind: KeyType) -> String {
        assert!(self.host_keys.contains(&kind), "the server has no host key of type {kind}");
        fingerprint_of(&self.directory.path().join(format!("host_key_{kind}")))
    }

    /// A directory with an `ssh` that takes host keys from [`Sshd::known_hosts`] and keys from [`Sshd::key_file`].
    pub fn client_path(&self) -> PathBuf {
        self.directory.path().join("bin")
    }

    /// Gives the server another host key, as an impostor would have; clients must refuse it.
    pub fn forget_host_key(&self) {
        let other = self.directory.path().join("other_key");
        keys::make(&other, KeyType::Ed25519, "");
        let key = fs::read_to_string(other.with_extension("pub")).unwrap();
        fs::write(self.known_hosts(), format!("[{}]:{} {key}", self.host, self.port)).unwrap();
    }

    /// Ends every connection and what runs in it at once, as a crash of the other machine would; the server goes on listening.
    /// Returns how many processes that were.
    pub fn kill_sessions(&self) -> usize {
        self.signal_sessions(Signal::KILL)
    }

    /// Stops every connection and what runs in it: the machine is there, and says nothing more.
    pub fn stall_sessions(&self) -> usize {
        self.signal_sessions(Signal::STOP)
    }

    /// Lets go on what [`Sshd::stall_sessions`] has stopped.
    pub fn resume_sessions(&self) -> usize {
        self.signal_sessions(Signal::CONT)
    }

    /// The processes of all connections and of what runs in them.
    pub fn sessions(&self) -> Vec<Pid> {
        sessions::below(self.daemon.id())
    }

    fn signal_sessions(&self, signal: Signal) -> usize {
        // One that has ended by itself in the meantime is no loss.
        self.sessions().into_iter().filter(|&session| kill_process(session, signal).is_ok()).count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Sessions are in process groups of their own, which the end of the server does not reach.
        self.kill_sessions();
    }
}

/// The directory of a server. Its users must get to their keys and homes through it.
fn new_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("holdall-sshd-").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(directory.path().join("data")).unwrap();
    directory
}

/// Makes `host_key_TYPE`, `client_key`, `known_hosts` and `bin/ssh`. `shown` is the server as `known_hosts(5)` names it.
fn write_keys(directory: &Path, host_keys: &[KeyType], shown: &str) {
    let at = |name: &str| directory.join(name);
    keys::make(&at("client_key"), KeyType::Ed25519, "");
    let mut known_hosts = String::new();
    for &kind in host_keys {
        let file = at(&format!("host_key_{kind}"));
        keys::make(&file, kind, "");
        known_hosts += &format!("{shown} {}", fs::read_to_string(file.with_extension("pub")).unwrap());
    }
    fs::write(at("known_hosts"), known_hosts).unwrap();
    write_ssh(&at("bin"), &at("known_hosts"));
}

/// Writes an `ssh` into `directory` that uses these known hosts, and the key beside them unless another is named.
fn write_ssh(directory: &Path, known_hosts: &Path) {
    fs::create_dir(directory).unwrap();
    let key = known_hosts.with_file_name("client_key");
    let (known_hosts, key) = (known_hosts.display(), key.display());
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/ssh -F /dev/null -o UserKnownHostsFile={known_hosts} -o GlobalKnownHostsFile=/dev/null \
         -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o IdentityFile={key} \"$@\"\n"
    );
    let program = directory.join("ssh");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `scripts/deps test`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
