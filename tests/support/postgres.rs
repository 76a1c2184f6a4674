//! A real PostgreSQL, Debian's, packed into an image: there is no registry to take one from.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dockerd::Dockerd;

/// The image.
pub const IMAGE: &str = "postgres:15";

/// Whom it runs as: as in the official image.
pub const USER: &str = "999:999";

const PROGRAMS: [&str; 5] = ["postgres", "initdb", "pg_dump", "pg_dumpall", "psql"];

/// Makes a database in `$PGDATA` unless there is one, and serves it on the socket.
const ENTRY: &str = "[ -s \"$PGDATA/PG_VERSION\" ] || initdb --username=postgres --auth=trust --no-sync >/dev/null
exec postgres -c listen_addresses= -c unix_socket_directories=/var/run/postgresql -c shared_buffers=16MB";

/// Makes the image.
pub fn import(engine: &Dockerd) {
    let folder = tempfile::tempdir_in(engine.root()).unwrap();
    let root = folder.path();
    let (programs, libraries) = (Path::new("/usr/lib/postgresql/15/bin"), Path::new("/usr/lib/postgresql/15/lib"));
    assert!(programs.join("postgres").exists(), "there is no PostgreSQL: run `scripts/deps test`");
    let mut needed = BTreeSet::new();
    for program in PROGRAMS {
        copy(&programs.join(program), root);
        needed.extend(libraries_of(&programs.join(program)));
    }
    for name in ["plpgsql.so", "dict_snowball.so", "libpqwalreceiver.so"] {
        copy(&libraries.join(name), root);
        needed.extend(libraries_of(&libraries.join(name)));
    }
    for library in needed {
        copy(&library, root);
    }
    let shared = Path::new("/usr/share/postgresql/15");
    let copied = root.join("usr/share/postgresql");
    fs::create_dir_all(&copied).unwrap();
    let status = Command::new("cp").args(["-rL"]).arg(shared).arg(&copied).status().unwrap();
    assert!(status.success());
    copy(Path::new("/bin/busybox"), root);
    for applet in ["sh", "cat", "chown", "chmod", "mkdir", "sleep", "echo", "seq", "sed", "rm", "ls", "date"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    for directory in ["etc", "tmp", "var/run/postgresql"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for directory in ["tmp", "var/run/postgresql"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(root.join(directory), mode).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\npostgres:x:999:\n").unwrap();
    fs::write(root.join("entry"), ENTRY).unwrap();
    engine.import_folder(IMAGE, root);
}

/// What a container of it needs beside the image: where its programs and its data are.
pub fn options(volume: &str) -> Vec<String> {
    let mount = format!("{volume}:/data");
    let words = [
        "--env",
        "PATH=/usr/lib/postgresql/15/bin:/bin",
        "--env",
        "PGDATA=/data/pg",
        "--user",
        USER,
        "--volume",
        &mount,
    ];
    words.map(str::to_owned).to_vec()
}

/// Runs a statement, and returns what it gives.
#[track_caller]
pub fn query(engine: &Dockerd, container: &str, statement: &str) -> String {
    engine.docker([
        "exec",
        container,
        "psql",
        "--username=postgres",
        "--no-align",
        "--tuples-only",
        "--quiet",
        "--command",
        statement,
    ])
}

/// Waits until a container serves its database.
#[track_caller]
pub fn wait(engine: &Dockerd, container: &str) {
    engine.wait_until("PostgreSQL is ready", || {
        !engine
            .try_docker(["exec", container, "psql", "--username=postgres", "--command", "select 1"])
            .stdout
            .is_empty()
    });
}

fn copy(file: &Path, root: &Path) {
    let to = root.join(file.strip_prefix("/").unwrap());
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(file, to).unwrap();
}

/// The libraries that a program or a library needs, as the loader finds them.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let said = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
