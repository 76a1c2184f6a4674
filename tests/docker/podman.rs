//! podman, which answers like Docker for the most part: Debian's, over its own socket.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::daemon::Daemon;
use crate::support::env::TestEnv;

/// A podman with folders of its own.
struct Podman {
    _service: Daemon,
    root: tempfile::TempDir,
}

impl Podman {
    fn start() -> Self {
        let root = tempfile::Builder::new().prefix("holdall-podman-").tempdir().unwrap();
        let socket = root.path().join("sock");
        let mut command = Self::command(root.path());
        command.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", socket.display()));
        let mut service = Daemon::start_gently(command, &root.path().join("log"));
        service.wait_until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Self { _service: service, root }
    }

    fn command(root: &Path) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Self::command(self.root.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

#[test]
fn volumes_of_podman_are_read_where_they_lie_and_through_it() {
    let podman = Podman::start();
    podman.run(&["volume", "create", "--label", "of=test", "data"]);
    let place = podman.run(&["volume", "inspect", "--format", "{{.Mountpoint}}", "data"]);
    let place = Path::new(&place);
    fs::create_dir_all(place.join("a/b")).unwrap();
    fs::write(place.join("a/b/file"), "text").unwrap();
    fs::hard_link(place.join("a/b/file"), place.join("z")).unwrap();
    let source = |read: &str| {
        let host = format!("unix://{}", podman.root.path().join("sock").display());
        format!("[docker.pod]\nhost = \"{host}\"\nvolumes = [\"*\"]\nread = \"{read}\"")
    };
    let env = TestEnv::with_store_and(&source("direct"));
    for read in ["direct", "api"] {
        env.configure(&source(read));
        env.run(["backup"]).code(0).stderr_has("docker.pod/volume/data  saved");
        let listed = env.run(["ls", "-R", "docker.pod/volume/data"]).code(0).stdout;
        assert_eq!(listed, "/data/\n/data/a/\n/data/a/b/\n/data/a/b/file\n/data/z\n/volume.json\n", "{read}");
        assert_eq!(env.run(["dump", "docker.pod/volume/data:/data/z"]).code(0).stdout, "text", "{read}");
        env.run(["dump", "docker.pod/volume/data:/volume.json"]).code(0).stdout_has("\"of\": \"test\"");
    }
    assert_eq!(podman.run(&["ps", "--all", "--quiet"]), "", "helpers are left");
    assert_eq!(podman.run(&["volume", "ls", "--quiet"]), "data");
}
