//! What is read from a mirror, also when the store is lost.

use std::fs;

use super::support::tree;
use super::{HOME, OFFSITE, backed_up, is_whole, mirrored, snapshots};

#[test]
fn everything_is_read_from_the_mirror_when_the_store_is_lost() {
    let env = backed_up();
    env.write("small", "changed");
    env.run(["backup"]).code(0);
    fs::remove_dir_all(env.store()).unwrap();
    env.run(["list"]).code(10).stderr_has("holdall restore SPEC --from offsite --to DIR");
    let points = env.run(["list", "--from", "offsite", "--json"]).code(0).json();
    assert_eq!(points.as_array().unwrap().len(), 2);
    assert_eq!(points[1]["where"], "offsite");
    let small = format!("files.home:{}/small", env.source().display());
    env.run(["ls", "--from", "offsite", "files.home", "-R"]).code(0).stdout_has("/large");
    assert_eq!(env.run(["dump", "--from", "offsite", &small]).code(0).stdout, "changed");
    let diff = env.run(["diff", "--from", "offsite", "files.home@latest~1", "files.home"]).code(0);
    assert!(diff.stdout.starts_with("M ") || diff.stdout.contains("\nM "), "{}", diff.stdout);
    let target = env.path("restored");
    env.run([
        "restore".as_ref(),
        "files.home".as_ref(),
        "--from".as_ref(),
        "offsite".as_ref(),
        "--verify".as_ref(),
        "--to".as_ref(),
        target.as_os_str(),
    ])
    .code(0)
    .stderr_has("compared with the store");
    tree::assert_same(&env.source(), &target.join(env.source().strip_prefix("/").unwrap()));
    assert!(!env.store().exists());
}

#[test]
fn restore_in_place_saves_what_it_overwrites_in_the_mirror_it_takes_from() {
    let env = backed_up();
    fs::remove_dir_all(env.store()).unwrap();
    env.write("small", "overwritten");
    let restored = env
        .run(["restore", "files.home", "--from", "offsite", "--in-place", "--yes"])
        .code(0)
        .stderr_has("--in-place --from offsite");
    assert_eq!(fs::read_to_string(env.source().join("small")).unwrap(), "small");
    assert_eq!(snapshots(&env), 2);
    is_whole(&env);
    let undo = restored.stderr.split_once("To undo: holdall ").unwrap().1.split(" (").next().unwrap();
    env.run(undo.split(' ').chain(["--yes"])).code(0);
    assert_eq!(fs::read_to_string(env.source().join("small")).unwrap(), "overwritten");
}

#[test]
fn place_that_is_none_and_a_restore_to_nowhere_are_refused() {
    let env = backed_up();
    for command in ["ls", "dump", "restore"] {
        let arguments = [command, "files.home", "--from", "ofsite"].into_iter();
        let to: &[&str] = if command == "restore" { &["--to", "x"] } else { &[] };
        env.run(arguments.chain(to.iter().copied())).code(2).stderr_has("no mirror is called `ofsite`");
    }
    env.run(["restore", "files.home", "--from", "offsite"]).code(2).stderr_has("--to DIR");
    env.run(["restore", "files.home", "--from", "target", "--to", "x"]).code(2).stderr_has("has no meaning");
    let nothing = mirrored();
    nothing.run(["restore", "files.home", "--from", "offsite", "--to", "x"]).code(2);
}

#[test]
fn list_shows_mirrors_only_when_asked_and_tells_those_that_are_away() {
    let env = backed_up();
    env.run(["list"]).code(0).stdout_lacks("offsite");
    let all = env.run(["list", "--mirrors", "--json"]).code(0).json();
    let mut places: Vec<&str> = all.as_array().unwrap().iter().map(|row| row["where"].as_str().unwrap()).collect();
    places.sort_unstable();
    assert_eq!(places, ["offsite", "store"]);
    fs::rename(env.path("offsite"), env.path("gone")).unwrap();
    env.run(["list"]).code(0).stdout_has("files.home");
    env.run(["list", "--mirrors"])
        .code(1)
        .stdout_has("files.home")
        .stderr_has("mirror offsite: there is no repository at ")
        .stderr_has("holdall onboard store --mirror offsite");
}

#[test]
fn status_says_how_far_a_mirror_is_behind_and_the_store_decides() {
    let env = backed_up();
    env.run(["status"]).code(0).stdout_has("offsite").stdout_has("up to date");
    env.configure(HOME);
    env.write("small", "changed");
    env.run(["backup"]).code(0);
    env.configure(&format!("{OFFSITE}{HOME}max-age = \"1d\"\n"));
    env.run(["status"]).code(0).stdout_has(" behind");
    let row = env.run(["status", "--json"]).code(0).json()[0].clone();
    assert_eq!(row["mirrors"]["offsite"]["points"], 1);
    assert_eq!(row["points"], 2);
    assert_ne!(row["mirrors"]["offsite"]["newest"], serde_json::Value::Null);
    fs::rename(env.path("offsite"), env.path("gone")).unwrap();
    let row = env.run(["status", "--json"]).code(0).stderr_has("mirror offsite: ").json()[0].clone();
    assert_eq!(row["mirrors"]["offsite"]["points"], serde_json::Value::Null);
    assert_eq!(row["stale"], false);
    // `check` says what the next run would end with.
    env.run(["check"]).code(1).stdout_has("FAILED  mirror offsite");
}

#[test]
fn verify_finds_what_is_damaged_in_a_mirror() {
    let env = backed_up();
    env.run(["verify", "--mirror", "offsite", "--read-data"]).code(0).stderr_has("reads back right");
    let packs = super::packs(&env.path("offsite"));
    let largest = packs.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    fs::remove_file(largest).unwrap();
    env.run(["verify", "--mirror", "offsite"]).code(1).stderr_has("mirror offsite is damaged in ");
    env.run(["verify"]).code(0);
}
