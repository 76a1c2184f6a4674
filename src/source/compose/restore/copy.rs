//! A stack beside the original, under another name: for a rehearsal. Nothing of the original is touched, and nothing is started.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::Plan;
use super::start::tell_image;
use crate::error::{Annotate, ExitCode};
use crate::source::compose::folder::normalized;
use crate::source::compose::labels;
use crate::source::compose::record::Record;
use crate::source::docker::restore::plan::{Fill, Place};
use crate::source::docker::restore::{Back, body, check_name};

/// Where the parts of a copy go. What is not the stack's own is left where it is, and the copy will use it as well.
///
/// # Errors
///
/// When nobody knows where the original is.
pub(super) fn moved(record: &Record, fills: Vec<Fill>, name: &str) -> Result<Vec<Fill>> {
    let folder = folder(record, name)?;
    let begin = format!("{}_", record.project);
    let moved = fills.into_iter().filter_map(|fill| {
        let place = match &fill.place {
            Place::Volume(volume) => Place::Volume(format!("{name}_{}", volume.strip_prefix(&begin)?)),
            Place::Path(path) => {
                let below = path.strip_prefix(record.working_dir.as_ref()?).ok()?;
                // Joining nothing would leave a slash at the end.
                Place::Path(if below.as_os_str().is_empty() { folder.clone() } else { folder.join(below) })
            }
        };
        Some(Fill { place, is_copy: true, ..fill })
    });
    Ok(moved.collect())
}

/// The folder of the copy.
fn folder(record: &Record, name: &str) -> Result<PathBuf> {
    let own = record.working_dir.as_deref().filter(|own| own.parent().is_some());
    own.map(|own| own.with_file_name(name))
        .context("nobody knows where the folder of the stack was")
        .hint("Restore it with --to DIR.")
}

/// Sees that nothing is where the copy goes.
///
/// # Errors
///
/// When something is, or the name is none.
pub(super) fn check(back: &Back<'_>, plan: &Plan, name: &str, is_taken: bool) -> Result<()> {
    if name.is_empty() || normalized(name) != name {
        return Err(anyhow!("`{name}` is no name that a project can have"))
            .hint("Small letters, digits and, but not first, `_` and `-`.")
            .exit(ExitCode::Usage);
    }
    let taken = |what: String| -> Result<()> {
        Err(anyhow!("there is {what} already")).hint("With --as a name that is free is needed: nothing is overwritten.")
    };
    if is_taken {
        return taken(format!("a stack {name}"));
    }
    let folder = folder(&plan.record, name)?;
    let is_empty = || std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none());
    if folder.symlink_metadata().is_ok() && !is_empty() {
        return taken(folder.display().to_string());
    }
    for fill in &plan.fills {
        if let Place::Volume(volume) = &fill.place
            && back.engine.volume(volume)?.is_some()
        {
            return taken(format!("a volume {volume}"));
        }
    }
    Ok(())
}

/// Makes a volume of the copy, as Compose would for it: then Compose takes it for its own.
///
/// # Errors
///
/// When the engine does not make it.
pub(super) fn make_volume(back: &Back<'_>, fill: &Fill, project: &str, name: &str, volume: &str) -> Result<()> {
    if back.options.dry_run {
        return Ok(());
    }
    check_name(volume)?;
    let described = fill.described.as_ref().map_or(Ok(None), |path| back.described(path))?.unwrap_or_default();
    let mut all = body::without_memberships(&described["Labels"]);
    let is_own = described["Labels"][labels::PROJECT] == project;
    if let Some(all) = all.as_object_mut().filter(|_| is_own) {
        let key = volume.strip_prefix(name).and_then(|rest| rest.strip_prefix('_')).unwrap_or(volume);
        all.insert(labels::PROJECT.to_owned(), json!(name));
        all.insert(labels::VOLUME.to_owned(), json!(key));
    }
    back.say("would make", "makes", &format!("the volume {volume}"));
    // Without the options of the original, which may name where its content is.
    let body = json!({"Name": volume, "Driver": "local", "Labels": all});
    back.engine.create_volume(&body).map(drop).with_context(|| format!("make the volume {volume}"))
}

/// Says what the copy shares with the original, and what to type to have it running.
///
/// # Errors
///
/// When the engine does not say what images it has.
pub(super) fn tell(back: &Back<'_>, record: &Record, name: &str) -> Result<()> {
    let folder = folder(record, name)?;
    let begin = format!("{}_", record.project);
    for volume in super::volumes(back)?.iter().filter(|volume| !volume.starts_with(&begin)) {
        tracing::warn!(
            "the volume {volume} is not the stack's own by its name, and not copied: the copy may use the original"
        );
    }
    let is_own = |path: &Path| record.working_dir.as_ref().is_some_and(|own| path.starts_with(own));
    for bind in record.files.iter().chain(&record.binds).filter(|bind| !is_own(&bind.source)) {
        tracing::warn!(
            "{} is outside of the folder, and not copied: the copy will use the original",
            bind.source.display()
        );
    }
    for service in record.services.values() {
        tell_image(back, service.image.as_deref(), service.digests.as_deref())?;
    }
    back.monitor.say(&format!(
        "Nothing of it is started. Look at published ports and container names, which are those of the original, then: {}",
        record.command(name, &folder)
    ));
    Ok(())
}
