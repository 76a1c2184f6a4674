//! What is done to which containers.

use crate::bench::Bench;

#[test]
fn writer_is_stopped_while_its_volume_is_read_and_started_again() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    bench.teller("other", &["--network", "none"]);
    let (outcome, states) = bench.backup_looking();
    outcome.code(0).stderr_has("docker.nas: stops web\n").stderr_has("docker.nas: starts web\n");
    assert_eq!(states, ["other running", "web exited"]);
    bench.engine.wait_until("web", || bench.events().len() == 4);
    assert_eq!(bench.events(), ["start web", "start other", "stop web", "start web"]);
    assert_eq!((bench.state("web").as_str(), bench.marks(), bench.points()), ("running", 0, 1));
}

#[test]
fn writer_is_frozen_while_its_volume_is_read() {
    let bench = Bench::new("hold = \"pause\"");
    bench.writer("web", &[]);
    let (outcome, states) = bench.backup_looking();
    outcome.code(0).stderr_has("docker.nas: pauses web\n");
    assert_eq!(states, ["web paused"]);
    assert_eq!(bench.events(), ["start web"]);
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("running", 0));
}

#[test]
fn only_what_ran_is_held_and_comes_back() {
    for hold in ["stop", "pause"] {
        let bench = Bench::new(&format!("hold = \"{hold}\""));
        for name in ["ended", "frozen", "runs"] {
            bench.writer(name, &[]);
        }
        bench.engine.docker(["stop", "ended"]);
        bench.engine.docker(["pause", "frozen"]);
        let (outcome, states) = bench.backup_looking();
        outcome.code(0).stderr_lacks("frozen").stderr_lacks("ended");
        let held = if hold == "stop" { "runs exited" } else { "runs paused" };
        assert_eq!(states, ["ended exited", "frozen paused", held]);
        assert_eq!(["ended", "frozen", "runs"].map(|name| bench.state(name)), ["exited", "paused", "running"]);
    }
}

#[test]
fn label_of_a_container_wins_over_the_source() {
    let bench = Bench::new("");
    bench.writer("plain", &[]);
    bench.writer("wants", &["--label", "holdall.hold=stop"]);
    bench.writer("offen", &["--label", "docker-volume-backup.stop-during-backup=true"]);
    let (outcome, states) = bench.backup_looking();
    outcome.code(0);
    assert_eq!(states, ["offen running", "plain running", "wants exited"]);

    std::fs::write(bench.file(), "another").unwrap();
    bench.configure("hold = \"stop\"\nhonor-offen-labels = true");
    bench.writer("must-not", &["--label", "holdall.hold=none"]);
    let (outcome, states) = bench.backup_looking();
    outcome.code(0);
    assert_eq!(states, ["must-not running", "offen exited", "plain exited", "wants exited"]);

    std::fs::write(bench.file(), "a third").unwrap();
    bench.configure("honor-offen-labels = true");
    let (outcome, states) = bench.backup_looking();
    outcome.code(0);
    assert_eq!(states, ["must-not running", "offen exited", "plain running", "wants exited"]);
}

#[test]
fn label_that_means_nothing_fails_the_item_before_anything_is_held() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("odd", &["--label", "holdall.hold=freeze"]);
    bench.writer("web", &[]);
    let outcome = bench.env.run(["backup"]).code(1);
    outcome.stderr_has("the label holdall.hold of container odd is `freeze`").stderr_has("none, pause or stop");
    assert_eq!(bench.events(), ["start odd", "start web"]);
    assert_eq!((bench.marks(), bench.points()), (0, 0));
}

#[test]
fn container_that_would_be_removed_by_a_stop_is_frozen() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("brief", &["--rm"]);
    bench.writer("task", &["--label", "com.docker.swarm.task.id=x"]);
    let (outcome, states) = bench.backup_looking();
    outcome.code(0).stderr_has("brief is paused and not stopped: the engine would remove it (--rm)");
    assert_eq!(states, ["brief paused", "task paused"]);
    assert_eq!(["brief", "task"].map(|name| bench.state(name)), ["running", "running"]);
}

#[test]
fn engine_does_not_start_it_again_by_itself() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("always", &["--restart", "always"]);
    let (outcome, states) = bench.backup_looking();
    outcome.code(0);
    assert_eq!(states, ["always exited"]);
    assert_eq!(bench.state("always"), "running");
}

#[test]
fn nothing_is_held_in_a_dry_run() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("web", &[]);
    bench.env.run(["backup", "-n"]).code(0).stderr_has("nothing is held in a dry run; else it would be web");
    assert_eq!(bench.events(), ["start web"]);
}

#[test]
fn container_is_held_with_all_that_write_to_its_volumes_and_dumped_before() {
    let dump = "[[docker.nas.dump]]\ncontainer = \"web\"\ncommand = [\"sh\", \"-c\", \"echo dumped; cat /data/file\"]\nfile = \"own.txt\"";
    let bench = Bench::new(&format!("containers = [\"web\"]\nexclude = [\"volume/data\"]\nhold = \"stop\"\n{dump}"));
    bench.writer("web", &[]);
    bench.writer("helper", &[]);
    let (outcome, states) = bench.backup_looking();
    outcome.code(0).stderr_has("docker.nas: stops web, helper\n");
    assert_eq!(states, ["helper exited", "web exited"]);
    let saved = bench.env.run(["dump", "docker.nas/container/web:/dumps/own.txt"]).code(0);
    assert_eq!(saved.stdout, "dumped\none\n");
    assert_eq!(["web", "helper"].map(|name| bench.state(name)), ["running", "running"]);
}

#[test]
fn container_that_ends_again_and_again_is_held_too() {
    for hold in ["pause", "stop"] {
        let bench = Bench::new(&format!("hold = \"{hold}\""));
        let options = ["--network", "none", "--volume", "data:/data", "--restart", "always"];
        bench.script("ill", &options, "tell start ill; exit 1");
        let restarts = || bench.engine.inspect("ill", "{{.State.Restarting}} {{.RestartCount}}");
        // By then it waits some seconds for each start.
        bench.engine.wait_until("ill", || ["true 5", "true 6"].contains(&restarts().as_str()));
        let (outcome, states) = bench.backup_looking();
        outcome.code(0).stderr_has("docker.nas: starts ill\n");
        assert_eq!(states, ["ill exited"]);
        bench.engine.wait_until("ill", || restarts().starts_with("true"));
        assert_eq!(bench.marks(), 0);
    }
}

#[test]
fn writer_is_held_also_when_its_volume_is_read_through_the_engine() {
    let bench = Bench::new("hold = \"stop\"\nread = \"api\"");
    // It writes until it is stopped: what is saved is what it wrote last.
    let options = ["--network", "none", "--volume", "data:/data"];
    bench.script(
        "web",
        &options,
        "trap 'tell stop web; echo last >/data/file; exit' TERM; tell start web; wait_for_end",
    );
    bench.env.run(["backup"]).code(0).stderr_has("docker.nas: stops web\n").stderr_has("docker.nas: starts web\n");
    assert_eq!(bench.env.run(["dump", "docker.nas/volume/data:/data/file"]).code(0).stdout, "last\n");
    assert_eq!((bench.state("web").as_str(), bench.marks()), ("running", 0));
}
