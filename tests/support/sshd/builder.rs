//! Describes a server with accounts of its own, and starts it.

use std::ffi::OsString;
use std::fs;

use super::machine::{self, Account};
use super::{Daemon, KeyType, Sshd, free_ports, new_directory, write_keys};
use crate::support::daemon::run_by;
use crate::support::netns::Network;

/// Paths of programs that the users of a server get unless it says otherwise: those of Debian.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// With a key.
    Key,
    /// With the password of the account, in one message (`password`).
    Password,
    /// With the password of the account, as the answer to a question (`keyboard-interactive`), as PAM asks it.
    Keyboard,
    /// With a key, and then the password.
    KeyAndPassword,
    /// With a key, or the password.
    KeyOrPassword,
}

/// A server that is not started yet. Without more it is a Debian with a key for `root`.
#[derive(Debug)]
pub struct Builder {
    accounts: Vec<Account>,
    login: Login,
    host_keys: Vec<KeyType>,
    port: Option<u16>,
    host: String,
    /// What comes before the command, to be somewhere else.
    within: Vec<OsString>,
    sudoers: Option<String>,
    programs: Option<Vec<String>>,
    motd: Option<String>,
    banner: Option<String>,
    is_busybox: bool,
    is_bastion: bool,
    config: String,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            accounts: Vec::new(),
            login: Login::Key,
            host_keys: vec![KeyType::Ed25519],
            port: None,
            host: "127.0.0.1".to_owned(),
            within: Vec::new(),
            sudoers: None,
            programs: None,
            motd: None,
            banner: None,
            is_busybox: false,
            is_bastion: false,
            config: String::new(),
        }
    }

    /// Somebody who can log in; the first one is [`Sshd::user`]. Without any it is `root`.
    pub fn account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }

    /// The one way to log in; without it that is a key.
    pub fn login(mut self, login: Login) -> Self {
        self.login = login;
        self
    }

    /// The types of host keys that the server has; without it that is Ed25519.
    pub fn host_keys(mut self, kinds: &[KeyType]) -> Self {
        kinds.clone_into(&mut self.host_keys);
        self
    }

    /// Listens to this port; without it to one that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Stands at the far end of a network that can be cut.
    pub fn inside(mut self, network: &Network) -> Self {
        self.within = network.at_server();
        self.host = Network::SERVER.to_owned();
        self
    }

    /// The machine has `sudo`, and these are its rules, as in `sudoers(5)`. Nobody else's are there.
    pub fn sudoers(mut self, rules: &str) -> Self {
        self.sudoers =
            Some(format!("Defaults env_reset\nDefaults secure_path=\"{PATH}\"\nroot ALL=(ALL:ALL) ALL\n{rules}\n"));
        self
    }

    /// On `PATH` are these programs and nothing else.
    pub fn only_programs(mut self, programs: &[&str]) -> Self {
        self.programs = Some(programs.iter().map(|&program| program.to_owned()).collect());
        self
    }

    /// The machine has busybox and not one file besides it: users see [`Sshd::machine_root`] as `/`.
    pub fn busybox(mut self) -> Self {
        self.is_busybox = true;
        self
    }

    /// The server runs no command: SFTP is all that it gives.
    pub fn sftp_only(self) -> Self {
        self.config("ForceCommand internal-sftp")
    }

    /// The server passes connections on to other machines, and gives nothing else.
    pub fn bastion(mut self) -> Self {
        self.is_bastion = true;
        self
    }

    /// What is shown before a login.
    pub fn banner(mut self, text: &str) -> Self {
        self.banner = Some(text.to_owned());
        self
    }

    /// What is shown after a login on a terminal.
    pub fn motd(mut self, text: &str) -> Self {
        self.motd = Some(text.to_owned());
        self
    }

    /// Further lines of `sshd_config(5)`. Where one is there already, the first one counts.
    pub fn config(mut self, lines: &str) -> Self {
        self.config += lines;
        self.config.push('\n');
        self
    }

    /// Starts the server and waits until it listens.
    #[track_caller]
    pub fn start(mut self) -> Sshd {
        assert!(rustix::process::geteuid().is_root(), "this test makes a machine with users: run it as root");
        if self.accounts.is_empty() {
            self.accounts.push(Account::new("root"));
        }
        if self.is_busybox {
            self.accounts = self.accounts.into_iter().map(|account| account.shell("/bin/sh")).collect();
        }
        let directory = new_directory();
        let port = self.port.unwrap_or_else(|| free_ports::<1>()[0]);
        write_keys(directory.path(), &self.host_keys, &format!("[{}]:{port}", self.host));
        machine::write(directory.path(), &mut self.accounts, !self.is_busybox);
        if self.is_busybox {
            machine::install_busybox(directory.path());
        }
        if let Some(programs) = &self.programs {
            machine::install_only(directory.path(), programs);
        }
        for (name, content, mode) in
            [("sudoers", &self.sudoers, 0o440), ("motd", &self.motd, 0o644), ("issue.net", &self.banner, 0o644)]
        {
            machine::write_own(directory.path(), name, content.as_deref().unwrap_or_default(), mode);
        }
        let config = self.text(directory.path().to_str().unwrap(), port);
        fs::write(directory.path().join("sshd_config"), config).unwrap();

        let command = run_by(&self.within, machine::command(directory.path(), self.is_busybox));
        let log = directory.path().join("log");
        let mut daemon = Daemon::start(command, &log);
        daemon.wait_until(|| fs::read_to_string(&log).is_ok_and(|log| log.contains("Server listening on")));
        let user = self.accounts[0].name.clone();
        Sshd { daemon, host: self.host, port, user, accounts: self.accounts, host_keys: self.host_keys, directory }
    }

    /// The configuration of the server, whose directory is `at`.
    fn text(&self, at: &str, port: u16) -> String {
        let methods = match self.login {
            Login::Key => "publickey",
            Login::Password => "password",
            Login::Keyboard => "keyboard-interactive:pam",
            Login::KeyAndPassword => "publickey,password",
            Login::KeyOrPassword => "publickey password",
        };
        let yes = |is: bool| if is { "yes" } else { "no" };
        let (asks_pam, asks_password) = (self.login == Login::Keyboard, methods.contains("password"));
        let mut text = format!(
            "ListenAddress {}:{port}\nAuthorizedKeysFile {at}/keys/%u .ssh/authorized_keys\nPidFile none\nPermitRootLogin yes\nMaxStartups 100\nLogLevel VERBOSE\n\
             # The directory is below one that everybody may write to.\nStrictModes no\n\
             AuthenticationMethods {methods}\nPasswordAuthentication {}\nKbdInteractiveAuthentication {}\nUsePAM {}\n",
            self.host,
            yes(asks_password),
            yes(asks_pam),
            yes(asks_pam),
        );
        for kind in &self.host_keys {
            text += &format!("HostKey {at}/host_key_{kind}\n");
        }
        if self.banner.is_some() {
            text += "Banner /etc/issue.net\n";
        }
        if self.programs.is_some() {
            text += &format!("SetEnv PATH={at}/{}\n", machine::PROGRAMS);
        }
        if self.is_busybox {
            text += &format!("ChrootDirectory {}\nSetEnv PATH=/bin\n", machine::ROOT_INSIDE);
        }
        if self.is_bastion {
            text += "AllowTcpForwarding local\nPermitTTY no\nX11Forwarding no\nForceCommand /bin/false\n";
        } else {
            // Nothing of it is needed.
            text += "DisableForwarding yes\n";
            if !self.config.contains("Subsystem sftp") {
                text += "Subsystem sftp internal-sftp\n";
            }
        }
        text + &self.config
    }
}
