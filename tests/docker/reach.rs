//! Engines that are reached in other ways than over Docker's own socket, or not at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::items::env;
use crate::support::daemon::free_ports;
use crate::support::dockerd::Dockerd;
use crate::support::engine_proxy::{EngineProxy, Rule};
use crate::support::env::TestEnv;

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority and what it has signed: `NAME-ca.pem`, `NAME-key.pem`, `NAME-cert.pem`.
fn certificates(folder: &Path, name: &str) {
    fs::write(
        folder.join("names"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    openssl(
        folder,
        &format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name}-ca -keyout {name}-ca-key.pem -out {name}-ca.pem"
        ),
    );
    openssl(folder, &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}-key.pem -out {name}.csr"));
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca-key.pem -CAcreateserial -days 2 -extfile names -out {name}-cert.pem"
        ),
    );
}

#[test]
fn engine_is_asked_over_tls_and_only_if_it_is_the_one_that_was_meant() {
    let world = tempfile::tempdir().unwrap();
    certificates(world.path(), "own");
    certificates(world.path(), "other");
    let [port] = free_ports();
    let file = |name: &str| world.path().join(name).to_str().unwrap().to_owned();
    let listen = format!("--host=tcp://127.0.0.1:{port}");
    let (ca, cert, key) = (file("own-ca.pem"), file("own-cert.pem"), file("own-key.pem"));
    let engine = Dockerd::with(&[&listen, "--tlsverify", "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key]);
    engine.filled_volume("data", "echo one >a");
    let source = |ca: &str, cert: &str, key: &str| {
        format!(
            "[docker.nas]\nhost = \"tcp://127.0.0.1:{port}\"\ntls-ca = \"{ca}\"\ntls-cert = \"{cert}\"\ntls-key = \"{key}\"\nvolumes = [\"*\"]"
        )
    };
    let env = TestEnv::with_store_and(&source(&ca, &cert, &key));
    env.run(["backup"]).code(0).stderr_has("volume/data  saved");
    assert_eq!(env.run(["dump", "docker.nas/volume/data:/data/a"]).code(0).stdout, "one\n");
    assert_eq!(engine.docker(["ps", "--all", "--quiet"]), "", "it is not this machine's, so that there were helpers");
    // Somebody else's authority: the engine is not the one that was meant; somebody else's certificate: we are not.
    env.configure(&source(&file("other-ca.pem"), &cert, &key));
    env.run(["backup"]).code(1).stderr_has("certificate");
    env.configure(&source(&ca, &file("other-cert.pem"), &file("other-key.pem")));
    env.run(["backup"]).code(1).stderr_has("docker.nas  failed");
    env.configure(&source(&file("missing.pem"), &cert, &key));
    env.run(["check"]).code(1).stdout_has("missing.pem");
    env.configure(&format!("[docker.nas]\nhost = \"tcp://127.0.0.1:{port}\"\nvolumes = [\"*\"]"));
    env.run(["backup"]).code(1).stderr_has("docker.nas  failed");
}

#[test]
fn engine_that_does_not_run_or_may_not_be_asked_is_told_with_what_to_do() {
    let engine = Dockerd::start();
    let env = env(&engine, "volumes = [\"*\"]").without_override();
    fs::set_permissions(engine.socket(), Permissions::from_mode(0o000)).unwrap();
    env.run(["backup"]).code(1).stderr_has("Permission denied").stderr_has("become root on this machine");
    env.configure("[docker.nas]\nhost = \"unix:///nonexistent/docker.sock\"\nvolumes = [\"*\"]");
    env.run(["backup"]).code(1).stderr_has("No such file").stderr_has("Is the engine running?");
    env.run(["check"]).code(1).stdout_has("FAILED  docker.nas");
}

#[test]
fn engine_of_the_environment_is_asked_when_none_is_configured() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo one >a");
    let env = TestEnv::with_store_and("[docker.nas]\nvolumes = [\"*\"]").variable("DOCKER_HOST", engine.host());
    env.run(["backup"]).code(0).stderr_has("volume/data  saved");
    let env = env.variable("DOCKER_HOST", "ftp://nas.lan");
    env.run(["backup"]).code(1).stderr_has("`ftp://nas.lan` is no engine");
}

/// What the page of the kind says that a socket proxy has to allow, for the purposes that begin so.
fn allowed(purposes: &[&str]) -> Vec<Rule> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/sources/docker.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (method, path) = cells.next()?.split_once(' ')?;
        let purpose = cells.next()?;
        let is_wanted = purposes.iter().any(|wanted| purpose.starts_with(wanted));
        is_wanted.then(|| (method.to_owned(), path.trim_end_matches('`').to_owned()))
    });
    let rules: Vec<Rule> = rows.collect();
    assert!(!rules.is_empty());
    rules
}

#[test]
fn socket_proxy_need_not_allow_more_than_the_page_says() {
    let engine = Dockerd::start();
    engine.idle("db", &["--volume", "data:/data", "--label", "holdall.dump=sqlite:/data/app.db"]);
    engine.docker([
        "exec",
        "db",
        "sh",
        "-c",
        "echo row >/data/table; echo 'echo dumped' >/bin/sqlite3; chmod 755 /bin/sqlite3",
    ]);
    let env = env(&engine, "");
    let back_up = |name: &str, purposes: &[&str], rest: &str| {
        let proxy = EngineProxy::allowing(&engine.socket(), &env.path(format!("{name}.sock")), allowed(purposes));
        env.configure(&format!("[docker.nas]\nhost = \"unix://{}\"\n{rest}", proxy.socket.display()));
        env.run(["backup"]).code(0);
        assert_eq!(proxy.refused(), [""; 0], "{name}");
    };
    let asking = "always";
    back_up("direct", &[asking], "volumes = [\"*\"]");
    back_up("image", &[asking, "images"], "images = [\"*\"]");
    back_up("api", &[asking, "volumes through"], "volumes = [\"*\"]\nread = \"api\"");
    back_up("dump", &[asking, "dumps"], "containers = [\"*\"]");
    back_up("stop", &[asking, "hold"], "volumes = [\"*\"]\nhold = \"stop\"");
    back_up("pause", &[asking, "hold"], "volumes = [\"*\"]\nhold = \"pause\"");

    let proxy = EngineProxy::allowing(&engine.socket(), &env.path("none.sock"), allowed(&[asking]));
    env.configure(&format!("[docker.nas]\nhost = \"unix://{}\"\nimages = [\"*\"]", proxy.socket.display()));
    env.run(["backup"]).code(1).stderr_has("Forbidden (a socket proxy?");
    assert_eq!(proxy.refused(), ["GET /images/get"]);
}

#[test]
fn archive_that_is_cut_anywhere_leaves_no_point() {
    let engine = Dockerd::start();
    engine.filled_volume(
        "data",
        "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=$i bs=100k count=1 2>/dev/null; done",
    );
    let env = env(&engine, "");
    for bytes in [0, 200, 700, 5000, 400_000, 812_000] {
        let is_archive = move |request: &str| request.starts_with("GET /containers/") && request.ends_with("/archive");
        let cut = move |request: &str| is_archive(request).then_some(bytes);
        let proxy = EngineProxy::cutting(&engine.socket(), &env.path(format!("{bytes}.sock")), cut);
        let host = format!("unix://{}", proxy.socket.display());
        env.configure(&format!("[docker.nas]\nhost = \"{host}\"\nvolumes = [\"*\"]\nread = \"api\""));
        env.run(["backup"]).code(1).stderr_has("volume/data  failed");
        env.run(["list"]).code(0).stdout_lacks("docker.nas");
    }
}

#[test]
fn image_and_dump_that_are_cut_leave_no_point() {
    let engine = Dockerd::start();
    engine.idle("db", &[]);
    let env = env(&engine, "");
    let back_up = |name: &str, rest: &str, bytes: u64| {
        let is_meant =
            |request: &str| request == "GET /images/get" || request.ends_with("/start") && request.contains("/exec/");
        let cut = move |request: &str| is_meant(request).then_some(bytes);
        let proxy = EngineProxy::cutting(&engine.socket(), &env.path(format!("{name}-{bytes}.sock")), cut);
        env.configure(&format!("[docker.nas]\nhost = \"unix://{}\"\n{rest}", proxy.socket.display()));
        env.run(["backup"]).code(1).stderr_has("failed");
        env.run(["list"]).code(0).stdout_lacks("docker.nas");
    };
    let dump = "containers = [\"db\"]\n[[docker.nas.dump]]\ncontainer = \"db\"\nfile = \"rows\"\n";
    let dump = format!("{dump}command = [\"sh\", \"-c\", \"printf %s {}\"]", "row ".repeat(500).trim());
    for bytes in [0, 100, 250, 1000, 1600] {
        back_up("dump", &dump, bytes);
    }
    for bytes in [0, 300, 100_000] {
        back_up("image", "images = [\"bb:*\"]", bytes);
    }
}
