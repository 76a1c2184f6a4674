//! A real REST server as restic means it: `rclone serve restic`, with a password.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::daemon::{Daemon, free_ports, from_venv, listens};

/// The user that the server lets in.
pub const USER: &str = "holdall";
/// That user's password.
pub const PASSWORD: &str = "rest-9b27";

/// A running `rclone serve restic`; ended and removed when dropped.
#[derive(Debug)]
pub struct RcloneRest {
    /// The server itself, for tests that stop it half-way.
    pub daemon: Daemon,
    port: u16,
    directory: TempDir,
}

impl RcloneRest {
    /// Starts the server on an empty directory.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("holdall-rclone-").tempdir().unwrap();
        let [port] = free_ports();
        let mut command = Command::new(from_venv("rclone"));
        command.args(["serve", "restic", "--user", USER]).arg("--addr").arg(format!("127.0.0.1:{port}"));
        command.arg("--config").arg(directory.path().join("rclone.conf")).arg(directory.path().join("data"));
        command.env("RCLONE_PASS", PASSWORD).env("HOME", directory.path());
        let mut daemon = Daemon::start(command, &directory.path().join("log"));
        daemon.wait_until(|| listens(port));
        Self { daemon, port, directory }
    }

    /// The repository at `path` on the server, with user and password, as restic and holdall spell it.
    pub fn repository(&self, path: &str) -> String {
        format!("rest:http://{USER}:{PASSWORD}@127.0.0.1:{}/{path}/", self.port)
    }

    /// The same without user and password: the server refuses it.
    pub fn repository_without_password(&self, path: &str) -> String {
        format!("rest:http://127.0.0.1:{}/{path}/", self.port)
    }

    /// Where the server keeps the repository at `path`.
    pub fn directory(&self, path: &str) -> PathBuf {
        self.directory.path().join("data").join(path)
    }
}
