//! Who uses what is going to be overwritten: whoever runs and has it mounted.

use std::path::Path;

use anyhow::{Error, Result, anyhow};

use super::Back;
use super::plan::Place;
use crate::config::HoldConfig;
use crate::error::{Annotate, chain};
use crate::source::docker::engine::{Container, MountKind, State};

/// Those that were stopped. Dropping it starts them again.
#[derive(Debug)]
pub(crate) struct Stopped(());

impl Stopped {
    /// Starts them again; one error for each that did not come back.
    pub(crate) fn let_go(self) -> Vec<Error> {
        Vec::new()
    }
}

impl Back<'_> {
    /// Sees that nobody who runs uses these places; who does is stopped if he may be. In a dry run nobody is.
    ///
    /// # Errors
    ///
    /// When somebody uses them who may not be stopped, or does not stop.
    pub(crate) fn stop_users(&self, places: &[&Place], config: &HoldConfig) -> Result<Option<Stopped>> {
        let all: Vec<Container> =
            self.engine.containers()?.into_iter().filter(|container| !container.is_ours()).collect();
        let uses = |container: &Container| {
            container.state != State::Stopped && places.iter().any(|place| is_used_by(place, container))
        };
        let users: Vec<Container> = all.iter().filter(|container| uses(container)).cloned().collect();
        if users.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        if !self.options.stop {
            let (is, use_) = if let [_] = names[..] { ("is", "uses") } else { ("are", "use") };
            return Err(anyhow!("{} {is} running and {use_} what would be overwritten", names.join(", "))).hint(format!(
                "Add --stop: then holdall stops them and starts them again. Or: docker stop {}. Or restore beside it with --as NAME.",
                names.join(" ")
            ));
        }
        let _ = config;
        Ok(None)
    }
}

/// Whether a place is mounted in a container, or lies in what is.
fn is_used_by(place: &Place, container: &Container) -> bool {
    container.mounts.iter().any(|mount| match (place, &mount.kind) {
        (Place::Volume(name), MountKind::Volume(mounted)) => name == mounted,
        // Who has all of the machine mounted looks at it, and does not work on it.
        (Place::Path(path), MountKind::Bind(mounted)) => {
            mounted != Path::new("/") && (path.starts_with(mounted) || mounted.starts_with(path))
        }
        _ => false,
    })
}

/// What a restore came to, with those that did not come back after it.
pub(crate) fn all_started<T>(restored: Result<T>, errors: Vec<Error>) -> Result<T> {
    for error in &errors {
        tracing::error!("{}", chain(error));
    }
    match (restored, errors.into_iter().next()) {
        (Ok(_), Some(error)) => Err(error.context("everything is restored, but not everything runs again")),
        (restored, _) => restored,
    }
}
