//! `[[retention]]`: policies that can be read, and selectors that select something.

use globset::{Glob, GlobMatcher};
use toml::Spanned;

use super::sources::Names;
use crate::config::file::RetentionTable;
use crate::config::problem::{Collector, did_you_mean};
use crate::config::{MirrorConfig, RetentionRule, RetentionSelector};
use crate::retention::Policy;

/// What `role` can be.
const ROLES: [&str; 2] = ["source", "target"];

/// What `kind` can be: the kinds of sources, and of the things inside of them.
const KINDS: [&str; 11] =
    ["compose", "container", "docker", "files", "image", "incus", "instance", "ios", "ssh", "stack", "volume"];

/// A table without a policy prunes nothing.
const NO_POLICY: &str = "all";

pub(super) fn check(
    tables: &[Spanned<RetentionTable>],
    names: &Names,
    mirrors: &[MirrorConfig],
    problems: &mut Collector,
) -> Vec<RetentionRule> {
    tables.iter().filter_map(|table| rule(table, names, mirrors, problems)).collect()
}

fn rule(
    table: &Spanned<RetentionTable>,
    names: &Names,
    mirrors: &[MirrorConfig],
    problems: &mut Collector,
) -> Option<RetentionRule> {
    let RetentionTable { policy, source, mirror, role, project, kind, name } = table.get_ref();
    let (span, text) = policy.as_ref().map_or((table.span(), NO_POLICY), |policy| (policy.span(), policy.get_ref()));
    let policy = problems.take(&span, "retention.policy", Policy::parse(text));
    let selects = RetentionSelector {
        source: glob("source", source.as_ref(), problems),
        mirror: glob("mirror", mirror.as_ref(), problems),
        role: one_of(&ROLES, "role", role.as_ref(), problems),
        project: glob("project", project.as_ref(), problems),
        kind: one_of(&KINDS, "kind", kind.as_ref(), problems),
        name: glob("name", name.as_ref(), problems),
    };
    if let (Some(matcher), Some(text)) = (&selects.source, source)
        && !names.ids().any(|(id, name)| matcher.is_match(id) || matcher.is_match(name))
    {
        let known = names.ids().flat_map(|(id, name)| [name, id]);
        let near = did_you_mean(text.get_ref(), known);
        problems.report(&text.span(), "retention.source", format!("no source is called `{}`{near}", text.get_ref()));
    }
    if let (Some(matcher), Some(text)) = (&selects.mirror, mirror)
        && !mirrors.iter().any(|mirror| matcher.is_match(mirror.name))
    {
        let near = did_you_mean(text.get_ref(), mirrors.iter().map(|mirror| mirror.name));
        problems.report(&text.span(), "retention.mirror", format!("no mirror is called `{}`{near}", text.get_ref()));
    }
    if let (Some(_), Some(text)) = (&selects.mirror, role) {
        let text_of_error = "is of no use beside `mirror`: a mirror is neither the source nor the target of Incus";
        problems.report(&text.span(), "retention.role", text_of_error);
    }
    Some(RetentionRule { line: problems.line(&table.span()), policy: policy?, selects })
}

fn glob(key: &str, text: Option<&Spanned<String>>, problems: &mut Collector) -> Option<GlobMatcher> {
    let text = text?;
    let key = format!("retention.{key}");
    if text.get_ref().is_empty() {
        problems.report(&text.span(), key, "is empty; leave the key out to select everything");
        return None;
    }
    let checked = Glob::new(text.get_ref()).map(|glob| glob.compile_matcher());
    problems.take(&text.span(), key, checked.map_err(|error| format!("`{}`: {}", text.get_ref(), error.kind())))
}

fn one_of(words: &[&str], key: &str, text: Option<&Spanned<String>>, problems: &mut Collector) -> Option<String> {
    let text = text?;
    let word = text.get_ref();
    if !words.contains(&word.as_str()) {
        let near = did_you_mean(word, words.iter().copied());
        let text_of_error = format!("`{word}` is none of {}{near}", words.join(", "));
        problems.report(&text.span(), format!("retention.{key}"), text_of_error);
    }
    Some(word.clone())
}
