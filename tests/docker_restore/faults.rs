//! Disks that are full, engines that die, and points that somebody has made to do harm.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::support::dockerd::{Dockerd, IMAGE};
use super::support::env::{TestEnv, finish};
use super::support::fault::Tmpfs;
use super::{copy, env};

const VOLUME: &str = "docker.nas/volume/data";

/// A volume of 8 MiB that does not compress, with a small file before and after it in the order of a tree.
fn large(engine: &Dockerd) {
    engine.filled_volume("data", "echo first >a; dd if=/dev/urandom of=m bs=1M count=8 2>/dev/null; echo last >z");
}

#[test]
fn full_disk_is_told_and_restoring_once_more_completes_it() {
    let engine = Dockerd::start();
    large(&engine);
    let env = env(&engine, "volumes = [\"data\"]");
    env.run(["backup"]).code(0);
    let before = env.path("before");
    copy(&engine.volume("data"), &before);
    engine.filled_volume("data", "rm a m z");
    let disk = Tmpfs::mount(&engine.volume("data"), "2m");
    let full = env.run(["restore", VOLUME, "--in-place", "--yes", "--no-safety"]).code(1);
    full.stderr_has("restore the volume data").stderr_has("No space left on device");
    assert!(!engine.volume("data").join("m").exists(), "half a file has its name");
    disk.resize("20m");
    env.run(["restore", VOLUME, "--in-place", "--yes", "--no-safety", "--verify"]).code(0);
    for name in ["a", "m", "z"] {
        assert!(fs::read(before.join(name)).unwrap() == fs::read(engine.volume("data").join(name)).unwrap(), "{name}");
    }
}

#[test]
fn full_disk_behind_the_engine_is_told_and_restoring_once_more_completes_it() {
    let engine = Dockerd::start();
    large(&engine);
    let env = env(&engine, "volumes = [\"data\"]\nread = \"api\"");
    env.run(["backup"]).code(0);
    let before = env.path("before");
    copy(&engine.volume("data"), &before);
    // What the driver mounts for this one is 2 MiB large.
    let place = engine.root().join("disk");
    fs::create_dir(&place).unwrap();
    let disk = Tmpfs::mount(&place, "2m");
    let device = format!("device={}", place.display());
    engine.docker(["volume", "rm", "data"]);
    engine.docker(["volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", &device, "data"]);
    env.run(["restore", VOLUME, "--in-place", "--yes", "--no-safety"])
        .code(1)
        .stderr_has("restore the volume data: send it to the engine")
        .stderr_has("no space left on device");
    assert_eq!(engine.docker(["ps", "-aq"]), "", "a helper is left");
    disk.resize("20m");
    env.run(["restore", VOLUME, "--in-place", "--yes", "--no-safety", "--verify"]).code(0);
    for name in ["a", "m", "z"] {
        assert!(fs::read(before.join(name)).unwrap() == fs::read(place.join(name)).unwrap(), "{name}");
    }
}

/// What becomes of connections once so many bytes have gone to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// They are closed.
    Cut,
    /// What comes after it is lost; they stay open as long as both ends want it.
    Stall,
}

/// A socket before that of an engine, for a bad line.
struct Line {
    place: PathBuf,
    state: Arc<State>,
}

struct State {
    left: AtomicU64,
    then: Then,
    is_reached: AtomicBool,
}

impl State {
    /// Takes these bytes off what is left; whether it is over. What is over stays so.
    fn takes(&self, count: u64) -> bool {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(count));
        if left.is_err() {
            self.is_reached.store(true, Ordering::SeqCst);
        }
        self.is_reached.load(Ordering::SeqCst)
    }
}

impl Line {
    fn new(engine: &Dockerd, env: &TestEnv, name: &str, left: u64, then: Then) -> Self {
        let place = env.path(name);
        let listener = UnixListener::bind(&place).unwrap();
        let socket = engine.socket();
        let state = Arc::new(State { left: left.into(), then, is_reached: AtomicBool::new(false) });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&socket)) else { return };
                let (from, to, state) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || pass(&from, &to, Some(&state)));
                std::thread::spawn(move || pass(&server, &client, None));
            }
        });
        Self { place, state }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.place.display())
    }

    fn is_reached(&self) -> bool {
        self.state.is_reached.load(Ordering::SeqCst)
    }
}

/// Passes bytes on until there are none, then closes both ends.
fn pass(mut from: &UnixStream, mut to: &UnixStream, state: Option<&State>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some(state) = state
            && state.takes(count as u64)
        {
            match state.then {
                Then::Cut => break,
                Then::Stall => continue,
            }
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn socket_that_is_cut_in_the_middle_fails_the_restore() {
    let engine = Dockerd::start();
    large(&engine);
    engine.import("app:1", &[("/big", &engine.volume("data").join("m"))]);
    let sources = "volumes = [\"data\"]\nimages = [\"app:1\"]\nread = \"api\"";
    let env = env(&engine, sources);
    env.run(["backup"]).code(0);
    let before = env.path("before");
    copy(&engine.volume("data"), &before);
    engine.docker(["rmi", "app:1"]);
    engine.filled_volume("data", "rm m");
    let configure = |host: &str| env.configure(&format!("[docker.nas]\nhost = \"{host}\"\n{sources}"));
    for (item, doing) in [("docker.nas/image/app:1", "load the image app:1"), (VOLUME, "send it to the engine")] {
        let line = Line::new(&engine, &env, &format!("cut-{}.sock", doing.len()), 4 << 20, Then::Cut);
        configure(&line.host());
        env.run(["restore", item, "--in-place", "--yes", "--no-safety"]).code(1).stderr_has(doing);
        assert!(line.is_reached(), "{item}");
    }
    engine.try_docker(["inspect", "app:1"]).code(1);
    assert_ne!(engine.docker(["ps", "-aq"]), "", "the helper could not be removed over this line");
    configure(&engine.host());
    env.run(["restore", VOLUME, "--in-place", "--yes", "--no-safety", "--verify"]).code(0);
    assert_eq!(engine.docker(["ps", "-aq"]), "");
    env.run(["restore", "docker.nas/image/app:1", "--in-place", "--yes"]).code(0);
    assert!(fs::read(before.join("m")).unwrap() == fs::read(engine.volume("data").join("m")).unwrap());
}

#[test]
fn engine_that_is_killed_in_the_middle_fails_the_restore() {
    let mut engine = Dockerd::start();
    large(&engine);
    let env = env(&engine, "volumes = [\"data\"]\nread = \"api\"");
    env.run(["backup"]).code(0);
    let line = Line::new(&engine, &env, "line.sock", 4 << 20, Then::Stall);
    env.configure(&format!("[docker.nas]\nhost = \"{}\"\nvolumes = [\"data\"]\nread = \"api\"", line.host()));
    engine.filled_volume("data", "rm m");
    let mut run = env.start(["restore", VOLUME, "--in-place", "--yes", "--no-safety"]);
    engine.wait_until("half of it is sent", || line.is_reached());
    engine.daemon().kill();
    assert_eq!(run.wait(Duration::from_secs(60)).code(), Some(1), "{}", run.log());
    assert!(run.log().contains("restore the volume data"), "{}", run.log());
    engine.restart();
    env.configure(&format!("[docker.nas]\nhost = \"{}\"\nvolumes = [\"data\"]\nread = \"api\"", engine.host()));
    env.run(["restore", VOLUME, "--in-place", "--yes", "--no-safety", "--verify"]).code(0);
}

/// A point of a volume or container that somebody has made: a tree of files saved as if it were one.
fn forged(env: &TestEnv, item: &str, make: impl FnOnce(&Path)) {
    let tree = env.path("forged");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir(&tree).unwrap();
    make(&tree);
    let mut command = env.command("restic");
    command.arg("--no-cache").arg("--repo").arg(env.store()).arg("--password-file").arg(env.password_file());
    command.args(["backup", ".", "--host", "docker.nas", "--tag", "holdall", "--tag", &format!("item={item}")]);
    command.current_dir(&tree);
    finish(command).code(0);
}

#[test]
fn points_that_want_to_lead_elsewhere_are_refused() {
    let engine = Dockerd::start();
    let env = env(&engine, "volumes = [\"*\"]\ncontainers = [\"*\"]");
    let outside = env.path("outside");
    fs::create_dir(&outside).unwrap();
    // A link in the place of the data of a volume.
    forged(&env, VOLUME, |tree| symlink(&outside, tree.join("data")).unwrap());
    env.run(["restore", VOLUME, "--in-place", "--yes"]).code(1);
    // A name of a volume that is a path, and one that no volume can have.
    forged(&env, "docker.nas/container/web", |tree| fs::create_dir_all(tree.join("volumes/-v/data")).unwrap());
    env.run(["restore", "docker.nas/container/web", "--in-place", "--yes"]).code(2).stderr_has("`-v` is no name");
    // A path that goes up.
    forged(&env, "docker.nas/container/web", |tree| {
        fs::create_dir_all(tree.join("binds/0")).unwrap();
        fs::write(tree.join("binds/0/x"), "x").unwrap();
        let source = format!("{}/../up", outside.display());
        fs::write(tree.join("binds.json"), format!(r#"[{{"source": "{source}", "destination": "/x"}}]"#)).unwrap();
    });
    env.run(["restore", "docker.nas/container/web", "--in-place", "--yes"]).code(1).stderr_has("contains `..`");
    // A description that never ends.
    forged(&env, VOLUME, |tree| {
        fs::create_dir(tree.join("data")).unwrap();
        fs::File::create(tree.join("volume.json")).unwrap().set_len(64 << 20).unwrap();
    });
    env.run(["restore", VOLUME, "--in-place", "--yes"]).code(1).stderr_has("longer than any engine writes it");
    assert_eq!(engine.docker(["volume", "ls", "-q"]), "");
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
}

#[test]
fn links_in_a_volume_do_not_lead_out_of_it() {
    let engine = Dockerd::start();
    for read in ["auto", "api"] {
        let (volume, item) = (format!("data-{read}"), format!("docker.nas/volume/data-{read}"));
        engine.filled_volume(&volume, "mkdir d; echo x >d/x");
        let env = env(&engine, &format!("volumes = [\"{volume}\"]\nread = \"{read}\""));
        env.run(["backup"]).code(0);
        let outside = env.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
        fs::remove_dir_all(engine.volume(&volume).join("d")).unwrap();
        symlink(&outside, engine.volume(&volume).join("d")).unwrap();
        env.run(["restore", &format!("{item}:/data/d/x"), "--in-place", "--yes"]).code_among(&[0, 1, 3]);
        assert!(fs::read_dir(&outside).unwrap().next().is_none(), "{read}");
        env.run(["restore", &item, "--in-place", "--yes"]).code(0);
        assert_eq!(fs::read_to_string(engine.volume(&volume).join("d/x")).unwrap(), "x\n");
        assert!(fs::read_dir(&outside).unwrap().next().is_none(), "{read}");
    }
}

#[test]
fn ended_restore_starts_who_was_stopped() {
    let engine = Dockerd::start();
    large(&engine);
    let env = env(&engine, "volumes = [\"data\"]\nread = \"api\"");
    env.run(["backup"]).code(0);
    engine.docker([
        "run",
        "--detach",
        "--network",
        "none",
        "--name",
        "user",
        "--volume",
        "data:/data",
        IMAGE,
        "sleep",
        "900",
    ]);
    let before = engine.inspect("user", "{{.State.StartedAt}}");
    let mut run = env.start(["restore", VOLUME, "--in-place", "--yes", "--stop"]);
    engine.wait_until("it is stopped", || !engine.is_running("user"));
    run.signal(Signal::TERM);
    engine.wait_until("it runs again", || engine.is_running("user"));
    assert_ne!(engine.inspect("user", "{{.State.StartedAt}}"), before);
    assert_eq!(run.wait(Duration::from_secs(60)).code(), Some(143));
}

#[test]
fn restore_that_was_killed_is_done_once_more_and_only_then_its_users_run() {
    let engine = Dockerd::start();
    large(&engine);
    let sources = "volumes = [\"data\"]\nread = \"api\"";
    let env = env(&engine, sources);
    env.run(["backup"]).code(0);
    engine.filled_volume("data", "rm m");
    engine.idle("user", &["--volume", "data:/data"]);
    let line = Line::new(&engine, &env, "line.sock", 4 << 20, Then::Stall);
    env.configure(&format!("[docker.nas]\nhost = \"{}\"\n{sources}", line.host()));
    let mut run = env.start(["restore", VOLUME, "--in-place", "--yes", "--no-safety", "--stop"]);
    engine.wait_until("half of it is sent", || line.is_reached());
    run.kill();
    assert!(!engine.is_running("user"));
    env.configure(&format!("[docker.nas]\nhost = \"{}\"\n{sources}", engine.host()));
    env.run(["restore", VOLUME, "--in-place", "--yes", "--no-safety", "--verify"])
        .code(0)
        .stderr_has("started user again, which a run that was killed had left held");
    assert!(engine.is_running("user"));
    assert_eq!(engine.docker(["ps", "--all", "--quiet"]).lines().count(), 1, "a helper or a mark is left");
}
