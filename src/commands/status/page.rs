//! What the page of `status --html` shows, and how it gets into its file.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use tempfile::NamedTempFile;

use super::{Context, Freshness};
use crate::cli::VERSION;
use crate::config::Config;
use crate::durable::sync_directory;
use crate::error::{Annotate, chain};
use crate::history;
use crate::history::tally::troubles;
use crate::page::plot::Sample;
use crate::page::{Failure, ItemView, Page, State};
use crate::timeline::{Place, Point};

/// How many failures the page shows.
const FAILURES: usize = 25;

/// What the report file tells.
#[derive(Default)]
struct Told {
    added: HashMap<String, Vec<Sample>>,
    failures: VecDeque<Failure>,
}

/// Makes the page, and writes it to `target`; `-` is standard output.
pub(super) fn write(
    target: &Path,
    context: &Context,
    config: &Config,
    rows: &[Freshness],
    points: &[Point],
) -> Result<()> {
    // Whoever may not read the report file has a page without it.
    let told = config.report_file.as_deref().and_then(|file| {
        read(file).inspect_err(|error| tracing::warn!("the page lacks what runs have told: {}", chain(error))).ok()
    });
    let (mut added, failures) = match told {
        Some(told) => {
            let mut failures = Vec::from(told.failures);
            failures.sort_by_key(|failure| std::cmp::Reverse(failure.time));
            (Some(told.added), Some(failures))
        }
        None => (None, None),
    };
    let page = Page {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        version: VERSION.to_owned(),
        time: context.now(),
        items: rows
            .iter()
            .map(|row| view(row, points, added.as_mut().map(|added| added.remove(&row.item).unwrap_or_default())))
            .collect(),
        failures,
    };
    let html = page.render();
    if target == Path::new("-") {
        return context.output.bytes(html.as_bytes());
    }
    let hint = "Name a file in a directory that you can write, or `-` for standard output.";
    replace(target, html.as_bytes()).with_context(|| format!("write the page {}", target.display())).hint(hint)
}

fn view(row: &Freshness, points: &[Point], added: Option<Vec<Sample>>) -> ItemView {
    let own = || points.iter().filter(|point| point.item == row.item && point.bytes.is_some());
    // Where an item is in several places, one of them has the whole story; a place with fewer sizes would draw a second line through it.
    let place = [Place::Store, Place::Target, Place::Source]
        .into_iter()
        .max_by_key(|place| own().filter(|point| point.place == *place).count());
    let mut sizes: Vec<Sample> = own()
        .filter(|point| Some(point.place) == place)
        .map(|point| Sample {
            time: point.time.timestamp(),
            value: point.bytes.unwrap_or_default(),
            is_whole: point.complete,
        })
        .collect();
    sizes.sort_by_key(|sample| sample.time);
    ItemView {
        item: row.item.clone(),
        newest: row.newest,
        age: row.age,
        max_age: row.max_age,
        points: row.points,
        bytes: row.bytes,
        state: match (row.is_known, row.is_stale(), row.max_age) {
            (false, ..) => State::NotKnown,
            (_, true, _) => State::Stale,
            (.., None) => State::NoLimit,
            (.., Some(_)) => State::Fresh,
        },
        sizes,
        added,
    }
}

/// Reads the report file once, and keeps a moment and a number of each item and run.
fn read(file: &Path) -> Result<Told> {
    let mut told = Told::default();
    let Some(mut runs) = history::open(file)? else { return Ok(told) };
    for run in runs.by_ref() {
        let run = run?;
        for item in run.items.iter().filter(|item| matches!(item.outcome.as_str(), "saved" | "incomplete")) {
            let sample = Sample { time: run.time.timestamp(), value: item.added(), is_whole: item.outcome == "saved" };
            told.added.entry(item.item.clone()).or_default().push(sample);
        }
        for trouble in troubles(&run) {
            told.failures.push_back(Failure {
                time: trouble.time,
                what: trouble.what,
                outcome: trouble.outcome,
                error: trouble.error,
            });
            if told.failures.len() > FAILURES {
                told.failures.pop_front();
            }
        }
    }
    if let Some(complaint) = runs.complaint() {
        tracing::warn!("{}: {complaint}", file.display());
    }
    Ok(told)
}

/// Puts the file in the place of the one that is there, at once and whole. Everybody can read it: a web server has to.
fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    // A link stays one, and what it leads to is replaced.
    let target: PathBuf = match fs::canonicalize(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => target.to_path_buf(),
        found => found?,
    };
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return Err(anyhow!("it is not a plain file"));
    }
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::with_prefix_in(".holdall-", directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    sync_directory(directory)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn page_takes_the_place_of_the_old_one_behind_a_link_too() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, link) = (scratch.path().join("page.html"), scratch.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink("page.html", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(replace(scratch.path(), b"x").is_err());
        assert!(replace(Path::new("/dev/null"), b"x").is_err());
        assert!(replace(&scratch.path().join("missing/page.html"), b"x").is_err());
    }
}
