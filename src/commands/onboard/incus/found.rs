//! What a source has, and how that is written into the configuration.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};

use super::Context;
use crate::config::edit::Stanza;
use crate::error::{Annotate, ExitCode};
use crate::incus::model::Instance;
use crate::incus::onboarding::Welcome;
use crate::incus::select::{list_instances, list_volumes};
use crate::output::printable;

/// How many names are shown of a project.
const SHOWN: usize = 10;

/// What there is in the projects that are backed up.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By name.
    pub projects: Vec<FoundProject>,
}

/// What there is in one of them.
#[derive(Debug)]
pub(super) struct FoundProject {
    /// Its name.
    pub name: String,
    /// Whether it has volumes of its own, and not those of the default project.
    pub has_own_volumes: bool,
    /// By name.
    pub instances: Vec<Instance>,
    /// Pool and name.
    pub volumes: Vec<(String, String)>,
}

/// Looks at the projects that were named, or at all.
///
/// # Errors
///
/// When one that was named is not there or may not be seen, or the source cannot be asked.
pub(super) fn look(source: &Welcome, wanted: &[String]) -> Result<Found> {
    for name in wanted {
        must_be_there(name, source)?;
    }
    let mut projects = Vec::new();
    for project in source.projects.iter().filter(|project| wanted.is_empty() || wanted.contains(&project.name)) {
        let volumes = match project.has_own_volumes {
            true => list_volumes(&source.server, &project.name)?,
            false => Vec::new(),
        };
        projects.push(FoundProject {
            name: project.name.clone(),
            has_own_volumes: project.has_own_volumes,
            instances: list_instances(&source.server, &project.name)?,
            volumes: volumes.into_iter().map(|(pool, volume)| (pool, volume.name)).collect(),
        });
    }
    Ok(Found { projects })
}

fn must_be_there(name: &str, source: &Welcome) -> Result<()> {
    if source.has_project(name) {
        return Ok(());
    }
    let there = source.project_names();
    let (text, hint) = if source.is_restricted {
        let text = format!("our certificate on the source is restricted to other projects than {name}: {there}");
        let hint = format!(
            "Its administrator adds the project with `incus config trust edit`, or makes a token with `incus config trust add holdall \
             --restricted --projects {name}` after taking the old certificate back."
        );
        (text, hint)
    } else {
        (format!("the source has no project {name}"), format!("There is: {there}."))
    };
    Err(anyhow!(text)).hint(hint).exit(ExitCode::Usage)
}

impl Found {
    /// Of all projects.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.projects.iter().flat_map(|project| &project.instances)
    }

    /// Pool and name, of all projects.
    pub fn volumes(&self) -> impl Iterator<Item = &(String, String)> {
        self.projects.iter().flat_map(|project| &project.volumes)
    }

    /// Says what is going to be backed up.
    pub fn tell(&self, context: &Context) {
        for project in &self.projects {
            let instances: Vec<&str> = project.instances.iter().map(|instance| instance.name.as_str()).collect();
            let volumes: Vec<&str> = project.volumes.iter().map(|(_, name)| name.as_str()).collect();
            let parts = [counted("instance", &instances), counted("volume", &volumes)];
            context.monitor.say(&format!("  project {}: {}", printable(project.name.as_ref()), parts.join("; ")));
            for name in twins(&volumes) {
                context.monitor.say(&format!(
                    "Warning: two pools have a volume {}, and one item cannot be both. Say which: volumes = [{{ name = \"…\", pool = \"…\" }}]",
                    printable(name.as_ref())
                ));
            }
        }
    }

    /// Writes a `[[incus.NAME.project]]` for each project that has something, or else was named.
    pub fn describe(&self, stanza: &mut Stanza, wanted: &[String]) {
        let has = |project: &&FoundProject| !project.instances.is_empty() || !project.volumes.is_empty();
        let mut is_empty = true;
        for project in self.projects.iter().filter(has) {
            stanza.push("project", row(&project.name, project.has_own_volumes));
            is_empty = false;
        }
        // Nothing there yet, or nothing seen: what comes is to be backed up.
        if is_empty {
            let default = ["default".to_owned()];
            for name in if wanted.is_empty() { &default[..] } else { wanted } {
                stanza.push("project", row(name, true));
            }
        }
    }
}

/// Whatever is there and whatever comes.
fn row(name: &str, has_own_volumes: bool) -> Stanza {
    let mut row = Stanza::row();
    row.set("name", name);
    for (key, is_there) in [("instances", true), ("volumes", has_own_volumes)] {
        if is_there {
            let mut every = Stanza::row();
            every.set("name", "*");
            row.set_rows(key, vec![every]);
        }
    }
    row
}

/// Names that are there twice.
fn twins<'n>(names: &[&'n str]) -> BTreeSet<&'n str> {
    let mut seen = BTreeSet::new();
    names.iter().copied().filter(|name| !seen.insert(*name)).collect()
}

fn counted(what: &str, names: &[&str]) -> String {
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| printable(name.as_ref())).collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    match names.len() {
        0 => format!("no {what}s"),
        1 => format!("1 {what} ({})", shown.join(", ")),
        count => format!("{count} {what}s ({})", shown.join(", ")),
    }
}
