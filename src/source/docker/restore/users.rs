//! Who uses what is going to be overwritten: whoever runs and has it mounted.

use std::path::Path;

use anyhow::{Result, anyhow};

use super::Back;
use super::plan::Place;
use crate::config::{Hold, HoldConfig};
use crate::error::{Annotate, chain};
use crate::monitor::Monitor;
use crate::source::docker::engine::{Container, MountKind, State};
use crate::source::docker::hold::{Held, Holder, LABEL};

impl Back<'_> {
    /// Sees that nobody who runs uses these places; who does is stopped if he may be. In a dry run nobody is.
    ///
    /// # Errors
    ///
    /// When somebody uses them who may not be stopped, or does not stop.
    pub(crate) fn stop_users(&self, places: &[&Place], config: &HoldConfig) -> Result<Option<Held>> {
        self.stop_whoever(&|container| places.iter().any(|place| is_used_by(place, container)), &[], config)
    }

    /// The same for whoever `uses` says. `depends`: ids, each with that of a container it needs, known from elsewhere than labels.
    ///
    /// # Errors
    ///
    /// As [`Back::stop_users`].
    pub(crate) fn stop_whoever(
        &self,
        uses: &dyn Fn(&Container) -> bool,
        depends: &[(String, String)],
        config: &HoldConfig,
    ) -> Result<Option<Held>> {
        let all: Vec<Container> =
            self.engine.containers()?.into_iter().filter(|container| !container.is_ours()).collect();
        let is_in_the_way = |container: &&Container| container.state != State::Stopped && uses(container);
        let users: Vec<Container> = all.iter().filter(is_in_the_way).cloned().collect();
        if users.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        if !self.options.stop {
            let (is, use_) = if let [_] = names[..] { ("is", "uses") } else { ("are", "use") };
            return Err(anyhow!("{} {is} running and {use_} what would be overwritten", names.join(", "))).hint(format!(
                "Add --stop: then holdall stops what is in the way and starts it again. Or: docker stop {}. Or restore beside it with --as NAME.",
                names.join(" ")
            ));
        }
        if self.options.dry_run {
            self.monitor.say(&format!("would stop, and start again: {}", names.join(", ")));
            return Ok(None);
        }
        self.stop(&users, all, depends, config).map(Some)
    }

    /// Stops them, whatever they want for a backup.
    fn stop(
        &self,
        users: &[Container],
        all: Vec<Container>,
        depends: &[(String, String)],
        config: &HoldConfig,
    ) -> Result<Held> {
        let is_user = |container: &Container| users.iter().any(|user| user.id == container.id);
        let told = |mut container: Container| {
            if is_user(&container) {
                container.labels.insert(LABEL.to_owned(), "stop".to_owned());
            }
            container
        };
        let all: Vec<Container> = all.into_iter().map(told).collect();
        let users: Vec<Container> = all.iter().filter(|container| is_user(container)).cloned().collect();
        let config = HoldConfig { hold: Hold::Stop, ..config.clone() };
        let holder = Holder { engine: self.engine, source: self.source, config: &config };
        let held = holder.hold(&users, &all, depends, self.monitor)?;
        for user in &users {
            // Whoever is frozen would find other files than it knows when it goes on.
            let now = self.engine.container(&user.id)?;
            if now.is_some_and(|now| now.state != State::Stopped) {
                return Err(anyhow!(
                    "{} uses what would be overwritten, and could not be stopped without harm",
                    user.name
                ))
                .hint(format!("Stop it yourself, restore, and start it again: docker stop {}", user.name));
            }
        }
        Ok(held)
    }
}

/// Whether a place is mounted in a container, or lies in what is.
pub(crate) fn is_used_by(place: &Place, container: &Container) -> bool {
    container.mounts.iter().any(|mount| match (place, &mount.kind) {
        (Place::Volume(name), MountKind::Volume(mounted)) => name == mounted,
        // Who has all of the machine mounted looks at it, and does not work on it.
        (Place::Path(path), MountKind::Bind(mounted)) => {
            mounted != Path::new("/") && (path.starts_with(mounted) || mounted.starts_with(path))
        }
        _ => false,
    })
}

/// Starts again who was stopped for a restore; what the restore came to, with those that did not come back after it.
pub(crate) fn all_started<T>(restored: Result<T>, stopped: Option<Held>, monitor: &dyn Monitor) -> Result<T> {
    let errors = stopped.map(|held| held.let_go(monitor)).unwrap_or_default();
    for error in &errors {
        tracing::error!("{}", chain(error));
    }
    match (restored, errors.into_iter().next()) {
        (Ok(_), Some(error)) => Err(error.context("everything is restored, but not everything runs again")),
        (restored, _) => restored,
    }
}
