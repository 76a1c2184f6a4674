//! Restores of what Incus servers have: finds the point in the place that is meant, says what is going to be done, asks, and has it done.
//!
//! What each restore does is in [`crate::incus::restore`].

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;

use super::{Destination, RestoreArgs};
use crate::commands::mirrors::{named, open};
use crate::commands::places::{replications, tell};
use crate::commands::{Context, lock_source, open_store};
use crate::config::{Config, SourceConfig};
use crate::error::{Annotate, ExitCode, hinted};
use crate::incus::api::{Role, Server};
use crate::incus::restore::{Options, Origin, Plan, Restore, files};
use crate::incus::select::Subject;
use crate::incus::timeline::{Found, ServerTimeline};
use crate::incus::{Replication, export};
use crate::monitor::Unit;
use crate::quantity::{show_bytes, show_time};
use crate::select::{PointSpec, Selector};
use crate::store::{SavedTree, Store};
use crate::timeline::{Place, Point, Timeline};
use crate::ui;

/// Where a point is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// The server that is backed up
    Source,
    /// The server with the replicas
    Target,
    /// The store
    Store,
    /// The mirror of this name
    Mirror(String),
}

impl std::str::FromStr for From {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "source" => Self::Source,
            "target" => Self::Target,
            "store" => Self::Store,
            name => Self::Mirror(name.to_owned()),
        })
    }
}

impl From {
    /// The mirror that is meant, if it is one.
    pub(super) fn mirror(&self) -> Option<&str> {
        if let Self::Mirror(name) = self { Some(name) } else { None }
    }

    fn place(&self, config: &Config) -> Result<Place> {
        Ok(match self {
            Self::Source => Place::Source,
            Self::Target => Place::Target,
            Self::Store => Place::Store,
            Self::Mirror(name) => Place::Mirror(named(config, name)?.name),
        })
    }
}

/// What became of a restore here.
pub(super) enum Outcome {
    /// It is done.
    Done(ExitCode),
    /// The point is in the store or in the mirror, and this spec names it: it is restored as any other.
    InStore(String),
    /// Another source is meant.
    NotIncus,
}

/// Restores a point of an item of Incus.
pub(super) fn run(
    args: &RestoreArgs,
    context: &Context,
    config: &Config,
    destination: Option<&Destination>,
) -> Result<Outcome> {
    let spec = PointSpec::parse(&args.spec)?;
    let meant = spec.selector().map(|selector| of_incus(config, selector)).transpose()?.unwrap_or_default();
    if meant.is_empty() {
        if args.from.as_ref().is_some_and(|from| from.mirror().is_none() && *from != From::Store) {
            return Err(anyhow!("--from has no meaning for {}", args.spec))
                .hint("It is for instances and volumes of Incus. Everything else is in the store, and in mirrors.")
                .exit(ExitCode::Usage);
        }
        return Ok(Outcome::NotIncus);
    }
    let places = match (&args.from, destination) {
        (Some(from), _) => vec![from.place(config)?],
        (None, Some(_)) => vec![Place::Store, Place::Target, Place::Source],
        (None, None) => vec![Place::Source],
    };
    let looked = Looked::at(context, config, &meant, &places)?;
    let point = looked.choose(&spec, args, &places)?;
    let item = &point.item;
    if point.place.is_repository() && destination.is_some() {
        let path = spec.path.map(|path| format!(":{}", path.display())).unwrap_or_default();
        return Ok(Outcome::InStore(format!("{item}@{}{path}", point.id)));
    }
    refuse_what_has_no_meaning(args, &spec, item)?;
    if !point.complete {
        return Err(anyhow!("the {} of {item} was not copied to its end", point.id))
            .hint(format!("Choose an older point: holdall list {item}. The next backup completes it."));
    }
    let replication = meant.iter().find(|replication| is_of(item, &replication.id));
    let replication = replication.with_context(|| format!("{item} is no item of what is configured"))?;
    let found = looked.found.iter().find(|(place, _, found)| {
        *place == point.place
            && found.subject.id(&replication.id) == *item
            && found.points.iter().any(|one| one == point)
    });
    match (destination, found) {
        (Some(Destination::Here(directory)), Some((_, server, found))) => {
            let subject = &found.subject;
            to_directory(args, context, Export { replication, server, subject, point }, directory).map(Outcome::Done)
        }
        (Some(_), _) => Err(anyhow!("only what is in the store can be put onto another machine"))
            .hint("Restore to a directory here, or save it into the store with `export = true`.")
            .exit(ExitCode::Usage),
        (None, _) => {
            let saved = looked.saved(point)?;
            let kept = Kept { point, saved: saved.as_ref(), found: found.map(|(_, server, found)| (server, found)) };
            on_source(args, context, replication, &kept).map(Outcome::Done)
        }
    }
}

/// The replications that a selector means, when it means nothing else.
fn of_incus(config: &Config, selector: &str) -> Result<Vec<Replication>> {
    let parsed = Selector::parse(selector)?;
    let others = config.sources.iter().filter(|source| !matches!(source, SourceConfig::Incus(_)));
    let mut others = others.map(SourceConfig::id);
    if others.any(|id| parsed.matches(&id) || parsed.is_below(&id)) {
        return Ok(Vec::new());
    }
    Ok(replications(config, &[selector.to_owned()]))
}

/// Whether an item is one of a source.
fn is_of(item: &str, source: &str) -> bool {
    item.strip_prefix(source).is_some_and(|rest| rest.starts_with('/'))
}

fn refuse_what_has_no_meaning(args: &RestoreArgs, spec: &PointSpec, item: &str) -> Result<()> {
    if let Some(path) = &spec.path {
        return Err(anyhow!("{} is only a part of {item}, which comes back whole", path.display()))
            .hint("Bring it back beside the original with --as NAME, and take from it what is needed.")
            .exit(ExitCode::Usage);
    }
    let flag = match (args.verify, args.overwrite && args.to.is_none()) {
        (true, _) => "--verify",
        (_, true) => "--overwrite",
        _ => return Ok(()),
    };
    Err(anyhow!("{flag} has no meaning for {item}")).hint("It is for files.").exit(ExitCode::Usage)
}

/// What the places have that were asked.
struct Looked {
    store: Option<Store>,
    points: Vec<Point>,
    found: Vec<(Place, Server, Found)>,
    /// Servers that are configured, but not there.
    away: bool,
}

impl Looked {
    /// Asks the places. Of several one that cannot be asked is told, and the others serve.
    fn at(context: &Context, config: &Config, meant: &[Replication], places: &[Place]) -> Result<Self> {
        let mut looked = Self { store: None, points: Vec::new(), found: Vec::new(), away: false };
        for place in places {
            if let Err(error) = looked.look(context, config, meant, *place, places.len() == 1) {
                if places.len() == 1 {
                    return Err(error);
                }
                looked.away = true;
                tell(&error);
            }
        }
        Ok(looked)
    }

    fn look(
        &mut self,
        context: &Context,
        config: &Config,
        meant: &[Replication],
        place: Place,
        is_only: bool,
    ) -> Result<()> {
        let role = match place {
            Place::Store | Place::Mirror(_) => {
                if config.store.is_some() || is_only {
                    let store = match place {
                        Place::Mirror(name) => open(context, named(config, name)?)?,
                        _ => open_store(context, config)?,
                    };
                    let points = store.points()?.into_iter();
                    self.points.extend(points.filter(|point| meant.iter().any(|one| is_of(&point.item, &one.id))));
                    self.store = Some(store);
                }
                return Ok(());
            }
            Place::Source => Role::Source,
            Place::Target => Role::Target,
        };
        for replication in meant {
            let Some(server) = replication.server(role)? else {
                if is_only {
                    return Err(anyhow!("{} has no {}", replication.id, role.word()))
                        .hint("With `target` in its table it has one.")
                        .exit(ExitCode::Usage);
                }
                continue;
            };
            for found in ServerTimeline::new(replication, &server).look()? {
                self.points.extend(found.points.iter().cloned());
                self.found.push((place, server.clone(), found));
            }
        }
        Ok(())
    }

    /// The point that is meant, in the first of the places that has it.
    fn choose(&self, spec: &PointSpec, args: &RestoreArgs, places: &[Place]) -> Result<&Point> {
        let point = match spec.choose(&self.points) {
            Ok(point) => point,
            Err(error) => return Err(self.explain(error, spec, args, places)),
        };
        let is_same = |other: &&Point| {
            other.item == point.item && (other.id == point.id || other.time.timestamp() == point.time.timestamp())
        };
        let here =
            |place: &Place| self.points.iter().filter(is_same).find(|other| other.place == *place && other.complete);
        Ok(places.iter().find_map(here).unwrap_or(point))
    }

    /// Why there is no such point in the one place that was asked, and where there may be one.
    fn explain(&self, error: anyhow::Error, spec: &PointSpec, args: &RestoreArgs, places: &[Place]) -> anyhow::Error {
        let [place] = places else {
            return if self.away { error.context("not all places could be asked") } else { error };
        };
        let selector = spec.selector().unwrap_or_default();
        if selector.contains(['*', '?', '[', '{']) || selector.matches('/').count() < 3 {
            return error;
        }
        if self.points.iter().any(|point| point.item == selector) {
            return error;
        }
        let others = ["source", "target", "store"].into_iter().filter(|other| *other != place.word());
        let others: Vec<String> = others.map(|other| format!("--from {other}")).collect();
        let spec = &args.spec;
        let hint = match place {
            Place::Source => {
                format!("What the target has of it comes back with: holdall restore {spec} --from target.")
            }
            _ => format!("There may be one elsewhere: {}.", others.join(", ")),
        };
        hinted(
            anyhow!("there is no point of {selector} on the {}", place.word()).context(format!("restore {spec}")),
            hint,
        )
    }

    fn saved(&self, point: &Point) -> Result<Option<SavedTree>> {
        let Some(store) = self.store.as_ref().filter(|_| point.place.is_repository()) else { return Ok(None) };
        let doing = || format!("open the point {} of {}", point.short_id(), point.item);
        store.tree(point).map(Some).with_context(doing)
    }
}

/// A point, and where it is kept.
struct Kept<'k> {
    point: &'k Point,
    saved: Option<&'k SavedTree>,
    found: Option<(&'k Server, &'k Found)>,
}

/// Has it restored on the source.
fn on_source(args: &RestoreArgs, context: &Context, replication: &Replication, kept: &Kept<'_>) -> Result<ExitCode> {
    let point = kept.point;
    let server;
    let source = match kept.found {
        Some((source, _)) if point.place == Place::Source => source,
        _ => {
            server = replication.server(Role::Source)?.context("no source is configured")?;
            &server
        }
    };
    let subject = match (kept.found, kept.saved) {
        (Some((_, found)), _) => found.subject.clone(),
        (None, Some(saved)) => export::subject_of(saved, &replication.id)?,
        (None, None) => bail!("{} is on neither server", point.item),
    };
    let options = Options { rename: args.rename.clone(), stop: args.stop, no_safety: args.no_safety };
    let (time, monitor) = (point.time, &*context.monitor);
    let restore = Restore { replication, source, subject: &subject, time, options: &options, monitor };
    let plan = || match (point.place, kept.saved, kept.found) {
        (Place::Source, ..) if args.rename.is_none() => restore.roll_back(&point.id),
        (Place::Target, _, Some((server, found))) => {
            restore.make_anew(Origin::Target(server, &found.subject, &point.id))
        }
        (Place::Store | Place::Mirror(_), Some(saved), _) => restore.make_anew(Origin::Store(saved)),
        _ => restore.make_anew(Origin::Source(&point.id)),
    };
    let planned = plan()?;
    let name = args.rename.as_deref().unwrap_or(&subject.name).to_owned();
    planned.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if args.dry_run {
        return told(args, context, &planned, point, &name);
    }
    if planned.overwrites {
        confirm(args, &planned, point)?;
    }
    let _lock = lock_source(context, &replication.id)?;
    // What was looked at may have changed while somebody was asked, or a run under way was waited for.
    let planned = plan()?;
    let shown = Plan::shown(&planned);
    planned.carry_out().with_context(|| format!("restore {}", point.item))?;
    told(args, context, &shown, point, &name)
}

fn confirm(args: &RestoreArgs, plan: &Plan<'_>, point: &Point) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let lost = match args.no_safety {
        true => "What it has now is lost, and NOT kept first.",
        false => "What it has now is kept as a snapshot first. Other snapshots stay.",
    };
    let steps: String = plan.steps.iter().map(|step| format!("  {step}\n")).collect();
    let question = format!(
        "Roll {} back to where it was at {} UTC ({}):\n{steps}{lost}\nType `yes` to go on:",
        point.item,
        show_time(point.time),
        point.id
    );
    match ui::ask(&question).context("ask for confirmation")? {
        Some(answer) if answer == "yes" => Ok(()),
        Some(_) => bail!("not confirmed; nothing was changed"),
        None => Err(anyhow!("rolling back overwrites what is there, and there is no terminal to ask on"))
            .hint("add --yes, or look first with --dry-run")
            .exit(ExitCode::Usage),
    }
}

/// Tells what was done, or would be.
fn told(args: &RestoreArgs, context: &Context, plan: &Plan<'_>, point: &Point, name: &str) -> Result<ExitCode> {
    if context.output.json {
        let problems: Vec<_> = plan.warnings.iter().map(|warning| json!({"path": "", "error": warning})).collect();
        context.output.json_document(&json!({
            "item": point.item,
            "point": point.id,
            "from": point.place.word(),
            "as": name,
            "steps": plan.steps,
            "dry_run": args.dry_run,
            "problems": problems,
        }))?;
    } else if args.dry_run {
        plan.steps.iter().try_for_each(|step| context.output.line(&format!("would {step}")))?;
    } else {
        context.monitor.say(&format!("{}: restored as it was at {} UTC", point.item, show_time(point.time)));
        plan.next.iter().for_each(|line| context.monitor.say(line));
    }
    Ok(ExitCode::Done)
}

/// What is exported, and from where.
struct Export<'e> {
    replication: &'e Replication,
    server: &'e Server,
    subject: &'e Subject,
    point: &'e Point,
}

/// Writes the export of a snapshot below a directory here.
fn to_directory(args: &RestoreArgs, context: &Context, export: Export<'_>, directory: &Path) -> Result<ExitCode> {
    let Export { replication, server, subject, point } = export;
    let (item, from) = (&point.item, point.place.word());
    let at = directory.join(export::ARCHIVE.trim_start_matches('/'));
    let mut bytes = 0;
    if args.dry_run {
        if !context.output.json {
            context.output.line(&format!("would write {}, the export of {} by the {from}", at.display(), point.id))?;
        }
    } else {
        let _lock = lock_source(context, &replication.id)?;
        let tree = export::of(server, item, subject, None, &point.id)?;
        let task = context.monitor.start(item, "restore", Unit::Bytes);
        let written = files::write(tree, directory, args.overwrite, &task);
        task.finish();
        bytes = written?;
    }
    if context.output.json {
        context.output.json_document(&json!({
            "item": item,
            "point": point.id,
            "from": from,
            "files": 2,
            "bytes": bytes,
            "dry_run": args.dry_run,
            "problems": [],
        }))?;
    }
    if !args.dry_run {
        context.monitor.say(&format!("{item}: wrote {} ({})", at.display(), show_bytes(bytes)));
        if subject.pool.is_none() {
            context.monitor.say(&format!("On any Incus server: incus import {} NAME", at.display()));
        }
    }
    Ok(ExitCode::Done)
}
