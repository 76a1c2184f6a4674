//! The machines that somebody of this machine has connected to: OpenSSH's `known_hosts`.
//!
//! For listing them; whether a machine is the one that was meant is decided elsewhere, from a file that is configured.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Names and addresses, each with its port.
    pub(super) names: Vec<(String, u16)>,
    /// 1-based.
    pub(super) line: usize,
}

/// What a file knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KnownHosts {
    pub(super) hosts: Vec<Known>,
    /// Lines whose names are hashed: nobody can tell what machines they are.
    pub(super) hashed: usize,
}

/// Reads a file; one that is missing knows nothing, one that cannot be read is warned about.
pub(super) fn read(file: &Path) -> KnownHosts {
    match fs::read(file) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!("read {}: {error}; its hosts are not listed", file.display());
            }
            KnownHosts::default()
        }
    }
}

fn parse(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    for (position, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        // A line with `@cert-authority` or `@revoked` names no machine; patterns do not either.
        let (Some(names), Some(_), Some(_)) =
            (words.next().filter(|word| !word.starts_with(['#', '@'])), words.next(), words.next())
        else {
            continue;
        };
        if names.starts_with('|') {
            known.hashed += 1;
            continue;
        }
        let names: Vec<_> =
            names.split(',').filter(|name| !name.contains(['*', '?', '!'])).filter_map(with_port).collect();
        if !names.is_empty() {
            known.hosts.push(Known { names, line: position + 1 });
        }
    }
    known
}

/// `NAME` or `[NAME]:PORT`.
fn with_port(text: &str) -> Option<(String, u16)> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").and_then(|(name, port)| Some((name, port.parse().ok()?)))?,
        None => (text, 22),
    };
    (!name.is_empty()).then(|| (name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_machines_with_their_ports() {
        let text = "# comment\n\npi.lan,192.0.2.7 ssh-ed25519 AAAA me@x\n[nas]:2222,[2001:db8::1]:2222 ssh-rsa AAAA\n2001:db8::2 ssh-rsa AAAA\n";
        let names = |names: &[(&str, u16)], line| Known {
            names: names.iter().map(|&(n, p)| (n.to_owned(), p)).collect(),
            line,
        };
        assert_eq!(
            parse(text).hosts,
            [
                names(&[("pi.lan", 22), ("192.0.2.7", 22)], 3),
                names(&[("nas", 2222), ("2001:db8::1", 2222)], 4),
                names(&[("2001:db8::2", 22)], 5)
            ]
        );
    }

    #[test]
    fn what_names_no_machine_is_not_one() {
        let text = "|1|c2FsdA==|aGFzaA== ssh-rsa AAAA\n|1|c2FsdA==|aGFzaB== ssh-rsa AAAA\n@revoked pi ssh-rsa AAAA\n@cert-authority *.lan ssh-rsa AAAA\n\
                    *.example,!x ssh-rsa AAAA\npi ssh-rsa\n[pi ssh-rsa AAAA\n[pi]:x ssh-rsa AAAA\n[]:22, ssh-rsa AAAA\n";
        assert_eq!(parse(text), KnownHosts { hosts: Vec::new(), hashed: 2 });
    }
}
