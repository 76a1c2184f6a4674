//! `holdall verify`: is everything that the points need in the store, and does it read back right?

use anyhow::Result;
use serde_json::json;

use super::mirrors::{about, lock_mirror, named, open};
use super::{Context, hold_to_read, lock_store, open_store};
use crate::error::ExitCode;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Read the packs back too, or this percentage of them, chosen at random
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "100", require_equals = true, value_parser = parse_percent)]
    read_data: Option<f64>,

    /// Verify this mirror instead of the store
    #[arg(long, value_name = "NAME")]
    mirror: Option<String>,
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .ok_or_else(|| format!("`{text}` is not a percentage between 0 and 100"))
}

/// Runs `verify`.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    // A prune beside it would look like damage.
    let mirror = args.mirror.as_deref().map(|name| named(&config, name)).transpose()?;
    let _lock = mirror.map_or_else(|| lock_store(context, &config), |mirror| lock_mirror(context, mirror))?;
    let store = mirror.map_or_else(|| open_store(context, &config), |mirror| open(context, mirror))?;
    let _held = hold_to_read(context, &store)?;
    let findings = store.verify(args.read_data)?;
    if context.output.json {
        context.output.json_document(&json!({
            "ok": findings.errors.is_empty(),
            "read_data_percent": args.read_data,
            "errors": findings.errors,
            "warnings": findings.warnings,
        }))?;
    } else {
        for warning in &findings.warnings {
            context.output.line(&format!("warning: {warning}"))?;
        }
        for error in &findings.errors {
            context.output.line(&format!("damaged: {error}"))?;
        }
    }
    if findings.errors.is_empty() {
        let what = match args.read_data {
            None => "everything the points need is there".to_owned(),
            Some(percent) if percent >= 100.0 => "everything the points need is there and reads back right".to_owned(),
            Some(percent) => format!("everything the points need is there, and {percent} % of it reads back right"),
        };
        context.monitor.say(&format!("ok: {what}"));
        return Ok(ExitCode::Done);
    }
    let count = findings.errors.len();
    tracing::error!(
        hint = "Keep it as it is. Restore what you need to another place first; then see \"Damage\" in doc/format.md.",
        "{} is damaged in {count} {}",
        mirror.map_or_else(|| "the store".to_owned(), about),
        if count == 1 { "place" } else { "places" }
    );
    Ok(ExitCode::Failed)
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
