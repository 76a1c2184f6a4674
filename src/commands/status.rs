//! `holdall status`: is every item backed up recently enough? Decided from the points alone, wherever they are.
//!
//! What an Incus server has of itself is lost with it, so its snapshots count only as far as they are everywhere else where the configuration
//! wants them: on the target, and in the store with `export`. If one of these lags, the item is as old as there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::Context;
use super::places::Places;
use crate::config::{Config, SourceConfig};
use crate::error::ExitCode;
use crate::quantity::{rfc3339, show_bytes, show_duration, show_time};
use crate::timeline::{Place, Point, SAFETY_SUFFIX};

mod lag;
mod page;

use lag::Lag;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR", add = super::completions::selectors())]
    selectors: Vec<String>,

    /// Write a page for browsers to FILE as well, with plots over time; `-` writes it to standard output, and nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How fresh one item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The item.
    pub item: String,
    /// When its newest point was made; `None`: there is none.
    pub newest: Option<DateTime<Utc>>,
    /// How old that is.
    pub age: Option<std::time::Duration>,
    /// How old it may be.
    pub max_age: Option<std::time::Duration>,
    /// How many moments it can be brought back to; what several places have counts once.
    pub points: usize,
    /// Size of the newest point in bytes.
    pub bytes: Option<u64>,
    /// Whether all places that matter were asked.
    pub is_known: bool,
}

impl Freshness {
    /// The freshness of an item among all points.
    pub fn of(item: &str, config: &Config, points: &[Point], now: DateTime<Utc>) -> Self {
        let source = config.sources.iter().find(|source| source.id() == item.split('/').next().unwrap_or(item));
        // A safety point is not part of any schedule.
        let max_age = source.filter(|_| !is_safety(item)).and_then(|source| source.common().max_age);
        let own = || points.iter().filter(|point| point.item == item);
        let newest_at = |place: Place| {
            // What is copied half brings nothing back; a snapshot in the store that lacks a file does.
            let counts = move |point: &&Point| point.place == place && (point.complete || place == Place::Store);
            own().filter(counts).max_by_key(|point| point.time)
        };
        let newest: Option<Vec<&Point>> = must_be_at(source).into_iter().map(newest_at).collect();
        let newest = newest.and_then(|newest| newest.into_iter().min_by_key(|point| point.time));
        let moments: BTreeSet<i64> =
            own().filter(|point| point.place != Place::Store).map(|point| point.time.timestamp()).collect();
        let only_stored =
            own().filter(|point| point.place == Place::Store && !moments.contains(&point.time.timestamp())).count();
        Self {
            item: item.to_owned(),
            newest: newest.map(|point| point.time),
            age: newest.map(|point| (now - point.time).to_std().unwrap_or_default()),
            max_age,
            points: moments.len() + only_stored,
            bytes: newest.and_then(|point| point.bytes),
            is_known: true,
        }
    }

    /// Whether the newest point is older than it may be, or missing.
    pub fn is_stale(&self) -> bool {
        match (self.max_age, self.age) {
            (Some(max_age), Some(age)) => age > max_age,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// The places where an item of this source must be, so that it outlives the source.
fn must_be_at(source: Option<&SourceConfig>) -> Vec<Place> {
    let Some(SourceConfig::Incus(incus)) = source else { return vec![Place::Store] };
    let target = incus.target.is_some().then_some(Place::Target);
    target.into_iter().chain(incus.export.then_some(Place::Store)).collect()
}

fn is_safety(item: &str) -> bool {
    item.ends_with(SAFETY_SUFFIX)
}

/// Runs `status`.
pub fn run(args: &StatusArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    let places = Places::look(context, &config, &args.selectors)?;
    let wanted = places.resolve(&config, &args.selectors)?;
    let lag = Lag::ask(context, &config);
    let now = context.now();
    let freshness = |item: &String| {
        let is_known = !places.is_away(item, Place::Target);
        let freshness = Freshness::of(item, &config, &places.points, now);
        // That the other places are fresh says nothing of the one that was not asked.
        if is_known { freshness } else { Freshness { newest: None, age: None, bytes: None, is_known, ..freshness } }
    };
    let rows: Vec<Freshness> = wanted.iter().map(freshness).collect();
    if let Some(target) = &args.html {
        page::write(target, context, &config, &rows, &places.points)?;
    }
    if args.html.as_deref() == Some(Path::new("-")) {
        // Standard output is the page.
    } else if context.output.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let mut told = json!({
                    "item": row.item,
                    "newest": row.newest.map(rfc3339),
                    "age_seconds": row.age.map(|age| age.as_secs()),
                    "max_age_seconds": row.max_age.map(|age| age.as_secs()),
                    "stale": row.is_stale(),
                    "points": row.points,
                    "bytes": row.bytes,
                });
                lag.add_to(&mut told, &row.item);
                told
            })
            .collect();
        context.output.json_document(&rows)?;
    } else {
        let table: Vec<Vec<String>> = rows.iter().map(|row| table_row(row, &lag)).collect();
        let mut headers = vec!["item", "newest (UTC)", ">age", ">may be", ">points", ">size"];
        headers.extend(lag.headers());
        headers.push("");
        context.output.table(&headers, &table)?;
    }
    let code = places.tell_away();
    Ok(if rows.iter().any(Freshness::is_stale) { ExitCode::Failed } else { code })
}

fn table_row(row: &Freshness, lag: &Lag<'_>) -> Vec<String> {
    let mut cells = vec![
        row.item.clone(),
        row.newest.map_or_else(|| if row.is_known { "never" } else { "not known" }.to_owned(), show_time),
        row.age.map(show_duration).unwrap_or_default(),
        row.max_age.map(show_duration).unwrap_or_default(),
        row.points.to_string(),
        row.bytes.map(show_bytes).unwrap_or_default(),
    ];
    cells.extend(lag.cells(&row.item, row.newest));
    cells.push(if row.is_stale() && row.is_known { "STALE".to_owned() } else { String::new() });
    cells
}
