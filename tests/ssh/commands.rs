//! What is run on a machine around a backup, and what becomes a file of it.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use super::support::env::TestEnv;
use super::support::sshd::Sshd;
use super::support::tree::noise;
use super::{
    backup, env, failed, fails, item_of, points, running, saves, start_backup, text, wait_for, with_key, with_store_and,
};

/// A server, and a backup of `source` with these lines in its table; `dumps` are tables behind it.
fn machine(lines: &str, dumps: &str) -> (Sshd, TestEnv) {
    let server = Sshd::builder().start();
    let env = env(&format!("{}{lines}", with_key(&server))).file("file", "content");
    let config = text(&env.config_file());
    fs::write(env.config_file(), config + dumps).unwrap();
    (server, env)
}

fn dump(command: &str, file: &str) -> String {
    format!("[[ssh.box.dump]]\ncommand = {command}\nfile = \"{file}\"\n")
}

/// The bytes of a file in the newest point.
fn saved(env: &TestEnv, path: &str) -> Vec<u8> {
    env.run(["dump", &format!("ssh.box:{path}")]).code(0).bytes
}

#[test]
fn before_and_after_are_run_around_a_backup_and_their_words_arrive_as_they_are() {
    let record =
        "#!/bin/sh\nfor word; do printf '<%s>' \"$word\"; done >\"$0.log\"\nls \"${0%/*}/source\" >\"$0.saw\"\n";
    let words = r#""a  b", "$HOME", "`id`", "it's \"so\" \\ !", "*", "", "ä~", "-n", "; exit 1""#;
    let (_server, env) =
        machine(&format!("before = [\"{{root}}/before\", {words}]\nafter = [\"{{root}}/after\", {words}]\n"), "");
    for name in ["before", "after"] {
        let more = if name == "before" { "touch \"${0%/*}/source/made\"\n" } else { "rm \"${0%/*}/source/made\"\n" };
        fs::write(env.path(name), format!("{record}{more}")).unwrap();
        fs::set_permissions(env.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    backup(&env).code(0);
    assert_eq!(saved(&env, &format!("{}/made", env.source().display())), b"");
    let words = "<a  b><$HOME><`id`><it's \"so\" \\ !><*><><ä~><-n><; exit 1>";
    assert_eq!((text(&env.path("before.log")), text(&env.path("after.log"))), (words.into(), words.into()));
    assert_eq!((text(&env.path("before.saw")), text(&env.path("after.saw"))), ("file\n".into(), "file\nmade\n".into()));
}

#[test]
fn before_that_fails_fails_the_backup_and_after_is_run_all_the_same() {
    let (_server, env) = machine(
        "before = [\"sh\", \"-c\", \"echo the wiki is busy >&2; exit 3\"]\nafter = [\"touch\", \"{root}/after\"]\n",
        "",
    );
    fails(&env, &["run `before`", "sh ended with 3: the wiki is busy"]);
    assert!(env.path("after").exists());
}

#[test]
fn after_is_run_when_the_backup_fails() {
    let (_server, env) = machine("after = [\"touch\", \"{root}/after\"]\n", "");
    fs::remove_dir_all(env.source()).unwrap();
    fails(&env, &["source on 127.0.0.1: it is not there"]);
    assert!(env.path("after").exists());
}

#[test]
fn after_that_fails_fails_the_run_and_the_point_stays() {
    let (_server, env) = machine("after = [\"sh\", \"-c\", \"echo it does not start >&2; exit 4\"]\n", "");
    let outcome = backup(&env).code(1);
    assert_eq!(outcome.line("item")["outcome"], "saved");
    let summary = outcome.line("summary");
    let error = &summary["errors"][0];
    assert!(error.to_string().contains("run `after` on 127.0.0.1: sh ended with 4: it does not start"), "{summary}");
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&Value::from("failed"), &Value::from(1)));
    assert_eq!(points(&env).len(), 1);
    env.run(["backup"]).code(1).stderr_has("ssh.box: run `after` on 127.0.0.1: sh ended with 4: it does not start");
}

#[test]
fn after_is_run_when_a_signal_comes_while_before_runs() {
    let (server, env) = machine("before = [\"sleep\", \"3600\"]\nafter = [\"touch\", \"{root}/after\"]\n", "");
    let mut run = start_backup(&env);
    run.wait_until(|| running(&server, "sleep") > 0);
    run.signal(Signal::TERM);
    assert_eq!(run.wait(std::time::Duration::from_secs(60)).code(), Some(143), "{}", run.log());
    assert!(env.path("after").exists(), "{}", run.log());
}

#[test]
fn dry_run_runs_nothing_and_says_so() {
    let touch = |name: &str| format!("{name} = [\"touch\", \"{{root}}/{name}\"]\n");
    let (_server, env) =
        machine(&format!("{}{}", touch("before"), touch("after")), &dump("[\"touch\", \"/tmp/never\"]", "file"));
    let config = text(&env.config_file()).replace("/tmp/never", env.path("dump").to_str().unwrap());
    fs::write(env.config_file(), config).unwrap();
    env.run(["backup", "-n"]).code(0).stderr_has("ssh.box: `before`, `after` and dumps are not run in a dry run");
    for name in ["before", "after", "dump"] {
        assert!(!env.path(name).exists(), "{name}");
    }
    assert_eq!(points(&env), Vec::<String>::new());
}

#[test]
fn output_of_commands_is_in_the_snapshot_byte_by_byte() {
    let (server, env) = machine(
        "",
        &[
            dump(r#"["sh", "-c", "cat; printf '\\000\\377\\n'; echo noise >&2; id -un"]"#, "bytes"),
            dump(r#"["head", "-c", "200000000", "/dev/zero"]"#, "db/large"),
            dump("[\"cat\", \"NOISE\"]", "db/noise"),
            dump("[\"true\"]", "empty"),
        ]
        .concat(),
    );
    let noisy = server.home("root").join("noise");
    fs::write(&noisy, noise(7, 9 << 20)).unwrap();
    let config = text(&env.config_file()).replace("NOISE", noisy.to_str().unwrap());
    fs::write(env.config_file(), config).unwrap();
    saves_with_dumps(&env);
    assert_eq!(saved(&env, "/dumps/bytes"), b"\0\xff\nroot\n");
    assert_eq!(saved(&env, "/dumps/empty"), b"");
    assert!(saved(&env, "/dumps/db/noise") == fs::read(&noisy).unwrap());
    let size = env.run(["ls", "-l", "ssh.box:/dumps/db"]).code(0).stdout;
    assert!(size.contains("200000000"), "{size}");
    // The same once more, though nothing of a dump can be known to be unchanged.
    saves_with_dumps(&env);
    assert_eq!(points(&env).len(), 2);
    assert_eq!(saved(&env, "/dumps/bytes"), b"\0\xff\nroot\n");
}

#[track_caller]
fn saves_with_dumps(env: &TestEnv) {
    let item = backup(env).code(0).line("item");
    assert_eq!((&item["outcome"], &item["problems"]), (&Value::from("saved"), &serde_json::json!([])), "{item}");
}

#[test]
fn dump_alone_is_a_backup() {
    let server = Sshd::builder().start();
    let env = with_store_and(&format!("{}{}", with_key(&server), dump("[\"echo\", \"all\"]", "all.sql")));
    saves_with_dumps(&env);
    assert_eq!(saved(&env, "/dumps/all.sql"), b"all\n");
}

#[test]
fn dump_that_fails_leaves_no_point() {
    for (command, reason) in [
        (
            r#"["sh", "-c", "head -c 3000000 /dev/zero; echo no such database >&2; exit 3"]"#,
            "sh ended with 3: no such database",
        ),
        (r#"["sh", "-c", "echo half; kill -9 $$"]"#, "sh ended with 137"),
        (r#"["no-such-program"]"#, "no-such-program ended with 127"),
    ] {
        let (_server, env) = machine("", &dump(command, "db.sql"));
        fails(&env, &["dump db.sql", reason]);
    }
}

#[test]
fn dump_that_is_cut_leaves_no_point() {
    let (server, env) = machine("", &dump(r#"["sh", "-c", "head -c 3000000 /dev/zero; sleep 3600"]"#, "db.sql"));
    let mut run = start_backup(&env);
    wait_for(|| running(&server, "sleep") > 0);
    server.kill_sessions();
    assert_eq!(run.wait(std::time::Duration::from_secs(60)).code(), Some(1), "{}", run.log());
    failed(&item_of(&run), &["dump db.sql", "the connection to 127.0.0.1 broke off"]);
    assert_eq!(points(&env), Vec::<String>::new());
    let config = text(&env.config_file()).replace("; sleep 3600", "");
    fs::write(env.config_file(), config).unwrap();
    backup(&env).code(0);
    assert_eq!(saved(&env, "/dumps/db.sql").len(), 3_000_000);
}

#[test]
fn command_reads_nothing_of_what_is_meant_for_others() {
    // It would eat the names that tar is to read, or wait for a terminal.
    let (_server, env) = machine("before = [\"cat\"]\nafter = [\"cat\"]\n", "");
    saves(&env);
}
