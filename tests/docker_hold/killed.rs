//! What a run that was killed has left held: found by the next one, and by `holdall check`.

use rustix::process::Signal;

use crate::bench::{Bench, SOON};

/// Kills a run that holds containers; they are as it has left them.
fn killed(bench: &Bench) {
    let (mut run, gate) = bench.reading();
    run.signal(Signal::KILL);
    assert!(!run.wait(SOON).success());
    drop(gate);
    assert_eq!(bench.marks(), 1);
}

#[test]
fn check_brings_back_what_a_killed_run_has_left() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("ended", &[]);
    bench.engine.docker(["stop", "ended"]);
    bench.writer("web", &[]);
    killed(&bench);
    assert_eq!(bench.state("web"), "exited");
    bench.env.run(["check"]).code(0).stdout_has("docker.nas: ready; started web again, which a run that was killed");
    assert_eq!(["ended", "web"].map(|name| bench.state(name)), ["exited", "running"]);
    assert_eq!(bench.marks(), 0);
    bench.env.run(["check"]).code(0).stdout_has("docker.nas: ready\n");
}

#[test]
fn next_run_brings_back_what_a_killed_one_has_left() {
    for (hold, held) in [("stop", "exited"), ("pause", "paused")] {
        let bench = Bench::new(&format!("hold = \"{hold}\""));
        bench.writer("web", &[]);
        killed(&bench);
        assert_eq!(bench.state("web"), held);
        // The killed run's lock in the store is of this machine, and of a process that is no more.
        bench.env.run(["backup"]).code(0).stderr_has("docker.nas: started web again, which a run that was killed");
        assert_eq!((bench.state("web").as_str(), bench.marks(), bench.points()), ("running", 0, 1));
    }
}

#[test]
fn next_run_brings_back_also_when_nothing_is_due() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    bench.env.run(["backup"]).code(0);
    std::fs::write(bench.file(), "another").unwrap();
    killed(&bench);
    bench.configure("hold = \"stop\"\nevery = \"20h\"");
    bench.env.run(["backup"]).code(0).stderr_has("started web again").stderr_lacks("saved");
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("running", 0));
}

#[test]
fn dry_run_brings_nothing_back() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    killed(&bench);
    bench.env.run(["backup", "-n"]).code(0);
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("exited", 1));
}

#[test]
fn check_leaves_alone_what_a_run_holds_that_is_under_way() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    let (mut run, gate) = bench.reading();
    bench.env.run(["check"]).code(0).stdout_has("docker.nas: ready\n");
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("exited", 1));
    drop(gate);
    assert!(run.wait(SOON).success(), "{}", run.log());
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("running", 0));
}

#[test]
fn container_that_is_gone_since_is_told_and_no_error() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    bench.writer("db", &[]);
    killed(&bench);
    bench.engine.docker(["rm", "web"]);
    bench.env.run(["check"]).code(0).stdout_has("started db again").stdout_has("web is gone");
    assert_eq!((bench.state("db").as_str(), bench.marks()), ("running", 0));
}

/// Makes a mark by hand.
fn mark(bench: &Bench, source: &str, machine: &str, held: &str) {
    let labels = [("internal", "hold"), ("source", source), ("machine", machine), ("held", held)];
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("--label=holdall.{key}={value}")).collect();
    bench.engine.docker(["volume", "create"].into_iter().chain(labels.iter().map(String::as_str)));
}

#[test]
fn mark_that_cannot_be_understood_is_an_error_and_stays() {
    let bench = Bench::new("hold = \"stop\"");
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    mark(
        &bench,
        "docker.nas",
        &machine,
        r#"{"version":1,"start_timeout":1,"settled_at":0,"containers":[{"id":"../x","name":"x","way":"stop","wave":0,"needs":[]}]}"#,
    );
    let outcome = bench.env.run(["check"]).code(1);
    outcome.stdout_has("is no id of a container").stdout_has("docker volume inspect");
    bench.env.run(["backup"]).code(1).stderr_has("understand the mark").stderr_has("saved");
    assert_eq!(bench.marks(), 1);
}

#[test]
fn marks_of_other_machines_and_sources_are_left_alone() {
    let bench = Bench::new("hold = \"stop\"");
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    mark(&bench, "docker.nas", "elsewhere", "?");
    mark(&bench, "docker.other", &machine, "?");
    bench.env.run(["check"]).code(0);
    bench.env.run(["backup"]).code(0);
    assert_eq!(bench.marks(), 2);
}
