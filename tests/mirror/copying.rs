//! What is copied, when, and that it is whole.

use std::fs;

use super::support::env::{PASSWORD as STORE_PASSWORD, TestEnv, finish};
use super::support::seaweed::{self, SeaweedFs};
use super::support::tree;
use super::{HOME, OFFSITE, PASSWORD, backed_up, is_whole, line, mirrored, restic, restic_at, snapshots};
use crate::support::tree::noise;

#[test]
fn backup_is_copied_and_restic_restores_it_from_the_mirror() {
    let env = mirrored();
    env.write("below/small", "small");
    env.write("large", noise(1, 20 << 20));
    let run = env.run(["backup", "--json"]).code(0);
    let told = line(&run);
    assert_eq!((told["outcome"].as_str(), told["copied"].as_u64()), (Some("ok"), Some(1)), "{told}");
    assert!(told["bytes"].as_u64().unwrap() >= 20 << 20, "{told}");
    assert_eq!(run.json_lines().last().unwrap()["type"], "summary");
    is_whole(&env);
    let target = env.path("restored");
    restic(&env, ["restore".as_ref(), "latest".as_ref(), "--target".as_ref(), target.as_os_str()]).code(0);
    tree::assert_same(&env.source(), &target.join(env.source().strip_prefix("/").unwrap()));
    // An ordinary snapshot, and a copy by restic's own mark.
    let there = restic(&env, ["snapshots", "--json"]).json();
    let here = env.restic(["snapshots", "--json"]).json();
    assert_eq!(there[0]["original"], here[0]["id"]);
    for field in ["time", "tree", "hostname", "tags", "paths"] {
        assert_eq!(there[0][field], here[0][field], "{field}");
    }
    // What is there is not copied again, and what has changed is all that is added.
    assert_eq!(line(&env.run(["mirror", "--json"]).code(0))["copied"], 0);
    env.write("below/small", "changed");
    let told = line(&env.run(["backup", "--json"]).code(0));
    assert_eq!(told["copied"], 1);
    assert!(told["bytes"].as_u64().unwrap() < 20_000, "{told}");
    is_whole(&env);
}

#[test]
fn what_was_backed_up_before_there_was_a_mirror_is_copied_without_its_source() {
    let env = TestEnv::with_store_and(HOME);
    for number in 0..3 {
        env.write("file", format!("{number}"));
        env.write(format!("large-{number}"), noise(number, 400_000));
        env.run(["backup"]).code(0);
    }
    fs::remove_dir_all(env.source()).unwrap();
    env.write_secret("offsite.password", PASSWORD);
    let repository = env.path("offsite");
    let password = env.path("offsite.password");
    env.run([
        "onboard".as_ref(),
        "store".as_ref(),
        "--mirror".as_ref(),
        "offsite".as_ref(),
        repository.as_os_str(),
        "--password-file".as_ref(),
        password.as_os_str(),
    ])
    .code(0);
    let planned = env.run(["mirror", "-n"]).code(0).stderr_has("would copy 3 points");
    assert_eq!(planned.stdout.lines().count(), 3, "{}", planned.stdout);
    assert_eq!(snapshots(&env), 0, "a dry run copies nothing");
    env.run(["mirror"]).code(0).stderr_has("copied 3 points").stderr_has("ok: 1 mirror up to date");
    assert_eq!(snapshots(&env), 3);
    is_whole(&env);
}

#[test]
fn mirror_receives_only_the_items_that_it_is_for() {
    let both = "[files.a]\npaths = [\"{root}/source/a\"]\n[files.b]\npaths = [\"{root}/source/b\"]\n";
    let env = TestEnv::with_store_and(&format!("{OFFSITE}items = [\"files.a\"]\n{both}"));
    env.write_secret("offsite.password", PASSWORD);
    env.run(["onboard", "store", "--mirror", "offsite"]).code(0);
    env.write("a/file", "a");
    env.write("b/file", "b");
    env.run(["backup"]).code(0).stderr_has("copied 1 point ");
    let there = restic(&env, ["snapshots", "--json"]).json();
    assert_eq!((there.as_array().unwrap().len(), there[0]["hostname"].as_str()), (1, Some("files.a")));
    env.run(["status"]).code(0).stdout_has("up to date").stdout_has(" -");
}

#[test]
fn only_what_is_named_is_copied() {
    let both = "[files.a]\npaths = [\"{root}/source/a\"]\n[files.b]\npaths = [\"{root}/source/b\"]\n";
    let env = TestEnv::with_store_and(both);
    env.write("a/file", "a");
    env.write("b/file", "b");
    env.run(["backup"]).code(0);
    env.write_secret("offsite.password", PASSWORD);
    env.configure(&format!("{OFFSITE}{both}"));
    env.run(["onboard", "store", "--mirror", "offsite"]).code(0);
    assert_eq!(line(&env.run(["mirror", "files.b", "--json"]).code(0))["copied"], 1);
    assert_eq!(line(&env.run(["mirror", "offsite", "--json"]).code(0))["copied"], 1);
    env.run(["mirror", "ofsite"]).code(2).stderr_has("Did you mean `offsite`?");
    env.configure(both);
    env.run(["mirror"]).code(2).stderr_has("names no mirror").stderr_has("holdall onboard store --mirror");
}

#[test]
fn restic_and_holdall_copy_in_each_others_turn() {
    let env = mirrored();
    let copy = || {
        let store = env.store();
        let password = env.password_file();
        let arguments = ["copy".as_ref(), "--from-repo".as_ref(), store.as_os_str(), "--from-password-file".as_ref()];
        restic(&env, arguments.into_iter().chain([password.as_os_str()])).code(0)
    };
    env.write("file", "1");
    env.run(["backup"]).code(0);
    copy();
    assert_eq!(snapshots(&env), 1, "restic knows ours for copies");
    env.configure(HOME);
    env.write("file", "2");
    env.run(["backup"]).code(0);
    copy();
    assert_eq!(snapshots(&env), 2);
    env.configure(&format!("{OFFSITE}{HOME}"));
    assert_eq!(line(&env.run(["mirror", "--json"]).code(0))["copied"], 0, "we know restic's");
    is_whole(&env);
}

#[test]
fn mirror_that_cuts_files_otherwise_takes_copies_and_is_warned_about() {
    let env = TestEnv::with_store_and(&format!("{OFFSITE}{HOME}"));
    env.write_secret("offsite.password", PASSWORD);
    restic(&env, ["init"]).code(0);
    env.write("large", noise(1, 5 << 20));
    env.run(["backup"]).code(0).stderr_has("cuts files in other places");
    is_whole(&env);
    env.run(["check"]).code(0).stdout_has("WARNING mirror offsite").stdout_has("1 points");
    env.write("large", noise(2, 5 << 20));
    env.run(["backup"]).code(0).stderr_lacks("cuts files in other places");
    is_whole(&env);
}

#[test]
fn mirror_of_ours_cuts_files_as_the_store_does() {
    let env = backed_up();
    let polynomial = |repository: &std::path::Path, password: &str| {
        env.write_secret("some.password", password);
        let mut command = env.command("restic");
        command.args(["--no-cache", "cat", "config", "--repo"]).arg(repository);
        command.arg("--password-file").arg(env.path("some.password"));
        let config = finish(command).code(0).json();
        (config["chunker_polynomial"].clone(), config["version"].clone(), config["id"].clone())
    };
    let (here, there) = (polynomial(&env.store(), STORE_PASSWORD), polynomial(&env.path("offsite"), PASSWORD));
    assert_eq!((&here.0, &here.1), (&there.0, &there.1));
    assert_ne!(here.2, there.2);
    env.run(["check"]).code(0).stdout_has("ok      mirror offsite: ").stdout_lacks("WARNING");
}

#[test]
fn mirror_on_s3_is_whole() {
    let server = SeaweedFs::start();
    let env = TestEnv::new()
        .variable("AWS_ACCESS_KEY_ID", seaweed::ACCESS_KEY_ID)
        .variable("AWS_SECRET_ACCESS_KEY", seaweed::SECRET_ACCESS_KEY);
    env.onboard_store();
    env.configure(HOME);
    env.write_secret("offsite.password", PASSWORD);
    let (repository, password) = (server.repository("offsite"), env.path("offsite.password"));
    let onboard = ["onboard", "store", "--mirror", "offsite", &repository, "--password-file"];
    env.run(onboard.iter().map(AsRef::as_ref).chain([password.as_os_str()])).code(0);
    for number in 0..2 {
        env.write(format!("large-{number}"), noise(number, 9 << 20));
        env.run(["backup"]).code(0).stderr_has("copied 1 point ");
    }
    restic_at(&env, repository.as_ref(), ["check", "--read-data"]).code(0).stdout_has("no errors were found");
    fs::remove_dir_all(env.store()).unwrap();
    let target = env.path("restored");
    env.run([
        "restore".as_ref(),
        "files.home".as_ref(),
        "--from".as_ref(),
        "offsite".as_ref(),
        "--to".as_ref(),
        target.as_os_str(),
    ])
    .code(0);
    tree::assert_same(&env.source(), &target.join(env.source().strip_prefix("/").unwrap()));
}
