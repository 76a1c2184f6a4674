//! A real S3 server: SeaweedFS, all of it in one process, with credentials on.

use std::fs;
use std::io::{Seek, Write};
use std::process::Command;

use tempfile::TempDir;

use super::daemon::{Daemon, free_ports, from_venv, listens};

/// The key that may do everything.
pub const ACCESS_KEY_ID: &str = "holdall-test";
/// Its secret.
pub const SECRET_ACCESS_KEY: &str = "not-so-secret-7c1f";
/// The bucket that is there from the beginning.
pub const BUCKET: &str = "backups";

/// A running SeaweedFS with one empty bucket; ended and removed when dropped.
#[derive(Debug)]
pub struct SeaweedFs {
    /// The server itself, for tests that stop it half-way.
    pub daemon: Daemon,
    ports: [u16; 8],
    /// The S3 port on 127.0.0.1.
    pub port: u16,
    _directory: TempDir,
}

impl SeaweedFs {
    /// Starts the server and makes [`BUCKET`].
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("holdall-seaweed-").tempdir().unwrap();
        let identities = serde_json::json!({"identities": [{
            "name": "holdall",
            "credentials": [{"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        let s3_config = directory.path().join("s3.json");
        fs::write(&s3_config, identities.to_string()).unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();

        let ports: [u16; 8] = free_ports();
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = ports;
        let mut command = Command::new(from_venv("weed"));
        command.arg(format!("-logdir={}", directory.path().display())).args(["server", "-s3", "-ip=127.0.0.1"]);
        command.args(["-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.preStopSeconds=0"]);
        // Volumes are made on demand: small ones, and enough of them for a bucket.
        command.args(["-master.volumeSizeLimitMB=128", "-volume.max=64"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", s3_config.display()));
        for (name, port) in [("master.port", master), ("volume.port", volume), ("filer.port", filer), ("s3.port", s3)] {
            command.arg(format!("-{name}={port}"));
        }
        for (name, port) in [("master", master_grpc), ("volume", volume_grpc), ("filer", filer_grpc), ("s3", s3_grpc)] {
            command.arg(format!("-{name}.port.grpc={port}"));
        }
        // It reads `filer.toml` and the like from the working directory and from the home directory.
        command.current_dir(directory.path()).env("HOME", directory.path());
        let mut daemon = Daemon::start(command, &directory.path().join("log"));
        daemon.wait_until(|| ports.iter().all(|&port| listens(port)));

        let mut shell = Command::new(from_venv("weed"));
        shell.arg("shell").arg(format!("-master=127.0.0.1:{master}.{master_grpc}"));
        shell.arg(format!("-filer=127.0.0.1:{filer}.{filer_grpc}"));
        shell.current_dir(directory.path()).env("HOME", directory.path());
        let script = format!("s3.bucket.create -name {BUCKET}\n");
        let ready = Self { daemon, ports, port: s3, _directory: directory };
        ready.run_shell(shell, &script);
        ready
    }

    /// The endpoint: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The repository below `prefix` in [`BUCKET`], as restic and holdall spell it.
    pub fn repository(&self, prefix: &str) -> String {
        format!("s3:{}/{BUCKET}/{prefix}", self.endpoint())
    }

    fn run_shell(&self, mut shell: Command, script: &str) {
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(script.as_bytes()).and_then(|()| input.rewind()).unwrap();
        shell.stdin(input);
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("created bucket"), "weed shell: {said}\n{}", self.daemon.log());
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // Asked to end, it takes ten seconds to hand over volumes that nobody will read again.
        self.daemon.kill();
        // Its parts speak through sockets that it always makes in /tmp.
        for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = |port| name.starts_with("seaweedfs-") && name.ends_with(&format!("-{port}.sock"));
            if self.ports.iter().any(is_ours) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}
