//! The projects and storage pools of a server that we see. A client that is restricted to some projects may not list pools: then those are
//! looked at that something of the project is on.

use std::collections::BTreeSet;

use anyhow::{Context, Error, Result};
use serde::Deserialize;

use super::check_name;
use crate::incus::api::{Server, refusal};
use crate::incus::model::{Pool, Settings};

/// More than any server has; what is beyond is not looked at.
const MOST: usize = 10_000;

/// A project: `Project` of `shared/api/project.go`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Whether it has volumes of its own; else it shows those of the default project.
    pub has_own_volumes: bool,
    /// The pools that volumes of it are on, as far as the server says it.
    pools: BTreeSet<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    name: String,
    config: Option<Settings>,
    used_by: Option<Vec<String>>,
}

impl From<Written> for Project {
    fn from(written: Written) -> Self {
        let settings = written.config.unwrap_or_default();
        let has_own_volumes = settings.get("features.storage.volumes").is_some_and(|value| value == "true");
        let used_by = written.used_by.unwrap_or_default();
        Self { name: written.name, has_own_volumes, pools: used_by.iter().filter_map(|path| pool_of(path)).collect() }
    }
}

/// `local` of `/1.0/storage-pools/local/volumes/custom/v1?project=lab`.
fn pool_of(path: &str) -> Option<String> {
    let (pool, rest) = path.strip_prefix("/1.0/storage-pools/")?.split_once('/')?;
    rest.starts_with("volumes/").then(|| pool.to_owned())
}

/// The projects that a server lets us see, by name.
///
/// # Errors
///
/// When it cannot be asked.
pub fn list_projects(server: &Server) -> Result<Vec<Project>> {
    let all: Vec<Written> = server.call("GET", &["projects"]).query("recursion", "1").get().context("list projects")?;
    let mut projects: Vec<Project> = all.into_iter().take(MOST).map(Project::from).collect();
    projects.iter().try_for_each(|project| check_name(&project.name))?;
    projects.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(projects)
}

/// The names of the storage pools that something of these projects may be on, sorted: all pools of the server, where it lets us list them.
///
/// # Errors
///
/// When the server cannot be asked.
pub fn list_pools(server: &Server, projects: &[&str]) -> Result<Vec<String>> {
    let all: Result<Vec<Pool>> = server.call("GET", &["storage-pools"]).query("recursion", "1").get();
    let names: BTreeSet<String> = match all {
        Ok(pools) => pools.into_iter().take(MOST).map(|pool| pool.name).collect(),
        Err(error) if is_restricted(&error) => {
            let mut names = BTreeSet::new();
            for project in projects {
                let written: Written = server.get(&["projects", project]).context("ask which storage pools it uses")?;
                names.extend(Project::from(written).pools);
            }
            names
        }
        Err(error) => return Err(error).context("list storage pools"),
    };
    names.iter().try_for_each(|name| check_name(name))?;
    Ok(names.into_iter().collect())
}

/// Whether the answer is that our certificate is for some projects only: Incus 6.0 says so with status 500, later ones with 403.
fn is_restricted(error: &Error) -> bool {
    refusal(error).is_some_and(|refused| refused.status == 403 || refused.message.contains("restricted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_of_a_project_are_those_of_what_it_has() {
        let written = serde_json::json!({
            "name": "lab",
            "config": { "features.storage.volumes": "true" },
            "used_by": ["/1.0/instances/c1?project=lab", "/1.0/storage-pools/local/volumes/custom/v?project=lab", "/1.0/storage-pools/x"],
        });
        let project = Project::from(serde_json::from_value::<Written>(written).unwrap());
        assert!(project.has_own_volumes);
        assert_eq!(project.pools.into_iter().collect::<Vec<_>>(), ["local"]);
        let bare =
            Project::from(serde_json::from_str::<Written>(r#"{"name":"x","config":null,"used_by":null}"#).unwrap());
        assert!(!bare.has_own_volumes && bare.pools.is_empty());
    }
}
