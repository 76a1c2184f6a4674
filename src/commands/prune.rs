//! `holdall prune`: remove the points that no rule keeps, then free their space.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use serde_json::json;

use super::mirrors::{self, about};
use super::places::{self, Answered, Places, needs_store, replications};
use super::{Context, hold_store, lock_source, lock_store, recorded};
use crate::config::{Config, MirrorConfig, RetentionRule};
use crate::error::{ExitCode, chain, exit_code};
use crate::incus::Replication;
use crate::incus::timeline::ServerTimeline;
use crate::lock::Lock;
use crate::monitor::Monitor;
use crate::quantity::{parse_duration, rfc3339, show_bytes, show_time};
use crate::report::file::Ended;
use crate::retention::sides::{Wider, is_shared, rule_at, wider_on_target};
use crate::retention::{self, Verdict};
use crate::store::Store;
use crate::store::locks::Purpose;
use crate::store::upkeep::{FreeOptions, Freed};
use crate::timeline::{Place, Point, SAFETY_SUFFIX, Timeline};

/// Arguments of `prune`.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR", add = super::completions::selectors())]
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

/// What retention says about the points of one item in one place.
#[derive(Debug)]
pub struct Plan<'c> {
    /// The item.
    pub item: String,
    /// Where its points are.
    pub place: Place,
    /// The rule that applies; `None`: no rule, everything is kept.
    pub rule: Option<&'c RetentionRule>,
    /// Whether the rule is that of the source because of `same-retention`.
    pub is_shared: bool,
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
            "where": self.place.word(),
        })
    }

    fn print(&self, context: &Context) -> Result<()> {
        let rule = match self.rule {
            Some(rule) => format!("`{}`, line {} of the configuration", rule.policy, rule.line),
            None => "no rule applies, everything is kept".to_owned(),
        };
        let shared = if self.is_shared { ", as on the source" } else { "" };
        context.output.line(&format!("{}{}: {rule}{shared}", self.item, on(self.place)))?;
        for (point, verdict) in self.points.iter().rev() {
            let what = if verdict.keep { "keep  " } else { "remove" };
            let (id, time) = (point.short_id(), show_time(point.time));
            let line = format!("  {what}  {id}  {time}  {}", verdict.reasons.join(", "));
            context.output.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// Where it is, for people; of the store nothing has to be said.
fn on(place: Place) -> String {
    match place {
        Place::Store => String::new(),
        Place::Mirror(name) => format!(" in the mirror {name}"),
        Place::Source | Place::Target => format!(" on the {}", place.word()),
    }
}

/// Runs `prune`.
pub fn run(args: &PruneArgs, context: &Context) -> Result<ExitCode> {
    recorded::run(context, "prune", !args.dry_run, |config| prune(args, context, config))
}

fn prune(args: &PruneArgs, context: &Context, config: &Config) -> Result<Ended> {
    let _locks = if args.dry_run { Vec::new() } else { locks(args, context, config)? };
    let hold = (!args.dry_run).then_some(Purpose::Exclude);
    let mut places = Places::look_and(context, config, &args.selectors, hold)?;
    let (mirrors, away) = mirrors::open_each(context, &config.mirrors, hold);
    places.points.extend(mirrors.iter().flat_map(|mirror| mirror.points.iter().cloned()));
    let wanted = places.resolve(config, &args.selectors)?;
    let plans = plan(config, &places, |item| wanted.iter().any(|wanted| wanted == item), context);
    if context.output.json {
        context.output.json_document(&plans.iter().map(Plan::to_json).collect::<Vec<_>>())?;
    } else if args.dry_run {
        plans.iter().try_for_each(|plan| plan.print(context))?;
    }
    let monitor = &*context.monitor;
    let there = There { store: places.store.as_deref(), servers: &places.servers, mirrors: &mirrors };
    let done = carry_out(&there, &plans, &args.space, args.dry_run, monitor);
    if done.is_err() {
        away.iter().for_each(places::tell);
    }
    let done = done?;
    context.monitor.say(&done.summary);
    let errors: Vec<Error> = done.errors.into_iter().chain(not_pruned(places)).chain(away).collect();
    errors.iter().for_each(places::tell);
    let code = if errors.is_empty() { ExitCode::Done } else { ExitCode::Failed };
    Ok(Ended { code, summary: done.summary, errors: errors.iter().map(chain).collect() })
}

/// Nothing else removes or adds points meanwhile: not in the store, and not on the servers of a source.
fn locks(args: &PruneArgs, context: &Context, config: &Config) -> Result<Vec<Lock>> {
    let store = needs_store(config).then(|| lock_store(context, config));
    let sources = replications(config, &args.selectors).into_iter().map(|one| lock_source(context, &one.id));
    store.into_iter().chain(sources).collect()
}

/// Applies retention, after a backup, to the items that it left well.
///
/// # Errors
///
/// When the store cannot be read or written. What fails on a server or in a mirror is answered beside.
pub fn after_backup(
    context: &Context,
    config: &Config,
    store: Option<&Store>,
    mirrors: &[&MirrorConfig],
    well: &[&str],
    dry_run: bool,
) -> Result<Vec<Error>> {
    // A safety point goes with the item it was made for.
    let belongs = |item: &str| well.contains(&item.strip_suffix(SAFETY_SUFFIX).unwrap_or(item));
    let is_meant = |id: &str| well.iter().any(|item| item.split('/').next() == Some(id));
    let asked: Vec<Replication> = replications(config, &[]).into_iter().filter(|one| is_meant(&one.id)).collect();
    let _locks: Vec<Lock> = match dry_run {
        true => Vec::new(),
        false => asked.iter().map(|one| lock_source(context, &one.id)).collect::<Result<_>>()?,
    };
    let mut places = Places::ask(&asked);
    let mut held = None;
    if let Some(store) = store {
        held = if dry_run { None } else { Some(hold_store(context, store, Purpose::Exclude)?) };
        places.points.extend(store.points()?);
    }
    let hold = (!dry_run).then_some(Purpose::Exclude);
    let (mirrors, mut away) = mirrors::open_each(context, mirrors.iter().copied(), hold);
    places.points.extend(mirrors.iter().flat_map(|mirror| mirror.points.iter().cloned()));
    let plans = plan(config, &places, belongs, context);
    let is_stored = plans.iter().any(|plan| plan.place == Place::Store);
    let (store, monitor) = (store.filter(|_| is_stored), &*context.monitor);
    let there = There { store, servers: &places.servers, mirrors: &mirrors };
    let done = carry_out(&there, &plans, &SpaceArgs::default(), dry_run, monitor)?;
    drop(held);
    context.monitor.say(&done.summary);
    // As with the store: the next run prunes as well, and others may use it.
    away.retain(|error| {
        let is_in_use = exit_code(error) == ExitCode::Locked;
        if is_in_use {
            tracing::warn!("not pruned this time: {}", chain(error));
        }
        !is_in_use
    });
    Ok(done.errors.into_iter().chain(not_pruned(places)).chain(away).collect())
}

/// What retention says about every item that has points and that `wanted` wants, in each place that it is to be pruned in.
///
/// A source is not pruned while one of its servers cannot be asked: then it is not known what the next copy can go on from.
pub fn plan<'c>(
    config: &'c Config,
    places: &Places,
    wanted: impl Fn(&str) -> bool,
    context: &Context,
) -> Vec<Plan<'c>> {
    let now = context.now();
    let is_known = |point: &&Point| {
        point.place.is_repository() || ![Place::Source, Place::Target].iter().any(|&at| places.is_away(&point.item, at))
    };
    let mut own: BTreeMap<(&str, Place), Vec<Point>> = BTreeMap::new();
    for point in places.points.iter().filter(|point| wanted(&point.item)).filter(is_known) {
        own.entry((&point.item, point.place)).or_default().push(point.clone());
    }
    let items: Vec<String> = own.keys().map(|(item, _)| (*item).to_owned()).collect();
    for wider in wider_on_target(config, &items) {
        tracing::warn!("{wider}; hint: {}", Wider::HINT);
    }
    let plan = |((item, place), own): ((&str, Place), Vec<Point>)| {
        let rule = rule_at(config, item, place);
        let verdicts = retention::plan(rule.map(|rule| &rule.policy), &own, now);
        for future in own.iter().filter(|point| point.time > now) {
            let id = future.short_id();
            tracing::warn!("point {id} of {item}{} is dated in the future and is kept", on(place));
        }
        let is_shared = rule.is_some() && is_shared(config, item, place);
        Plan { item: item.to_owned(), place, rule, is_shared, points: own.into_iter().zip(verdicts).collect() }
    };
    own.into_iter().map(plan).collect()
}

/// What came of pruning.
#[derive(Debug)]
pub struct Done {
    /// What was done, in one line.
    pub summary: String,
    /// What could not be removed on servers.
    pub errors: Vec<Error>,
}

/// Where points can be removed.
#[derive(Debug)]
pub struct There<'t> {
    /// The store, if it is meant.
    pub store: Option<&'t Store>,
    /// Servers of Incus that have answered.
    pub servers: &'t [Answered],
    /// Mirrors that are held.
    pub mirrors: &'t [mirrors::Opened<'t>],
}

/// Removes what the plans remove, of each item on the source before the target, and frees the space of the store and of the mirrors.
pub fn carry_out(
    there: &There<'_>,
    plans: &[Plan<'_>],
    space: &SpaceArgs,
    dry_run: bool,
    monitor: &dyn Monitor,
) -> Result<Done> {
    let planned: usize = plans.iter().map(|plan| plan.removed().count()).sum();
    let all: usize = plans.iter().map(|plan| plan.points.len()).sum();
    if dry_run {
        let kept = all - planned;
        let summary = format!("would remove {} and keep {kept}; nothing was changed", number_of(planned));
        return Ok(Done { summary, errors: Vec::new() });
    }
    let (mut removed, mut errors) = on_servers(there.servers, plans, monitor);
    for mirror in there.mirrors {
        match in_repository(&mirror.store, plans, space) {
            Ok((count, freed)) => {
                removed += count;
                monitor.say(&format!(
                    "{}: removed {}; {}",
                    about(mirror.config),
                    number_of(count),
                    say_freed("it", &freed)
                ));
            }
            Err(error) => errors.push(error.context(format!("prune the {}", about(mirror.config)))),
        }
    }
    let mut freed = String::new();
    if let Some(store) = there.store {
        let in_store = in_repository(store, plans, space);
        if in_store.is_err() {
            errors.iter().for_each(places::tell);
        }
        let (count, done) = in_store?;
        freed = format!("; {}", say_freed("the store", &done));
        removed += count;
    }
    let summary = format!("removed {}, kept {}{freed}", number_of(removed), all - removed);
    Ok(Done { summary, errors })
}

/// Removes what the plans remove in the store or a mirror, and frees the space; how many points that were.
fn in_repository(store: &Store, plans: &[Plan<'_>], space: &SpaceArgs) -> Result<(usize, Freed)> {
    let here = plans.iter().filter(|plan| plan.place == store.place());
    let here: Vec<Point> = here.flat_map(Plan::removed).cloned().collect();
    store.remove(&here)?;
    let options = FreeOptions { max_repack: space.max_repack.clone(), keep_delete: space.keep_delete };
    let freed = store.free_space(&options).context("the points are removed, but their space is not freed")?;
    Ok((here.len(), freed))
}

fn number_of(number: usize) -> String {
    format!("{number} {}", if number == 1 { "point" } else { "points" })
}

/// An item of which a snapshot of the source could not be removed keeps all on the target: it is one thing, seen from there.
fn on_servers(servers: &[Answered], plans: &[Plan<'_>], monitor: &dyn Monitor) -> (usize, Vec<Error>) {
    let (mut removed, mut errors) = (0, Vec::new());
    let mut failed: Vec<String> = Vec::new();
    for place in [Place::Source, Place::Target] {
        for answered in servers.iter().filter(|answered| Place::from(answered.server.role()) == place) {
            let below = format!("{}/", answered.replication.id);
            let is_meant =
                |plan: &&Plan<'_>| plan.place == place && plan.item.starts_with(&below) && !failed.contains(&plan.item);
            let points: Vec<Point> = plans.iter().filter(is_meant).flat_map(Plan::removed).cloned().collect();
            let id = &answered.replication.id;
            match ServerTimeline::new(&answered.replication, &answered.server).remove_each(&points, monitor) {
                Ok(done) => {
                    removed += done.count;
                    for (item, error) in done.failed {
                        errors.push(error.context(format!("prune {item} on the {}", place.word())));
                        failed.push(item);
                    }
                }
                Err(error) => {
                    failed.extend(points.into_iter().map(|point| point.item));
                    errors.push(error.context(format!("prune {id} on the {}", place.word())));
                }
            }
        }
    }
    (removed, errors)
}

/// Why a source was not pruned on its servers, of those of which one could not be asked.
fn not_pruned(places: Places) -> impl Iterator<Item = Error> {
    places.away.into_iter().map(|away| {
        let why = "nothing is pruned on its servers, as it is not known which snapshots both have";
        away.error.context(format!("{}: {why}", away.source))
    })
}

/// What was done to free space, and what `place` holds now.
fn say_freed(place: &str, freed: &Freed) -> String {
    let mut parts = vec![format!("deleted {}", show_bytes(freed.deleted))];
    if freed.marked > 0 {
        parts.push(format!("marked {} to be deleted by a later run", show_bytes(freed.marked)));
    }
    if freed.repacked > 0 {
        parts.push(format!("rewrote {}", show_bytes(freed.repacked)));
    }
    format!(
        "{}; {place} holds {}, of which {} are used",
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
