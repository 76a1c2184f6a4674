//! `holdall status`: is every item backed up recently enough? Decided from the store alone.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Context, known_items, open_store};
use crate::config::Config;
use crate::error::ExitCode;
use crate::quantity::{rfc3339, show_bytes, show_duration, show_time};
use crate::select;
use crate::timeline::{Point, SAFETY_SUFFIX, Timeline};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
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
    /// How many points there are.
    pub points: usize,
    /// Size of the newest point in bytes.
    pub bytes: Option<u64>,
}

impl Freshness {
    /// The freshness of an item among all points of the store.
    pub fn of(item: &str, config: &Config, points: &[Point], now: DateTime<Utc>) -> Self {
        let source = config.sources.iter().find(|source| source.id() == item.split('/').next().unwrap_or(item));
        // A safety point is not part of any schedule.
        let max_age = source.filter(|_| !is_safety(item)).and_then(|source| source.common().max_age);
        let mut own = points.iter().filter(|point| point.item == item);
        let newest = own.clone().max_by_key(|point| point.time);
        Self {
            item: item.to_owned(),
            newest: newest.map(|point| point.time),
            age: newest.map(|point| (now - point.time).to_std().unwrap_or_default()),
            max_age,
            points: own.by_ref().count(),
            bytes: newest.and_then(|point| point.bytes),
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

fn is_safety(item: &str) -> bool {
    item.ends_with(SAFETY_SUFFIX)
}

/// Runs `status`.
pub fn run(args: &StatusArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    let store = open_store(context, &config)?;
    let points = store.points()?;
    let wanted = select::resolve(&args.selectors, &known_items(&config, &points))?;
    let rows: Vec<Freshness> =
        wanted.iter().map(|item| Freshness::of(item, &config, &points, context.now)).collect();
    if context.output.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "item": row.item,
                    "newest": row.newest.map(rfc3339),
                    "age_seconds": row.age.map(|age| age.as_secs()),
                    "max_age_seconds": row.max_age.map(|age| age.as_secs()),
                    "stale": row.is_stale(),
                    "points": row.points,
                    "bytes": row.bytes,
                })
            })
            .collect();
        context.output.json_document(&rows)?;
    } else {
        let table: Vec<Vec<String>> = rows.iter().map(table_row).collect();
        context.output.table(&["item", "newest (UTC)", ">age", ">may be", ">points", ">size", ""], &table)?;
    }
    Ok(if rows.iter().any(Freshness::is_stale) { ExitCode::Failed } else { ExitCode::Done })
}

fn table_row(row: &Freshness) -> Vec<String> {
    vec![
        row.item.clone(),
        row.newest.map_or_else(|| "never".to_owned(), show_time),
        row.age.map(show_duration).unwrap_or_default(),
        row.max_age.map(show_duration).unwrap_or_default(),
        row.points.to_string(),
        row.bytes.map(show_bytes).unwrap_or_default(),
        if row.is_stale() { "STALE".to_owned() } else { String::new() },
    ]
}
