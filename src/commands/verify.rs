//! `holdall verify`: is everything that the points need in the store, does it read back right, and do files come back as they were?

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::mirrors::{about, lock_mirror, named, open};
use super::{Context, hold_to_read, lock_store, open_store, recorded};
use crate::config::Config;
use crate::error::ExitCode;
use crate::report::file::Ended;

mod rehearsal;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// With --restore: which items; KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR", requires = "restore")]
    selectors: Vec<String>,

    /// Read the packs back too, or this percentage of them, chosen at random
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "100", require_equals = true, value_parser = parse_percent)]
    read_data: Option<f64>,

    /// Verify this mirror instead of the store
    #[arg(long, value_name = "NAME")]
    mirror: Option<String>,

    /// Rehearse: restore so many files of the newest point of each item, chosen at random, compare them, and remove them again
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "5", require_equals = true, value_parser = parse_count)]
    restore: Option<usize>,

    /// Choose the files as the run did that told this number
    #[arg(long, value_name = "N", requires = "restore")]
    seed: Option<u64>,

    /// Where the files are for a moment, one at a time; without it in the cache directory
    #[arg(long, value_name = "DIR", requires = "restore")]
    scratch: Option<PathBuf>,
}

fn parse_count(text: &str) -> Result<usize, String> {
    const MOST: usize = 10_000;
    let number = text.parse::<usize>().ok().filter(|count| (1..=MOST).contains(count));
    number.ok_or_else(|| format!("`{text}` is not a number of files between 1 and {MOST}"))
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .ok_or_else(|| format!("`{text}` is not a percentage between 0 and 100"))
}

/// Runs `verify`.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<ExitCode> {
    recorded::run(context, "verify", true, |config| verify(args, context, config))
}

fn verify(args: &VerifyArgs, context: &Context, config: &Config) -> Result<Ended> {
    // A prune beside it would look like damage.
    let mirror = args.mirror.as_deref().map(|name| named(config, name)).transpose()?;
    let _lock = mirror.map_or_else(|| lock_store(context, config), |mirror| lock_mirror(context, mirror))?;
    let store = mirror.map_or_else(|| open_store(context, config), |mirror| open(context, mirror))?;
    let _held = hold_to_read(context, &store)?;
    let subject = mirror.map_or_else(|| "the store".to_owned(), about);
    let findings = store.verify(args.read_data)?;
    if !context.output.json {
        for warning in &findings.warnings {
            context.output.line(&format!("warning: {warning}"))?;
        }
        for error in &findings.errors {
            context.output.line(&format!("damaged: {error}"))?;
        }
    }
    if !findings.errors.is_empty() {
        let count = findings.errors.len();
        tracing::error!(
            hint = format!(
                "Keep {subject} as it is. Restore what you need to another place first; then see \"Damage\" in doc/format.md."
            ),
            "{subject} is damaged in {count} {}",
            if count == 1 { "place" } else { "places" }
        );
    }
    // Also of a store that is damaged: what it can still give back is then what matters most.
    let rehearsed = args.restore.map(|count| rehearsal::run(count, args, context, config, &store)).transpose()?;
    let faults = rehearsed.as_ref().map(rehearsal::Rehearsals::faults).unwrap_or_default();
    let is_well = findings.errors.is_empty() && faults.is_empty();
    if context.output.json {
        context.output.json_document(&json!({
            "ok": is_well,
            "read_data_percent": args.read_data,
            "errors": findings.errors,
            "warnings": findings.warnings,
            "restored": rehearsed.as_ref().map(rehearsal::Rehearsals::to_json),
        }))?;
    } else if let Some(rehearsed) = &rehearsed {
        rehearsed.print(context)?;
    }
    if let Some(rehearsed) = rehearsed.as_ref().filter(|_| !faults.is_empty()) {
        let (count, again) = (faults.len(), rehearsed.again());
        tracing::error!(
            hint = format!(
                "The same files again: {again}\nWhether the store itself is damaged: holdall verify --read-data"
            ),
            "{count} {} not come back as in the store",
            if count == 1 { "thing did" } else { "things did" }
        );
    }
    let mut what = match args.read_data {
        _ if !findings.errors.is_empty() => format!("{subject} is damaged in {} places", findings.errors.len()),
        None => "everything the points need is there".to_owned(),
        Some(percent) if percent >= 100.0 => "everything the points need is there and reads back right".to_owned(),
        Some(percent) => format!("everything the points need is there, and {percent} % of it reads back right"),
    };
    if let Some(rehearsed) = &rehearsed {
        what.push_str(&format!("; {}", rehearsed.summary()));
        what.push_str(&match faults.len() {
            0 => ", which came back as they were".to_owned(),
            count => format!(", {count} of which did not come back as they were"),
        });
    }
    let verdict = if is_well { "ok" } else { "failed" };
    let summary = format!("{verdict}: {what}");
    if is_well {
        context.monitor.say(&summary);
    }
    let code = if is_well { ExitCode::Done } else { ExitCode::Failed };
    Ok(Ended { code, summary, errors: findings.errors.into_iter().chain(faults).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentage_is_more_than_nothing_and_at_most_everything() {
        assert_eq!(parse_percent("2.5%"), Ok(2.5));
        assert_eq!(parse_percent("100"), Ok(100.0));
        for text in ["0", "101", "-1", "x", "NaN", ""] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }
}
