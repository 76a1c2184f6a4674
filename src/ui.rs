//! The terminal: progress bars, messages and errors for people. The only user of indicatif.
//!
//! Bars are drawn on a terminal only. Elsewhere long work says one line a minute, and `backup --json` one JSON line a second on standard
//! output. Everything else goes to standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Error;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::cleanup::Guard;
use crate::cli::{Command, Global};
use crate::error::{self, ExitCode};
use crate::logging;
use crate::monitor::{Monitor, Silent, Task, Unit};
use crate::output::{self, Output, ReaderGone};
use crate::quantity::{show_bytes, show_duration};
use crate::report::json;

/// How often long work says a line where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(60);
/// A bar with all that is told beside it needs about so many columns.
const WIDE: usize = 90;
/// How often it prints a JSON line.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// The bars of this terminal; log lines are printed above them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// The monitor that suits the terminal and the flags.
pub fn monitor(global: &Global, command: &Command) -> Arc<dyn Monitor> {
    let json = global.json && matches!(command, Command::Backup(_));
    let draws = !global.no_progress && !json && !global.quiet && is_capable_terminal();
    if draws {
        let bars = MultiProgress::new();
        let _ = BARS.set(bars.clone());
        logging::set_sink(print_above_bars);
        return Arc::new(Terminal { bars });
    }
    if global.quiet && !json {
        return Arc::new(Silent);
    }
    let quiet = global.quiet || global.no_progress;
    Arc::new(Lines { json, quiet, silent: global.quiet })
}

fn is_capable_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How many columns the terminal has that people read messages on; `None` where none is.
pub fn width() -> Option<usize> {
    output::columns(&io::stderr())
}

/// Prints an error with its causes and hints, and returns the code to end with.
pub fn print_error(error: &Error) -> ExitCode {
    if ReaderGone::is_behind(error) {
        // `holdall list | head`: the reader has what it wanted.
        return ExitCode::Done;
    }
    let chain = error::chain(error);
    let (message, detail) = chain.split_once('\n').unwrap_or((&chain, ""));
    let hints: Vec<String> = error::hints(error).iter().map(|hint| hint.replace('\n', "\n  ")).collect();
    tracing::error!(detail, hint = hints.join("\n"), "{message}");
    error::exit_code(error)
}

/// Asks a question on standard error and reads the answer from standard input; `None` when there is no terminal to ask on.
pub fn ask(question: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    // What is typed would stand between the bars.
    without_bars(|| {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question} ")?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(Some(answer.trim().to_owned()))
    })
}

/// Asks for something that is not shown while it is typed; `None` when there is no terminal to ask on, or nothing was typed.
pub fn ask_secret(question: &str) -> io::Result<Option<String>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    if !stdin.is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    // The terminal is as it was also when a signal ends the program.
    let terminal = stdin.as_fd().try_clone_to_owned()?;
    let guard = Guard::new(move |_| {
        let _ = tcsetattr(&terminal, OptionalActions::Now, &shown);
    });
    tcsetattr(&stdin, OptionalActions::Now, &hidden)?;
    let answer = ask(question);
    drop(guard);
    Ok(answer?.filter(|answer| !answer.is_empty()))
}

fn print_above_bars(line: &str) {
    without_bars(|| print(line));
}

/// Does something while no bar is drawn.
fn without_bars<T>(work: impl FnOnce() -> T) -> T {
    match BARS.get() {
        Some(bars) => bars.suspend(work),
        None => work(),
    }
}

fn print(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{}", output::legible(line, &stderr));
}

/// Draws bars.
#[derive(Debug)]
struct Terminal {
    bars: MultiProgress,
}

impl Monitor for Terminal {
    fn start(&self, subject: &str, action: &str, unit: Unit) -> Arc<dyn Task> {
        let files = Arc::new(AtomicU64::new(0));
        let bar = self.bars.add(ProgressBar::new_spinner());
        let is_narrow = width().is_some_and(|width| width < WIDE);
        bar.set_style(style(unit, false, is_narrow, &files));
        bar.set_prefix(subject.to_owned());
        bar.set_message(if is_narrow { format!("{subject} {action}") } else { action.to_owned() });
        bar.enable_steady_tick(Duration::from_millis(120));
        Arc::new(BarTask { bar, unit, is_narrow, files, has_total: AtomicBool::new(false) })
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn say(&self, line: &str) {
        self.bars.suspend(|| print(line));
    }
}

fn style(unit: Unit, has_total: bool, is_narrow: bool, files: &Arc<AtomicU64>) -> ProgressStyle {
    // Where there is no room for more: what it is, and how far. The name comes last, since it is what may be cut.
    let template = match (unit, has_total, is_narrow) {
        (Unit::None, _, true) => "{spinner} {elapsed} {wide_msg}",
        (_, true, true) => "{percent:>3}% {eta} left {wide_msg}",
        (Unit::Bytes, false, true) => "{spinner} {bytes} {elapsed} {wide_msg}",
        (Unit::Count, false, true) => "{spinner} {pos} {elapsed} {wide_msg}",
        (Unit::None, ..) => "{spinner} {prefix} {msg} {elapsed}",
        (Unit::Bytes, true, _) => {
            "{prefix} {msg} {bar:24} {percent:>3}%  {bytes} of {total_bytes}{files}  {bytes_per_sec}  {eta} left"
        }
        (Unit::Bytes, false, _) => "{spinner} {prefix} {msg}  {bytes}{files}  {bytes_per_sec}  {elapsed}",
        (Unit::Count, true, _) => "{prefix} {msg} {bar:24} {percent:>3}%  {pos} of {len}  {eta} left",
        (Unit::Count, false, _) => "{spinner} {prefix} {msg}  {pos}  {elapsed}",
    };
    let files = files.clone();
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
        .tick_chars("|/-\\ ")
        .with_key("files", move |_: &ProgressState, w: &mut dyn fmt::Write| {
            let files = files.load(Ordering::Relaxed);
            if files > 0 {
                let _ = write!(w, "  {files} files");
            }
        })
}

#[derive(Debug)]
struct BarTask {
    bar: ProgressBar,
    unit: Unit,
    is_narrow: bool,
    files: Arc<AtomicU64>,
    has_total: AtomicBool,
}

impl Task for BarTask {
    fn expect(&self, total: u64) {
        if total > 0 && !self.has_total.swap(true, Ordering::Relaxed) {
            self.bar.set_style(style(self.unit, true, self.is_narrow, &self.files));
        }
        self.bar.set_length(total);
    }

    fn advance(&self, amount: u64) {
        self.bar.inc(amount);
        // An estimate that proves too low is raised, so that a bar never stands at 100 % with work going on.
        if self.bar.length().is_some_and(|length| self.bar.position() > length) {
            self.bar.set_length(self.bar.position());
        }
    }

    fn advance_files(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Says lines, at long intervals.
#[derive(Debug)]
struct Lines {
    json: bool,
    quiet: bool,
    silent: bool,
}

impl Monitor for Lines {
    fn start(&self, subject: &str, action: &str, unit: Unit) -> Arc<dyn Task> {
        if self.quiet && !self.json {
            return Arc::new(Silent);
        }
        let now = Instant::now();
        Arc::new(LineTask {
            json: self.json,
            item: subject.to_owned(),
            action: action.to_owned(),
            unit,
            begun: now,
            told: Mutex::new(now),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            files: AtomicU64::new(0),
        })
    }

    fn is_watched(&self) -> bool {
        false
    }

    fn say(&self, line: &str) {
        if !self.silent {
            print(line);
        }
    }
}

#[derive(Debug)]
struct LineTask {
    json: bool,
    item: String,
    action: String,
    unit: Unit,
    begun: Instant,
    told: Mutex<Instant>,
    done: AtomicU64,
    total: AtomicU64,
    files: AtomicU64,
}

impl LineTask {
    fn tell(&self) {
        let every = if self.json { JSON_EVERY } else { LINE_EVERY };
        // Busy threads do not wait for the one that is telling.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() < every {
            return;
        }
        *told = Instant::now();
        drop(told);
        let (done, total, files) =
            (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed), self.files.load(Ordering::Relaxed));
        if self.json {
            let total = Some(total).filter(|&total| total > 0);
            let line = json::progress_json(&self.item, done, total, files, self.begun.elapsed());
            let _ = Output { json: true }.json_line(&line);
        } else {
            print(&self.line(done, total, files));
        }
    }

    fn line(&self, done: u64, total: u64, files: u64) -> String {
        let show = |amount| if self.unit == Unit::Bytes { show_bytes(amount) } else { amount.to_string() };
        let mut line = format!("{} {}: {}", self.item, self.action, show(done));
        if total > 0 {
            line.push_str(&format!(" of {}", show(total)));
        }
        if files > 0 {
            line.push_str(&format!(", {files} files"));
        }
        format!("{line}, {}", show_duration(self.begun.elapsed()))
    }
}

impl Task for LineTask {
    fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    fn advance(&self, amount: u64) {
        self.done.fetch_add(amount, Ordering::Relaxed);
        self.tell();
    }

    fn advance_files(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.tell();
    }

    fn finish(&self) {}
}
