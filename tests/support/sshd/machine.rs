//! A machine around a server, as far as its users see one: accounts, homes, `/etc` and `/run` of its own, and processes that end with it.
//!
//! It is made of a mount and a process namespace, so it takes root. The machine that runs the tests is as it was: a copy of its `/etc` lies in
//! memory, with accounts added, and only the server and what it starts see it. The server is the first process of its namespace: when it
//! ends, however, the kernel ends all others.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;

/// Where in its directory a machine with busybox only has what its users see as `/`.
pub(super) const ROOT: &str = "root";
/// The same, where sshd wants it: on a path that only root can write to.
pub(super) const ROOT_INSIDE: &str = "/run/machine";
/// Where in its directory a machine has the only programs of its `PATH`, if it has but some.
pub(super) const PROGRAMS: &str = "programs";
/// No account of a distribution has it, nor those that follow.
const FIRST_ID: u32 = 31_000;

/// Somebody who can log in.
#[derive(Debug, Clone)]
pub struct Account {
    pub(super) name: String,
    shell: String,
    password: Option<String>,
    files: Vec<(String, String)>,
    id: u32,
}

impl Account {
    /// An account with `/bin/sh` and an empty home directory, and without a password. `root` is the one that every machine has.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), shell: "/bin/sh".to_owned(), password: None, files: Vec::new(), id: 0 }
    }

    /// The login shell, with its path.
    pub fn shell(mut self, shell: &str) -> Self {
        shell.clone_into(&mut self.shell);
        self
    }

    /// The password; how it may be given is up to the server.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A file in the home directory, for instance one that the shell reads when it starts.
    pub fn file(mut self, relative: &str, content: &str) -> Self {
        self.files.push((relative.to_owned(), content.to_owned()));
        self
    }

    /// User and group id.
    pub fn id(&self) -> u32 {
        self.id
    }
}

/// The home directory of an account, below the directory of its server.
pub(super) fn home(directory: &Path, user: &str) -> PathBuf {
    directory.join(ROOT).join("homes").join(user)
}

/// Lets a private key log in as this account.
pub(super) fn authorize(directory: &Path, account: &Account, key: &Path) {
    let file = directory.join("keys").join(&account.name);
    let known = fs::read_to_string(&file).unwrap_or_default();
    fs::write(&file, known + &fs::read_to_string(key.with_extension("pub")).unwrap()).unwrap();
}

/// Makes homes, keys and what the machine's `/etc` has of its own; gives the accounts their ids.
///
/// `sees_all`: users see the files of the machine that runs the tests, and not only those below [`ROOT`].
pub(super) fn write(directory: &Path, accounts: &mut [Account], sees_all: bool) {
    for name in ["keys", "own/etc/pam.d", "etc", ROOT] {
        fs::create_dir_all(directory.join(name)).unwrap();
    }
    let (mut passwd, mut shadow, mut group) =
        (others("passwd", accounts), others("shadow", accounts), others("group", accounts));
    let mut passwords = String::new();
    for (id, account) in (FIRST_ID..).zip(accounts) {
        account.id = if account.name == "root" { 0 } else { id };
        let (name, id) = (&account.name, account.id);
        let home = home(directory, name);
        let seen =
            if sees_all { home.clone() } else { Path::new("/").join(home.strip_prefix(directory.join(ROOT)).unwrap()) };
        passwd += &format!("{name}:x:{id}:{id}::{}:{}\n", seen.display(), account.shell);
        // A star, not an exclamation mark: there is no password, but the account is not locked.
        shadow += &format!("{name}:*:20000:0:99999:7:::\n");
        group += &format!("{name}:x:{id}:\n");
        if let Some(password) = &account.password {
            passwords += &format!("{name}:{password}\n");
        }
        fs::create_dir_all(&home).unwrap();
        for (relative, content) in &account.files {
            fs::create_dir_all(home.join(relative).parent().unwrap()).unwrap();
            fs::write(home.join(relative), content).unwrap();
        }
        run(Command::new("chown").args(["-R", &format!("{id}:{id}")]).arg(&home));
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        authorize(directory, account, &directory.join("client_key"));
    }
    let own = |name: &str, content: &str, mode: u32| write_own(directory, name, content, mode);
    own("passwd", &passwd, 0o644);
    own("shadow", &shadow, 0o600);
    own("group", &group, 0o644);
    // Passwords are asked for, and nothing else is: what a distribution has here beyond that is no matter of these tests.
    let pam = "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
    own("pam.d/sudo", pam, 0o644);
    own("pam.d/sshd", pam, 0o644);
    // sudo looks its own machine up.
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    own("hosts", &format!("127.0.0.1 localhost {name}"), 0o644);
    let secret = directory.join("own/passwords");
    fs::write(&secret, passwords).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A file of the machine's own `/etc`.
pub(super) fn write_own(directory: &Path, name: &str, content: &str, mode: u32) {
    let file = directory.join("own/etc").join(name);
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    chown(&file, Some(0), Some(0)).unwrap();
}

/// The lines of a database in `/etc` that are not about these accounts.
fn others(database: &str, accounts: &[Account]) -> String {
    let lines = fs::read_to_string(Path::new("/etc").join(database)).unwrap();
    let is_other = |line: &&str| accounts.iter().all(|account| line.split(':').next() != Some(&account.name));
    lines.lines().filter(is_other).map(|line| line.to_owned() + "\n").collect()
}

/// Fills [`PROGRAMS`] with these programs of the machine that runs the tests.
pub(super) fn install_only(directory: &Path, programs: &[String]) {
    fs::create_dir(directory.join(PROGRAMS)).unwrap();
    for program in programs {
        let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|place| Path::new(place).join(program));
        let found = places.iter().find(|file| file.exists());
        let found = found.unwrap_or_else(|| panic!("there is no {program}: run `scripts/deps test`"));
        symlink(found, directory.join(PROGRAMS).join(program)).unwrap();
    }
}

/// Fills [`ROOT`] with busybox under all of its names.
pub(super) fn install_busybox(directory: &Path) {
    let root = directory.join(ROOT);
    for name in ["bin", "etc", "dev", "proc", "tmp"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("no busybox: run `scripts/deps test`");
    run(Command::new("/bin/busybox").args(["--install", "-s"]).arg(root.join("bin")));
    for applet in fs::read_dir(root.join("bin")).unwrap().flatten() {
        if applet.file_name() != "busybox" {
            // The links name the program that made them.
            fs::remove_file(applet.path()).unwrap();
            symlink("busybox", applet.path()).unwrap();
        }
    }
    for name in ["passwd", "group"] {
        fs::copy(directory.join("own/etc").join(name), root.join("etc").join(name)).unwrap();
    }
}

/// The command that makes the machine and becomes its sshd.
pub(super) fn command(directory: &Path, is_busybox: bool) -> Command {
    let mut script = String::from(
        "set -eu\ncd \"$1\"\n\
         mount -t tmpfs -o mode=755 machine etc\ncp -a /etc/. etc\ncp -a own/etc/. etc\nmount --bind etc /etc\n\
         mount -t tmpfs -o mode=755 machine /run\nmkdir /run/sshd\n\
         chpasswd -c SHA512 <own/passwords\n",
    );
    if is_busybox {
        script += &format!(
            "mkdir {ROOT_INSIDE}\nmount --bind {ROOT} {ROOT_INSIDE}\n\
             mount --rbind /dev {ROOT_INSIDE}/dev\nmount -t proc proc {ROOT_INSIDE}/proc\n"
        );
    }
    script += "exec /usr/sbin/sshd -D -e -f \"$1/sshd_config\"\n";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--", "sh", "-c"]);
    command.arg(script).arg("machine").arg(directory);
    command
}
