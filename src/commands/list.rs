//! `holdall list`: the points there are.

use anyhow::Result;
use serde_json::json;

use super::{Context, open_store};
use crate::error::ExitCode;
use crate::quantity::{rfc3339, show_bytes, show_time};
use crate::select;
use crate::timeline::{Point, Timeline};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
}

/// Runs `list`.
pub fn run(args: &ListArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    let store = open_store(context, &config)?;
    let points = store.points()?;
    let items = super::known_items(&config, &points);
    let wanted = select::resolve(&args.selectors, &items)?;
    let shown: Vec<&Point> = points.iter().filter(|point| wanted.contains(&point.item)).collect();
    if context.output.json {
        let rows: Vec<_> = shown
            .iter()
            .map(|point| {
                json!({
                    "item": point.item,
                    "point": point.id,
                    "time": rfc3339(point.time),
                    "complete": point.complete,
                    "files": point.files,
                    "bytes": point.bytes,
                    "where": "store",
                })
            })
            .collect();
        context.output.json_document(&rows)?;
        return Ok(ExitCode::Done);
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|point| {
            vec![
                point.item.clone(),
                point.short_id().to_owned(),
                show_time(point.time),
                point.files.map(|files| files.to_string()).unwrap_or_default(),
                point.bytes.map(show_bytes).unwrap_or_default(),
                if point.complete { String::new() } else { "incomplete".to_owned() },
            ]
        })
        .collect();
    if rows.is_empty() {
        context.monitor.say("There are no points yet. `holdall backup` makes them.");
    } else {
        context.output.table(&["item", "point", "time (UTC)", ">files", ">size", ""], &rows)?;
    }
    Ok(ExitCode::Done)
}
