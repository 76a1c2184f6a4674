//! One hook, as a process: in a group of its own, so that it can be ended with everything it has started.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io::{PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cleanup::Guard;
use crate::output::printable;
use crate::secret::masked;

/// How many lines of a hook are kept.
const LINES: usize = 20;

/// How long one of them may be, in bytes.
const LINE: usize = 1000;

/// How often a hook is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// How long a hook that has ended may leave something behind that holds its output open.
const GRACE: Duration = Duration::from_secs(1);

/// How long a hook may take to end that is asked to, before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(10);

/// How a hook ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The last lines, made printable, without secrets that are known.
    pub(super) output: Vec<String>,
    pub(super) in_time: bool,
}

/// Runs a hook. One that is not done when the time is over is asked to end, and killed after that; when `may_be_ended`, also when a signal ends the program.
pub(super) fn run(
    argv: &[String],
    variables: &BTreeMap<&'static str, String>,
    limit: Duration,
    may_be_ended: bool,
) -> Result<Ended> {
    let (program, arguments) = argv.split_first().ok_or_else(|| anyhow!("run a hook: no program is named"))?;
    let (reader, writer) = std::io::pipe().context("make a pipe")?;
    let mut command = Command::new(program);
    let foreign = std::env::vars_os().map(|(name, _)| name).filter(|name| is_ours(name));
    for name in foreign {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .env_remove("CREDENTIALS_DIRECTORY")
        .envs(variables)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("make a pipe")?)
        .stderr(writer);
    let mut child = command.spawn().with_context(|| format!("start {program:?}"))?;
    // It holds our ends of the pipe that are for the child.
    drop(command);
    let tail = Arc::new(Mutex::new(Tail::default()));
    let read = collect(reader, tail.clone());
    let group = Group::new(&child);
    let guard = may_be_ended.then(|| group.end_on_signal());
    let waited = wait(&mut child, &group, limit).with_context(|| format!("wait for {program:?}"));
    guard.into_iter().for_each(Guard::disarm);
    let (status, in_time) = waited?;
    // The reader may have to wait for what was left in the background; what it has by now will do.
    let _ = read.recv_timeout(GRACE);
    let output = tail.lock().unwrap_or_else(PoisonError::into_inner).lines();
    Ok(Ended { status, output, in_time })
}

/// Variables that tell a hook something: only what is said here.
fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"HOLDALL_")
}

/// A process and all that it has started.
#[derive(Clone)]
struct Group {
    id: Option<Pid>,
    has_ended: Arc<AtomicBool>,
}

impl Group {
    fn new(child: &Child) -> Self {
        Self { id: Some(Pid::from_child(child)), has_ended: Arc::new(AtomicBool::new(false)) }
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id.filter(|_| !self.has_ended.load(Ordering::SeqCst)) {
            // It may have ended just now.
            let _ = kill_process_group(id, signal);
        }
    }

    /// Ends it when a signal ends the program, and waits until it has ended: what comes after must not find it at work.
    fn end_on_signal(&self) -> Guard {
        let group = self.clone();
        Guard::new(move |_| {
            group.signal(Signal::TERM);
            let deadline = Instant::now() + TERM_GRACE;
            while !group.has_ended.load(Ordering::SeqCst) && Instant::now() < deadline {
                thread::sleep(POLL);
            }
            group.signal(Signal::KILL);
        })
    }
}

/// The status of a hook, and whether it ended in time.
fn wait(child: &mut Child, group: &Group, limit: Duration) -> std::io::Result<(ExitStatus, bool)> {
    let deadline = Instant::now().checked_add(limit);
    let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let mut killed_at = None;
    loop {
        if let Some(status) = child.try_wait()? {
            group.has_ended.store(true, Ordering::SeqCst);
            return Ok((status, killed_at.is_none()));
        }
        match killed_at {
            None if is_over(deadline) => {
                group.signal(Signal::TERM);
                killed_at = Some(Instant::now() + TERM_GRACE);
            }
            Some(_) if is_over(killed_at) => group.signal(Signal::KILL),
            _ => {}
        }
        thread::sleep(POLL);
    }
}

/// Reads a pipe to its end on a thread, and says so.
fn collect(mut pipe: PipeReader, tail: Arc<Mutex<Tail>>) -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            tail.lock().unwrap_or_else(PoisonError::into_inner).take(&buffer[..count]);
        }
        // Nobody listens any more when it took too long.
        let _ = sender.send(());
    });
    receiver
}

/// The last lines of a stream, in bounded memory.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    current: Vec<u8>,
}

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        for (number, piece) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                self.end_line();
            }
            let room = LINE.saturating_sub(self.current.len());
            self.current.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.current);
        if !line.trim_ascii().is_empty() {
            self.lines.push_back(line);
            if self.lines.len() > LINES {
                self.lines.pop_front();
            }
        }
    }

    fn lines(&mut self) -> Vec<String> {
        self.end_line();
        let text = |line: &Vec<u8>| {
            let text = masked(String::from_utf8_lossy(line).trim_end());
            printable(OsStr::new(&text))
        };
        self.lines.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str, limit: Duration) -> Ended {
        let argv = ["sh", "-c", script].map(str::to_owned);
        run(&argv, &BTreeMap::from([("HOLDALL_EVENT", "before".to_owned())]), limit, true).unwrap()
    }

    #[test]
    fn both_outputs_are_kept_in_order_and_made_printable() {
        let ended = sh("echo one; echo two >&2; printf 'th\\033[2Jree'; exit 3", LONG);
        assert_eq!(ended.output, ["one", "two", "th\\u{1b}[2Jree"]);
        assert_eq!((ended.status.code(), ended.in_time), (Some(3), true));
    }

    #[test]
    fn of_megabytes_the_last_lines_are_kept_and_of_a_long_line_its_beginning() {
        let ended = sh("seq 1 300000; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end", LONG);
        assert_eq!(ended.output.len(), LINES);
        assert_eq!(ended.output[LINES - 1], "end");
        assert_eq!(ended.output[LINES - 2].len(), LINE);
        assert_eq!(ended.output[0], "299983");
    }

    #[test]
    fn hook_that_hangs_is_ended_with_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let ended = sh(&script, Duration::from_secs(8));
        assert!(!ended.in_time && ended.status.code().is_none(), "{ended:?}");
        let started: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let is_gone = || {
            let state = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        let begun = Instant::now();
        while !is_gone() {
            assert!(begun.elapsed() < LONG, "it still runs");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn hook_that_ends_is_not_waited_for_because_of_what_it_left_behind() {
        let begun = Instant::now();
        let ended = sh("sleep 100 & echo done", LONG);
        assert!(ended.in_time && ended.status.success() && begun.elapsed() < LONG);
        assert_eq!(ended.output, ["done"]);
    }

    #[test]
    fn environment_has_what_is_said_and_no_credentials() {
        assert_eq!(
            sh("env | grep '^HOLDALL_'; echo \"[$CREDENTIALS_DIRECTORY]\"", LONG).output,
            ["HOLDALL_EVENT=before", "[]"]
        );
    }

    #[test]
    fn program_that_is_not_there_is_named() {
        let error = run(&["/nonexistent/hook".to_owned()], &BTreeMap::new(), LONG, true).unwrap_err();
        assert!(format!("{error:#}").starts_with("start \"/nonexistent/hook\": No such file"), "{error:#}");
    }
}
