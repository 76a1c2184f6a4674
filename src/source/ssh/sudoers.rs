//! Lines for sudoers(5) that let a user run exactly these commands as root, without a password.
//!
//! sudo compares all arguments as one text, joined with blanks. So it cannot tell one argument with a blank from two, and such a command gets no line. What
//! it cannot be kept from is taking several of the arguments as a single one: that way nothing can be added, and nothing said that is not in the line.
//!
//! The lines mean the same to every sudo since 1.8; later ones also know regular expressions, which no line of ours is.

use anyhow::{Context, Result, bail};

use super::shell::command;

/// What a command line has to be escaped for before it is compared with fnmatch(3).
const WILDCARDS: &[char] = &['*', '?', '[', ']'];

/// What ends a command in the file.
const SEPARATORS: &[char] = &[':', ',', '=', '#'];

/// The lines for the user, each with its line break: one for each command, which is a program with its whole path, and its arguments.
///
/// # Errors
///
/// When sudo has no words for one of them: an argument is empty, or has a blank or a control character in it.
pub(super) fn lines(user: &str, commands: &[Vec<Vec<u8>>]) -> Result<String> {
    let user = name(user)?;
    // A backup has no terminal.
    let mut lines = format!("Defaults:{user} !requiretty\n");
    for command in commands {
        let (program, arguments) = command.split_first().context("there is no program in a command for sudo")?;
        let line = line(program, arguments)
            .with_context(|| format!("allow `{}` with sudo", String::from_utf8_lossy(&command.join(&b' '))))?;
        lines.push_str(&format!("{user} ALL=(root) NOPASSWD: {line}\n"));
    }
    Ok(lines)
}

/// The same for programs that may be given any arguments.
///
/// # Errors
///
/// When one of them is not a plain path from the root.
pub(super) fn programs(user: &str, programs: &[String]) -> Result<String> {
    let user = name(user)?;
    let mut lines = format!("Defaults:{user} !requiretty\n");
    for program in programs {
        let program = plain(program.as_bytes()).with_context(|| format!("allow `{program}` with sudo"))?;
        lines.push_str(&format!("{user} ALL=(root) NOPASSWD: {program}\n"));
    }
    Ok(lines)
}

/// A script that tries whether sudo runs a command: it ends with another status than 0, or sudo complains, when it does not.
///
/// It is asked first, and then it is done: sudo tells of what is allowed with a password as if it needed none, if anything needs none. The command
/// gets no input, which makes nothing of each of ours, and is ended when it writes.
pub(super) fn trial(sudo: &str, argv: &[Vec<u8>]) -> Vec<u8> {
    let run = |options: &[&[u8]]| {
        let words = [&[sudo.as_bytes(), b"-n"], options, &[b"--"]].concat();
        command(&words.into_iter().map(<[u8]>::to_vec).chain(argv.iter().cloned()).collect::<Vec<_>>())
    };
    [
        &run(&[b"-l"])[..],
        b" </dev/null >/dev/null || exit 1\n",
        &run(&[]),
        b" </dev/null | dd bs=1 count=1 >/dev/null 2>&1\n",
    ]
    .concat()
}

/// Whether a line can be for a command with this argument.
pub(super) fn can_say(argument: &[u8]) -> bool {
    checked(argument).is_ok()
}

fn line(program: &[u8], arguments: &[Vec<u8>]) -> Result<String> {
    let mut line = plain(program)?.to_owned();
    match arguments {
        // Without this, any arguments would be allowed.
        [] => line.push_str(" \"\""),
        [only] if only == b"\"\"" => bail!("sudo takes a single argument \"\" for none"),
        [first, ..] if first.starts_with(b"^") => {
            bail!("sudo takes a first argument that begins with `^` for a regular expression")
        }
        _ => {}
    }
    for argument in arguments {
        line.push(' ');
        line.push_str(&escaped(checked(argument)?));
    }
    Ok(line)
}

/// A program whose path has nothing in it that the file would take for something else.
fn plain(program: &[u8]) -> Result<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    let program =
        std::str::from_utf8(program).ok().filter(|program| program.starts_with('/') && program.chars().all(plain));
    program.filter(|program| !program.ends_with('/')).context("the program is not a plain path from the root")
}

/// The argument, when sudo can compare it.
fn checked(argument: &[u8]) -> Result<&str> {
    let Ok(text) = std::str::from_utf8(argument) else { bail!("an argument is not UTF-8 text") };
    if text.is_empty() {
        bail!("sudo does not see an argument that is empty");
    }
    if text.chars().any(char::is_whitespace) {
        bail!("sudo cannot tell the argument `{text}`, which has a blank in it, from several");
    }
    if text.chars().any(char::is_control) {
        bail!("there is no way to write the control character in {text:?}");
    }
    Ok(text)
}

/// An argument as the file has it, so that it matches itself alone.
fn escaped(argument: &str) -> String {
    let mut text = String::new();
    for c in argument.chars() {
        if c == '\\' {
            // The file takes one away, and the comparison another one.
            text.push_str(r"\\\");
        } else if WILDCARDS.contains(&c) || SEPARATORS.contains(&c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// The user as the file has it: a name and not an alias, a group, a number or an address.
fn name(user: &str) -> Result<String> {
    // What begins with `#` is a number, however it is written.
    if user.is_empty() || user.starts_with('#') || user.chars().any(char::is_control) {
        bail!("the user {user:?} cannot be named to sudo");
    }
    let mut text = String::new();
    for (position, c) in user.chars().enumerate() {
        let plain =
            c.is_ascii_lowercase() || c == '_' || position > 0 && (c.is_ascii_alphanumeric() || ".-$".contains(c));
        // A backslash before a letter further on could begin the number of a character.
        if !plain && c.is_ascii() {
            text.push('\\');
        }
        text.push(c);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
