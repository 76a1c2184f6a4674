//! Getting acquainted with a machine: whose key it shows, whether it lets us in, and what it has.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::commands;
use super::connection::Connection;
use super::host::{Host, Way};
pub use super::host_key::ShownKey;
pub use super::key::{make, public_line};
use super::link;
use super::shell::Shell;
use super::{How, Listed, Ssh};
use crate::config::{SshConfig, SshLogin};

/// The keys that a machine shows, one of each type. Nothing is compared, and nobody logs in.
///
/// # Errors
///
/// When it cannot be reached.
pub fn host_keys(login: &SshLogin) -> Result<Vec<ShownKey>> {
    link::host_keys(login)
}

/// Logs in, and out again.
///
/// # Errors
///
/// When the machine is not the one that was meant, or lets nobody in.
pub fn log_in(login: &SshLogin) -> Result<()> {
    Connection::open(login).map(drop)
}

/// Adds a key to those that a user is let in with, unless it is there. On OpenWrt root has them elsewhere.
const INSTALL: &str = r#"
umask 077
IFS= read -r key
directory=$HOME/.ssh
[ "$(id -u)" = 0 ] && [ -d /etc/dropbear ] && directory=/etc/dropbear
file=$directory/authorized_keys
mkdir -p "$directory" || exit 1
if [ -e "$file" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
        [ "$line" = "$key" ] && exit 0
        last=$line
    done <"$file"
fi
# The last line of a file may have no end.
[ -s "$file" ] && [ -n "$(tail -c 1 "$file" 2>/dev/null)" ] && echo >>"$file"
printf '%s\n' "$key" >>"$file"
"#;

/// Lets a key in: adds it to the user's `authorized_keys` on the machine. `login` is one that it lets in already.
///
/// # Errors
///
/// When it cannot be written there.
pub fn install_key(login: &SshLogin, line: &str) -> Result<()> {
    let doing = || format!("let the key in on {}", login.host);
    let (host, mut connection) = Host::reach(login, false)?;
    if host.way == Way::Sftp {
        return install_over_sftp(host.sftp()?, line).with_context(doing);
    }
    let input = format!("{line}\n");
    let ended = connection.run(INSTALL.as_bytes(), &mut input.as_bytes(), &mut |_| Ok(())).with_context(doing)?;
    if ended.status == 0 {
        return Ok(());
    }
    Err(anyhow!("{}", ended.complaint())).with_context(doing)
}

fn install_over_sftp(sftp: &ssh2::Sftp, line: &str) -> Result<()> {
    let (directory, file) = (Path::new(".ssh"), Path::new(".ssh/authorized_keys"));
    let mut text = String::new();
    if let Ok(mut there) = sftp.open(file) {
        there.read_to_string(&mut text).context("read its authorized_keys")?;
    } else if sftp.stat(directory).is_err() {
        sftp.mkdir(directory, 0o700).context("make .ssh")?;
    }
    if text.lines().any(|there| there == line) {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    let flags = ssh2::OpenFlags::WRITE | ssh2::OpenFlags::CREATE | ssh2::OpenFlags::TRUNCATE;
    let mut there = sftp.open_mode(file, flags, 0o600, ssh2::OpenType::File).context("open its authorized_keys")?;
    there.write_all(text.as_bytes()).context("write its authorized_keys")
}

/// What was found on a machine.
#[derive(Debug)]
pub struct Survey {
    /// Its system, for people.
    pub system: String,
    /// With what it is listed and read.
    pub way: &'static str,
    /// What is at each path: files and bytes, or why that cannot be told.
    pub paths: Vec<(PathBuf, Result<(u64, u64)>)>,
    /// How many entries could not be looked at.
    pub unread: usize,
}

/// Looks at a machine as a backup would: logs in, asks what it has, checks sudo, and lists. With `may_lack` paths that are not there are told and
/// left out, else they are what a backup would not begin without.
///
/// # Errors
///
/// When a backup would not begin; with the lines for sudoers when these are missing.
pub fn survey(config: &SshConfig, may_lack: bool) -> Result<Survey> {
    let mut source = Ssh::new(config)?;
    let (host, mut connection) = source.reach()?;
    let (mut paths, mut unread) = (Vec::new(), 0);
    if host.way == Way::Gnu {
        if may_lack {
            // Before sudo is asked: it allows a listing of just the paths that will be configured.
            for root in std::mem::take(&mut source.roots) {
                if is_there(&mut connection, &root)? {
                    source.roots.push(root);
                } else {
                    let missing = anyhow!("{} is not there", root.display());
                    paths.push((root, Err(missing)));
                }
            }
        }
        source.check_sudo(&host, &mut connection)?;
        let Listed { listing, problems, .. } = source.list(&host, &mut connection, &source.roots, How::Wanted)?;
        unread = problems.len();
        for root in &source.roots {
            let found = source.look_at_root(root, &listing, &problems).map(|()| listing.amount(root));
            paths.push((root.clone(), found));
        }
    } else {
        for root in &source.roots {
            let listed = source.list(&host, &mut connection, std::slice::from_ref(root), How::Wanted);
            let found = listed.and_then(|Listed { listing, problems, .. }| {
                source.look_at_root(root, &listing, &problems)?;
                unread += problems.len();
                Ok(listing.amount(root))
            });
            // A listing that failed has ended the connection.
            if found.is_err() {
                connection = host.connect()?;
            }
            paths.push((root.clone(), found));
        }
    }
    let way = match host.way {
        Way::Gnu => "GNU find and tar",
        Way::Posix => "find, stat and cat: extended attributes and ACLs are not read",
        Way::Sftp => "SFTP: extended attributes, ACLs and hard links are not seen",
    };
    let tools = host.tools;
    let system = if host.way == Way::Gnu || tools.other.is_empty() {
        tools.system
    } else {
        format!("{}, {}", tools.system, tools.other)
    };
    Ok(Survey { system, way, paths, unread })
}

/// Whether something is at a path, as far as who is logged in may look.
fn is_there(connection: &mut Connection, path: &Path) -> Result<bool> {
    let test = [b"test".to_vec(), b"-e".to_vec(), path.as_os_str().as_bytes().to_vec()];
    let (ended, _) = connection.capture(&commands::script(&test.to_vec()), 0)?;
    Ok(ended.status == 0)
}
