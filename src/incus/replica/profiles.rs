//! Profiles that the target does not have, and that snapshots of the source name: a first copy leaves them out, but a refresh fails for want of them.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::incus::api::Server;
use crate::incus::mark;
use crate::incus::model::{InstanceSnapshot, Profile};
use crate::incus::select::{Subject, check_name};

/// Makes a placeholder on the target of each profile that snapshots name and the target does not have; whether there was any.
///
/// # Errors
///
/// When one of the servers refuses.
pub(super) fn make_placeholders(source: &Server, target: &Server, subject: &Subject) -> Result<bool> {
    let list = |server: &Server, path: &[&str]| {
        server.call("GET", path).project(&subject.project).query("recursion", "1").get::<Value>()
    };
    let snapshots: Vec<InstanceSnapshot> = serde_json::from_value(list(source, &subject.path(&["snapshots"]))?)?;
    let there: Vec<Profile> = serde_json::from_value(list(target, &["profiles"])?)?;
    let there: BTreeSet<String> = there.into_iter().map(|profile| profile.name).collect();
    let named: BTreeSet<String> = snapshots.into_iter().flat_map(|snapshot| snapshot.profiles).collect();
    let missing: Vec<&String> = named.difference(&there).collect();
    for name in &missing {
        check_name(name)?;
        let body = json!({
            "name": name,
            "description": "Made by holdall: snapshots name this profile, and Incus refreshes nothing without it",
            "config": { mark::PLACEHOLDER: "true" },
        });
        let made = target.call("POST", &["profiles"]).project(&subject.project).body(body).run();
        made.with_context(|| format!("make the profile {name}"))?;
    }
    Ok(!missing.is_empty())
}
