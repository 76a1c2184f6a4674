//! What many runs come to: how often an item was saved, how long that took, and why it last was not.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Complaint, Item, Run};

/// How often something came out how, and how long it took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Runs in which it had its turn.
    pub runs: u64,
    /// Everything was saved; of a command: it was well.
    pub saved: u64,
    /// Not everything could be read.
    pub incomplete: u64,
    /// It was not there, which is no fault.
    pub away: u64,
    /// Nothing was saved; of a command: something failed.
    pub failed: u64,
    /// The sum of what all tries took, in seconds: of all runs but those in which it was away.
    pub seconds: f64,
    /// What the longest of them took.
    pub longest: f64,
    /// The sum of what the store did not have yet, in bytes.
    pub added: u64,
    /// When it last did not go well, and why.
    pub last_trouble: Option<Trouble>,
}

/// Something that did not go well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When its run began.
    pub time: DateTime<Utc>,
    /// The item, or the command when it was none.
    pub what: String,
    /// `incomplete` or `failed`.
    pub outcome: String,
    /// Why.
    pub error: String,
}

impl Tally {
    /// In how many of a hundred tries everything was saved; `None` when it was never tried.
    pub fn success(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        self.average_of(self.saved as f64 * 100.0)
    }

    /// How long a try took on average, in seconds.
    pub fn average(&self) -> Option<f64> {
        self.average_of(self.seconds)
    }

    fn average_of(&self, sum: f64) -> Option<f64> {
        let tries = self.saved + self.incomplete + self.failed;
        #[expect(clippy::cast_precision_loss, reason = "nobody makes so many runs")]
        (tries > 0).then(|| sum / tries as f64)
    }

    fn add(&mut self, outcome: &str, seconds: f64) {
        self.runs += 1;
        match outcome {
            "saved" | "ok" => self.saved += 1,
            "incomplete" => self.incomplete += 1,
            "away" => self.away += 1,
            _ => self.failed += 1,
        }
        if outcome != "away" {
            self.seconds += seconds;
            self.longest = self.longest.max(seconds);
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        if self.last_trouble.as_ref().is_none_or(|last| last.time <= trouble.time) {
            self.last_trouble = Some(trouble);
        }
    }
}

/// The tallies of items and of commands, by name.
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    /// By item.
    pub items: BTreeMap<String, Tally>,
    /// By command.
    pub commands: BTreeMap<String, Tally>,
}

impl Tallies {
    /// Adds a run.
    pub fn add(&mut self, run: &Run) {
        for item in &run.items {
            let tally = entry(&mut self.items, &item.item);
            tally.add(&item.outcome, item.seconds);
            tally.added = tally.added.saturating_add(item.added());
            if let Some(error) = item.trouble() {
                tally.trouble(trouble(run, &item.item, &item.outcome, error));
            }
        }
        let tally = entry(&mut self.commands, &run.command);
        tally.add(&run.outcome, run.seconds);
        if let Some(error) = run_trouble(run) {
            tally.trouble(trouble(run, &run.command, &run.outcome, error));
        }
    }
}

/// Everything that did not go well in a run: items first, then what failed beside them.
pub fn troubles(run: &Run) -> Vec<Trouble> {
    let of_item = |item: &Item| item.trouble().map(|error| trouble(run, &item.item, &item.outcome, error));
    let beside = run.errors.iter().map(|error| trouble(run, &run.command, "failed", error.text()));
    let found: Vec<Trouble> = run.items.iter().filter_map(of_item).chain(beside).collect();
    if found.is_empty() && run.outcome != "ok" {
        return vec![trouble(run, &run.command, &run.outcome, run.summary.clone())];
    }
    found
}

/// Why a run did not go well, in one line.
fn run_trouble(run: &Run) -> Option<String> {
    if run.outcome == "ok" {
        return None;
    }
    let of_items = run.items.iter().find_map(|item| Some(format!("{}: {}", item.item, item.trouble()?)));
    Some(run.errors.first().map(Complaint::text).or(of_items).unwrap_or_else(|| run.summary.clone()))
}

fn trouble(run: &Run, what: &str, outcome: &str, error: String) -> Trouble {
    Trouble { time: run.time, what: what.to_owned(), outcome: outcome.to_owned(), error }
}

/// The tally of a name, which is only copied when it is new.
fn entry<'t>(tallies: &'t mut BTreeMap<String, Tally>, name: &str) -> &'t mut Tally {
    if !tallies.contains_key(name) {
        tallies.insert(name.to_owned(), Tally::default());
    }
    tallies.entry(name.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Runs;

    fn tallies(lines: &[&str]) -> Tallies {
        let mut tallies = Tallies::default();
        Runs::new(lines.join("\n").as_bytes()).for_each(|run| tallies.add(&run.unwrap()));
        tallies
    }

    fn run(day: u8, outcome: &str, items: &str, errors: &str) -> String {
        format!(
            r#"{{"type":"run","time":"2026-02-{day:02}T03:00:00Z","command":"backup","outcome":"{outcome}","seconds":9,"summary":"s","items":[{items}],"errors":[{errors}]}}"#
        )
    }

    #[test]
    fn tries_are_what_counts_for_averages_and_success() {
        let saved = r#"{"item":"ios.a","outcome":"saved","seconds":10,"bytes_added":100}"#;
        let away = r#"{"item":"ios.a","outcome":"away","seconds":500,"error":"not home"}"#;
        let failed = r#"{"item":"ios.a","outcome":"failed","seconds":20,"error":"no answer"}"#;
        let half = r#"{"item":"ios.a","outcome":"incomplete","seconds":30,"bytes_added":5,"problems":[{"path":"/x","error":"denied"}]}"#;
        let lines = [
            run(1, "ok", saved, ""),
            run(2, "failed", failed, ""),
            run(3, "incomplete", half, ""),
            run(4, "ok", away, ""),
            run(5, "failed", "", r#"{"error":"no store"}"#),
        ];
        let tallies = tallies(&lines.each_ref().map(String::as_str));
        let item = &tallies.items["ios.a"];
        assert_eq!((item.runs, item.saved, item.incomplete, item.away, item.failed), (4, 1, 1, 1, 1));
        assert_eq!((item.average(), item.longest, item.added), (Some(20.0), 30.0, 105));
        assert!(item.success().is_some_and(|percent| (percent - 33.3).abs() < 0.1));
        let last = item.last_trouble.as_ref().unwrap();
        assert_eq!((last.outcome.as_str(), last.error.as_str()), ("incomplete", "/x: denied"));
        let backup = &tallies.commands["backup"];
        assert_eq!((backup.runs, backup.saved, backup.incomplete, backup.failed), (5, 2, 1, 2));
        assert_eq!(backup.last_trouble.as_ref().unwrap().error, "no store");
    }

    #[test]
    fn what_went_to_another_server_counts_where_nothing_went_into_the_store() {
        let item = |rest: &str| format!(r#"{{"item":"incus.lab/default/instance/vm1","outcome":"saved",{rest}}}"#);
        let lines = [
            run(1, "ok", &item(r#""bytes_added":0,"copied":{"first":true,"bytes":7,"target":true,"store":false}"#), ""),
            run(
                2,
                "ok",
                &item(r#""bytes_added":30,"copied":{"first":false,"bytes":7,"target":true,"store":true}"#),
                "",
            ),
        ];
        assert_eq!(tallies(&lines.each_ref().map(String::as_str)).items["incus.lab/default/instance/vm1"].added, 37);
    }

    #[test]
    fn run_that_failed_without_saying_why_is_told_by_its_summary() {
        let line = run(1, "failed", "", "");
        let run = Runs::new(line.as_bytes()).next().unwrap().unwrap();
        assert_eq!(troubles(&run)[0].error, "s");
    }

    #[test]
    fn item_that_was_never_tried_has_no_rate() {
        assert_eq!((Tally::default().success(), Tally::default().average()), (None, None));
    }
}
