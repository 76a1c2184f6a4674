//! In which order containers stop and start, and what they wait for.

use crate::bench::Bench;

/// The labels that Compose gives to a service.
fn service(name: &str, depends_on: &str) -> Vec<String> {
    let labels = [("project", "p"), ("service", name), ("depends_on", depends_on)];
    labels.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("com.docker.compose.{key}={value}")]).collect()
}

fn writer(bench: &Bench, name: &str, depends_on: &str) {
    let labels = service(name, depends_on);
    bench.writer(name, &labels.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn services_stop_before_what_they_depend_on_and_start_after_it() {
    let bench = Bench::new("hold = \"stop\"");
    // By their names they would come in another order.
    writer(&bench, "c-db", "");
    writer(&bench, "a-app", "c-db:service_started:true");
    writer(&bench, "b-web", "a-app:service_started:false,c-db");
    bench.forget();
    bench.env.run(["backup"]).code(0).stderr_has("docker.nas: stops b-web, a-app, c-db\n");
    bench.engine.wait_until("all", || bench.events().len() == 6);
    // Each tells a little after the engine has started it.
    let events = bench.events();
    assert_eq!(events[..3], ["stop b-web", "stop a-app", "stop c-db"]);
    let started = |name| bench.engine.inspect(name, "{{.State.StartedAt}}");
    assert!(started("c-db") < started("a-app") && started("a-app") < started("b-web"));
}

#[test]
fn who_lives_in_a_stopped_containers_network_is_stopped_and_started_with_it() {
    let bench = Bench::new("hold = \"stop\"");
    bench.writer("vpn", &[]);
    bench.teller("guest", &["--network", "container:vpn"]);
    bench.teller("memory", &["--network", "none", "--pid", "container:guest"]);
    bench.forget();
    let (outcome, states) = bench.backup_looking();
    outcome.code(0);
    assert_eq!(states, ["guest exited", "memory exited", "vpn exited"]);
    assert_eq!(bench.events()[..3], ["stop memory", "stop guest", "stop vpn"]);
    assert_eq!(["vpn", "guest", "memory"].map(|name| bench.state(name)), ["running", "running", "running"]);
}

/// A database that is healthy a while after it was started.
fn database(bench: &Bench, script: &str) {
    let labels = service("db", "");
    let mut options = vec!["--network", "none", "--volume", "data:/data"];
    options.extend(["--health-cmd", "test -e /healthy", "--health-interval", "100ms", "--health-retries", "1000"]);
    options.extend(labels.iter().map(String::as_str));
    bench.script("db", &options, &format!("rm -f /healthy; tell start db; {script}; wait_for_end"));
    bench.engine.wait_until("db", || bench.engine.inspect("db", "{{.State.Health.Status}}") == "healthy");
}

#[test]
fn container_starts_when_what_it_depends_on_is_healthy() {
    let bench = Bench::new("hold = \"stop\"");
    database(&bench, "sleep 1.5; tell healthy db; touch /healthy");
    writer(&bench, "app", "db:service_healthy:false");
    bench.forget();
    bench.env.run(["backup"]).code(0);
    bench.engine.wait_until("app", || bench.events().len() == 5);
    assert_eq!(bench.events(), ["stop app", "stop db", "start db", "healthy db", "start app"]);
}

#[test]
fn one_that_does_not_become_healthy_is_told_and_does_not_hinder_the_others() {
    let bench = Bench::new("hold = \"stop\"\nstart-timeout = \"2s\"");
    database(&bench, "test -e /log/ill || touch /healthy");
    writer(&bench, "app", "db");
    std::fs::write(bench.env.path("log/ill"), "").unwrap();
    let outcome = bench.env.run(["backup"]).code(1);
    outcome.stderr_has("db was started again and is not healthy after 2.0s: starting").stderr_has("docker inspect db");
    assert_eq!(["app", "db"].map(|name| bench.state(name)), ["running", "running"]);
    // What was read is whole, and nothing is left to be started.
    assert_eq!((bench.points(), bench.marks()), (1, 0));
}
