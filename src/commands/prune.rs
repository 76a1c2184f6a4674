//! `holdall prune`: remove the points that no rule keeps, then free their space.

use anyhow::{Context as _, Result};
use serde_json::json;
use std::time::Duration;

use super::{Context, hold_store, known_items, lock_store, open_store};
use crate::config::{Config, RetentionRule};
use crate::error::ExitCode;
use crate::quantity::{parse_duration, rfc3339, show_bytes, show_time};
use crate::retention::{self, ItemKey, Verdict};
use crate::select;
use crate::store::Store;
use crate::store::locks::Purpose;
use crate::store::upkeep::{FreeOptions, Freed};
use crate::timeline::{Point, Timeline};

/// Arguments of `prune`.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,

    /// Show what would be kept and removed, and why; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    space: SpaceArgs,
}

/// How space is freed.
#[derive(Debug, Clone, clap::Args)]
pub struct SpaceArgs {
    /// How much may be rewritten to gather what is still used: a size, a percentage of the store, or unlimited
    #[arg(long, value_name = "LIMIT", default_value = "10%", value_parser = parse_limit)]
    max_repack: String,

    /// How long data that nothing uses stays before it is deleted
    #[arg(long, value_name = "DURATION", default_value = "23h", value_parser = parse_duration)]
    keep_delete: Duration,
}

impl Default for SpaceArgs {
    fn default() -> Self {
        Self { max_repack: "10%".to_owned(), keep_delete: Duration::from_secs(23 * 3600) }
    }
}

fn parse_limit(text: &str) -> Result<String, String> {
    let is_percentage = text.strip_suffix('%').is_some_and(|number| number.parse::<u64>().is_ok());
    if is_percentage || text == "unlimited" || crate::quantity::parse_size(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is none of: a size such as 2GiB, a percentage such as 10%, unlimited"))
    }
}

/// What retention says about the points of one item.
#[derive(Debug)]
pub struct Plan<'c> {
    /// The item.
    pub item: String,
    /// The rule that applies; `None`: no rule, everything is kept.
    pub rule: Option<&'c RetentionRule>,
    /// Its points, oldest first, with what becomes of each.
    pub points: Vec<(Point, Verdict)>,
}

impl Plan<'_> {
    fn removed(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(|(_, verdict)| !verdict.keep).map(|(point, _)| point)
    }

    fn to_json(&self) -> serde_json::Value {
        let kept = self.points.iter().filter(|(_, verdict)| verdict.keep);
        json!({
            "item": self.item,
            "kept": kept.map(|(point, verdict)| json!({
                "point": point.id, "time": rfc3339(point.time), "reasons": verdict.reasons,
            })).collect::<Vec<_>>(),
            "removed": self.removed().map(|point| json!({
                "point": point.id, "time": rfc3339(point.time),
            })).collect::<Vec<_>>(),
        })
    }

    fn print(&self, context: &Context) -> Result<()> {
        let rule = match self.rule {
            Some(rule) => format!("`{}`, line {} of the configuration", rule.policy, rule.line),
            None => "no rule applies, everything is kept".to_owned(),
        };
        context.output.line(&format!("{}: {rule}", self.item))?;
        for (point, verdict) in self.points.iter().rev() {
            let what = if verdict.keep { "keep  " } else { "remove" };
            let (id, time) = (point.short_id(), show_time(point.time));
            let line = format!("  {what}  {id}  {time}  {}", verdict.reasons.join(", "));
            context.output.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// Runs `prune`.
pub fn run(args: &PruneArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    let _lock = if args.dry_run { None } else { Some(lock_store(context, &config)?) };
    let store = open_store(context, &config)?;
    let _held = if args.dry_run { None } else { Some(hold_store(context, &store, Purpose::Exclude)?) };
    let points = store.points()?;
    let wanted = select::resolve(&args.selectors, &known_items(&config, &points))?;
    let plans = plan(&config, &points, |item| wanted.iter().any(|wanted| wanted == item), context);
    if context.output.json {
        context.output.json_document(&plans.iter().map(Plan::to_json).collect::<Vec<_>>())?;
    } else if args.dry_run {
        plans.iter().try_for_each(|plan| plan.print(context))?;
    }
    let summary = carry_out(&store, &plans, &args.space, args.dry_run)?;
    context.monitor.say(&summary);
    Ok(ExitCode::Done)
}

/// What retention says about every item that has points and that `wanted` wants.
pub fn plan<'c>(
    config: &'c Config,
    points: &[Point],
    wanted: impl Fn(&str) -> bool,
    context: &Context,
) -> Vec<Plan<'c>> {
    let now = context.now();
    let mut items: Vec<&str> = points.iter().map(|point| point.item.as_str()).filter(|item| wanted(item)).collect();
    items.sort_unstable();
    items.dedup();
    let plan = |item: &str| {
        let own: Vec<Point> = points.iter().filter(|point| point.item == item).cloned().collect();
        let rule = retention::rule_for(&config.retention, &ItemKey::parse(item));
        let verdicts = retention::plan(rule.map(|rule| &rule.policy), &own, now);
        for future in own.iter().filter(|point| point.time > now) {
            tracing::warn!("point {} of {item} is dated in the future and is kept", future.short_id());
        }
        Plan { item: item.to_owned(), rule, points: own.into_iter().zip(verdicts).collect() }
    };
    items.into_iter().map(plan).collect()
}

/// Removes what the plans remove and frees the space; says in one line what was done.
pub fn carry_out(store: &Store, plans: &[Plan<'_>], space: &SpaceArgs, dry_run: bool) -> Result<String> {
    let removed: Vec<Point> = plans.iter().flat_map(Plan::removed).cloned().collect();
    let kept: usize = plans.iter().map(|plan| plan.points.len()).sum::<usize>() - removed.len();
    let count = format!("{} {}", removed.len(), if removed.len() == 1 { "point" } else { "points" });
    if dry_run {
        return Ok(format!("would remove {count} and keep {kept}; nothing was changed"));
    }
    store.remove(&removed)?;
    let options = FreeOptions { max_repack: space.max_repack.clone(), keep_delete: space.keep_delete };
    let freed = store.free_space(&options).context("the points are removed, but their space is not freed")?;
    Ok(format!("removed {count}, kept {kept}; {}", say_freed(&freed)))
}

fn say_freed(freed: &Freed) -> String {
    let mut parts = vec![format!("deleted {}", show_bytes(freed.deleted))];
    if freed.marked > 0 {
        parts.push(format!("marked {} to be deleted by a later run", show_bytes(freed.marked)));
    }
    if freed.repacked > 0 {
        parts.push(format!("rewrote {}", show_bytes(freed.repacked)));
    }
    format!(
        "{}; the store holds {}, of which {} are used",
        parts.join(", "),
        show_bytes(freed.total),
        show_bytes(freed.used)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_size_a_percentage_or_unlimited() {
        for text in ["2GiB", "10%", "unlimited", "0"] {
            assert_eq!(parse_limit(text).as_deref(), Ok(text));
        }
        for text in ["x%", "", "ten", "-1"] {
            assert!(parse_limit(text).is_err(), "{text}");
        }
    }
}
