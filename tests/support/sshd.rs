//! A real OpenSSH server with keys of its own, which gives SFTP and nothing else.
//!
//! Clients that run the system's `ssh` look for known hosts in the home directory of the password database, whatever
//! `$HOME` says. [`Sshd::client_path`] is a directory with an `ssh` that names this server's files instead; put in
//! front of `PATH`, it keeps host key checking strict and the machine's own files untouched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::daemon::{Daemon, free_ports, listens};

/// A running sshd; ended and removed when dropped.
#[derive(Debug)]
pub struct Sshd {
    /// The server itself, for tests that stop it half-way.
    pub daemon: Daemon,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The user to log in as: who runs the tests.
    pub user: String,
    directory: TempDir,
}

impl Sshd {
    /// Starts the server; [`Sshd::key_file`] opens it.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("holdall-sshd-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for key in ["host_key", "client_key"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(at(key)));
        }
        fs::copy(at("client_key.pub"), at("authorized_keys")).unwrap();
        fs::create_dir(at("data")).unwrap();
        let [port] = free_ports();
        let host_key = fs::read_to_string(at("host_key.pub")).unwrap();
        fs::write(at("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        write_ssh(&at("bin"), &at("known_hosts"));
        let root = directory.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {root}/host_key\nAuthorizedKeysFile {root}/authorized_keys\n\
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
        Self { daemon, port, user, directory }
    }

    /// `ssh://USER@127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}", self.user, self.port)
    }

    /// The repository `name` in [`Sshd::data`], as restic and holdall spell it.
    pub fn repository(&self, name: &str) -> String {
        format!("sftp://{}@127.0.0.1:{}/{}", self.user, self.port, self.data().join(name).display())
    }

    /// An empty directory for stores.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The private key that opens the server.
    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("client_key")
    }

    /// The host key of the server, in the format of `known_hosts(5)`.
    pub fn known_hosts(&self) -> PathBuf {
        self.directory.path().join("known_hosts")
    }

    /// A directory with an `ssh` that takes host keys from [`Sshd::known_hosts`] and keys from [`Sshd::key_file`].
    pub fn client_path(&self) -> PathBuf {
        self.directory.path().join("bin")
    }

    /// Gives the server another host key, as an impostor would have; clients must refuse it.
    pub fn forget_host_key(&self) {
        let other = self.directory.path().join("other_key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other));
        let key = fs::read_to_string(other.with_extension("pub")).unwrap();
        fs::write(self.known_hosts(), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
    }
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
