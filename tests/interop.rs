//! What restic makes of a store of ours, and we of one of restic's, beyond taking turns (`shared_store.rs`): tags, names,
//! repositories of either version, and packs that are marked.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

mod support;

use support::env::TestEnv;
use support::tree;

/// Sources `x` and `y`; the newest point of each is kept.
const CONFIG: &str =
    "[[retention]]\npolicy = \"1\"\n[files.x]\npaths = [\"{root}/source\"]\n[files.y]\npaths = [\"{root}/other\"]\n";

fn env() -> TestEnv {
    let env = TestEnv::with_store_and(CONFIG);
    fs::create_dir(env.path("other")).unwrap();
    fs::write(env.path("other/file"), "other").unwrap();
    env
}

/// The ids of restic's list of snapshots with these arguments.
fn ids(env: &TestEnv, arguments: &[&str]) -> Vec<String> {
    let listed = env.restic(["snapshots", "--json"].iter().chain(arguments)).code(0).json();
    listed.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

fn point_ids(env: &TestEnv) -> BTreeSet<String> {
    let listed = env.run(["list", "--json"]).code(0).json();
    listed.as_array().unwrap().iter().map(|point| point["point"].as_str().unwrap().to_owned()).collect()
}

/// holdall and restic restore the newest point of `files.x` as the source is.
fn both_restore_the_source(env: &TestEnv, run: &str) {
    let (by_us, by_restic) = (env.path(format!("{run} by us")), env.path(format!("{run} by restic")));
    env.run(["restore", "files.x", "--to", by_us.to_str().unwrap()]).code(0);
    let target = by_restic.to_str().unwrap();
    env.restic(["restore", "latest", "--tag", "item=files.x", "--target", target]).code(0);
    for restored in [by_us, by_restic] {
        tree::assert_same(&env.source(), &restored.join(env.source().strip_prefix("/").unwrap()));
    }
}

fn both_find_it_whole(env: &TestEnv) {
    env.run(["verify", "--read-data"]).code(0).stdout_lacks("damaged");
    env.restic(["check", "--read-data"]).code(0).stdout_has("no errors were found");
}

#[test]
fn restic_finds_lists_and_forgets_by_source_and_item() {
    let env = env().file("etc/hosts", "localhost");
    env.run(["backup"]).code(0);
    env.run(["backup"]).code(0);
    let all = ids(&env, &[]);
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), point_ids(&env));
    let of_x = ids(&env, &["--host", "files.x"]);
    assert_eq!((all.len(), of_x.len()), (4, 2));
    assert_eq!(ids(&env, &["--tag", "holdall,item=files.x"]), of_x);
    let hosts = env.source().join("etc/hosts");
    let hosts = hosts.to_str().unwrap();
    env.restic(["ls", "latest", "--tag", "item=files.x"]).code(0).stdout_has(hosts);
    env.restic(["find", "--tag", "item=files.x", "hosts"]).code(0).stdout_has(hosts);
    env.restic(["dump", "latest", "--tag", "item=files.x", hosts]).code(0).stdout_has("localhost");

    env.restic(["forget", "--tag", "item=files.x", "--keep-last", "1", "--prune"]).code(0);
    assert_eq!(ids(&env, &["--host", "files.x"]), of_x[1..]);
    assert_eq!(point_ids(&env).len(), 3);
    env.run(["backup"]).code(0);
    both_find_it_whole(&env);
}

#[test]
fn names_pass_between_restic_and_holdall_as_they_are() {
    let names: [&[u8]; 24] = [
        b"new\nline",
        b"tab\t",
        b"quo\"te",
        b"apo'strophe",
        b"back\\slash",
        b"\\n",
        b"\\x41",
        b"\\u200b",
        b" lead",
        b"trail ",
        b"del\x7f",
        b"ctl\x01",
        b"\xff\xfe",
        b"half \xe2\x80",
        b"surrogate \xed\xa0\x80",
        "ü".as_bytes(),
        "😀".as_bytes(),
        "zero\u{200b}width".as_bytes(),
        "right\u{202e}left".as_bytes(),
        "line\u{2028}".as_bytes(),
        "next\u{85}".as_bytes(),
        "blank\u{a0}".as_bytes(),
        "tag\u{e0001}".as_bytes(),
        "replaced \u{fffd}".as_bytes(),
    ];
    let env = env();
    let source = env.source();
    for name in names {
        let name = OsStr::from_bytes(name);
        fs::write(source.join(name), name.as_bytes()).unwrap();
        fs::create_dir(source.join("directories").join(name).parent().unwrap()).or_else(exists).unwrap();
        fs::create_dir(source.join("directories").join(name)).unwrap();
        // Before 0.16 restic had no way to keep a target that is not UTF-8.
        if name.to_str().is_some() {
            fs::create_dir(source.join("links")).or_else(exists).unwrap();
            symlink(name, source.join("links").join(name)).unwrap();
        }
    }
    env.run(["backup"]).code(0);
    both_restore_the_source(&env, "saved by us");

    // What restic saved passes for a point of ours when it bears our tags.
    env.restic(["backup", source.to_str().unwrap(), "--tag", "holdall,item=files.x"]).code(0);
    assert_eq!(point_ids(&env).len(), 3);
    both_restore_the_source(&env, "saved by restic");
    let lines = env.run(["backup", "--json", "files.x"]).code(0).json_lines();
    let item = lines.iter().find(|line| line["type"] == "item").unwrap();
    assert_eq!((&item["files_new"], &item["files_changed"]), (&0.into(), &0.into()), "{item}");
}

fn exists(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

#[test]
fn repository_that_restic_made_is_a_store_whatever_its_version() {
    for version in ["1", "2"] {
        let env = TestEnv::new().file("file", "text\n".repeat(10_000)).variable("RESTIC_COMPRESSION", "off");
        fs::create_dir(env.path("other")).unwrap();
        fs::write(env.path("other/file"), "other").unwrap();
        let store = "[store]\nrepository = \"{root}/store\"\npassword-file = \"{root}/store.password\"\n";
        env.config(&format!("{store}{CONFIG}"));
        env.restic(["init", "--repository-version", version]).code(0);
        env.run(["onboard", "store"]).code(0).stderr_has("already");
        env.restic(["backup", "--host", "elsewhere", env.path("other").to_str().unwrap()]).code(0);
        env.run(["list"]).code(0).stdout_lacks("elsewhere");
        for round in 0..3 {
            env.write("file", format!("{round}\n").repeat(10_000));
            env.run(["backup"]).code(0);
        }
        env.run(["prune", "--keep-delete", "0s", "--max-repack", "unlimited"]).code(0).stderr_has("removed 4 points");
        env.run(["prune", "--keep-delete", "0s", "--max-repack", "unlimited"]).code(0);
        both_find_it_whole(&env);
        both_restore_the_source(&env, version);
        assert_eq!(ids(&env, &["--host", "elsewhere"]).len(), 1);
        env.restic(["cat", "config"]).code(0).stdout_has(&format!("\"version\": {version}"));
    }
}

/// A store with packs that a prune has marked, and the content that was in them.
fn with_marked_packs() -> (TestEnv, Vec<u8>) {
    let content: Vec<u8> = (0..100_000_u32).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let env = env().file("file", &content);
    env.run(["backup"]).code(0);
    env.write("file", "small");
    env.run(["backup"]).code(0);
    env.run(["prune"]).code(0).stderr_has("marked");
    (env, content)
}

#[test]
fn content_that_comes_back_while_its_pack_is_marked_is_kept() {
    let (env, content) = with_marked_packs();
    env.write("file", &content);
    env.run(["backup"]).code(0);
    for _ in 0..2 {
        env.run(["prune", "--keep-delete", "0s", "--max-repack", "unlimited"]).code(0);
        both_find_it_whole(&env);
    }
    both_restore_the_source(&env, "in the end");
}

#[test]
fn restic_may_put_marked_packs_back_into_the_index() {
    let (env, content) = with_marked_packs();
    env.restic(["rebuild-index"]).code(0).stderr_has("adding pack file to index");
    both_find_it_whole(&env);
    env.write("file", &content);
    env.run(["backup"]).code(0);
    env.run(["prune", "--keep-delete", "0s"]).code(0);
    env.run(["prune", "--keep-delete", "0s"]).code(0);
    both_find_it_whole(&env);
    both_restore_the_source(&env, "in the end");
}
