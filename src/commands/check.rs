//! `holdall check`: would a run work? Configuration, store, and every source's readiness; changes nothing, but brings back what a run that was killed has left
//! stopped.

use anyhow::{Error, Result};
use serde_json::json;

use super::{Context, known_items, open_store, try_lock_source};
use crate::config::Config;
use crate::error::{ExitCode, chain, exit_code, hints};
use crate::job::{Driver, Job};
use crate::select;
use crate::source::{Readiness, Source};
use crate::timeline::Timeline;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Which sources: KIND.NAME, globs; none = all
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
}

/// What was looked at and what came of it.
#[derive(Debug)]
struct Finding {
    what: String,
    result: Result<String>,
}

/// Runs `check`.
pub fn run(args: &CheckArgs, context: &Context) -> Result<ExitCode> {
    let file = context.config_file();
    let mut findings = Vec::new();
    match context.config() {
        Ok(config) => {
            let sources = config.sources.len();
            let detail = format!("{}, {sources} {}", file.display(), if sources == 1 { "source" } else { "sources" });
            findings.push(Finding { what: "configuration".into(), result: Ok(detail) });
            look(args, context, &config, &mut findings)?;
        }
        Err(error) => findings.push(Finding { what: "configuration".into(), result: Err(error) }),
    }
    // Like any other command: 2, 10, 11 or 12 when that is what a run would end with.
    let first_error = findings.iter().find_map(|finding| finding.result.as_ref().err());
    let code = first_error.map_or(ExitCode::Done, exit_code);
    print(context, &findings)?;
    Ok(code)
}

fn look(args: &CheckArgs, context: &Context, config: &Config, findings: &mut Vec<Finding>) -> Result<()> {
    let looked = open_store(context, config).and_then(|store| Ok((store.points()?, store)));
    let (points, result) = match looked {
        Ok((points, store)) => {
            let detail = format!("{}, {} points", store.repository(), points.len());
            (points, Ok(detail))
        }
        Err(error) => (Vec::new(), Err(error)),
    };
    findings.push(Finding { what: "store".into(), result });
    let wanted = select::resolve(&args.selectors, &known_items(config, &points))?;
    for job in Job::all(config)? {
        let id = format!("{}/", job.id);
        if wanted.iter().any(|item| *item == job.id || item.starts_with(&id)) {
            let Driver::Source(source) = &job.driver else { continue };
            let result = look_at(&job.id, &**source);
            let is_ready = result.as_ref().is_ok_and(|detail| !detail.starts_with(AWAY));
            findings.push(Finding { what: job.id.clone(), result });
            if is_ready {
                let examined = source.examine().unwrap_or_else(|error| vec![(job.id, error)]);
                findings.extend(examined.into_iter().map(|(what, error)| Finding { what, result: Err(error) }));
            }
        }
    }
    Ok(())
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
            Ok(std::iter::once("ready".to_owned()).chain(done).collect::<Vec<_>>().join("; "))
        }
        Readiness::Ready => Ok("ready".to_owned()),
    }
}

fn print(context: &Context, findings: &[Finding]) -> Result<()> {
    let hint = |error: &Error| Some(hints(error).join("\n")).filter(|hint| !hint.is_empty());
    if context.output.json {
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| {
                let (detail, hint) = match &finding.result {
                    Ok(detail) => (detail.clone(), None),
                    Err(error) => (chain(error), hint(error)),
                };
                json!({"what": finding.what, "ok": finding.result.is_ok(), "detail": detail, "hint": hint})
            })
            .collect();
        return context.output.json_document(&rows);
    }
    for finding in findings {
        match &finding.result {
            Ok(detail) => context.output.line(&format!("ok      {}: {detail}", finding.what))?,
            Err(error) => {
                context.output.line(&format!("FAILED  {}: {}", finding.what, chain(error)))?;
                for hint in hints(error) {
                    context.output.line(&format!("        hint: {}", hint.replace('\n', "\n          ")))?;
                }
            }
        }
    }
    Ok(())
}
