//! Hooks of a source that has several items, which only the source itself can tell.

use super::support::dockerd::Dockerd;
use super::{does, hooked, hooks, said};

#[test]
fn hooks_of_an_engine_are_around_all_that_is_due_of_it() {
    let engine = Dockerd::start();
    engine.filled_volume("first", "echo 1 >x");
    engine.filled_volume("second", "echo 2 >x");
    let docker = format!("[docker.nas]\nhost = \"{}\"\nvolumes = [\"*\"]\nevery = \"1h\"\n", engine.host());
    let env = hooked(&format!("{docker}{}", hooks("docker.nas.hooks", "-nas")));
    does(&env, "before-nas", "echo 'somebody plays'; exit 75");
    let lines = env.run(["backup", "--json"]).code(0).json_lines();
    let away: Vec<&str> =
        lines.iter().filter(|line| line["outcome"] == "away").map(|line| line["item"].as_str().unwrap()).collect();
    assert_eq!(away, ["docker.nas/volume/first", "docker.nas/volume/second"]);
    assert_eq!(said(&env), ["before-nas"]);
    does(&env, "before-nas", "exit 1");
    env.run(["backup"]).code(1).stderr_has("docker.nas  failed  hook before of docker.nas: ");
    assert_eq!(said(&env), ["before-nas", "after-nas", "on-failure-nas"]);
    does(&env, "before-nas", "");
    env.run(["backup"]).code(0).stderr_has("ok: 2 saved");
    assert_eq!(said(&env), ["before-nas", "after-nas"]);
    env.run(["backup"]).code(0).stderr_has("ok: 2 not due");
    assert_eq!(said(&env), [""; 0]);
    engine.filled_volume("third", "echo 3 >x");
    env.run(["backup"]).code(0).stderr_has("ok: 1 saved, 2 not due");
    assert_eq!(said(&env), ["before-nas", "after-nas"]);
}
