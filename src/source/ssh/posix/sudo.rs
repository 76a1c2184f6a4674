//! Whether sudo runs the programs that list and read.

use anyhow::{Result, ensure};

use crate::source::ssh::complaints;
use crate::source::ssh::shell::{Shell, quote};

/// What is run with sudo, as [`super::script`], [`super::links`] and [`super::contents`] say; what is not there is not run. Asked by its
/// name, as it is run: sudo may look elsewhere for it. And run in vain: sudo tells of what is allowed with a password as if it needed none, if anything needs
/// none. Prints a line for each: its path, behind the status of sudo.
const SCRIPT: &str = r#"for program in find stat ls readlink cat; do
    path=$(command -v "$program") || continue
    [ "$program" = ls ] && command -v stat >/dev/null && continue
    SUDO -n -l -- "$program" </dev/null >/dev/null
    printf '%s %s\n' $? "$path"
    SUDO -n -- "$program" /dev/null </dev/null >/dev/null
done
"#;

/// What the script prints at most, in bytes.
const LIMIT: usize = 16 << 10;

/// What sudo runs.
pub(in super::super) struct Allowed {
    /// The paths of all programs.
    pub(in super::super) programs: Vec<String>,
    /// The first one that it does not run whatever its arguments are, with what sudo says behind it.
    pub(in super::super) refused: Option<String>,
}

/// Asks what sudo runs.
pub(in super::super) fn ask(shell: &mut dyn Shell, sudo: &str) -> Result<Allowed> {
    let script = SCRIPT.replace("SUDO", &String::from_utf8_lossy(&quote(sudo.as_bytes())));
    let (ended, text) = shell.capture(script.as_bytes(), LIMIT)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    ensure!(lines.iter().all(|(_, path)| path.starts_with('/')), "ask what sudo allows: {}", ended.complaint());
    ensure!(!lines.is_empty(), "find what is to be run with sudo: there is none of it");
    let said = complaints::of_sudo(&ended);
    let refused = lines.iter().find(|(status, _)| *status != "0").or(lines.first().filter(|_| said.is_some()));
    let refused = refused.map(|(_, path)| match &said {
        Some(said) => format!("{path} with any arguments: {said}"),
        None => format!("{path} with any arguments"),
    });
    Ok(Allowed { programs: lines.iter().map(|(_, path)| (*path).to_owned()).collect(), refused })
}
