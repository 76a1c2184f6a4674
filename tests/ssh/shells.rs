//! Login shells: which they are and what they say makes no difference, and one that runs nothing is told as it is.

use std::fs;
use std::path::PathBuf;

use super::support::env::TestEnv;
use super::support::sshd::{Account, Sshd};
use super::support::tree;
use super::{backup, check, env, fails, points, saves, with_key, with_store_and};

const NOISE: &str = "printf 'noise of the shell'\nprintf 'and on standard error' >&2\n";

/// What alice has, backed up by herself.
fn her_own(server: &Sshd, table: &str) -> (TestEnv, PathBuf) {
    let data = server.home("alice").join("data");
    fs::create_dir_all(data.join("deep er/still")).unwrap();
    fs::write(data.join("deep er/it's $HOME \\ `x`\n*"), "content").unwrap();
    fs::write(data.join("deep er/still/file"), [0_u8, 10, 13, 255, 128]).unwrap();
    let mut own = std::process::Command::new("chown");
    own.args(["-R", "--reference"]).arg(server.home("alice")).arg(&data);
    super::support::env::finish(own).code(0);
    let table = format!("{}{table}paths = [\"{}\"]\n", with_key(server), data.display());
    (with_store_and(&table), data)
}

#[track_caller]
fn saves_hers(env: &TestEnv, data: &std::path::Path) {
    let item = backup(env).code(0).line("item");
    assert_eq!(item["problems"], serde_json::json!([]), "{item}");
    let restored = env.path("restored");
    env.run(["restore", "ssh.box", "--to", restored.to_str().unwrap()]).code(0);
    tree::assert_same(data, &restored.join(data.strip_prefix("/").unwrap()));
}

#[test]
fn any_login_shell_will_do_whatever_it_prints() {
    for (shell, file) in [
        ("/usr/bin/fish", ".config/fish/config.fish"),
        ("/usr/bin/tcsh", ".cshrc"),
        ("/bin/csh", ".cshrc"),
        ("/bin/bash", ".bashrc"),
        ("/bin/rbash", ".bashrc"),
        ("/bin/sh", ".profile"),
    ] {
        let noise = if shell.ends_with("csh") { "echo noise of the shell\n" } else { NOISE };
        let account = Account::new("alice").shell(shell).file(file, noise);
        let server = Sshd::builder().account(account).banner("authorised use only").motd("welcome").start();
        let (env, data) = her_own(&server, "");
        saves_hers(&env, &data);
    }
}

/// A server of a root whose bash reads this, and which gives no SFTP.
fn with_bashrc(text: &str) -> (Sshd, TestEnv) {
    let root = Account::new("root").shell("/bin/bash").file(".bashrc", text);
    let server = Sshd::builder().account(root).config("Subsystem sftp /bin/false").start();
    let env = env(&format!("{}idle-timeout = \"2s\"\n", with_key(&server))).file("file", "content");
    (server, env)
}

#[test]
fn shell_that_prints_a_lot_is_heard_out_and_one_without_end_is_not() {
    let (_server, env) =
        with_bashrc("head -c 700000 /dev/zero | tr '\\0' x\nhead -c 700000 /dev/zero | tr '\\0' y >&2\n");
    saves(&env);
    let (_server, env) = with_bashrc("yes 'a line'\n");
    fails(&env, &["log in on 127.0.0.1", "its login shell prints without end"]);
}

#[test]
fn shell_that_does_not_run_what_it_is_given_is_an_error_and_no_hang() {
    for (bashrc, reason) in [
        ("read -r line\n", "127.0.0.1 did not run a command for this user"),
        ("cat >/dev/null\n", "127.0.0.1 did not run a command for this user"),
        ("exec cat\n", "127.0.0.1 did not run a command for this user"),
        ("exec sleep 3600\n", "127.0.0.1 said nothing for 2.0s"),
        ("exec </dev/null\n", "127.0.0.1 did not run a command for this user"),
        ("echo go away >&2; exit 7\n", "127.0.0.1 did not run a command for this user (status 7): go away"),
    ] {
        let (_server, env) = with_bashrc(bashrc);
        fails(&env, &["log in on 127.0.0.1", reason]);
    }
}

#[test]
fn account_that_runs_nothing_is_told_as_what_it_is() {
    let account = Account::new("alice").shell("/usr/sbin/nologin");
    let server = Sshd::builder().account(account).config("Subsystem sftp /bin/false").start();
    let (env, _) = her_own(&server, "");
    check(&env).fails(&["127.0.0.1 did not run a command for this user", "This account is currently not available"]);
    let server = Sshd::builder().account(Account::new("alice")).config("ForceCommand /bin/false").start();
    let (env, _) = her_own(&server, "");
    check(&env).fails(&["127.0.0.1 did not run a command for this user (status 1)"]);
}

#[test]
fn connection_that_breaks_is_not_taken_for_a_machine_with_sftp_only() {
    // It runs commands, and it gives SFTP: without xattrs and hard links, which would be lost from one run to the next.
    let root = Account::new("root").shell("/bin/bash").file(".bashrc", "exec sleep 3600\n");
    let server = Sshd::builder().account(root).start();
    let env = env(&format!("{}idle-timeout = \"1s\"\n", with_key(&server))).file("file", "content");
    fails(&env, &["127.0.0.1 said nothing for 1.0s"]);
    fs::remove_file(server.home("root").join(".bashrc")).unwrap();
    saves(&env);
    assert_eq!(points(&env).len(), 1);
}
