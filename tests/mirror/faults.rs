//! Mirrors that are away, full, wrongly locked or half copied; stores that are damaged; runs that are killed. The backup itself never fails for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::daemon::{Daemon, free_ports};
use super::support::env::TestEnv;
use super::support::fault::{Fault, Tmpfs, finish_ok};
use super::{HOME, OFFSITE, PASSWORD, backed_up, is_whole, line, packs, restic, snapshots};
use crate::support::tree::noise;

/// A run that has saved, and whose mirror failed.
#[track_caller]
fn saves_without_the_mirror(env: &TestEnv, says: &str) {
    let run = env.run(["backup", "--json"]).code(1);
    assert_eq!(run.line("item")["outcome"], "saved");
    let told = line(&run);
    assert_eq!(told["outcome"], "failed");
    assert!(told["error"].as_str().unwrap().contains(says), "{told}");
    assert!(!told.to_string().contains(PASSWORD));
    let summary = run.line("summary");
    assert_eq!((summary["outcome"].as_str(), summary["items"]["failed"].as_u64()), (Some("failed"), Some(0)));
    assert!(summary["errors"][0]["error"].as_str().unwrap().starts_with("mirror offsite: "), "{summary}");
}

#[test]
fn mirror_that_does_not_answer_fails_no_backup_and_is_caught_up() {
    let env = backed_up();
    let [port] = free_ports();
    let away = OFFSITE.replace("{root}/offsite\"", &format!("rest:http://127.0.0.1:{port}/\""));
    env.configure(&format!("{away}options = {{ retry = 0 }}\n{HOME}"));
    for number in 0..2 {
        env.write("small", format!("{number}"));
        saves_without_the_mirror(&env, "127.0.0.1");
    }
    env.run(["backup"]).code(1).stderr_has("saved").stderr_has("mirror offsite  failed: nothing copied");
    env.run(["mirror"]).code(1).stderr_has("hint: ");
    env.configure(&format!("{OFFSITE}{HOME}"));
    assert_eq!(line(&env.run(["backup", "--json"]).code(0))["copied"], 4);
    is_whole(&env);
}

#[test]
fn mirror_with_another_password_fails_no_backup() {
    let env = backed_up();
    env.write_secret("offsite.password", "not this one");
    env.write("small", "changed");
    saves_without_the_mirror(&env, "does not open with this password");
    env.run(["check"]).code(1).stdout_has("FAILED  mirror offsite");
    fs::remove_file(env.path("offsite.password")).unwrap();
    saves_without_the_mirror(&env, "offsite.password");
}

#[test]
fn full_mirror_keeps_its_points_and_is_caught_up_when_there_is_room() {
    let env = TestEnv::with_store_and(&format!("{OFFSITE}{HOME}"));
    fs::create_dir(env.path("offsite")).unwrap();
    let disk = Tmpfs::mount(&env.path("offsite"), "12m");
    env.write_secret("offsite.password", PASSWORD);
    env.run(["onboard", "store", "--mirror", "offsite"]).code(0);
    env.write("small", "small");
    env.run(["backup"]).code(0);
    env.write("large", noise(1, 30 << 20));
    let run = env.run(["backup", "--json"]).code(1);
    assert_eq!(run.line("item")["outcome"], "saved");
    let told = line(&run);
    assert!(told["error"].as_str().unwrap().contains("No space left"), "{told}");
    assert!(told["hint"].as_str().unwrap().starts_with("Make room"), "{told}");
    assert_eq!(snapshots(&env), 1);
    disk.resize("80m");
    env.run(["mirror"]).code(0).stderr_has("copied 1 point ");
    is_whole(&env);
}

#[test]
fn copy_killed_at_any_moment_goes_on() {
    let env = backed_up();
    env.configure(HOME);
    for number in 0..2 {
        env.write(format!("more-{number}"), noise(100 + number, 6 << 20));
        env.run(["backup"]).code(0);
    }
    env.configure(&format!("{OFFSITE}{HOME}"));
    let (offsite, before) = (env.path("offsite"), env.path("before"));
    let copy = |from: &Path, to: &Path| {
        drop(fs::remove_dir_all(to));
        finish_ok(Command::new("cp").arg("--archive").arg(from).arg(to));
    };
    copy(&offsite, &before);
    let counter = env.path("counter");
    Fault::new(&env).count_changes(&offsite, &counter).run(["mirror"]).code(0);
    let calls: u64 = fs::read_to_string(counter).unwrap().parse().unwrap();
    assert!(calls > 8, "{calls}");
    for moment in 1..6 {
        copy(&before, &offsite);
        let at = calls * moment / 6;
        assert!(Fault::new(&env).kill_at_change(at, &offsite).run(["mirror"]).was_killed());
        restic(&env, ["unlock", "--remove-all"]).code(0);
        let there = snapshots(&env);
        // What has its snapshot there is whole, whatever became of the rest.
        restic(&env, ["check"]).code_among(&[0, 1]).stdout_lacks("missing").stderr_lacks("missing");
        let told = line(&env.run(["mirror", "--json"]).code(0));
        assert_eq!(told["copied"].as_u64().unwrap() as usize, 3 - there, "killed at {at} of {calls}");
        assert_eq!(snapshots(&env), 3);
        env.run(["verify", "--mirror", "offsite", "--read-data"]).code(0);
    }
}

#[test]
fn damaged_point_is_named_and_not_copied_and_the_others_are() {
    let both = "[files.a]\npaths = [\"{root}/source/a\"]\n[files.b]\npaths = [\"{root}/source/b\"]\n";
    let env = TestEnv::with_store_and(both);
    env.write("a/large", noise(1, 3 << 20));
    env.write("b/small", "b");
    env.run(["backup", "files.a"]).code(0);
    let of_a = packs(&env.store());
    let largest = of_a.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    env.run(["backup", "files.b"]).code(0);
    let whole = fs::read(largest).unwrap();
    for damage in 0..3 {
        match damage {
            // A bit that has changed, a pack that is cut short, and one that is gone.
            0 => {
                let mut damaged = whole.clone();
                damaged[100_000] ^= 1;
                fs::set_permissions(largest, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
                fs::write(largest, damaged).unwrap();
            }
            1 => fs::write(largest, &whole[..whole.len() / 2]).unwrap(),
            _ => fs::remove_file(largest).unwrap(),
        }
        drop(fs::remove_dir_all(env.path("offsite")));
        env.write_secret("offsite.password", PASSWORD);
        env.configure(&format!("{OFFSITE}{both}"));
        env.run(["onboard", "store", "--mirror", "offsite"]).code(0);
        // Again: what was told once is told until it is put right.
        for _ in 0..if damage == 0 { 2 } else { 1 } {
            env.run(["mirror"])
                .code(1)
                .stderr_has(" of files.a is damaged and was not copied")
                .stderr_has("holdall verify --read-data");
            let there = restic(&env, ["snapshots", "--json"]).json();
            assert_eq!((there.as_array().unwrap().len(), there[0]["hostname"].as_str()), (1, Some("files.b")));
            is_whole(&env);
        }
    }
    // What is whole again is copied.
    fs::write(largest, &whole).unwrap();
    env.run(["mirror"]).code(0);
    assert_eq!(snapshots(&env), 2);
    is_whole(&env);
}

#[test]
fn mirror_that_somebody_else_has_locked_fails_no_backup() {
    let env = backed_up();
    let mut command = env.command("restic");
    command.args(["--no-cache", "--limit-download", "10", "check", "--read-data", "--password-file"]);
    command.arg(env.path("offsite.password")).arg("--repo").arg(env.path("offsite"));
    let mut check = Daemon::start(command, &env.path("restic.log"));
    let locks = || restic(&env, ["--no-lock", "list", "locks"]).code(0).stdout;
    check.wait_until(|| !locks().is_empty());
    env.write("small", "changed");
    saves_without_the_mirror(&env, "the store is locked by ");
    check.kill();
    env.run(["mirror"]).code(0).stderr_has("copied 1 point ");
    is_whole(&env);
}
