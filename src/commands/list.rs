//! `holdall list`: the points there are.

use anyhow::Result;
use serde_json::json;

use super::mirrors::{self, FromArgs};
use super::places::{Places, tell};
use super::{Context, known_items};
use crate::config::Config;
use crate::error::ExitCode;
use crate::quantity::{rfc3339, show_bytes, show_time};
use crate::select;
use crate::timeline::{Place, Point, Timeline};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR", add = super::completions::selectors())]
    selectors: Vec<String>,

    /// Show also what the mirrors have
    #[arg(long, conflicts_with = "from")]
    mirrors: bool,

    /// Which repository is read.
    #[command(flatten)]
    from: FromArgs,
}

/// Runs `list`.
pub fn run(args: &ListArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    if args.from.from.is_some() {
        let points = args.from.open(context, &config)?.points()?;
        let wanted = select::resolve(&args.selectors, &known_items(&config, &points))?;
        show(context, points.iter().filter(|point| wanted.contains(&point.item)).collect())?;
        return Ok(ExitCode::Done);
    }
    let mut places = Places::look(context, &config, &args.selectors)?;
    let away = if args.mirrors { add_mirrors(context, &config, &mut places) } else { ExitCode::Done };
    let wanted = places.resolve(&config, &args.selectors)?;
    show(context, places.points.iter().filter(|point| wanted.contains(&point.item)).collect())?;
    let told = places.tell_away();
    Ok(if told == ExitCode::Done { away } else { told })
}

/// Adds what the mirrors have; how the command ends because of those that cannot be asked.
fn add_mirrors(context: &Context, config: &Config, places: &mut Places) -> ExitCode {
    let mut code = ExitCode::Done;
    for (_, answer) in mirrors::ask_all(context, config) {
        match answer {
            Ok((_, points)) => places.points.extend(points),
            Err(error) => {
                tell(&error);
                code = ExitCode::Failed;
            }
        }
    }
    code
}

/// Prints points, oldest first.
fn show(context: &Context, mut shown: Vec<&Point>) -> Result<()> {
    shown.sort_by_key(|point| point.time);
    let has_places = shown.iter().any(|point| point.place != Place::Store);
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
        return context.output.json_document(&rows);
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|point| {
            let mut row = vec![point.item.clone(), point.short_id().to_owned(), show_time(point.time)];
            // Who has only a store need not be told where points are.
            row.extend(has_places.then(|| point.place.word().to_owned()));
            row.push(point.files.map(|files| files.to_string()).unwrap_or_default());
            row.push(point.bytes.map(show_bytes).unwrap_or_default());
            row.push(if point.complete { String::new() } else { "incomplete".to_owned() });
            row
        })
        .collect();
    if rows.is_empty() {
        context.monitor.say("There are no points yet. `holdall backup` makes them.");
    } else if has_places {
        context.output.table(&["item", "point", "time (UTC)", "where", ">files", ">size", ""], &rows)?;
    } else {
        context.output.table(&["item", "point", "time (UTC)", ">files", ">size", ""], &rows)?;
    }
    Ok(())
}
