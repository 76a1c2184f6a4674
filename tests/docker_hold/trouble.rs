//! What goes wrong while containers are held.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::bench::{Bench, SOON};

/// A container that cannot be started again once `gone` is called.
fn fragile(bench: &Bench, name: &str) -> String {
    let needed = bench.env.path(format!("needed-{name}"));
    fs::create_dir(&needed).unwrap();
    let needed = needed.display().to_string();
    bench.writer(name, &["--mount", &format!("type=bind,source={needed},target=/needed")]);
    needed
}

#[test]
fn container_that_does_not_start_again_fails_the_run_and_is_tried_again_by_the_next() {
    let bench = Bench::new("hold = \"stop\"");
    let needed = fragile(&bench, "web");
    bench.writer("db", &[]);
    let outcome = bench.backup_with(&format!("rmdir '{needed}'")).code(1);
    outcome
        .stderr_has("docker.nas: could not start web again: ")
        .stderr_has("`docker start web`")
        .stderr_has("docker.nas/volume/data  saved");
    assert_eq!(["db", "web"].map(|name| bench.state(name)), ["running", "exited"]);
    assert_eq!((bench.points(), bench.marks()), (1, 1));

    // It cannot be started yet, and that is told each time.
    bench.env.run(["check"]).code(1).stdout_has("could not start web again: ");
    bench.env.run(["backup"]).code(1).stderr_has("could not start web again: ");
    assert_eq!(bench.marks(), 1);
    fs::create_dir(&needed).unwrap();
    bench.env.run(["check"]).code(0).stdout_has("ready; started web again, which a run that was killed");
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("running", 0));
    bench.env.run(["check"]).code(0).stdout_lacks("web");
}

#[test]
fn each_that_does_not_start_again_is_told() {
    let bench = Bench::new("hold = \"stop\"");
    let (one, two) = (fragile(&bench, "one"), fragile(&bench, "two"));
    let outcome = bench.backup_with(&format!("rmdir '{one}' '{two}'")).code(1);
    outcome.stderr_has("could not start one again: ").stderr_has("could not start two again: ");
}

#[test]
fn container_that_ends_at_once_when_it_is_started_again_fails_the_run() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("db", &[]);
    let labels = ["com.docker.compose.project=p", "com.docker.compose.service=web"];
    let options = ["--network", "none", "--volume", "data:/data", "--label", labels[0], "--label", labels[1]];
    bench.script("web", &options, "test ! -e /log/ill || exit 7; tell start web; wait_for_end");
    // Another one comes after it, so that it has the time to end.
    let labels =
        ["com.docker.compose.project=p", "com.docker.compose.service=next", "com.docker.compose.depends_on=web"];
    bench.writer("next", &labels.iter().flat_map(|label| ["--label", label]).collect::<Vec<_>>());
    fs::write(bench.env.path("log/ill"), "").unwrap();
    bench.env.run(["backup"]).code(1).stderr_has("web was started again and ended at once, with status 7");
    assert_eq!(bench.points(), 1);
}

#[test]
fn container_that_does_not_stop_in_time_is_killed_and_comes_back() {
    let bench = Bench::new("hold = \"stop\"\nstop-timeout = \"1s\"");
    bench.script(
        "deaf",
        &["--network", "none", "--volume", "data:/data"],
        "trap '' TERM; tell start deaf; wait_for_end",
    );
    let (outcome, states) = bench.backup_looking();
    outcome.code(0).stderr_has("deaf did not stop within 1.0s and was killed");
    assert_eq!(states, ["deaf exited"]);
    assert_eq!(bench.state("deaf"), "running");
}

#[test]
fn container_that_is_removed_while_it_is_held_is_told() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    bench.writer("db", &[]);
    let outcome = bench.backup_with("docker rm web").code(1);
    outcome.stderr_has("could not start web again: it was removed while it was held");
    assert_eq!((bench.state("db").as_str(), bench.points(), bench.marks()), ("running", 1, 0));
}

#[test]
fn container_that_was_replaced_while_it_was_held_is_well() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    let replace = "docker rm web; docker run --detach --network none --name web bb:latest sleep 1000";
    bench.backup_with(replace).code(0).stderr_has("web was replaced by another container while it was held");
}

#[test]
fn container_that_was_renamed_while_it_was_held_comes_back() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    bench.backup_with("docker rename web shop").code(0).stderr_has("docker.nas: starts shop\n");
    assert_eq!(bench.state("shop"), "running");
}

#[test]
fn container_that_somebody_else_starts_while_it_is_held_is_told() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    bench.writer("db", &["--label", "holdall.hold=pause"]);
    let outcome = bench.backup_with("docker start web; docker unpause db").code(0);
    outcome
        .stderr_has("web was started by somebody else while it was held")
        .stderr_has("db was started by somebody else");
}

#[test]
fn item_that_fails_lets_go() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    let store = bench.env.store();
    let data = store.join("data");
    let outcome = bench.backup_with(&format!("rm -r '{0}'; echo x >'{0}'", data.display())).code(1);
    // Not only when all that was read is in the store, which fails here.
    outcome.stderr_has("docker.nas: starts web\n").stderr_has("docker.nas/volume/data  failed");
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("running", 0));
}

#[test]
fn containers_come_back_before_the_point_is_written() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    // The last that is written is the snapshot, once all was let go.
    let snapshots = bench.env.store().join("snapshots");
    fs::remove_dir(&snapshots).unwrap();
    fs::write(&snapshots, "").unwrap();
    bench.env.run(["backup"]).code(1).stderr_has("docker.nas: starts web\n");
    assert_eq!(bench.state("web"), "running");
}

/// A socket at which everything is passed on to an engine but requests whose head has this in it: those are forbidden, as a socket proxy does it.
fn forbidding(engine: &Path, at: &Path, forbidden: &str) {
    let listener = UnixListener::bind(at).unwrap();
    let (engine, forbidden) = (engine.to_path_buf(), forbidden.to_owned());
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut server = UnixStream::connect(&engine).unwrap();
            let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut answers, &mut to_client));
            let forbidden = forbidden.clone();
            thread::spawn(move || -> io::Result<()> {
                let mut buffer = [0; 1 << 16];
                loop {
                    // The client writes the head of a request in one piece.
                    let piece = match client.read(&mut buffer)? {
                        0 => return server.shutdown(std::net::Shutdown::Both),
                        read => &buffer[..read],
                    };
                    if String::from_utf8_lossy(piece).contains(&forbidden) {
                        client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
                    } else {
                        server.write_all(piece)?;
                    }
                }
            });
        }
    });
}

#[test]
fn container_that_cannot_be_stopped_fails_the_item_and_the_others_come_back() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("db", &["--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service=db"]);
    let labels =
        ["project=p", "service=web", "depends_on=db"].map(|label| format!("--label=com.docker.compose.{label}"));
    bench.writer("web", &labels.each_ref().map(String::as_str));
    let proxy = bench.env.path("proxy");
    let id = bench.engine.inspect("db", "{{.Id}}");
    forbidding(&bench.engine.socket(), &proxy, &format!("{id}/stop"));
    bench.forget();
    bench.env.configure(&format!(
        "[docker.nas]\nhost = \"unix://{}\"\nvolumes = [\"data\"]\nhold = \"stop\"\nstop-timeout = \"1s\"",
        proxy.display()
    ));
    let outcome = bench.env.run(["backup"]).code(1);
    outcome.stderr_has("docker.nas/volume/data  failed  stop db").stderr_has("docker.nas: starts web\n");
    bench.engine.wait_until("web", || bench.events().len() == 2);
    assert_eq!(bench.events(), ["stop web", "start web"]);
    assert_eq!(["db", "web"].map(|name| bench.state(name)), ["running", "running"]);
    assert_eq!(bench.points(), 0);
    // The engine could still stop it: it is looked after until it cannot.
    assert_eq!(bench.marks(), 1);
    bench.engine.wait_until("no mark", || {
        bench.env.run(["check"]).code(0).stdout_has("docker.nas: ready\n");
        bench.marks() == 0
    });
}

#[test]
fn engine_that_is_started_anew_while_containers_are_held_is_no_harm() {
    for hold in ["stop", "pause"] {
        let mut bench = Bench::new(&format!("hold = \"{hold}\""));
        bench.writer("web", &[]);
        let (mut run, gate) = bench.reading();
        bench.engine.restart();
        drop(gate);
        assert!(run.wait(SOON).success(), "{}", run.log());
        assert_eq!((bench.state("web").as_str(), bench.marks(), bench.points()), ("running", 0, 1));
    }
}
