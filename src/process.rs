//! Runs other programs: an argument list and never a shell, with a time limit, and their complaints in the error.
//!
//! Standard output is handed to the caller and appears in no error: it may be a secret. Nothing secret may be in the arguments,
//! which every user of the machine can read.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::output::printable;
use crate::quantity::show_duration;

/// How often a program that closed its outputs is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// How long the outputs of a program that has ended may stay open: something it started in the background can hold them.
const GRACE: Duration = Duration::from_secs(1);

/// What is shown of a program's standard error, from its end, in bytes.
const SHOWN: usize = 1000;

/// Runs a program to its end and gives what it wrote to standard output. Its standard input is empty.
///
/// # Errors
///
/// When it cannot be started, does not end in time (it is killed), or ends with anything but 0; with its standard error.
pub fn output<S: AsRef<OsStr>>(argv: &[S], limit: Duration) -> Result<Vec<u8>> {
    let (program, arguments) = argv.split_first().ok_or_else(|| anyhow!("run a program: none is named"))?;
    let program = program.as_ref();
    let deadline = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program:?}"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let Some(status) = wait(&mut child, deadline).with_context(|| format!("wait for {program:?}"))? else {
        bail!("{program:?} did not end within {}", show_duration(limit));
    };
    if !status.success() {
        let complaint = received(&stderr, Instant::now() + GRACE).and_then(Result::ok).unwrap_or_default();
        bail!("{program:?} ended with {}{}", ending(status), shown(&complaint));
    }
    received(&stdout, deadline.max(Instant::now() + GRACE))
        .ok_or_else(|| anyhow!("{program:?} left something running that holds its standard output open"))?
        .with_context(|| format!("read standard output of {program:?}"))
}

/// A word as it can be typed into a shell, for commands that are shown.
pub fn shell_word(word: impl AsRef<OsStr>) -> String {
    let text = printable(word.as_ref());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Where the program is that a name or a path means, if it can be run.
pub fn found_in_path(program: &Path) -> Option<PathBuf> {
    let can_be_run = |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Some(program.to_path_buf()).filter(can_be_run);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(can_be_run)
}

type Collected = Receiver<std::io::Result<Vec<u8>>>;

/// Reads a pipe to its end on a thread, so that a program that fills one pipe is not held up by the other.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Collected {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes));
        // Nobody listens any more when the program ran out of time.
        let _ = sender.send(result.map(|_| bytes));
    });
    receiver
}

fn received(collected: &Collected, deadline: Instant) -> Option<std::io::Result<Vec<u8>>> {
    collected.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// The status the program ends with before the deadline; `None` when it had to be killed.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

fn ending(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| code.to_string())
}

/// The end of what a program complained about, in one line that cannot control a terminal, as the end of a message.
fn shown(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(SHOWN)..]).into_owned();
    let lines: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| printable(OsStr::new(line))).collect();
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn arguments_reach_the_program_as_they_are() {
        assert_eq!(output(&["printf", "%s", "$HOME; *"], LIMIT).unwrap(), b"$HOME; *");
    }

    #[test]
    fn failure_names_program_code_and_complaint_but_not_its_output() {
        let error = output(&["sh", "-c", "echo secret; echo 'no such entry' >&2; exit 7"], LIMIT).unwrap_err();
        assert_eq!(chain(&error), "\"sh\" ended with 7: no such entry");
    }

    #[test]
    fn program_that_does_not_end_is_killed() {
        let error = output(&["sleep", "1000"], Duration::from_millis(50)).unwrap_err();
        assert_eq!(chain(&error), "\"sleep\" did not end within 0.1s");
    }

    #[test]
    fn program_that_does_not_exist_is_named() {
        let error = output(&["/nonexistent/program"], LIMIT).unwrap_err();
        assert!(chain(&error).starts_with("start \"/nonexistent/program\": No such file"), "{error:#}");
    }

    #[test]
    fn failure_is_reported_though_something_in_the_background_holds_the_outputs() {
        let error = output(&["sh", "-c", "sleep 20 & exit 3"], LIMIT).unwrap_err();
        assert_eq!(chain(&error), "\"sh\" ended with 3");
    }

    #[test]
    fn words_are_quoted_only_when_a_shell_would_change_them() {
        assert_eq!(shell_word("/etc/x-1.toml"), "/etc/x-1.toml");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn program_is_found_by_name_and_by_path() {
        assert!(found_in_path(Path::new("sh")).unwrap().is_absolute());
        assert_eq!(found_in_path(Path::new("/bin/sh")), Some("/bin/sh".into()));
        for none in ["", "no-such-program-at-all", "/nonexistent/sh", "/etc", "/etc/passwd"] {
            assert_eq!(found_in_path(Path::new(none)), None, "{none}");
        }
    }

    #[test]
    fn much_output_on_both_pipes_does_not_block() {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero";
        assert_eq!(output(&["sh", "-c", script], LIMIT).unwrap().len(), 300_000);
    }
}
