//! What is run on a machine with `sudo`: each a fixed list of arguments, since it stands in its `sudoers` as it is.

use super::shell::quote;

/// The programs of a machine, by their absolute paths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) tar: &'a str,
    /// `None`: without.
    pub(super) sudo: Option<&'a str>,
}

/// Writes an archive of what is named on standard input, each name ended by a zero byte and absolute.
///
/// Options about names go before those that name: `--no-recursion` behind `--files-from` has no effect. With `--null`, names are taken as they are.
pub(super) fn create_argv(tools: Tools<'_>) -> Vec<String> {
    argv(
        tools,
        &[
            "--create",
            "--file=-",
            "--format=pax",
            "--xattrs",
            "--acls",
            "--sparse",
            "--hard-dereference",
            "--numeric-owner",
            "--absolute-names",
            "--no-recursion",
            "--null",
            "--files-from=-",
        ],
    )
}

/// Unpacks the archive on standard input below the root.
///
/// - The target of a restore is a part of the names, so that the arguments are always the same; tar makes the directories on the way.
/// - `--absolute-names`: else every link that leads upwards is an empty file until the end, and stays one if tar is ended before. Names that
///   lead elsewhere are not in the archive.
/// - `--acls` takes ACLs away where the point has none.
/// - Not `--keep-directory-symlink`: a link that stands where the point has a directory is replaced and not followed.
pub(super) fn extract_argv(tools: Tools<'_>) -> Vec<String> {
    argv(
        tools,
        &[
            "--extract",
            "--file=-",
            "--directory=/",
            "--absolute-names",
            "--numeric-owner",
            "--same-owner",
            "--same-permissions",
            "--acls",
            "--xattrs",
            "--xattrs-include=*",
            "--quoting-style=escape",
            "--warning=no-timestamp",
        ],
    )
}

fn argv(tools: Tools<'_>, options: &[&str]) -> Vec<String> {
    let sudo = tools.sudo.into_iter().flat_map(|sudo| [sudo, "-n"]);
    sudo.chain([tools.tar]).chain(options.iter().copied()).map(str::to_owned).collect()
}

/// A script that becomes this command. What it complains of is in English.
pub(super) fn script(argv: &[String]) -> Vec<u8> {
    let words: Vec<Vec<u8>> = argv.iter().map(|word| quote(word.as_bytes())).collect();
    [b"LC_ALL=C; export LC_ALL; exec ", &*words.join(&b' ')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_stands_before_the_program() {
        let tools = Tools { tar: "/bin/tar", sudo: Some("/usr/bin/sudo") };
        assert_eq!(extract_argv(tools)[..4], ["/usr/bin/sudo", "-n", "/bin/tar", "--extract"]);
        assert_eq!(create_argv(Tools { sudo: None, ..tools })[..2], ["/bin/tar", "--create"]);
    }

    #[test]
    fn shell_takes_every_word_as_it_is() {
        let argv = ["printf", "[%s]", "*", "it's", "$HOME"].map(str::to_owned);
        let output =
            std::process::Command::new("sh").arg("-c").arg(String::from_utf8(script(&argv)).unwrap()).output().unwrap();
        assert_eq!(output.stdout, b"[*][it's][$HOME]");
    }
}
