//! Which machines this one knows over SSH, and which of them no source covers. Reads files of OpenSSH's client; asks no machine.

use std::path::Path;

use super::known_hosts::Known;
use super::{client_config, known_hosts};
use crate::config::{Config, SourceConfig, locate};

/// A machine that is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What people call it.
    pub name: String,
    /// Where it is, and how that is known.
    pub detail: String,
    /// The source that backs it up: `ssh.pi`.
    pub covered_by: Option<String>,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machines {
    /// First those that have names in a configuration, then those that were connected to.
    pub machines: Vec<Machine>,
    /// How many lines of `known_hosts` hide which machine they are about.
    pub hashed: usize,
}

/// The machines that are named in `~/.ssh/config` and `/etc/ssh/ssh_config`, or known in a `known_hosts` file.
pub fn machines(config: &Config) -> Machines {
    let ssh = config.sources.iter().filter_map(|source| match source {
        SourceConfig::Ssh(ssh) => Some((Place::new(&ssh.login.host, ssh.login.port), source.id())),
        _ => None,
    });
    look(&ssh.collect::<Vec<_>>(), locate::home_dir().as_deref(), Path::new("/etc/ssh"))
}

/// A name or address as it is compared, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place(String, u16);

impl Place {
    fn new(name: &str, port: u16) -> Self {
        Self(name.trim_end_matches('.').to_lowercase(), port)
    }
}

/// The machines that are known in the home directory and that of the system, when these are the sources.
fn look(sources: &[(Place, String)], home: Option<&Path>, system: &Path) -> Machines {
    let user = home.map(|home| home.join(".ssh"));
    let covered_by = |places: &[Place]| {
        let source = sources.iter().find(|(place, _)| places.contains(place));
        source.map(|(_, id)| id.clone())
    };
    let mut machines = Vec::new();
    let mut named: Vec<Place> = Vec::new();
    let in_home = user.iter().map(|user| (user.join("config"), user.clone()));
    let files: Vec<_> = in_home.chain([(system.join("ssh_config"), system.to_path_buf())]).collect();
    for host in client_config::hosts(&files, home) {
        let places = [Place::new(&host.host, host.port), Place::new(&host.alias, host.port)];
        // Another alias of the same machine.
        if !named.contains(&places[0]) {
            let login = host.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let place = shown(&host.host, host.port);
            machines.push(Machine {
                detail: format!("{login}{place}, {} line {}", host.file.display(), host.line),
                covered_by: covered_by(&places),
                name: host.alias,
            });
        }
        named.extend(places);
    }
    let (mut seen, mut hashed) = (Vec::new(), 0);
    let in_home = user.iter().flat_map(|user| ["known_hosts", "known_hosts2"].map(|name| user.join(name)));
    for file in in_home.chain(["ssh_known_hosts", "ssh_known_hosts2"].map(|name| system.join(name))) {
        let known = known_hosts::read(&file);
        hashed += known.hashed;
        for host in known.hosts {
            let places: Vec<Place> = host.names.iter().map(|(name, port)| Place::new(name, *port)).collect();
            // A machine has a line for each of its keys. But one name that is new makes another machine of it: addresses are given away again.
            if !places.iter().any(|place| named.contains(place)) && !places.iter().all(|place| seen.contains(place)) {
                machines.push(machine(&host, &file, covered_by(&places)));
            }
            seen.extend(places);
        }
    }
    Machines { machines, hashed }
}

/// A machine that was connected to, by the first of its names.
fn machine(host: &Known, file: &Path, covered_by: Option<String>) -> Machine {
    let mut names = host.names.iter().map(|(name, port)| shown(name, *port));
    let name = names.next().unwrap_or_default();
    let others: Vec<String> = names.collect();
    let also = if others.is_empty() { String::new() } else { format!("also {}, ", others.join(", ")) };
    Machine { name, detail: format!("{also}{} line {}", file.display(), host.line), covered_by }
}

/// `HOST`, or with a port that is not SSH's own `HOST:PORT`.
fn shown(host: &str, port: u16) -> String {
    match port {
        22 => host.to_owned(),
        _ if host.contains(':') => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is found with these files in the home directory and in that of the system, as `NAME|DETAIL|COVERED`.
    fn found(files: &[(&str, &str)]) -> (Vec<String>, usize) {
        let world = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = world.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let sources = [("pi.lan", 22, "ssh.pi"), ("192.0.2.9", 2222, "ssh.nas"), ("Web.Example.", 22, "ssh.web")];
        let sources = sources.map(|(host, port, id)| (Place::new(host, port), id.to_owned()));
        let found = look(&sources, Some(world.path()), &world.path().join("etc"));
        let show = |machine: Machine| {
            let detail = machine.detail.replace(&world.path().display().to_string(), "");
            format!("{}|{detail}|{}", machine.name, machine.covered_by.as_deref().unwrap_or("-"))
        };
        (found.machines.into_iter().map(show).collect(), found.hashed)
    }

    #[test]
    fn machine_is_covered_by_the_source_of_its_name_or_address_and_port() {
        let (machines, hashed) = found(&[
            (
                ".ssh/config",
                "Host pi\nHostName pi.lan\nUser me\nHost nas\nHostName 192.0.2.9\nPort 2222\nHost other\nHostName 192.0.2.9\n",
            ),
            ("etc/ssh_config", "Host WEB.example\n"),
            (
                ".ssh/known_hosts",
                "pi2,192.0.2.2 ssh-rsa AAAA\n[192.0.2.9]:22,web.example. ssh-rsa AAAA\n|1|a|b ssh-rsa AAAA\n",
            ),
        ]);
        assert_eq!(
            machines,
            [
                "pi|me@pi.lan, /.ssh/config line 1|ssh.pi",
                "nas|192.0.2.9:2222, /.ssh/config line 4|ssh.nas",
                "other|192.0.2.9, /.ssh/config line 7|-",
                "WEB.example|WEB.example, /etc/ssh_config line 1|ssh.web",
                "pi2|also 192.0.2.2, /.ssh/known_hosts line 1|-",
            ]
        );
        assert_eq!(hashed, 1);
    }

    #[test]
    fn machine_is_listed_once_and_two_with_one_address_twice() {
        let (machines, _) = found(&[
            (".ssh/config", "Host a b\nHostName c\n"),
            (
                ".ssh/known_hosts",
                "c ssh-rsa AAAA\nb ssh-rsa AAAA\nd,192.0.2.1 ssh-rsa AAAA\nd ssh-ed25519 AAAA\ne,192.0.2.1 ssh-rsa AAAA\n",
            ),
            ("etc/ssh_known_hosts", "192.0.2.1 ssh-rsa AAAA\n[::1]:23 ssh-rsa AAAA\n"),
        ]);
        assert_eq!(
            machines,
            [
                "a|c, /.ssh/config line 1|-",
                "d|also 192.0.2.1, /.ssh/known_hosts line 3|-",
                "e|also 192.0.2.1, /.ssh/known_hosts line 5|-",
                "[::1]:23|/etc/ssh_known_hosts line 2|-"
            ]
        );
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(look(&[], None, nowhere), Machines { machines: Vec::new(), hashed: 0 });
    }
}
