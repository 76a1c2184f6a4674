//! `holdall list`: the points there are.

use anyhow::Result;
use serde_json::json;

use super::Context;
use super::places::Places;
use crate::error::ExitCode;
use crate::quantity::{rfc3339, show_bytes, show_time};
use crate::timeline::{Place, Point};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR", add = super::completions::selectors())]
    selectors: Vec<String>,
}

/// Runs `list`.
pub fn run(args: &ListArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    let places = Places::look(context, &config, &args.selectors)?;
    let wanted = places.resolve(&config, &args.selectors)?;
    let mut shown: Vec<&Point> = places.points.iter().filter(|point| wanted.contains(&point.item)).collect();
    shown.sort_by_key(|point| point.time);
    let has_servers = shown.iter().any(|point| point.place != Place::Store);
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
                    "where": point.place.word(),
                })
            })
            .collect();
        context.output.json_document(&rows)?;
        return Ok(places.tell_away());
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|point| {
            let mut row = vec![point.item.clone(), point.short_id().to_owned(), show_time(point.time)];
            // Who has only a store need not be told where points are.
            row.extend(has_servers.then(|| point.place.word().to_owned()));
            row.push(point.files.map(|files| files.to_string()).unwrap_or_default());
            row.push(point.bytes.map(show_bytes).unwrap_or_default());
            row.push(if point.complete { String::new() } else { "incomplete".to_owned() });
            row
        })
        .collect();
    if rows.is_empty() {
        context.monitor.say("There are no points yet. `holdall backup` makes them.");
    } else if has_servers {
        context.output.table(&["item", "point", "time (UTC)", "where", ">files", ">size", ""], &rows)?;
    } else {
        context.output.table(&["item", "point", "time (UTC)", ">files", ">size", ""], &rows)?;
    }
    Ok(places.tell_away())
}
