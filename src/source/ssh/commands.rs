//! The programs that are run on a machine to list and to read, word by word: what is run is what `sudoers` has to allow.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::excludes::prune;
use super::probe::Tools;
use super::shell::command;
use super::sudoers::can_say;
use crate::config::LeaveOut;

/// A program with its arguments.
pub(super) type Argv = Vec<Vec<u8>>;

/// What find prints of each entry: inode, size, times of content and of status, type, mode, owner, group, links, device; then where it leads to,
/// and its path, each up to a NUL. What is alike from entry to entry stands together, so that it shrinks well.
pub(super) const FORMAT: &str = r"%i/%s/%T@/%C@/%y/%m/%U/%G/%n/%D\0%l\0%p\0";

/// Lists everything below `roots`; without what is left out, as far as find can tell, and sudoers can say when it is run with `sudo`.
pub(super) fn list(tools: &Tools, roots: &[PathBuf], leave_out: &LeaveOut, sudo: bool) -> Argv {
    let mut argv = vec![tools.find.clone().unwrap_or_default().into_bytes()];
    argv.extend(roots.iter().map(|root| root.as_os_str().as_bytes().to_vec()));
    if leave_out.one_file_system {
        argv.push(b"-xdev".to_vec());
    }
    // To tell find less is always right: what it lists is looked at once more.
    let mut lines: Vec<String> = Vec::new();
    for line in &leave_out.exclude {
        let can_be_said = !sudo || prune(std::slice::from_ref(line), roots).iter().all(|word| can_say(word));
        if can_be_said {
            lines.push(line.clone());
        } else if line.starts_with('!') {
            // What it brings back may be left out by any line before it.
            lines.clear();
        }
    }
    argv.extend(prune(&lines, roots));
    argv.extend([b"-printf".to_vec(), FORMAT.as_bytes().to_vec()]);
    argv
}

/// Leaves out what only a record beside the header could hold of times.
const TIMELESS: &str = "--pax-option=delete=atime,delete=ctime,delete=mtime";

/// Reads the files whose names come on standard input, each up to a NUL, and writes them as an archive.
pub(super) fn read(tools: &Tools) -> Argv {
    let mut argv = vec![tools.tar.clone().unwrap_or_default()];
    argv.extend(
        // What is said of names counts for those that come behind it. The listing has the times: without them most files need no more than the
        // plain header, a quarter of what they would.
        [
            "--create",
            "--file=-",
            "--format=pax",
            TIMELESS,
            "--null",
            "--no-unquote",
            "--no-recursion",
            "--files-from=-",
        ]
        .map(str::to_owned),
    );
    if tools.tar_has_xattrs {
        argv.extend(["--xattrs", "--acls"].map(str::to_owned));
    }
    argv.extend(
        ["--sparse", "--hard-dereference", "--numeric-owner", "--absolute-names", "--quoting-style=escape"]
            .map(str::to_owned),
    );
    argv.into_iter().map(String::into_bytes).collect()
}

/// Unpacks the archive on standard input below the root.
///
/// - The target of a restore is a part of the names, so that the arguments are always the same; tar makes the directories on the way.
/// - `--absolute-names`: else every link that leads upwards is an empty file until the end, and stays one if tar is ended before. Names that
///   lead elsewhere are not in the archive.
/// - `--acls` takes ACLs away where the point has none.
/// - Not `--keep-directory-symlink`: a link that stands where the point has a directory is replaced and not followed.
pub(super) fn write(tools: &Tools) -> Argv {
    let mut argv = vec![tools.tar.clone().unwrap_or_default()];
    argv.extend(
        ["--extract", "--file=-", "--directory=/", "--absolute-names", "--numeric-owner", "--same-owner"]
            .map(str::to_owned),
    );
    argv.push("--same-permissions".to_owned());
    if tools.tar_has_xattrs {
        argv.extend(["--acls", "--xattrs", "--xattrs-include=*"].map(str::to_owned));
    }
    argv.extend(["--quoting-style=escape", "--warning=no-timestamp"].map(str::to_owned));
    argv.into_iter().map(String::into_bytes).collect()
}

/// The same with `sudo -n` before it, when that is wanted.
pub(super) fn privileged(tools: &Tools, sudo: bool, argv: Argv) -> Argv {
    if !sudo {
        return argv;
    }
    let program = tools.sudo.clone().unwrap_or_else(|| "sudo".to_owned());
    let before = [program.into_bytes(), b"-n".to_vec(), b"--".to_vec()];
    before.into_iter().chain(argv).collect()
}

/// A script that runs a program as it is.
pub(super) fn script(argv: &Argv) -> Vec<u8> {
    [&command(argv), b"\n".as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ssh::sudoers;

    #[test]
    fn lines_on_the_page_are_those_that_are_printed() {
        let page = include_str!("../../../doc/sources/ssh.md");
        let programs = ["find", "tar"].map(|name| Some(format!("/usr/bin/{name}")));
        let [find, tar] = programs;
        let tools = Tools { find, tar, tar_has_xattrs: true, ..Tools::default() };
        let roots = ["/etc", "/home"].map(PathBuf::from);
        let leave_out = LeaveOut { exclude: vec!["*.tmp".to_owned()], ..LeaveOut::default() };
        let commands = [list(&tools, &roots, &leave_out, true), read(&tools), write(&tools)];
        for line in sudoers::lines("holdall", &commands).unwrap().lines() {
            assert!(page.contains(&format!("\n    {line}\n")), "not in doc/sources/ssh.md: {line}");
        }
    }
}
