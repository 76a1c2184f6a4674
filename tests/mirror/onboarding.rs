//! `onboard store --mirror`: makes what is missing, and overwrites nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::support::env::TestEnv;
use super::{HOME, PASSWORD, is_whole, restic};

#[test]
fn mirror_is_made_with_a_password_of_its_own_and_stands_in_the_configuration() {
    let env = TestEnv::with_store_and(HOME);
    let repository = env.path("offsite");
    let onboard = |rest: &[&str]| {
        let arguments = ["onboard", "store", "--mirror", "offsite"].iter().map(AsRef::as_ref);
        env.run(arguments.chain([repository.as_os_str()]).chain(rest.iter().map(AsRef::as_ref)))
    };
    let before = fs::read_to_string(env.config_file()).unwrap();
    onboard(&["-n"]).code(0).stdout_has("[[mirror]]\nname = \"offsite\"\n");
    assert_eq!(fs::read_to_string(env.config_file()).unwrap(), before);
    assert!(!repository.exists());
    onboard(&[])
        .code(0)
        .stderr_has("Made a mirror at ")
        .stderr_has("Wrote [[mirror]] to ")
        .stderr_has("Next: holdall mirror offsite");
    let now = fs::read_to_string(env.config_file()).unwrap();
    assert!(now.starts_with(&before), "{now}");
    let password = env.config_file().with_file_name("offsite.password");
    assert_eq!(fs::metadata(&password).unwrap().mode() & 0o777, 0o600);
    let secret = fs::read(&password).unwrap();
    // Again, and nothing is new.
    onboard(&[]).code(0).stderr_has("The mirror at ").stderr_has("was already set up");
    assert_eq!((fs::read_to_string(env.config_file()).unwrap(), fs::read(&password).unwrap()), (now, secret));
    env.write("file", "x");
    env.run(["backup"]).code(0).stderr_has("copied 1 point ");
    fs::copy(&password, env.path("offsite.password")).unwrap();
    is_whole(&env);
}

#[test]
fn several_mirrors_with_options_stand_beside_each_other() {
    let env = TestEnv::with_store_and(HOME);
    for name in ["one", "two"] {
        let repository = env.path(name);
        let arguments = ["onboard", "store", "--mirror", name, "-o", "retry=3"].map(AsRef::as_ref);
        env.run(arguments.into_iter().chain([repository.as_os_str()])).code(0);
    }
    env.write("file", "x");
    let run = env.run(["backup", "--json"]).code(0);
    let told: Vec<_> = run.json_lines().into_iter().filter(|line| line["type"] == "mirror").collect();
    assert_eq!(told.iter().map(|line| line["mirror"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(told.iter().all(|line| line["copied"] == 1));
}

#[test]
fn repository_that_is_there_is_adopted_with_its_password_or_left_alone() {
    let env = TestEnv::with_store_and(HOME);
    env.write_secret("offsite.password", PASSWORD);
    restic(&env, ["init"]).code(0);
    let (repository, password) = (env.path("offsite"), env.path("offsite.password"));
    let arguments = ["onboard", "store", "--mirror", "offsite"].map(AsRef::as_ref);
    let arguments: Vec<_> = arguments.into_iter().chain([repository.as_os_str()]).collect();
    env.run(&arguments).code(12).stderr_has("Put the repository's own password into it");
    assert!(!fs::read_to_string(env.config_file()).unwrap().contains("mirror"));
    let with_password = ["--password-file".as_ref(), password.as_os_str()];
    env.run(arguments.iter().copied().chain(with_password)).code(0).stderr_has("cuts files in other places");
}

#[test]
fn what_cannot_be_a_mirror_is_refused() {
    let env = TestEnv::with_store_and(HOME);
    env.run(["onboard", "store", "--mirror", "offsite"]).code(2).stderr_has("is not said");
    let store = env.store();
    let onboard = |name: &str| {
        let arguments = ["onboard", "store", "--mirror", name].map(AsRef::as_ref);
        env.run(arguments.into_iter().chain([store.as_os_str()])).code(2)
    };
    onboard("Bad Name").stderr_has("cannot be a name");
    onboard("target").stderr_has("cannot be the name of a mirror");
    onboard("offsite").stderr_has("[store] has this repository");
    let empty = TestEnv::new();
    empty.config("");
    empty.run(["onboard", "store", "--mirror", "offsite", "x"]).code(2).stderr_has("holdall onboard store");
}
