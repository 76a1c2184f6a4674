//! Turns events into lines: for people, for the journal, for programs.
//!
//! An event is one line, whatever it says: control characters are escaped, so that a hostile file name or a server's
//! answer can neither move the cursor nor pretend to be a line of its own. Two fields are exceptions: the lines of `detail` and
//! of `hint` are shown as lines of their own below the message; a line of a hint that begins with a blank goes on from the one before.

use std::ffi::OsStr;
use std::fmt::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::{Context, Layer};

use crate::output::printable;

/// For whom the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For people: `warning: …`, without time.
    Plain,
    /// For journald, which knows the time: `<4>…`, the priority as sd-daemon(3) has it.
    Journal,
    /// For programs: one JSON object a line.
    Json,
}

/// The layer that writes events as lines.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    style: Style,
    write: fn(&str),
}

impl Lines {
    /// Gives every event in `style`, without a line end, to `write`.
    pub fn new(style: Style, write: fn(&str)) -> Self {
        Self { style, write }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut record = Record::new(*metadata.level(), metadata.target());
        event.record(&mut record);
        (self.write)(&record.line(self.style, Utc::now()));
    }
}

/// What an event says.
struct Record<'a> {
    level: Level,
    target: &'a str,
    message: String,
    fields: Map<String, Value>,
}

impl<'a> Record<'a> {
    fn new(level: Level, target: &'a str) -> Self {
        Self { level, target, message: String::new(), fields: Map::new() }
    }

    fn line(&self, style: Style, time: DateTime<Utc>) -> String {
        match style {
            Style::Plain => self.text(plain_prefix(self.level), ""),
            Style::Journal => self.text(journal_prefix(self.level), journal_prefix(self.level)),
            Style::Json => self.json(time),
        }
    }

    /// The message behind `prefix`, and each line below it behind `below`.
    fn text(&self, prefix: &str, below: &str) -> String {
        let mut line = prefix.to_owned();
        // A library's message says little without its name; holdall's own say what they are about.
        if !self.target.starts_with("holdall") {
            line.push_str(self.target.split("::").next().unwrap_or_default());
            line.push_str(": ");
        }
        line.push_str(&escaped(&self.message));
        for (name, value) in self.fields.iter().filter(|(name, _)| !["detail", "hint"].contains(&name.as_str())) {
            let text = value.as_str().map_or_else(|| value.to_string(), escaped);
            line.push_str(&format!(" {name}={text}"));
        }
        for (name, label) in [("detail", ""), ("hint", "hint: ")] {
            for text in self.fields.get(name).and_then(Value::as_str).into_iter().flat_map(str::lines) {
                // What goes on from the line before can be copied from there.
                let label = if text.starts_with(' ') { "" } else { label };
                line.push_str(&format!("\n{below}{label}{}", escaped(text)));
            }
        }
        line
    }

    fn json(&self, time: DateTime<Utc>) -> String {
        let mut object = Map::new();
        object.insert("time".into(), time.to_rfc3339_opts(SecondsFormat::Millis, true).into());
        object.insert("level".into(), self.level.as_str().to_ascii_lowercase().into());
        object.insert("target".into(), self.target.into());
        object.insert("message".into(), self.message.as_str().into());
        for (name, value) in &self.fields {
            // The four above are what programs look for; a field of the same name must not take their place.
            object.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        Value::Object(object).to_string()
    }

    fn set(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            // Where a `log` record came from; its target is already in the metadata.
            name if name.starts_with("log.") => {}
            name => drop(self.fields.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Record<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only when the value's own `Debug` does; what it wrote so far is kept.
        let _ = write!(text, "{value:?}");
        self.set(field, text.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
}

fn escaped(text: &str) -> String {
    printable(OsStr::new(text))
}

fn plain_prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error: ",
        Level::WARN => "warning: ",
        Level::INFO => "",
        Level::DEBUG => "debug: ",
        Level::TRACE => "trace: ",
    }
}

fn journal_prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The lines that `act` logs in this style, on this thread.
    fn logged(style: Style, act: impl FnOnce()) -> Vec<String> {
        static TURN: Mutex<()> = Mutex::new(());
        static WRITTEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let turn = TURN.lock().unwrap();
        let write = |line: &str| WRITTEN.lock().unwrap().push(line.to_owned());
        let subscriber = tracing_subscriber::registry().with(Lines::new(style, write));
        tracing::subscriber::with_default(subscriber, act);
        let lines = std::mem::take(&mut *WRITTEN.lock().unwrap());
        drop(turn);
        lines
    }

    fn one_of_each_level() {
        tracing::error!(target: "holdall", "a");
        tracing::warn!(target: "holdall::store", "b");
        tracing::info!(target: "holdall", "c");
        tracing::debug!(target: "holdall", "d");
    }

    #[test]
    fn people_see_the_level_in_words() {
        assert_eq!(logged(Style::Plain, one_of_each_level), ["error: a", "warning: b", "c", "debug: d"]);
    }

    #[test]
    fn journal_gets_priorities() {
        assert_eq!(logged(Style::Journal, one_of_each_level), ["<3>a", "<4>b", "<6>c", "<7>d"]);
    }

    #[test]
    fn fields_follow_the_message_and_a_hint_has_its_own_line() {
        let act =
            || tracing::error!(target: "holdall", tries = 3, file = "a b", hint = "look\nthere\n  now", "gave up");
        assert_eq!(logged(Style::Plain, act), ["error: gave up tries=3 file=a b\nhint: look\nhint: there\n  now"]);
        let act = || tracing::error!(target: "holdall", hint = "look", "gave up");
        assert_eq!(logged(Style::Journal, act), ["<3>gave up\n<3>hint: look"]);
    }

    #[test]
    fn message_cannot_pretend_to_be_two_lines() {
        let act = || tracing::warn!(target: "holdall", "x\n<3>y\u{1b}[2J");
        assert_eq!(logged(Style::Journal, act), ["<4>x\\n<3>y\\u{1b}[2J"]);
    }

    #[test]
    fn library_is_named() {
        let act = || tracing::warn!(target: "rustic_core::archiver", "ignored");
        assert_eq!(logged(Style::Plain, act), ["warning: rustic_core: ignored"]);
    }

    #[test]
    fn json_has_time_level_target_message_and_the_fields() {
        let mut record = Record::new(Level::WARN, "holdall::store");
        record.message = "slow\n\"x\"".into();
        record.fields.insert("tries".into(), 3.into());
        record.fields.insert("level".into(), "high".into());
        let time = "2026-02-05T12:00:00.25Z".parse().unwrap();
        let line = record.line(Style::Json, time);
        let value: Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "time": "2026-02-05T12:00:00.250Z", "level": "warn", "target": "holdall::store", "message": "slow\n\"x\"", "tries": 3,
        });
        assert_eq!(value, expected);
        assert!(!line.contains('\n'));
    }
}
