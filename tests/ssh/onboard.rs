//! `holdall onboard ssh` as a newcomer meets it, up to the file that comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::env::TestEnv;
use super::support::outcome::Outcome;
use super::support::sshd::{Account, KeyType, Login, Sshd};
use super::terminal::Terminal;
use super::{PASSWORD, check, text, with_store};

/// A machine of alice, who has a password and something to back up, and an environment with a store.
struct New {
    server: Sshd,
    env: TestEnv,
    data: PathBuf,
}

impl New {
    fn start(build: impl FnOnce(super::support::sshd::Builder) -> super::support::sshd::Builder) -> Self {
        let alice = Account::new("alice").password(PASSWORD).file("data/letter", "Dear reader");
        let server = build(Sshd::builder().account(alice).login(Login::KeyOrPassword)).start();
        let env = with_store();
        env.write_secret("box.password", PASSWORD);
        let data = server.home("alice").join("data");
        Self { server, env, data }
    }

    /// The words of the command; the fingerprint is the right one, if it is given at all.
    fn words<'w>(&self, name: &'w str, more: &[&'w str]) -> Vec<String> {
        let mut words =
            ["onboard", "ssh", name, "--host", "127.0.0.1", "--user", "alice", "--port"].map(str::to_owned).to_vec();
        words.push(self.server.port.to_string());
        words.extend(more.iter().map(|&word| word.to_owned()));
        words.push(self.data.display().to_string());
        words
    }

    fn onboard(&self, name: &str, more: &[&str]) -> Outcome {
        let fingerprint = self.fingerprint();
        self.env.run(self.words(name, &[&["--fingerprint", &fingerprint], more].concat()))
    }

    fn fingerprint(&self) -> String {
        self.server.fingerprint(KeyType::Ed25519)
    }

    fn key(&self) -> PathBuf {
        self.env.path("config/holdall/ssh/id_ed25519")
    }

    fn authorized(&self) -> PathBuf {
        self.server.home("alice").join(".ssh/authorized_keys")
    }

    /// Lines with a key there that holdall has made.
    fn installed(&self) -> usize {
        text(&self.authorized()).lines().filter(|line| line.contains(" holdall@")).count()
    }
}

const WITH_PASSWORD: [&str; 2] = ["--password-file", "box.password"];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn newcomer_gets_from_nothing_to_a_file_that_came_back() {
    let new = New::start(|builder| builder);
    new.onboard("box", &WITH_PASSWORD)
        .code(0)
        .stdout_lacks(PASSWORD)
        .stderr_lacks(PASSWORD)
        .stderr_has("Made a key: ")
        .stderr_has("127.0.0.1 lets alice in with")
        .stderr_has("read with GNU find and tar")
        .stderr_has("1 files, ")
        .stderr_has("Next: holdall backup ssh.box");
    assert_eq!((mode(&new.key()), mode(new.key().parent().unwrap())), (0o600, 0o700));
    assert_eq!((mode(&new.authorized()), mode(new.authorized().parent().unwrap())), (0o600, 0o700));
    assert_eq!(new.installed(), 1);
    let Sshd { port, .. } = new.server;
    let stanza = format!(
        "[ssh.box]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"alice\"\nkey-file = \"{}\"\nhost-key = \"{}\"\npaths = [\"{}\"]\n",
        new.key().display(),
        new.fingerprint(),
        new.data.display()
    );
    assert!(text(&new.env.config_file()).ends_with(&stanza), "{}", text(&new.env.config_file()));
    // The password is not needed any more.
    fs::remove_file(new.env.path("box.password")).unwrap();
    check(&new.env).ready();
    new.env.run(["backup"]).code(0);
    let spec = format!("ssh.box:{}", new.data.display());
    new.env.run(["restore", &spec, "--to", "back"]).code(0);
    assert_eq!(text(&new.env.path("back/letter")), "Dear reader");
    // A second source there: the key is in already, and is not put in again.
    new.onboard("again", &[]).code(0).stderr_has("lets alice in with").stderr_lacks("Made a key");
    assert_eq!(new.installed(), 1);
    new.onboard("box", &[]).code(2).stderr_has("the name `box` is taken");
}

#[test]
fn key_is_put_behind_those_that_are_there_and_never_twice() {
    let theirs = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUNeW4UdZzQp2S8fIrmK0jgMWB1dHWAcOZmTe6Zj0pi hers";
    for build in [|builder: super::support::sshd::Builder| builder, super::support::sshd::Builder::sftp_only] {
        let new = New::start(build);
        fs::create_dir(new.authorized().parent().unwrap()).unwrap();
        // As an editor leaves it: without an end of the last line.
        fs::write(new.authorized(), format!("# of alice\n\n{theirs}")).unwrap();
        let mut own = Command::new("chown");
        own.args(["-R", "--reference"]).arg(new.server.home("alice")).arg(new.authorized().parent().unwrap());
        super::support::env::finish(own).code(0);
        new.onboard("box", &WITH_PASSWORD).code(0);
        let after = text(&new.authorized());
        let public = text(&new.key().with_extension("pub"));
        assert_eq!(after, format!("# of alice\n\n{theirs}\n{public}"));
        new.onboard("again", &WITH_PASSWORD).code(0);
        assert_eq!(text(&new.authorized()), after);
        check(&new.env).ready();
        new.env.run(["backup", "ssh.box"]).code(0);
    }
}

#[test]
fn machine_with_sftp_only_gets_the_key_over_sftp() {
    let new = New::start(super::support::sshd::Builder::sftp_only);
    new.onboard("box", &WITH_PASSWORD).code(0).stderr_has("SFTP only");
    assert_eq!((mode(&new.authorized()), mode(new.authorized().parent().unwrap())), (0o600, 0o700));
    assert_eq!(new.installed(), 1);
    check(&new.env).ready();
}

#[test]
fn wrong_fingerprint_ends_it_before_anybody_logs_in() {
    let new = New::start(|builder| builder.host_keys(&[KeyType::Ed25519, KeyType::Rsa]));
    let before = text(&new.env.config_file());
    let wrong = format!("SHA256:{}", "B".repeat(43));
    new.env
        .run(new.words("box", &["--fingerprint", &wrong, "--password-file", "box.password"]))
        .code(1)
        .stderr_has(&format!("127.0.0.1 has no host key {wrong}; it has"))
        .stderr_has(&new.server.fingerprint(KeyType::Ed25519))
        .stderr_has(&new.server.fingerprint(KeyType::Rsa))
        .stderr_has("Nothing was sent.");
    // The same without anybody to ask: the hint is what to type.
    new.env
        .run(new.words("box", &WITH_PASSWORD))
        .code(2)
        .stderr_has(&format!("hint: If it is: --fingerprint {}", new.fingerprint()));
    assert_eq!(text(&new.env.config_file()), before);
    assert!(!new.key().exists() && !new.authorized().exists());
    assert!(!new.server.daemon.log().contains("alice"), "{}", new.server.daemon.log());
    let rsa = new.server.fingerprint(KeyType::Rsa);
    new.env.run(new.words("box", &["--fingerprint", &rsa, "--password-file", "box.password"])).code(0);
    assert!(text(&new.env.config_file()).contains(&rsa));
    check(&new.env).ready();
}

#[test]
fn dry_run_and_a_key_that_is_missing_change_nothing() {
    let new = New::start(|builder| builder);
    let before = text(&new.env.config_file());
    new.onboard("box", &["-n", "--password-file", "box.password"]).code(1).stderr_has("A dry run installs no key");
    assert!(!new.key().exists() && !new.authorized().exists());
    let key = new.server.key_file();
    let with_key = ["--key-file", key.to_str().unwrap()];
    let shown = new.onboard("box", &[&["-n"], &with_key[..]].concat()).code(0);
    let expected = format!("host-key = \"{}\"\n", new.fingerprint());
    let _ = shown.stdout_has("[ssh.box]\n").stdout_has(&expected);
    assert_eq!(text(&new.env.config_file()), before);
    // A key of one's own needs no password, and nothing is put anywhere.
    new.onboard("box", &with_key).code(0).stderr_lacks("Made a key");
    assert!(!new.key().exists() && !new.authorized().exists());
}

#[test]
fn wrong_password_or_none_says_what_to_do() {
    let new = New::start(|builder| builder);
    new.env.write_secret("wrong.password", "a guess");
    new.onboard("box", &["--password-file", "wrong.password"])
        .code(1)
        .stderr_has("127.0.0.1 does not let alice in: the password")
        .stderr_lacks("a guess");
    let public = text(&new.key().with_extension("pub"));
    new.onboard("box", &[])
        .code(1)
        .stderr_has("127.0.0.1 does not let alice in with")
        .stderr_has("--password-file")
        .stderr_has(public.trim_end());
    // The key that was made stays the key, and the line that was shown is the one that lets in.
    fs::create_dir(new.authorized().parent().unwrap()).unwrap();
    fs::write(new.authorized(), &public).unwrap();
    new.onboard("box", &[]).code(0);
}

#[test]
fn lines_for_sudo_are_shown_and_are_the_ones_that_it_takes() {
    let mut new = New::start(|builder| builder.sudoers(""));
    // Nobody but root gets in there.
    new.data = new.env.source();
    new.env.write("secret", "of root");
    let refused = new.onboard("box", &["--sudo", "--password-file", "box.password"]).code(1);
    let refused = refused.stderr_has("sudo on 127.0.0.1 does not let alice run /usr/bin/find");
    let hint = "hint: Type there, as root, visudo -f /etc/sudoers.d/holdall and add these lines:\n";
    let (_, printed) = refused.stderr.split_once(hint).unwrap_or_else(|| panic!("{}", refused.stderr));
    let printed: Vec<&str> = printed.lines().map_while(|line| line.strip_prefix("  ")).collect();
    assert_eq!(printed.len(), 3, "{printed:?}");
    assert!(!text(&new.env.config_file()).contains("[ssh.box]"));
    // As whoever typed them would have it.
    let mut after = New::start(|builder| builder.sudoers(&printed.join("\n")));
    after.data = new.data.clone();
    after.onboard("box", &["--sudo", "--password-file", "box.password"]).code(0).stderr_has("1 files, ");
    check(&after.env).ready();
    after.env.run(["backup"]).code(0);
    let spec = format!("ssh.box:{}/secret", after.data.display());
    assert_eq!(after.env.run(["dump", &spec]).code(0).stdout, "of root");
}

#[test]
fn somebody_at_a_terminal_is_asked_for_the_key_and_the_password() {
    let new = New::start(|builder| builder);
    let before = text(&new.env.config_file());
    let question = "Type `yes` to pin its ED25519 key: ";
    for answer in ["no", "y", ""] {
        let mut terminal = Terminal::start(&new.env, &new.words("box", &[]));
        terminal.type_at(question, answer);
        let (code, shown) = terminal.end();
        assert!(code == Some(1) && shown.contains("not confirmed; nothing was changed"), "{shown}");
        assert!(shown.contains(&new.fingerprint()), "{shown}");
    }
    assert_eq!(text(&new.env.config_file()), before);
    assert!(!new.key().exists());
    let mut terminal = Terminal::start(&new.env, &new.words("box", &[]));
    terminal.type_at(question, "yes");
    terminal.type_at("Password of alice on 127.0.0.1: ", PASSWORD);
    let (code, shown) = terminal.end();
    assert!(code == Some(0) && !shown.contains(PASSWORD), "{shown}");
    assert!(text(&new.env.config_file()).contains(&new.fingerprint()));
    assert_eq!(new.installed(), 1);
    check(&new.env).ready();
}
