//! Real servers of rclone: REST as restic means it (`rclone serve restic`), and WebDAV.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::daemon::{Daemon, free_ports, from_venv, listens};

/// The user that the servers let in.
pub const USER: &str = "holdall";
/// That user's password.
pub const PASSWORD: &str = "rest-9b27";

/// A running `rclone serve PROTOCOL`; ended and removed when dropped.
#[derive(Debug)]
struct Serve {
    daemon: Daemon,
    port: u16,
    directory: TempDir,
}

impl Serve {
    fn start(protocol: &str, login: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("holdall-rclone-").tempdir().unwrap();
        let [port] = free_ports();
        let mut command = Command::new(from_venv("rclone"));
        command.args(["serve", protocol]).arg("--addr").arg(format!("127.0.0.1:{port}"));
        command.arg("--config").arg(directory.path().join("rclone.conf")).arg(directory.path().join("data"));
        command.env("HOME", directory.path());
        if login {
            command.env("RCLONE_USER", USER).env("RCLONE_PASS", PASSWORD);
        }
        std::fs::create_dir(directory.path().join("data")).unwrap();
        let mut daemon = Daemon::start(command, &directory.path().join("log"));
        daemon.wait_until(|| listens(port));
        Self { daemon, port, directory }
    }
}

/// A running `rclone serve restic`; ended and removed when dropped.
#[derive(Debug)]
pub struct RcloneRest {
    /// The server itself, for tests that stop it half-way.
    pub daemon: Daemon,
    /// The port on 127.0.0.1.
    pub port: u16,
    directory: TempDir,
}

impl RcloneRest {
    /// Starts the server on an empty directory; it lets [`USER`] in.
    pub fn start() -> Self {
        let Serve { daemon, port, directory } = Serve::start("restic", true);
        Self { daemon, port, directory }
    }

    /// Starts the server on an empty directory; it lets everybody in.
    pub fn start_open() -> Self {
        let Serve { daemon, port, directory } = Serve::start("restic", false);
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

/// A running `rclone serve webdav`; ended and removed when dropped.
#[derive(Debug)]
pub struct RcloneWebdav {
    serve: Serve,
}

impl RcloneWebdav {
    /// Starts the server on an empty directory; it lets [`USER`] in.
    pub fn start() -> Self {
        Self { serve: Serve::start("webdav", true) }
    }

    /// The repository at `path` on the server, without user and password, as holdall spells it.
    pub fn repository(&self, path: &str) -> String {
        format!("webdav:http://127.0.0.1:{}/{path}", self.serve.port)
    }

    /// Where the server keeps the repository at `path`.
    pub fn directory(&self, path: &str) -> PathBuf {
        self.serve.directory.path().join("data").join(path)
    }
}
