//! The SSH servers of the tests are what they claim to be, as the system's own `ssh` and `sftp` see them.
//!
//! When one of these fails, the fault is in `tests/support/` or in `scripts/deps`, and what other tests say about
//! holdall on such a server means nothing.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use rustix::process::Pid;
use support::daemon::{Daemon, run_by};
use support::env::{TestEnv, finish};
use support::netns::Network;
use support::outcome::Outcome;
use support::ssh_agent::SshAgent;
use support::sshd::{Account, KeyType, Login, PASSPHRASE, Sshd, fingerprint_of};

const KEYS: [KeyType; 3] = [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa];
const PASSWORD: &str = "fixture password";

/// The system's `ssh` with the files of this server, and nobody to ask.
fn ssh(server: &Sshd) -> Command {
    let mut command = Command::new(server.client_path().join("ssh"));
    command.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-p", &server.port.to_string()]);
    command
}

/// What comes of a command, run there as the first account.
fn there(server: &Sshd, command: &str) -> Outcome {
    let mut ssh = ssh(server);
    ssh.args([&format!("{}@{}", server.user, server.host), command]);
    finish(ssh)
}

/// The same with this password given to whoever asks, and no key.
fn with_password(server: &Sshd, env: &TestEnv, methods: &str, password: &str) -> Outcome {
    let ask = env.path("ask");
    fs::write(&ask, format!("#!/bin/sh\necho '{password}'\n")).unwrap();
    fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new(server.client_path().join("ssh"));
    command.args(["-o", &format!("PreferredAuthentications={methods}"), "-o", "NumberOfPasswordPrompts=1"]);
    command.args(["-p", &server.port.to_string(), &format!("{}@{}", server.user, server.host), "id -un"]);
    command.env("SSH_ASKPASS", ask).env("SSH_ASKPASS_REQUIRE", "force");
    finish(command)
}

#[test]
fn root_comes_in_with_a_key_and_with_nothing_else() {
    let server = Sshd::builder().start();
    assert_eq!(
        there(&server, "id -un; echo $HOME; cat /proc/1/comm").code(0).stdout,
        format!("root\n{}\nsshd\n", server.home("root").display())
    );
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentityFile=none", "-o", "IdentityAgent=none"]);
    command.args(["-o", &format!("UserKnownHostsFile={}", server.known_hosts().display())]);
    command.args(["-p", &server.port.to_string(), "root@127.0.0.1", "true"]);
    finish(command).code(255).stderr_has("Permission denied (publickey)");
}

#[test]
fn machine_of_the_tests_does_not_see_the_accounts() {
    let before = fs::read("/etc/passwd").unwrap();
    let server = Sshd::builder().account(Account::new("alice").password(PASSWORD)).start();
    assert_eq!(there(&server, "id -un; id -u").code(0).stdout, "alice\n31000\n");
    assert_eq!(fs::read("/etc/passwd").unwrap(), before);
    assert_eq!(fs::metadata(server.home("alice")).unwrap().uid(), 31_000);
}

#[test]
fn passwords_are_taken_in_each_way_and_wrong_ones_are_not() {
    let env = TestEnv::new();
    for (login, methods) in [(Login::Password, "password"), (Login::Keyboard, "keyboard-interactive")] {
        let server = Sshd::builder().account(Account::new("alice").password(PASSWORD)).login(login).start();
        with_password(&server, &env, methods, PASSWORD).code(0).stdout_has("alice");
        with_password(&server, &env, methods, "a guess").code(255).stderr_has("Permission denied");
        there(&server, "true").code(255).stderr_has(&format!("Permission denied ({methods})"));
    }
    let server = Sshd::builder().account(Account::new("alice").password(PASSWORD)).login(Login::KeyAndPassword).start();
    with_password(&server, &env, "publickey,password", PASSWORD).code(0).stdout_has("alice");
    there(&server, "true").code(255);
    let server = Sshd::builder().account(Account::new("alice").password(PASSWORD)).login(Login::KeyOrPassword).start();
    with_password(&server, &env, "password", PASSWORD).code(0).stdout_has("alice");
    there(&server, "true").code(0);
}

#[test]
fn client_keys_of_all_types_open_the_server() {
    let server = Sshd::builder().start();
    for kind in KEYS {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"])
            .arg(server.new_key(kind, false));
        command.args([
            "-o",
            &format!("UserKnownHostsFile={}", server.known_hosts().display()),
            "-p",
            &server.port.to_string(),
        ]);
        command.args(["root@127.0.0.1", "true"]);
        finish(command).code(0);
    }
    let locked = server.new_key(KeyType::Ed25519, true);
    let open = |passphrase: &str| {
        let mut command = Command::new("ssh-keygen");
        command.args(["-y", "-P", passphrase, "-f"]).arg(&locked);
        finish(command)
    };
    open("").code(255);
    open(PASSPHRASE).code(0).stdout_has("ssh-ed25519");
}

#[test]
fn agent_holds_keys_and_ends_when_it_is_dropped() {
    let server = Sshd::builder().start();
    let locked = server.new_key(KeyType::Ecdsa, true);
    let agent = SshAgent::start(&[&locked]);
    let socket = agent.socket();
    let with_agent = || {
        let mut command = Command::new("ssh");
        command.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentityFile=none"]);
        command.args([
            "-o",
            &format!("UserKnownHostsFile={}", server.known_hosts().display()),
            "-p",
            &server.port.to_string(),
        ]);
        command.args(["root@127.0.0.1", "true"]).env("SSH_AUTH_SOCK", &socket);
        finish(command)
    };
    with_agent().code(0);
    drop(agent);
    with_agent().code(255);
}

#[test]
fn server_has_the_host_keys_that_it_tells_of() {
    for kinds in [&KEYS[..], &[KeyType::Rsa]] {
        let server = Sshd::builder().host_keys(kinds).start();
        let mut scan = Command::new("ssh-keyscan");
        scan.args(["-p", &server.port.to_string(), "127.0.0.1"]);
        let env = TestEnv::new();
        let found = env.write_secret("found", &finish(scan).code(0).stdout);
        let mut list = Command::new("ssh-keygen");
        list.arg("-lf").arg(found);
        let listed = finish(list).code(0).stdout;
        assert_eq!(listed.lines().count(), kinds.len(), "{listed}");
        for &kind in kinds {
            assert!(listed.contains(&server.fingerprint(kind)), "{listed}");
        }
        there(&server, "true").code(0);
        server.forget_host_key();
        there(&server, "true").code(255).stderr_has("Host key verification failed");
    }
}

#[test]
fn login_shells_and_what_they_say_are_those_of_the_account() {
    let noisy = [
        (".bashrc", "echo noise of bash"),
        (".cshrc", "echo noise of csh"),
        (".config/fish/config.fish", "echo noise of fish"),
    ];
    for (shell, test, noise) in [
        ("/usr/bin/fish", "echo $FISH_VERSION", "noise of fish\n"),
        ("/usr/bin/tcsh", "echo $tcsh", "noise of csh\n"),
        ("/bin/csh", "echo $shell", "noise of csh\n"),
        ("/bin/rbash", "echo $BASH_VERSION; cd / 2>&1", ""),
        ("/bin/bash", "echo $BASH_VERSION", "noise of bash\n"),
        ("/bin/sh", "echo plain", ""),
    ] {
        let account = noisy
            .into_iter()
            .fold(Account::new("alice").shell(shell), |account, (name, text)| account.file(name, text));
        let server = Sshd::builder().account(account).start();
        let said = there(&server, test).stdout;
        if shell == "/bin/rbash" {
            assert!(said.contains("restricted"), "{said}");
        } else {
            let version = said.strip_prefix(noise).unwrap_or_else(|| panic!("{shell}: {said}"));
            assert!(version.len() > 2, "{shell}: {said}");
        }
    }
}

#[test]
fn sftp_only_runs_no_command() {
    let server = Sshd::builder().sftp_only().start();
    fs::write(server.home("root").join("file"), "content").unwrap();
    let mut sftp = Command::new("sftp");
    sftp.arg("-S").arg(server.client_path().join("ssh")).args([
        "-P",
        &server.port.to_string(),
        "-b",
        "/dev/stdin",
        "root@127.0.0.1",
    ]);
    let done = assert_cmd::Command::from_std(sftp).write_stdin("ls -l\n").output().unwrap();
    assert!(String::from_utf8_lossy(&done.stdout).contains("file"), "{done:?}");
    there(&server, "echo hello").code(1).stdout_has("sftp connections only").stdout_lacks("hello");
}

#[test]
fn sudo_follows_the_rules_of_the_test() {
    let start = |rules: &str| Sshd::builder().account(Account::new("alice")).sudoers(rules).start();
    there(&start("alice ALL=(ALL) NOPASSWD: ALL"), "sudo -n id -un").code(0).stdout_has("root").stderr_lacks("sudo");
    there(&start("alice ALL=(ALL) ALL"), "sudo -n id -un").code(1).stderr_has("a password is required");
    there(&start(""), "sudo -n id -un").code(1).stderr_has("password is required");
    let one = start("alice ALL=(root) NOPASSWD: /usr/bin/id");
    there(&one, "sudo -n id -un").code(0).stdout_has("root");
    there(&one, "sudo -n cat /etc/shadow").code(1);
}

#[test]
fn machine_with_busybox_has_nothing_else() {
    let server = Sshd::builder().busybox().account(Account::new("root").file("note", "mine")).start();
    fs::create_dir(server.machine_root().join("data")).unwrap();
    there(&server, "stat --help").code(0).stderr_has("BusyBox");
    let said = there(
        &server,
        "ls -d /*; readlink /bin/tar; cat ~/note; echo; find / -xdev -type f | grep -c bin/; echo >/dev/null; ps | grep -c '[s]shd -D'",
    );
    assert_eq!(said.code(0).stdout, "/bin\n/data\n/dev\n/etc\n/homes\n/proc\n/tmp\nbusybox\nmine\n1\n1\n");
    there(&server, "perl -e 1").code(127);
}

#[test]
fn path_has_the_programs_of_the_test_and_no_others() {
    let server = Sshd::builder().only_programs(&["sh", "ls", "find"]).start();
    assert_eq!(there(&server, "ls $PATH").code(0).stdout, "find\nls\nsh\n");
    there(&server, "tar --version").code(127);
}

#[test]
fn bastion_passes_on_and_gives_nothing_else() {
    let bastion = Sshd::builder().account(Account::new("jump")).bastion().start();
    let server = Sshd::builder().start();
    bastion.authorize(&server.key_file());
    there(&bastion, "true").code(1);
    let mut command = ssh(&server);
    let jump = format!(
        "ProxyCommand={} -i {} -p {} -W %h:%p jump@127.0.0.1",
        bastion.client_path().join("ssh").display(),
        server.key_file().display(),
        bastion.port
    );
    command.args(["-o", &jump, "root@127.0.0.1", "echo $SSH_CONNECTION"]);
    finish(command).code(0).stdout_has(&format!(" {}", server.port));
    assert!(bastion.daemon.log().contains("Accepted publickey for jump"));
    // A server that is no bastion passes nothing on.
    let mut command = ssh(&server);
    command.args(["-W", &format!("127.0.0.1:{}", bastion.port), "root@127.0.0.1"]);
    finish(command).code(255).stderr_has("administratively prohibited");
}

#[test]
fn banner_and_motd_are_shown() {
    let server = Sshd::builder().banner("authorised use only\n").motd("welcome, friend\n").start();
    there(&server, "true").code(0).stderr_has("authorised use only").stdout_lacks("welcome");
    let mut command = ssh(&server);
    command.args(["-tt", "root@127.0.0.1"]);
    let shown = assert_cmd::Command::from_std(command).write_stdin("exit\n").output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("welcome, friend"), "{shown:?}");
}

/// A command that goes on until something ends it, begun there.
fn endless(server: &Sshd, env: &TestEnv, within: &[OsString]) -> Daemon {
    let mut command = ssh(server);
    command.args(["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2"]);
    command.args([&format!("{}@{}", server.user, server.host), "while :; do echo tick; sleep 0.05; done"]);
    let command = run_by(within, command);
    let log = env.path("endless.log");
    let mut daemon = Daemon::start(command, &log);
    daemon.wait_until(|| fs::metadata(&log).unwrap().len() > 0);
    daemon
}

fn ticks(env: &TestEnv) -> u64 {
    fs::metadata(env.path("endless.log")).unwrap().len()
}

#[test]
fn sessions_can_be_ended_and_the_server_goes_on() {
    let (server, env) = (Sshd::builder().account(Account::new("alice")).start(), TestEnv::new());
    let mut client = endless(&server, &env, &[]);
    // The connection, the part of it that is the user's, and the shell at least.
    assert!(server.kill_sessions() >= 3);
    assert_eq!(client.wait(Duration::from_secs(20)).code(), Some(255));
    there(&server, "true").code(0);
}

#[test]
fn stalled_sessions_are_silent_until_they_go_on() {
    let (server, env) = (Sshd::builder().start(), TestEnv::new());
    let mut client = endless(&server, &env, &[]);
    assert!(server.stall_sessions() >= 2);
    let before = ticks(&env);
    server.resume_sessions();
    client.wait_until(|| ticks(&env) > before + 20);
    server.stall_sessions();
    // It asks whether the server lives, and gives up: nothing closes the connection.
    assert_eq!(client.wait(Duration::from_secs(30)).code(), Some(255));
    assert!(client.log().contains("Timeout, server"), "{}", client.log());
}

#[test]
fn server_ends_with_all_that_its_users_run_when_it_is_dropped() {
    let server = Sshd::builder().start();
    let begun = "until [ $(cat /proc/$!/comm) = sleep ]; do :; done";
    there(&server, &format!("setsid sleep 3600 >/dev/null 2>&1 </dev/null & {begun}")).code(0);
    let name =
        |process: &Pid| fs::read_to_string(format!("/proc/{}/comm", process.as_raw_nonzero())).unwrap_or_default();
    let sleep = server.sessions().into_iter().find(|process| name(process) == "sleep\n").unwrap();
    drop(server);
    assert_eq!(name(&sleep), "");
}

#[test]
fn impostor_takes_the_place_of_a_server() {
    let server = Sshd::builder().start();
    let (port, known) = (server.port, server.fingerprint(KeyType::Ed25519));
    drop(server);
    let impostor = Sshd::builder().port(port).start();
    assert_ne!(impostor.fingerprint(KeyType::Ed25519), known);
    assert_eq!(fingerprint_of(&impostor.key_file()).len(), known.len());
    there(&impostor, "true").code(0);
}

#[test]
fn network_swallows_everything_while_it_is_cut() {
    let (network, env) = (Network::start(), TestEnv::new());
    let server = Sshd::builder().inside(&network).start();
    let mut client = endless(&server, &env, &network.at_client());
    network.cut();
    assert_eq!(client.wait(Duration::from_secs(30)).code(), Some(255));
    assert!(client.log().contains("Timeout, server"), "{}", client.log());
    network.join();
    let mut client = endless(&server, &env, &network.at_client());
    assert!(client.is_running());
    let holdall = TestEnv::new().within(network.at_client());
    holdall.run(["--version"]).code(0);
    assert!(holdall.holdall(["--version"]).get_program() == "nsenter");
}
