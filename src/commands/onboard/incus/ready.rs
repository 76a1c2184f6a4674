//! What a first backup needs of the target, and what is to be typed where that is missing.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::Context;
use super::found::Found;
use crate::error::{Annotate, ExitCode};
use crate::incus::api::{Server, fingerprint};
use crate::incus::onboarding::Welcome;
use crate::incus::select::list_pools;
use crate::output::printable;

/// Without it a target that has fewer snapshots than the source breaks refreshes on some pools (lxc/incus#2952).
const EXCLUDE_OLDER: &str = "custom_volume_refresh_exclude_older_snapshots";

/// Refuses two URLs that lead to one server.
///
/// # Errors
///
/// When they do; exit code [`ExitCode::Usage`].
pub(super) fn are_two(source: &Server, target: &Server) -> Result<()> {
    let print = |server: &Server| server.certificate().map(|certificate| fingerprint(&certificate));
    if print(source) != print(target) {
        return Ok(());
    }
    Err(anyhow!("{} and {} are the same server", source.address(), target.address()))
        .hint("A copy on the server itself is no backup. Give the URL and a token of another one, or leave --target-url out.")
        .exit(ExitCode::Usage)
}

/// Says what the target lacks of what the source has; nothing is changed there.
///
/// # Errors
///
/// When the target cannot be asked.
pub(super) fn tell(source: &Server, target: &Welcome, found: &Found, context: &Context) -> Result<()> {
    let say = |line: String| context.monitor.say(&format!("Warning: {line}"));
    for project in found.projects.iter().filter(|project| !target.has_project(&project.name)) {
        let name = printable(project.name.as_ref());
        say(match target.is_restricted {
            true => format!(
                "we may not see a project {name} on the target: let our certificate into it, or nothing of it can be copied."
            ),
            false => format!("the target has no project {name}: make it there with `incus project create {name}`."),
        });
    }
    let of_roots: BTreeSet<&str> = found.instances().filter_map(|instance| instance.root_pool()).collect();
    let of_volumes: BTreeSet<&str> = found.volumes().map(|(pool, _)| pool.as_str()).collect();
    let projects: Vec<&str> = target.projects.iter().map(|project| project.name.as_str()).collect();
    let there = list_pools(&target.server, &projects)?;
    for pool in of_roots.union(&of_volumes) {
        if target.server.call("GET", &["storage-pools", pool]).find::<Value>()?.is_some() {
            continue;
        }
        let shown = printable(pool.as_ref());
        if of_roots.contains(pool) {
            let other = there.first().map_or("POOL", String::as_str);
            say(format!(
                "the target has no pool {shown}{}. Say where root disks go: instances = [{{ name = \"*\", pool = \"{}\" }}]",
                which_there_are(&there),
                printable(other.as_ref())
            ));
        }
        if of_volumes.contains(pool) {
            say(format!(
                "the target has no pool {shown}, and volumes are copied to the pool that is called like theirs. Make one there, \
                 `incus storage create {shown} DRIVER`, or exclude the volumes on it."
            ));
        }
    }
    for server in [source, &target.server].into_iter().filter(|server| !server.has(EXCLUDE_OLDER)) {
        say(format!(
            "the {} is too old to leave out older snapshots in a refresh ({EXCLUDE_OLDER}): keep as much on the target as on the source, with \
             same-retention = true.",
            server.role().word()
        ));
    }
    Ok(())
}

fn which_there_are(pools: &[String]) -> String {
    match pools {
        [] => String::new(),
        _ => format!(", but {}", printable(pools.join(", ").as_ref())),
    }
}
