//! `holdall restore`: bring a point, or a part of it, back to where it came from, or below a directory here or of another machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;

use super::ls::rows::path_text;
use super::mirrors::{lock_mirror, named, open};
use super::names::{Names, NamesArgs, Refused};
use super::{Context, hold_store, lock_source, lock_store, open_store};
use crate::config::Config;
use crate::error::{Annotate, ExitCode};
use crate::extract::{Chosen, Extracted, Layout, Library, RestoreOptions, Watch, extract};
use crate::job::Job;
use crate::monitor::{Monitor, Silent};
use crate::output::printable;
use crate::quantity::{show_bytes, show_time};
use crate::report::Outcome;
use crate::source::ios::names::is_device;
use crate::source::{Item, OpenOptions, Severity, Source};
use crate::store::locks::Purpose;
use crate::store::{SaveOptions, Store};
use crate::timeline::{Place, Point, SAFETY_SUFFIX, Timeline};
use crate::ui;

mod destination;
mod device;
mod incus;

use destination::Destination;
use device::DeviceArgs;
use incus::{From, Outcome as Handled};

/// How many problems are named; the JSON report has more.
const PROBLEMS_SHOWN: usize = 20;

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("destination").required(true).multiple(true).args(["to", "in_place", "rename", "from"]))]
pub struct RestoreArgs {
    /// A point spec, see [`crate::select`].
    #[arg(
        value_name = "SPEC",
        add = super::completions::specs(),
        help = "What to bring back: ITEM[@POINT][:PATH]; POINT is latest, latest~N, an id or a date"
    )]
    spec: String,

    /// Restore below this directory, or below ssh.NAME:/DIR on that machine; with :PATH, what is in PATH lands in it
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,

    /// Restore to where it came from, overwriting what is there
    #[arg(long, conflicts_with = "to")]
    in_place: bool,

    /// Where to take it from: a mirror, by its name; for items of Incus also source, target or store
    ///
    /// From a mirror everything comes back also when the store is lost.
    #[arg(long, value_name = "PLACE")]
    from: Option<From>,

    /// Restore a volume, container, stack or instance under this name beside the original, of which nothing is overwritten
    #[arg(long = "as", value_name = "NAME", conflicts_with = "to")]
    rename: Option<String>,

    /// Stop the containers and instances that use what is overwritten, and start them again afterwards
    #[arg(long, conflicts_with = "to")]
    stop: bool,

    /// Do not ask before restoring in place
    #[arg(long, conflicts_with = "to")]
    yes: bool,

    /// Replace what is in DIR already; what is not in the point stays
    #[arg(long)]
    overwrite: bool,

    /// Do not save what is overwritten in place as a point first
    #[arg(long, conflicts_with = "to")]
    no_safety: bool,

    /// Read back what was written and compare it with the store
    #[arg(long)]
    verify: bool,

    /// Only list what would be written
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// How points of devices are shown.
    #[command(flatten)]
    names: NamesArgs,

    /// How a device takes its point back.
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs `restore`.
pub fn run(args: &RestoreArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    let destination = args.to.as_deref().map(|to| Destination::parse(to, &config)).transpose()?;
    let spec = match incus::run(args, context, &config, destination.as_ref())? {
        Handled::Done(code) => return Ok(code),
        Handled::InStore(spec) => spec,
        Handled::NotIncus => args.spec.clone(),
    };
    let mirror = args.from.as_ref().and_then(From::mirror).map(|name| named(&config, name)).transpose()?;
    if args.from.is_some() && destination.is_none() && !args.in_place && args.rename.is_none() {
        return Err(anyhow!("--from says where it is taken from, and not where it goes to"))
            .hint("Add --to DIR, or --in-place.")
            .exit(ExitCode::Usage);
    }
    let store = mirror.map_or_else(|| open_store(context, &config), |mirror| open(context, mirror))?;
    let store = Arc::new(store);
    let points = store.points()?;
    let mut chosen = Chosen::open(&store, &points, &spec)?;
    // A device takes back what it gave, as it is stored.
    let names = Names::new(&args.names, context, &config);
    let (refused, password) = match destination {
        Some(_) => (names.show(&mut chosen)?, None),
        None => (Refused::default(), names.password_of(&chosen.saved)?),
    };
    args.device.suit(&chosen.saved.point().item)?;
    // What a device would have to find has other names there, and it takes back no part of a point anyway.
    if destination.is_some() || !is_device(&chosen.saved.point().item) {
        chosen.node()?;
    }
    let point = chosen.saved.point();
    if !point.complete {
        tracing::warn!(
            "the point {} of {} is incomplete: some of the source could not be read",
            point.short_id(),
            point.item
        );
    }
    let options = RestoreOptions {
        path: chosen.path.clone(),
        overwrite: args.overwrite || destination.is_none(),
        dry_run: args.dry_run,
        verify: args.verify,
        watch: watch(args, context),
        stop: args.stop,
        rename: args.rename.clone(),
        library: Some(library(&store, &points)),
        device: args.device.options(password),
    };
    let layout = if chosen.path.is_some() { Layout::Contents } else { Layout::WholePath };
    let mut extracted = match &destination {
        Some(Destination::Here(directory)) => extract(&chosen.saved, directory, layout, &options, &*context.monitor)?,
        Some(Destination::Machine { source, directory }) => {
            let job = Job::find(&config, source).exit(ExitCode::Usage)?;
            job.source()?.restore_to(&chosen.saved, directory, layout, &options, &*context.monitor)?
        }
        None => in_place(args, context, &config, &store, &points, &chosen, &options)?,
    };
    refused.add_to(&mut extracted);
    report(args, context, point, &extracted)
}

/// A dry run lists every change on standard output; `-vv` names every change as it is made.
fn watch(args: &RestoreArgs, context: &Context) -> Option<Watch> {
    let line = |action: &crate::extract::Action<'_>| {
        let path = printable(action.path.as_os_str());
        let slash = if action.node.is_dir() && !path.ends_with('/') { "/" } else { "" };
        format!("{} {path}{slash}", action.change.letter())
    };
    let output = context.output;
    if args.dry_run {
        return (!output.json).then(|| Watch::new(move |action| output.line(&line(action))));
    }
    let monitor = context.monitor.clone();
    (context.global.verbose >= 2).then(|| {
        Watch::new(move |action| {
            monitor.say(&line(action));
            Ok(())
        })
    })
}

/// Restores to where the point came from: asks, saves what is going to be overwritten, and lets the source do it.
fn in_place(
    args: &RestoreArgs,
    context: &Context,
    config: &Config,
    store: &Store,
    points: &[Point],
    chosen: &Chosen,
    options: &RestoreOptions,
) -> Result<Extracted> {
    let point = chosen.saved.point();
    let id = point.item.strip_suffix(SAFETY_SUFFIX).unwrap_or(&point.item);
    let source = id.split('/').next().unwrap_or(id);
    let job = Job::find(config, source)
        .hint("restoring with --to DIR needs nothing but the store, or a mirror")
        .exit(ExitCode::Usage)?;
    let driver = job.source()?;
    let item = Item { id: id.to_owned(), source: source.to_owned(), paths: chosen.saved.roots().to_vec() };
    // What cannot be done is told before anybody is asked, and before anything is saved.
    let only_look = RestoreOptions { dry_run: true, ..options.clone() };
    let listener: &dyn Monitor = if args.dry_run { &*context.monitor } else { &Silent };
    driver.make_way(&item, &chosen.saved, &only_look, listener)?;
    if args.dry_run {
        return driver.restore(&item, &chosen.saved, options, &*context.monitor);
    }
    if options.rename.is_some() {
        let _lock = lock_source(context, source)?;
        driver.make_way(&item, &chosen.saved, options, &*context.monitor)?;
        return driver.restore(&item, &chosen.saved, options, &*context.monitor);
    }
    let caution = driver.caution(options)?;
    confirm(args, point, chosen.path.as_deref(), caution)?;
    // What is overwritten is saved where the point is taken from: when that is a mirror, the store may be lost.
    let repository = match store.place() {
        Place::Mirror(name) => lock_mirror(context, named(config, name)?)?,
        _ => lock_store(context, config)?,
    };
    let _locks = (repository, lock_source(context, source)?);
    driver.make_way(&item, &chosen.saved, options, &*context.monitor)?;
    if !args.no_safety {
        save_safety_point(context, store, points, chosen, &item, driver)?;
    }
    let extracted = driver.restore(&item, &chosen.saved, options, &*context.monitor)?;
    // Not before: what a run that was killed has left stopped may be what is restored.
    driver.mend()?.iter().for_each(|line| tracing::warn!("{}: {line}", job.id));
    Ok(extracted)
}

/// The points of the store, for what is restored with something.
fn library(store: &Arc<Store>, points: &[Point]) -> Library {
    let (store, mut points) = (Arc::clone(store), points.to_vec());
    points.sort_by_key(|point| std::cmp::Reverse(point.time));
    Library::new(move |item, suits| {
        for point in points.iter().filter(|point| point.item == item && point.complete) {
            let tree = store.tree(point)?;
            if suits(&tree)? {
                return Ok(Some(tree));
            }
        }
        Ok(None)
    })
}

fn confirm(args: &RestoreArgs, point: &Point, path: Option<&Path>, caution: Option<String>) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let part = path.map(|path| format!("{} of ", printable(path.as_os_str()))).unwrap_or_default();
    let safety = if args.no_safety {
        "What is there is overwritten and NOT saved first."
    } else {
        "What is there is overwritten, after it was saved as a point."
    };
    let caution = caution.map(|caution| format!("{caution}\n")).unwrap_or_default();
    let question = format!(
        "Restore {part}{} as it was at {} UTC (point {}) to where it came from.\n{caution}{safety}\nType `yes` to go on:",
        point.item,
        show_time(point.time),
        point.short_id(),
    );
    match ui::ask(&question).context("ask for confirmation")? {
        Some(answer) if answer == "yes" => Ok(()),
        Some(_) => bail!("not confirmed; nothing was changed"),
        None => Err(anyhow!("restoring in place overwrites files, and there is no terminal to ask on"))
            .hint("add --yes, or look first with --dry-run")
            .exit(ExitCode::Usage),
    }
}

/// Saves what the restore is going to overwrite. Anything that goes wrong here stops it before it began.
fn save_safety_point(
    context: &Context,
    store: &Store,
    points: &[Point],
    chosen: &Chosen,
    item: &Item,
    source: &dyn Source,
) -> Result<()> {
    const HINT: &str = "nothing was changed; with --no-safety it is overwritten without being saved";
    let doing = || format!("save what would be overwritten of {}", item.id);
    // Most of it will be in the store already, as the newest point of the item has it.
    let newest = points.iter().filter(|point| point.item == item.id && point.complete).max_by_key(|point| point.time);
    let previous = newest.filter(|_| source.wants_previous()).map(|point| store.tree(point)).transpose()?;
    // A source may leave contents in the store before it has its tree.
    let _held = hold_store(context, store, Purpose::Share).with_context(doing).hint(HINT)?;
    let deposit = store.deposit();
    let opening = OpenOptions { previous: previous.as_ref(), deposit: Some(&deposit), ..OpenOptions::default() };
    let overwritten = source.overwritten(item, &chosen.saved, chosen.path.as_deref(), &opening, &*context.monitor);
    let Some(tree) = overwritten.with_context(doing).hint(HINT)? else { return Ok(()) };
    drop(previous);
    let safety = Item { id: format!("{}{SAFETY_SUFFIX}", item.id), ..item.clone() };
    let options = SaveOptions { time: context.now(), parent: newest, allow_empty: true, ..SaveOptions::default() };
    let saved = store.save(&safety, tree, &options, &*context.monitor).with_context(doing).hint(HINT)?;
    let short_id = saved.snapshot.get(..8).unwrap_or(&saved.snapshot).to_owned();
    if let Outcome::Incomplete(saved) = saved.into_outcome() {
        let unread = saved.problems.iter().find(|problem| problem.severity == Severity::Unread);
        let what = unread.map(|problem| format!("{}: {}", printable(problem.path.as_os_str()), problem.error));
        return Err(anyhow!("not everything could be read: {}", what.unwrap_or_default()))
            .with_context(doing)
            .hint(HINT);
    }
    let from = match store.place() {
        Place::Mirror(name) => format!(" --from {name}"),
        _ => String::new(),
    };
    context.monitor.say(&format!(
        "What is overwritten is saved. To undo: holdall restore {}@{short_id} --in-place{from} (files that are new now will stay)",
        safety.id
    ));
    Ok(())
}

fn report(args: &RestoreArgs, context: &Context, point: &Point, extracted: &Extracted) -> Result<ExitCode> {
    for problem in extracted.problems.iter().take(PROBLEMS_SHOWN) {
        let line = format!("{}: {}", printable(problem.path.as_os_str()), printable(OsStr::new(&problem.error)));
        match problem.severity {
            Severity::Unread => tracing::error!("{line}"),
            Severity::Warning => tracing::warn!("{line}"),
        }
    }
    let count = extracted.unrestored + extracted.warnings;
    let shown = extracted.problems.len().min(PROBLEMS_SHOWN) as u64;
    if count > shown {
        tracing::error!("and {} more problems", count - shown);
    }
    if context.output.json {
        let problems: Vec<_> = extracted
            .problems
            .iter()
            .map(|problem| json!({"path": path_text(&problem.path), "error": problem.error}))
            .collect();
        context.output.json_document(&json!({
            "item": point.item,
            "point": point.id,
            "files": extracted.files,
            "directories": extracted.directories,
            "others": extracted.others,
            "bytes": extracted.bytes,
            "unchanged": extracted.unchanged,
            "dry_run": args.dry_run,
            "problems": problems,
        }))?;
    }
    context.monitor.say(&summary(args, point, extracted));
    Ok(if extracted.is_incomplete() { ExitCode::Incomplete } else { ExitCode::Done })
}

fn summary(args: &RestoreArgs, point: &Point, extracted: &Extracted) -> String {
    let Extracted { files, directories, others, bytes, unchanged, unrestored, warnings, .. } = extracted;
    let verb = if args.dry_run { "would restore" } else { "restored" };
    let counts = [
        (*unchanged, "unchanged", "unchanged"),
        (*directories, "directory", "directories"),
        (*others, "link or device", "links and devices"),
        (*unrestored, "not as in the point", "not as in the point"),
        (*warnings, "warning", "warnings"),
    ];
    let number = |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let more: String = counts
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, more)| format!(", {}", number(*count, one, more)))
        .collect();
    let verified = if args.verify && !args.dry_run { "; compared with the store" } else { "" };
    format!(
        "{}: {verb} {} ({}) of point {}{more}{verified}",
        point.item,
        number(*files, "file", "files"),
        show_bytes(*bytes),
        point.short_id()
    )
}
