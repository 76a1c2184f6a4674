//! What a machine is and what it has: asked once, with one script.

use anyhow::{Context, Result};

use super::shell::Shell;

/// What a machine has of the programs that holdall runs there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    /// `Debian GNU/Linux 12 (bookworm), Linux 6.1.0 x86_64`, for people.
    pub system: String,
    /// Who is logged in, as a number.
    pub uid: Option<u32>,
    /// The same, by name.
    pub user: String,
    /// Where GNU find is.
    pub find: Option<String>,
    /// Where GNU tar is.
    pub tar: Option<String>,
    /// Whether that tar knows extended attributes and ACLs.
    pub tar_has_xattrs: bool,
    /// Where xz is.
    pub xz: Option<String>,
    /// Where gzip is.
    pub gzip: Option<String>,
    /// Where sudo is.
    pub sudo: Option<String>,
    /// What there is instead: `BusyBox v1.35.0` or the like.
    pub other: String,
}

/// What the script prints at most, in bytes.
const LIMIT: usize = 64 << 10;

const SCRIPT: &str = r#"
say() { printf '%s=%s\n' "$1" "$2"; }
say uid "$(id -u 2>/dev/null)"
say user "$(id -un 2>/dev/null)"
say kernel "$(uname -s -r -m 2>/dev/null)"
while IFS== read -r key value; do
    case $key in PRETTY_NAME) say system "$value";; esac
done 2>/dev/null </etc/os-release
for program in find tar xz gzip sudo; do say "$program" "$(command -v "$program" 2>/dev/null)"; done
say find-version "$(find --version 2>/dev/null </dev/null)"
say tar-version "$(tar --version 2>/dev/null </dev/null)"
case $(tar --help 2>/dev/null </dev/null) in *--xattrs*) say tar-xattrs yes;; esac
case $(busybox 2>/dev/null </dev/null) in BusyBox*) say other "$(busybox 2>/dev/null </dev/null | head -n 1)";; esac
true
"#;

/// Asks a machine what it has.
pub(super) fn probe(shell: &mut dyn Shell) -> Result<Tools> {
    let (_, text) = shell.capture(SCRIPT.as_bytes(), LIMIT).context("ask what the machine has")?;
    Ok(read(&String::from_utf8_lossy(&text)))
}

/// Understands what the script printed. Of a value with several lines the first one counts; the others have no key that is known.
fn read(text: &str) -> Tools {
    let value = |key: &str| {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let place = |key: &str| value(key).filter(|path| path.starts_with('/'));
    let is_gnu = |key: &str, name: &str| value(key).is_some_and(|version| version.contains(name));
    let names = [value("system"), value("kernel")];
    Tools {
        system: names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", "),
        uid: value("uid").and_then(|uid| uid.parse().ok()),
        user: value("user").unwrap_or_default(),
        find: place("find").filter(|_| is_gnu("find-version", "GNU findutils")),
        tar: place("tar").filter(|_| is_gnu("tar-version", "GNU tar")),
        tar_has_xattrs: value("tar-xattrs").is_some(),
        xz: place("xz"),
        gzip: place("gzip"),
        sudo: place("sudo"),
        // `BusyBox v1.35.0 (Debian …) multi-call binary.`
        other: value("other").map(|other| other.split(" (").next().unwrap_or_default().to_owned()).unwrap_or_default(),
    }
}

impl Tools {
    /// Whether files are listed and read with GNU's find and tar.
    pub fn is_gnu(&self) -> bool {
        self.find.is_some() && self.tar.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ssh::shell::tests::Local;

    #[test]
    fn this_machine_is_recognised() {
        let tools = probe(&mut Local).unwrap();
        assert!(tools.system.contains("Linux"), "{tools:?}");
        assert_eq!(tools.uid, Some(nix::unistd::getuid().as_raw()));
        assert!(tools.is_gnu() && tools.tar_has_xattrs && tools.gzip.is_some(), "{tools:?}");
    }

    #[test]
    fn what_is_not_gnu_is_not_taken_for_it() {
        let text =
            "find=/bin/find\nfind-version=\ntar=/usr/bin/tar\ntar-version=bsdtar 3.6.2\nuid=x\nsudo=sudo: alias\n";
        let tools = read(text);
        assert_eq!((tools.find, tools.tar, tools.uid, tools.sudo), (None, None, None, None));
    }
}
