//! Puts images back: as `docker load` takes them.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::{Back, described};
use crate::error::{Annotate, ExitCode};
use crate::extract::{Action, Change, Extracted, find};
use crate::monitor::Unit;
use crate::store::SavedTree;

/// The archive of a saved image, and what the engine said of it.
const ARCHIVE: &str = "/image.tar";
const DESCRIPTION: &str = "/image.json";

/// An image that a container needs.
pub(super) enum Needed {
    /// It is there, under this name or id.
    There(String),
    /// A point of the store has it.
    Saved { name: String, tree: Box<SavedTree> },
}

impl Back<'_> {
    /// Refuses what cannot be done with an image.
    pub(super) fn check_image(&self) -> Result<()> {
        if self.options.rename.is_some() {
            return Err(anyhow!("an image comes back under its own name"))
                .hint("Restore it, then give it another name: docker tag OLD NEW.")
                .exit(ExitCode::Usage);
        }
        if let Some(path) = &self.options.path {
            return Err(anyhow!("{} is only a part of an image", path.display()))
                .hint("Bring it back with --to DIR.")
                .exit(ExitCode::Usage);
        }
        find(self.saved, Path::new(ARCHIVE)).map(drop)
    }

    /// Gives the engine the image of this point.
    pub(super) fn image(&self, name: &str) -> Result<Extracted> {
        self.check_image()?;
        if let Some(id) = self.engine.image(name)?.and_then(|image| id(&image)) {
            if saved_id(self.saved)?.as_ref() == Some(&id) {
                self.monitor.say(&format!("the image {name} is there already"));
                return Ok(Extracted { unchanged: 1, ..Extracted::default() });
            }
            self.say("would take", "takes", &format!("the name {name} from the image {id}, which stays without it"));
        }
        self.load(self.saved, name)
    }

    /// Gives the engine the image that a point has.
    pub(super) fn load(&self, saved: &SavedTree, name: &str) -> Result<Extracted> {
        let archive = find(saved, Path::new(ARCHIVE))?;
        let mut done = Extracted { files: 1, ..Extracted::default() };
        done.bytes = saved.piece_sizes(&archive)?.into_iter().fold(0, u64::saturating_add);
        if let Some(watch) = &self.options.watch {
            watch.tell(&Action { change: Change::Added, path: Path::new(name), node: &archive })?;
        }
        if self.options.dry_run {
            return Ok(done);
        }
        let task = self.monitor.start(&saved.point().item, "restore", Unit::Bytes);
        task.expect(done.bytes);
        let loaded = self.engine.load_image(|output| {
            for piece in saved.read(&archive)? {
                let piece = piece?;
                output.write_all(&piece)?;
                task.advance(piece.len() as u64);
            }
            Ok(())
        });
        task.finish();
        loaded.with_context(|| format!("load the image {name}"))?;
        let now = self.engine.image(name)?.and_then(|image| id(&image));
        let then = saved_id(saved)?;
        match (now, then) {
            (None, _) => Err(anyhow!("the engine has taken the archive, and has no image {name}")),
            (Some(now), Some(then)) if now != then => {
                let error = format!("the engine has it as {now}, it was {then}");
                done.add(extract_warning(error));
                Ok(done)
            }
            _ => Ok(done),
        }
    }

    /// Finds the image that a container of the point was made from.
    ///
    /// # Errors
    ///
    /// When neither the engine nor the store has it.
    pub(super) fn needed_image(&self, inspect: &Value) -> Result<Needed> {
        let text = |pointer: &str| inspect.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (name, wanted) = (text("/Config/Image"), text("/Image"));
        if let Some(image) = self.engine.image(name)? {
            if id(&image).is_some_and(|id| !wanted.is_empty() && id != wanted) {
                tracing::warn!("the image {name} is not the one that the container was made from: that was {wanted}");
            }
            return Ok(Needed::There(name.to_owned()));
        }
        if !wanted.is_empty() && self.engine.image(wanted)?.is_some() {
            tracing::warn!("the image {wanted} has lost its name {name}: docker tag {wanted} {name} gives it back");
            return Ok(Needed::There(wanted.to_owned()));
        }
        let is_it = |tree: &SavedTree| Ok(saved_id(tree)?.is_some_and(|id| id == wanted));
        if let Some(library) = &self.options.library {
            let item = format!("{}/image/{}", self.source, with_tag(name));
            for suits in [&is_it as &dyn Fn(&SavedTree) -> Result<bool>, &|_| Ok(true)] {
                if let Some(tree) = library.newest(&item, suits)? {
                    return Ok(Needed::Saved { name: with_tag(name), tree: Box::new(tree) });
                }
            }
        }
        Err(anyhow!("there is no image {name}, neither in the engine nor in the store")).hint(self.pull(name)?)
    }

    /// What to type to get an image from where it came from.
    fn pull(&self, name: &str) -> Result<String> {
        let digests = self.described(Path::new(DESCRIPTION))?.unwrap_or_default();
        let digest = digests.pointer("/RepoDigests/0").and_then(Value::as_str);
        Ok(match digest {
            Some(digest) => format!("Type docker pull {digest} && docker tag {digest} {name}, then restore once more."),
            None => format!(
                "Type docker pull {name}, then restore once more. `images` of the source says which images are saved."
            ),
        })
    }
}

fn extract_warning(error: String) -> crate::source::Problem {
    crate::source::Problem { path: ARCHIVE.into(), error, severity: crate::source::Severity::Warning }
}

/// Which image a point has.
fn saved_id(saved: &SavedTree) -> Result<Option<String>> {
    Ok(described(saved, Path::new(DESCRIPTION))?.and_then(|image| id(&image)))
}

fn id(image: &Value) -> Option<String> {
    image["Id"].as_str().map(str::to_owned)
}

/// The name of an image as its item has it.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_without_a_tag_means_the_latest() {
        for (name, item) in
            [("bb", "bb:latest"), ("h:5000/bb", "h:5000/bb:latest"), ("bb:1", "bb:1"), ("a@sha256:1", "a@sha256:1")]
        {
            assert_eq!(with_tag(name), item);
        }
    }
}
