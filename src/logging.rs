//! The log: what is written to standard error while holdall works, how much of it, and in which form.
//!
//! Two things must hold. A line of the log never tears a progress bar: every line goes through the one sink that
//! [`set_sink`] replaces. And errors that rustic_core only logs are counted even when they are not shown
//! ([`rustic_errors`]), because it should return some of them.
//!
//! How a line looks is decided in [`lines`]; errors that end the run are printed by [`crate::ui`].

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::AsLog;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{Global, LogFormat, LogLevel};
use crate::output::legible;

pub mod lines;

use lines::{Lines, Style};

/// opendal logs addresses with the signatures in them, and a page of text for each try; a check logs what it finds. Both also come
/// back, as errors and findings, and are told then.
const SILENT: [&str; 3] = ["opendal=off", "rustic_backend::opendal=off", "rustic_core::commands::check=off"];

static SINK: OnceLock<fn(&str)> = OnceLock::new();
static RUSTIC: RusticCount = RusticCount::new();

/// Starts the log as the flags and `$RUST_LOG` ask. Called once, before anything can log.
///
/// `$RUST_LOG`, in the syntax of env_logger, wins over the flags; one that cannot be read is named and passed over.
pub fn start(global: &Global) {
    let style = match global.log_format {
        LogFormat::Json => Style::Json,
        LogFormat::Text if stderr_is_the_journal() => Style::Journal,
        LogFormat::Text => Style::Plain,
    };
    let wanted = directives(global);
    let (filter, problem) = match std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty()) {
        None => (EnvFilter::new(wanted), None),
        Some(text) => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(wanted), Some(error)),
        },
    };
    let subscriber = tracing_subscriber::registry()
        .with(CountRustic(&RUSTIC).filtered())
        .with(Lines::new(style, write).with_filter(filter));
    // Either fails only if a log was started before, and then that one is in force.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        // Records below the level that anybody wants are not even made: rustic traces every blob.
        drop(tracing_log::LogTracer::builder().with_max_level(LevelFilter::current().as_log()).init());
    }
    if let Some(error) = problem {
        tracing::warn!("ignoring RUST_LOG: {error}");
    }
}

/// From now on lines of the log, without their line ends, go to `sink` in place of standard error.
///
/// For whoever draws on the terminal, to print them above what it draws. The first call counts.
pub fn set_sink(sink: fn(&str)) {
    SINK.get_or_init(|| sink);
}

/// How many errors rustic has logged since the program began, shown or not.
pub fn rustic_errors() -> u64 {
    RUSTIC.errors.load(Ordering::Relaxed)
}

/// What rustic said in the last error that it logged; empty if it has logged none.
pub fn last_rustic_error() -> String {
    RUSTIC.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The errors that rustic has logged.
struct RusticCount {
    errors: AtomicU64,
    last_error: Mutex<String>,
}

impl RusticCount {
    const fn new() -> Self {
        Self { errors: AtomicU64::new(0), last_error: Mutex::new(String::new()) }
    }
}

/// The layer that counts errors that rustic logs.
struct CountRustic(&'static RusticCount);

impl CountRustic {
    /// With its filter, which lets through what it counts and nothing else.
    fn filtered<S: Subscriber + for<'a> LookupSpan<'a>>(self) -> impl Layer<S> {
        let counted =
            |metadata: &Metadata<'_>| *metadata.level() == Level::ERROR && metadata.target().starts_with("rustic");
        self.with_filter(FilterFn::new(counted).with_max_level_hint(Level::ERROR))
    }
}

impl<S: Subscriber> Layer<S> for CountRustic {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // Before it is counted: whoever sees the count asks for the text.
        let mut last = self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        last.clear();
        event.record(&mut Message(&mut last));
        drop(last);
        self.0.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes the message of an event, and nothing else of it.
struct Message<'m>(&'m mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

/// What the flags ask for, as directives of [`EnvFilter`].
///
/// Libraries are heard one step later than holdall. Even at the highest level those that speak with servers stay at
/// `info`: below it they log requests with their secrets. What a check finds, rustic logs and returns; we report it.
fn directives(global: &Global) -> String {
    let level = global.log_level.unwrap_or(match (global.quiet, global.verbose) {
        (true, _) => LogLevel::Error,
        (false, 0) => LogLevel::Warn,
        (false, 1) => LogLevel::Info,
        (false, _) => LogLevel::Debug,
    });
    let heard = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "error,holdall=warn",
        LogLevel::Info => "warn,holdall=info",
        LogLevel::Debug => "warn,holdall=debug,rustic_core=info,rustic_backend=info",
        LogLevel::Trace => "info,holdall=trace,rustic_core=trace,rustic_backend=debug",
    };
    format!("{heard},{}", SILENT.join(","))
}

fn write(line: &str) {
    match SINK.get() {
        Some(sink) => sink(line),
        // In one piece, so that lines of two threads do not mix. If standard error is gone, there is nobody to tell.
        None => {
            let mut stderr = io::stderr().lock();
            drop(stderr.write_all(format!("{}\n", legible(line, &stderr)).as_bytes()));
        }
    }
}

/// Whether standard error is the connection to the journal that the service manager announced.
///
/// The variable alone does not say it: a child may inherit it and have its standard error redirected (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|announced| is_stream(&announced, &io::stderr()))
}

/// Whether `announced`, `DEVICE:INODE` in decimal, is this open file.
fn is_stream(announced: &str, file: &impl AsFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| announced == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use clap::Parser;
    use tracing_log::log;

    use super::*;
    use crate::cli::Cli;

    fn directives_of(flags: &[&str]) -> String {
        let line = ["holdall", "man", "x"].iter().chain(flags);
        let all = directives(&Cli::try_parse_from(line).unwrap().global);
        all.strip_suffix(&format!(",{}", SILENT.join(","))).unwrap().to_owned()
    }

    #[test]
    fn flags_choose_how_much_is_logged() {
        assert_eq!(directives_of(&["-q"]), "error");
        assert_eq!(directives_of(&[]), "error,holdall=warn");
        assert_eq!(directives_of(&["-v"]), "warn,holdall=info");
        assert_eq!(directives_of(&["-vv"]), "warn,holdall=debug,rustic_core=info,rustic_backend=info");
        assert_eq!(directives_of(&["-vvv"]), directives_of(&["-vv"]));
    }

    #[test]
    fn log_level_overrides_quiet_and_verbose() {
        assert_eq!(directives_of(&["-q", "--log-level", "debug"]), directives_of(&["-vv"]));
        assert_eq!(directives_of(&["-vv", "--log-level", "error"]), directives_of(&["-q"]));
    }

    #[test]
    fn journal_is_recognised_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let stat = file.metadata().unwrap();
        assert!(is_stream(&format!("{}:{}", stat.dev(), stat.ino()), &file));
        assert!(!is_stream(&format!("{}:{}", stat.dev(), stat.ino() + 1), &file));
        assert!(!is_stream("", &file));
    }

    #[test]
    fn errors_that_rustic_logs_are_counted_whatever_is_shown() {
        static COUNT: RusticCount = RusticCount::new();
        // Another test of this process may have been first, which is as good.
        drop(tracing_log::LogTracer::init());
        let nothing_is_shown = Lines::new(Style::Plain, |line| panic!("{line}")).with_filter(LevelFilter::OFF);
        let subscriber = tracing_subscriber::registry().with(CountRustic(&COUNT).filtered()).with(nothing_is_shown);
        tracing::subscriber::with_default(subscriber, || {
            log::error!(target: "rustic_core::archiver", "lost");
            log::warn!(target: "rustic_core::archiver", "ignored");
            log::error!(target: "hyper", "another");
        });
        assert_eq!(COUNT.errors.load(Ordering::Relaxed), 1);
        assert_eq!(*COUNT.last_error.lock().unwrap(), "lost");
    }
}
