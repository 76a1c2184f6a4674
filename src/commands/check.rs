//! `holdall check`: would a run work? Configuration, store, every source's readiness, hooks, and who is told; changes nothing, but brings back what a run that was killed has left
//! stopped.

use anyhow::Result;
use serde_json::json;

use super::mirror::CUTS_OTHERWISE;
use super::mirrors::{self, about};
use super::places::{needs_store, replications};
use super::{Context, known_among, open_store, try_lock_source};
use crate::config::Config;
use crate::error::{Annotate, ExitCode, chain, exit_code, hints};
use crate::finding::{Finding, Said};
use crate::incus::check::{self, Examined};
use crate::job::{Driver, Job};
use crate::retention::sides::{Wider, wider_on_target};
use crate::select;
use crate::source::{Readiness, Source};
use crate::store::Store;
use crate::timeline::Timeline;

mod told;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Which sources: KIND.NAME, globs; none = all
    #[arg(value_name = "SELECTOR", add = super::completions::selectors())]
    selectors: Vec<String>,
}

/// Runs `check`.
pub fn run(args: &CheckArgs, context: &Context) -> Result<ExitCode> {
    let file = context.config_file();
    let mut findings = Vec::new();
    match context.config() {
        Ok(config) => {
            let sources = config.sources.len();
            let detail = format!("{}, {sources} {}", file.display(), if sources == 1 { "source" } else { "sources" });
            findings.push(Finding::of("configuration", Ok(detail)));
            look(args, context, &config, &mut findings)?;
        }
        Err(error) => findings.push(Finding::wrong("configuration", error)),
    }
    // Like any other command: 2, 10, 11 or 12 when that is what a run would end with.
    let first_error = findings.iter().find_map(|finding| match &finding.said {
        Said::Wrong(error) => Some(error),
        Said::Well(_) | Said::Warning { .. } => None,
    });
    let code = first_error.map_or(ExitCode::Done, exit_code);
    print(context, &findings)?;
    Ok(code)
}

fn look(args: &CheckArgs, context: &Context, config: &Config, findings: &mut Vec<Finding>) -> Result<()> {
    let mut points = Vec::new();
    let mut opened = None;
    if needs_store(config) {
        let looked = open_store(context, config).and_then(|store| Ok((store.points()?, store)));
        findings.push(Finding::of(
            "store",
            looked.map(|(there, store)| {
                points = there;
                let detail = format!("{}, {} points", store.repository(), points.len());
                opened = Some(store);
                detail
            }),
        ));
    }
    look_at_mirrors(context, config, opened.as_ref(), findings);
    drop(opened);
    let asked = replications(config, &args.selectors);
    let mut examined: Vec<(String, Examined)> =
        asked.iter().map(|one| (one.id.clone(), check::examine(one, context.now()))).collect();
    let mut items: Vec<String> = points.into_iter().map(|point| point.item).collect();
    items.extend(examined.iter().flat_map(|(_, examined)| examined.items.clone()));
    let wanted = select::resolve(&args.selectors, &known_among(config, items))?;
    for job in Job::all(config)? {
        let id = format!("{}/", job.id);
        if !wanted.iter().any(|item| *item == job.id || item.starts_with(&id)) {
            continue;
        }
        let Driver::Source(source) = &job.driver else {
            let own = examined.iter_mut().filter(|(id, _)| *id == job.id);
            findings.extend(own.flat_map(|(_, examined)| std::mem::take(&mut examined.findings)));
            continue;
        };
        let result = look_at(&job.id, &**source);
        let is_ready = result.as_ref().is_ok_and(|detail| !detail.starts_with(AWAY));
        findings.push(Finding::of(job.id.clone(), result));
        if is_ready {
            let examined = source.examine().unwrap_or_else(|error| vec![(job.id, error)]);
            findings.extend(examined.into_iter().map(|(what, error)| Finding::wrong(what, error)));
        }
    }
    if args.selectors.is_empty() {
        findings.extend(told::look(config));
    }
    findings.extend(told::look_at_hooks(config, &wanted));
    let wider = wider_on_target(config, &wanted);
    findings.extend(wider.iter().map(|wider| Finding::warning("retention", wider.to_string(), Wider::HINT)));
    Ok(())
}

/// A run with a mirror that does not open saves all the same, and ends as one in which something failed.
fn look_at_mirrors(context: &Context, config: &Config, store: Option<&Store>, findings: &mut Vec<Finding>) {
    for (mirror, answer) in mirrors::ask_all(context, config) {
        let told = answer.exit(ExitCode::Failed).and_then(|(there, points)| {
            let cuts_as_store = store.map_or(Ok(true), |store| store.cuts_as(&there))?;
            Ok((format!("{}, {} points", there.repository(), points.len()), cuts_as_store))
        });
        findings.push(match told {
            Ok((detail, false)) => {
                let hint =
                    format!("`holdall onboard store --mirror {} REPOSITORY` makes one for this store.", mirror.name);
                Finding::warning(about(mirror), format!("{detail}; {CUTS_OTHERWISE}"), hint)
            }
            told => Finding::of(about(mirror), told.map(|(detail, _)| detail)),
        });
    }
}

/// How what is said of a source begins that is away.
const AWAY: &str = "away: ";

fn look_at(id: &str, source: &dyn Source) -> Result<String> {
    match source.preflight()? {
        Readiness::Away(why) => Ok(format!("{AWAY}{why}")),
        Readiness::Ready if source.needs_mending()? => {
            // Who has the lock is a run that is under way, and will put right itself what it has changed.
            let Ok(_lock) = try_lock_source(id) else { return Ok("ready".to_owned()) };
            let done = source.mend()?;
            Ok(std::iter::once(ready(source)?).chain(done).collect::<Vec<_>>().join("; "))
        }
        Readiness::Ready => ready(source),
    }
}

/// What is said of a source that is ready.
fn ready(source: &dyn Source) -> Result<String> {
    Ok(source.describe()?.map_or_else(|| "ready".to_owned(), |what| format!("ready: {what}")))
}

fn print(context: &Context, findings: &[Finding]) -> Result<()> {
    if context.output.json {
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| {
                let (detail, hint) = match &finding.said {
                    Said::Well(detail) => (detail.clone(), String::new()),
                    Said::Warning { text, hint } => (format!("warning: {text}"), hint.clone()),
                    Said::Wrong(error) => (chain(error), hints(error).join("\n")),
                };
                let is_ok = !matches!(finding.said, Said::Wrong(_));
                let hint = Some(hint).filter(|hint| !hint.is_empty());
                json!({"what": finding.what, "ok": is_ok, "detail": detail, "hint": hint})
            })
            .collect();
        return context.output.json_document(&rows);
    }
    for Finding { what, said } in findings {
        let (line, hints) = match said {
            Said::Well(detail) => (format!("ok      {what}: {detail}"), Vec::new()),
            Said::Warning { text, hint } => (format!("WARNING {what}: {text}"), vec![hint.as_str()]),
            Said::Wrong(error) => (format!("FAILED  {what}: {}", chain(error)), hints(error)),
        };
        context.output.line(&line)?;
        for hint in hints.into_iter().filter(|hint| !hint.is_empty()) {
            context.output.line(&format!("        hint: {}", hint.replace('\n', "\n          ")))?;
        }
    }
    Ok(())
}
