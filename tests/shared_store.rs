//! restic and holdall on one store, in each other's turn.

use std::fs;

mod support;

use support::env::TestEnv;
use support::tree;

/// A store with one point left of three and packs that nothing uses any more, marked by a prune.
fn pruned() -> TestEnv {
    let env = TestEnv::with_store_and("[[retention]]\npolicy = \"1\"\n[files.x]\npaths = [\"{root}/source\"]\n");
    for number in 0..3_u8 {
        env.write("source/file", vec![number; 100_000]);
        env.run(["backup"]).code(0);
    }
    env.run(["prune"]).code(0).stderr_has("removed 2 points").stderr_has("marked");
    env
}

#[test]
fn marked_packs_do_not_worry_restic() {
    let env = pruned();
    env.restic(["check", "--read-data"]).code(0).stdout_has("no errors were found");
}

#[test]
fn restic_may_delete_what_holdall_has_marked() {
    let env = pruned();
    env.restic(["prune"]).code(0);
    env.run(["verify", "--read-data"]).code(0).stdout_has("warning: ").stdout_lacks("damaged");
    env.run(["prune", "--keep-delete", "0s"]).code(0);
    env.run(["verify", "--read-data"]).code(0).stdout_lacks("warning: ");
    env.run(["backup"]).code(0);
    env.restic(["check", "--read-data"]).code(0).stdout_has("no errors were found");
}

#[test]
fn snapshots_of_restic_are_neither_listed_nor_removed() {
    let env = pruned();
    let source = env.source();
    env.restic(["backup".as_ref(), "--host".as_ref(), "other".as_ref(), source.as_os_str()]).code(0);
    env.run(["list"]).code(0).stdout_lacks("other");
    env.run(["prune", "--keep-delete", "0s", "--max-repack", "unlimited"]).code(0).stderr_has("kept 1");
    let target = env.path("by-restic");
    env.restic([
        "restore".as_ref(),
        "latest".as_ref(),
        "--host".as_ref(),
        "other".as_ref(),
        "--target".as_ref(),
        target.as_os_str(),
    ])
    .code(0);
    tree::assert_same(&source, &target.join(source.strip_prefix("/").unwrap()));
}

#[test]
fn restic_goes_on_from_our_point_without_reading_again() {
    let env = pruned();
    let points = env.run(["list", "--json"]).json();
    let ours = points[0]["point"].as_str().unwrap().to_owned();
    let source = env.source();
    let backup = ["backup".as_ref(), "--json".as_ref(), "--parent".as_ref(), ours.as_ref(), source.as_os_str()];
    let lines = env.restic(backup).code(0).json_lines();
    let summary = lines.iter().find(|line| line["message_type"] == "summary").unwrap();
    assert_eq!((&summary["files_unmodified"], &summary["files_new"]), (&1.into(), &0.into()), "{summary}");
}

#[test]
fn every_key_of_the_repository_opens_it() {
    let env = pruned();
    let second = env.write_secret("second", "another password\n");
    env.restic(["key".as_ref(), "add".as_ref(), "--new-password-file".as_ref(), second.as_os_str()]).code(0);
    let config = fs::read_to_string(env.config_file()).unwrap();
    let first = env.password_file().display().to_string();
    env.config(&config.replace(&first, &second.display().to_string()));
    env.run(["list"]).code(0).stdout_has("files.x");
}

#[test]
fn names_that_need_quoting_come_back_through_either_program() {
    let env = TestEnv::with_store_and("[files.x]\npaths = [\"{root}/source\"]\n");
    let source = env.source();
    let names: [&[u8]; 7] =
        [b"new\nline", b"quo\"te", b"back\\slash", b"\xff\xfe", "zero\u{200b}width".as_bytes(), b"\x7f", b"\x01"];
    for name in names {
        use std::os::unix::ffi::OsStrExt;
        fs::write(source.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    env.run(["backup"]).code(0);
    let (by_restic, by_us) = (env.path("by-restic"), env.path("by-us"));
    env.restic(["restore".as_ref(), "latest".as_ref(), "--target".as_ref(), by_restic.as_os_str()]).code(0);
    env.run(["restore".as_ref(), "files.x".as_ref(), "--to".as_ref(), by_us.as_os_str()]).code(0);
    for restored in [by_restic, by_us] {
        tree::assert_same(&source, &restored.join(source.strip_prefix("/").unwrap()));
    }
}
