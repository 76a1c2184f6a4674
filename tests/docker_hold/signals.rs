//! A run that is told to end while it holds containers.

use rustix::process::Signal;

use crate::bench::{Bench, SOON};

#[test]
fn run_that_is_told_to_end_brings_back_what_it_holds_first() {
    for (hold, held, signal, code) in [
        ("stop", "exited", Signal::INT, 130),
        ("stop", "exited", Signal::TERM, 143),
        ("pause", "paused", Signal::TERM, 143),
    ] {
        let bench = Bench::new(&format!("hold = \"{hold}\""));
        bench.writer("web", &[]);
        bench.writer("db", &[]);
        let (mut run, gate) = bench.reading();
        assert_eq!(["db", "web"].map(|name| bench.state(name)), [held, held]);
        assert_eq!(bench.marks(), 1);
        run.signal(signal);
        assert_eq!(run.wait(SOON).code(), Some(code), "{}", run.log());
        drop(gate);
        assert_eq!(["db", "web"].map(|name| bench.state(name)), ["running", "running"], "{}", run.log());
        assert_eq!((bench.marks(), bench.points()), (0, 0));
    }
}

#[test]
fn run_that_is_told_to_end_while_a_container_stops_brings_it_back() {
    let bench = Bench::new("hold = \"stop\"\nstop-timeout = \"3s\"");
    let options = ["--network", "none", "--volume", "data:/data"];
    bench.script("deaf", &options, "trap 'tell asked' TERM; tell start deaf; wait_for_end");
    let mut run = bench.env.start(["backup"]);
    run.wait_until(|| bench.events().contains(&"asked".to_owned()));
    assert_eq!(bench.state("deaf"), "running");
    run.signal(Signal::TERM);
    assert_eq!(run.wait(SOON).code(), Some(143), "{}", run.log());
    assert_eq!(bench.events().last().unwrap(), "start deaf", "{}", run.log());
    assert_eq!((bench.state("deaf").as_str(), bench.marks(), bench.points()), ("running", 0, 0));
}

#[test]
fn container_that_the_engine_stops_after_the_run_was_killed_comes_back_too() {
    let bench = Bench::new("hold = \"stop\"\nstop-timeout = \"4s\"");
    let options = ["--network", "none", "--volume", "data:/data"];
    bench.script("deaf", &options, "trap 'tell asked' TERM; tell start deaf; wait_for_end");
    let mut run = bench.env.start(["backup"]);
    run.wait_until(|| bench.events().contains(&"asked".to_owned()));
    run.signal(Signal::TERM);
    run.wait_until(|| run_has_heard(&bench));
    // The second one ends it at once.
    run.signal(Signal::TERM);
    assert_eq!(run.wait(SOON).code(), Some(143));
    bench.env.run(["check"]).code(0).stdout_has("docker.nas: ready\n");
    assert_eq!((bench.state("deaf").as_str(), bench.marks()), ("running", 1));
    bench.engine.wait_until("deaf", || bench.state("deaf") == "exited");
    bench.env.run(["check"]).code(0).stdout_has("started deaf again");
    assert_eq!((bench.state("deaf").as_str(), bench.marks()), ("running", 0));
}

fn run_has_heard(bench: &Bench) -> bool {
    std::fs::read_to_string(bench.env.path("holdall.log")).unwrap().contains("a second one ends it at once")
}

#[test]
fn container_that_does_not_come_back_after_a_signal_is_told_and_left_to_the_next_run() {
    let bench = Bench::new("hold = \"stop\"");
    let needed = bench.env.path("needed");
    std::fs::create_dir(&needed).unwrap();
    bench.writer("web", &["--mount", &format!("type=bind,source={},target=/needed", needed.display())]);
    let (mut run, gate) = bench.reading();
    std::fs::remove_dir(&needed).unwrap();
    run.signal(Signal::TERM);
    assert_eq!(run.wait(SOON).code(), Some(143));
    drop(gate);
    assert!(run.log().contains("could not start web again: "), "{}", run.log());
    assert!(run.log().contains("`docker start web`"), "{}", run.log());
    std::fs::create_dir(&needed).unwrap();
    bench.env.run(["backup"]).code(0).stderr_has("started web again, which a run that was killed had left held");
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("running", 0));
}
