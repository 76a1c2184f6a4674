//! Where an SFTP repository is, as restic spells it: `sftp:[USER@]HOST:PATH` or `sftp://[USER@]HOST[:PORT]/PATH`.
//!
//! In both a path is relative to the login directory unless it begins with `/`; in the second that is a second `/`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Error, bail};

/// A directory on a server, and how to log in there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct Address {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Without a slash at its end.
    pub(super) path: String,
    /// The private key to log in with; `None`: what `ssh` finds.
    pub(super) key: Option<PathBuf>,
    /// The known hosts; `None`: those of `ssh`.
    pub(super) known_hosts: Option<PathBuf>,
}

impl FromStr for Address {
    type Err = Error;

    /// From what stands behind `sftp:`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (login, port, path) = match text.strip_prefix("//") {
            Some(url) => {
                let (authority, path) = url.split_once('/').unwrap_or((url, ""));
                let host_begins = authority.rfind('@').map_or(0, |at| at + 1);
                // The colons of an IPv6 address stand in brackets.
                match authority.rfind(':').filter(|colon| *colon > authority.rfind(']').unwrap_or(host_begins)) {
                    Some(colon) => (&authority[..colon], Some(&authority[colon + 1..]), path),
                    None => (authority, None, path),
                }
            }
            None => {
                let split = text.find("]:").map(|at| (&text[..=at], &text[at + 2..])).or_else(|| text.split_once(':'));
                let Some((login, path)) = split else { bail!("the path is missing: sftp:USER@HOST:/PATH") };
                (login, None, path)
            }
        };
        let (user, host) = login.rsplit_once('@').map_or((None, login), |(user, host)| (Some(user), host));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let trimmed = path.trim_end_matches('/');
        let path = if trimmed.is_empty() && !path.is_empty() { "/." } else { trimmed };
        if host.is_empty() || path.is_empty() || user == Some("") {
            bail!("user, host or path is missing: sftp:USER@HOST:/PATH or sftp://USER@HOST:PORT//PATH");
        }
        // `ssh` would take it for an option.
        if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
            bail!("a user or a host does not begin with `-`");
        }
        let port = match port {
            Some(port) => Some(port.parse().map_err(|_| anyhow::anyhow!("`{port}` is not a port"))?),
            None => None,
        };
        let user = user.map(str::to_owned);
        Ok(Self { user, host: host.to_owned(), port, path: path.to_owned(), ..Self::default() })
    }
}

impl Address {
    /// The `ssh` that connects its standard input and output with the server's SFTP.
    pub(super) fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        // Nobody is there to answer a question; an unknown server is not trusted; one that falls silent is given up after a minute.
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "ConnectTimeout=30",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=4",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
        ] {
            command.args(["-o", option]);
        }
        if let Some(file) = &self.known_hosts {
            // Quoted, as ssh_config(5) wants it for blanks.
            command.arg("-o").arg(format!("UserKnownHostsFile=\"{}\"", file.display()));
        }
        if let Some(key) = &self.key {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["-s", "--", &self.host, "sftp"]);
        // Ctrl-C is for holdall, which then ends it.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<String>, String, Option<u16>, String) {
        let address: Address = text.parse().unwrap();
        (address.user, address.host, address.port, address.path)
    }

    fn expected(user: &str, host: &str, port: u16, path: &str) -> (Option<String>, String, Option<u16>, String) {
        let user = Some(user.to_owned()).filter(|user| !user.is_empty());
        (user, host.to_owned(), Some(port).filter(|port| *port > 0), path.to_owned())
    }

    #[test]
    fn both_spellings_of_restic_are_read() {
        assert_eq!(parsed("me@host:/srv/x/"), expected("me", "host", 0, "/srv/x"));
        assert_eq!(parsed("host:x/y"), expected("", "host", 0, "x/y"));
        assert_eq!(parsed("me@here@host:/a:b"), expected("me@here", "host", 0, "/a:b"));
        assert_eq!(parsed("//me@host:2222//srv/x"), expected("me", "host", 2222, "/srv/x"));
        assert_eq!(parsed("//me@host/x"), expected("me", "host", 0, "x"));
        assert_eq!(parsed("//me@[::1]:2222//srv/x"), expected("me", "::1", 2222, "/srv/x"));
        assert_eq!(parsed("//[fe80::1]//x"), expected("", "fe80::1", 0, "/x"));
        assert_eq!(parsed("me@[::1]:/srv/x"), expected("me", "::1", 0, "/srv/x"));
        assert_eq!(parsed("host:/"), expected("", "host", 0, "/."));
    }

    #[test]
    fn ssh_is_told_the_login_and_then_the_host_as_no_option() {
        let mut address: Address = "//me@host:22//x".parse().unwrap();
        address.key = Some("/k".into());
        address.known_hosts = Some("/known hosts".into());
        let ssh = address.ssh();
        let arguments: Vec<&str> = ssh.get_args().map(|argument| argument.to_str().unwrap()).collect();
        assert!(arguments.contains(&"UserKnownHostsFile=\"/known hosts\""), "{arguments:?}");
        let last = ["IdentitiesOnly=yes", "-i", "/k", "-p", "22", "-l", "me", "-s", "--", "host", "sftp"];
        assert_eq!(arguments[arguments.len() - last.len()..], last);
    }

    #[test]
    fn half_an_address_and_an_option_for_ssh_are_refused() {
        for text in ["host", "host:", ":/x", "@host:/x", "//host", "//host:22x//y", "-oProxyCommand=x:/y", "-l@host:/y"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
