//! Where the machine is, what proves that it is this one, and what lets us in.

use std::fmt::Display;
use std::time::Duration;

use toml::Spanned;

use super::super::shared::Shared;
use super::super::{absolute, command};
use super::words::{check_fingerprint, check_host, check_port, check_user, split_jump};
use crate::config::file::SshTable;
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{SshHostKey, SshJump, SshLogin};
use crate::secret::Secret;

/// Where SSH servers are.
const PORT: u16 = 22;

/// Whom to log in as: only root can read everything.
const USER: &str = "root";

/// Long enough for a machine that is far away, or has to look up our name.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Longer than a disk takes to spin up, or a dump to begin.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A table while its login is checked.
pub(super) struct Login<'t> {
    pub(super) name: &'t Spanned<String>,
    pub(super) table: &'t SshTable,
    pub(super) shared: &'t Shared<'t>,
    pub(super) removed: &'t Removed,
}

impl Login<'_> {
    pub(super) fn check(&self, problems: &mut Collector) -> SshLogin {
        let table = self.table;
        if table.host.is_none() {
            self.missing(self.name, "host", "missing; write the name or address of the machine", problems);
        }
        let host = self.take("host", table.host.as_ref(), |text| check_host(text), problems);
        let user = self.take("user", table.user.as_ref(), |text| check_user(text), problems);
        let port = self.take("port", table.port.as_ref(), |&port| check_port(port), problems);
        let user = user.unwrap_or_else(|| USER.to_owned());
        let host_key = self.host_key(problems);
        SshLogin {
            host: host.unwrap_or_default(),
            port: port.unwrap_or(PORT),
            jump: self.jump(&user, &host_key, problems),
            user,
            host_key,
            key_file: self.take("key-file", table.key_file.as_ref(), |text| absolute(text), problems),
            passphrase: self.passphrase(problems),
            agent: table.agent,
            password: self.password(problems),
            connect_timeout: self.timeout("connect-timeout", table.connect_timeout.as_ref(), CONNECT_TIMEOUT, problems),
            idle_timeout: self.timeout("idle-timeout", table.idle_timeout.as_ref(), IDLE_TIMEOUT, problems),
        }
    }

    /// What proves that the host is the one that was meant. An empty fingerprint fits no key; it stands for one that is reported.
    fn host_key(&self, problems: &mut Collector) -> SshHostKey {
        let (host_key, known_hosts) = (self.table.host_key.as_ref(), self.table.known_hosts.as_ref());
        if let (Some(_), Some(file)) = (host_key, known_hosts) {
            problems.report(&file.span(), self.key("known-hosts"), "`host-key` is given as well; keep one of them");
        }
        if host_key.is_none() && known_hosts.is_none() && !self.was_wrong("known-hosts") {
            let missing = "missing; `holdall onboard ssh` shows and pins it, or name a file with `known-hosts`";
            self.missing(self.name, "host-key", missing, problems);
        }
        let file = self.take("known-hosts", known_hosts, |text| absolute(text), problems);
        let fingerprint = self.take("host-key", host_key, |text| check_fingerprint(text), problems);
        match (fingerprint, file) {
            (None, Some(file)) => SshHostKey::KnownHosts(file),
            (fingerprint, _) => SshHostKey::Fingerprint(fingerprint.unwrap_or_default()),
        }
    }

    /// The machine on the way. Its user is by default the one of the host.
    fn jump(&self, user: &str, host_key: &SshHostKey, problems: &mut Collector) -> Option<SshJump> {
        let own_key = self.table.jump_host_key.as_ref();
        let Some(text) = self.table.jump.as_ref() else {
            if let Some(key) = own_key.filter(|_| !self.was_wrong("jump")) {
                problems.report(&key.span(), self.key("jump-host-key"), "there is no `jump` that it belongs to");
            }
            return None;
        };
        if own_key.is_none() && self.table.known_hosts.is_none() {
            self.missing(text, "jump-host-key", "missing; `holdall onboard ssh` shows and pins it", problems);
        }
        let own_key = self.take("jump-host-key", own_key, |text| check_fingerprint(text), problems);
        let (jump_user, host, port) = self.take("jump", Some(text), |text| split_jump(text), problems)?;
        Some(SshJump {
            user: jump_user.unwrap_or_else(|| user.to_owned()),
            host,
            port: port.unwrap_or(PORT),
            host_key: own_key.map_or_else(|| host_key.clone(), SshHostKey::Fingerprint),
        })
    }

    fn passphrase(&self, problems: &mut Collector) -> Option<Secret> {
        let (file, argv) = (self.table.passphrase_file.as_ref(), self.table.passphrase_command.as_ref());
        let span = file.map(Spanned::span).or_else(|| argv.map(Spanned::span))?;
        if self.table.key_file.is_none() && !self.was_wrong("key-file") {
            let key = if file.is_some() { "passphrase-file" } else { "passphrase-command" };
            problems.report(&span, self.key(key), "there is no `key-file` that it opens");
        }
        self.secret("passphrase", file, argv, problems)
    }

    /// The password. Who names no way in means the credential.
    fn password(&self, problems: &mut Collector) -> Option<Secret> {
        let table = self.table;
        let (file, argv) = (table.password_file.as_ref(), table.password_command.as_ref());
        if file.is_none() && argv.is_none() {
            let another = table.key_file.is_some() || table.agent;
            return (!another).then(|| Secret::credential(format!("ssh-{}-password", self.name.get_ref())));
        }
        self.secret("password", file, argv, problems)
    }

    /// The secret that `NAME-file` or `NAME-command` gives.
    fn secret(
        &self,
        name: &str,
        file: Option<&Spanned<String>>,
        argv: Option<&Spanned<Vec<String>>>,
        problems: &mut Collector,
    ) -> Option<Secret> {
        let (file_key, command_key) = (format!("{name}-file"), format!("{name}-command"));
        if let (Some(_), Some(argv)) = (file, argv) {
            let twice = format!("`{file_key}` is given as well; keep one of them");
            problems.report(&argv.span(), self.key(&command_key), twice);
        }
        let file = self.take(&file_key, file, |text| absolute(text), problems).map(Secret::file);
        let argv = self.take(&command_key, argv, |argv| command(argv), problems).map(Secret::command);
        file.or(argv)
    }

    fn timeout(
        &self,
        name: &str,
        text: Option<&Spanned<String>>,
        default: Duration,
        problems: &mut Collector,
    ) -> Duration {
        let timeout = self.shared.duration(name, text, problems).unwrap_or(default);
        if let Some(text) = text.filter(|_| timeout.is_zero()) {
            problems.report(&text.span(), self.key(name), "nothing answers in no time; write for example 5min");
        }
        timeout
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.shared.key)
    }

    /// Whether the key is given with a value of the wrong type, which is reported already.
    fn was_wrong(&self, name: &str) -> bool {
        self.removed.contains(&self.key(name))
    }

    fn missing(&self, place: &Spanned<String>, name: &str, text: &str, problems: &mut Collector) {
        if !self.was_wrong(name) {
            problems.report(&place.span(), self.key(name), text);
        }
    }

    /// The checked value of a key, if it is given and right.
    fn take<W, T, E: Display>(
        &self,
        name: &str,
        value: Option<&Spanned<W>>,
        check: impl FnOnce(&W) -> Result<T, E>,
        problems: &mut Collector,
    ) -> Option<T> {
        let value = value?;
        problems.take(&value.span(), self.key(name), check(value.get_ref()))
    }
}
