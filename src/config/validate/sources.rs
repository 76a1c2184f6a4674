//! The sources: their names, and the kinds that need no module of their own.

use toml::Spanned;

use super::shared::Shared;
use super::{compose, docker, incus, ios, ssh};
use crate::config::file::{File, FilesTable};
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{FilesConfig, SourceConfig};

/// The names of all sources, also of those that have problems.
#[derive(Debug)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// Reports names that cannot be and names used twice.
    pub(super) fn check(written: &File, problems: &mut Collector) -> Self {
        let files = written.files.keys().map(|name| ("files", name));
        let ssh = written.ssh.keys().map(|name| ("ssh", name));
        let docker = written.docker.keys().map(|name| ("docker", name));
        let compose = written.compose.keys().map(|name| ("compose", name));
        let incus = written.incus.keys().map(|name| ("incus", name));
        let ios = written.ios.keys().map(|name| ("ios", name));
        Self::of(files.chain(ssh).chain(docker).chain(compose).chain(incus).chain(ios), problems)
    }

    fn of<'n>(kinds: impl Iterator<Item = (&'static str, &'n Spanned<String>)>, problems: &mut Collector) -> Self {
        let mut names: Vec<(String, String)> = Vec::new();
        for (kind, spanned) in kinds {
            let name = spanned.get_ref();
            let id = format!("{kind}.{name}");
            if let Some(near) = better_name(name) {
                problems.report(&spanned.span(), &id, format!("`{name}` cannot be a name{near}"));
            }
            if let Some((first, _)) = names.iter().find(|(_, known)| known == name) {
                let text = format!("the name `{name}` is used by {first} as well; names are unique across kinds");
                problems.report(&spanned.span(), &id, text);
            }
            names.push((id, name.clone()));
        }
        Self(names)
    }

    /// Each source as `KIND.NAME` and as `NAME`.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(id, name)| (id.as_str(), name.as_str()))
    }
}

/// Why a name is none, as the end of a message; `None` when it is one: `[a-z0-9][a-z0-9_-]*`.
fn better_name(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.starts_with(is_plain) && name.chars().all(|c| is_plain(c) || c == '_' || c == '-') {
        return None;
    }
    let lower = name.to_lowercase();
    let near: String = lower.chars().map(|c| if is_plain(c) || c == '_' { c } else { '-' }).collect();
    let near = near.trim_matches(['-', '_']);
    let rule = ": it is made of a-z, 0-9, _ and -, and begins with a letter or digit";
    Some(if near.is_empty() { rule.to_owned() } else { format!("{rule}; write `{near}`") })
}

/// Whether `name` can be the name of a source.
///
/// # Errors
///
/// Why not, and what to write instead.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    better_name(name).map_or(Ok(()), |near| Err(format!("`{name}` cannot be a name{near}")))
}

pub(super) fn check(written: &File, removed: &Removed, problems: &mut Collector) -> Vec<SourceConfig> {
    let mut sources = Vec::new();
    for (name, table) in &written.files {
        sources.push(SourceConfig::Files(files(name, table, removed, problems)));
    }
    for (name, table) in &written.ssh {
        sources.push(SourceConfig::Ssh(Box::new(ssh::check(name, table, removed, problems))));
    }
    for (name, table) in &written.docker {
        sources.push(SourceConfig::Docker(Box::new(docker::check(name, table, removed, problems))));
    }
    for (name, table) in &written.compose {
        sources.push(SourceConfig::Compose(Box::new(compose::check(name, table, removed, problems))));
    }
    for (name, table) in &written.incus {
        sources.push(SourceConfig::Incus(Box::new(incus::check(name, table, removed, problems))));
    }
    sources.extend(ios::check_all(&written.ios, removed, problems).into_iter().map(Box::new).map(SourceConfig::Ios));
    sources
}

fn files(name: &Spanned<String>, table: &FilesTable, removed: &Removed, problems: &mut Collector) -> FilesConfig {
    let shared = Shared::of_files(name, table);
    let (paths, common) = (shared.paths(problems), shared.common(problems));
    if paths.is_empty() {
        shared.report_missing_paths(removed, problems);
    }
    FilesConfig { common, paths, leave_out: shared.leave_out(problems) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn name_is_unique_across_kinds() {
        let text = "[files.web]\n[ssh.web]\n";
        let names = [("files", Spanned::new(7..10, "web".to_owned())), ("ssh", Spanned::new(17..20, "web".to_owned()))];
        let mut problems = Collector::new(text);
        Names::of(names.iter().map(|(kind, name)| (*kind, name)), &mut problems);
        assert_eq!(
            problems.into_result(Path::new("x"), ()).unwrap_err().to_string(),
            "x: 1 problem\n  line 2: ssh.web: the name `web` is used by files.web as well; names are unique across kinds"
        );
    }

    #[test]
    fn names_are_plain() {
        for name in ["host", "0", "a_b-c"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for (name, near) in [("My Host", "; write `my-host`"), ("-x", "; write `x`"), ("", "digit"), ("ä", "digit")] {
            let error = check_name(name).unwrap_err();
            assert!(error.ends_with(near), "{error}");
        }
    }
}
