//! A real ssh-agent that holds keys of a test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, os::unix::net::UnixStream};

use tempfile::TempDir;

use super::daemon::Daemon;
use super::env::finish;
use super::sshd::PASSPHRASE;

/// A running agent; ended when dropped.
#[derive(Debug)]
pub struct SshAgent {
    /// The agent itself, for tests that stop it half-way.
    pub daemon: Daemon,
    directory: TempDir,
}

impl SshAgent {
    /// Starts an agent with these private keys; those that are locked are opened with [`PASSPHRASE`].
    pub fn start(keys: &[&Path]) -> Self {
        let directory = tempfile::Builder::new().prefix("holdall-agent-").tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        let mut daemon = Daemon::start(command, &directory.path().join("log"));
        daemon.wait_until(|| UnixStream::connect(&socket).is_ok());
        let ask = directory.path().join("ask");
        fs::write(&ask, format!("#!/bin/sh\necho '{PASSPHRASE}'\n")).unwrap();
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
        for key in keys {
            let mut add = Command::new("ssh-add");
            add.env("SSH_AUTH_SOCK", &socket).env("SSH_ASKPASS", &ask).env("SSH_ASKPASS_REQUIRE", "force").arg(key);
            finish(add).code(0);
        }
        Self { daemon, directory }
    }

    /// What `SSH_AUTH_SOCK` is to be.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}
