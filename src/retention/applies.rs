//! Which `[[retention]]` applies to an item.

use crate::config::{RetentionRule, RetentionSelector};

/// What the selectors of a retention rule can ask about an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemKey {
    /// `KIND.NAME` of the source.
    pub source: String,
    /// `volume`, `container`, `image`, `stack`, `instance`; `None` for a source that is one item.
    pub kind: Option<String>,
    /// Name of the thing itself; `None` for a source that is one item.
    pub name: Option<String>,
    /// Incus: project.
    pub project: Option<String>,
    /// Incus: the server the points are on, `source` or `target`; not part of an item id.
    pub role: Option<String>,
    /// The mirror that the points are in; not part of an item id.
    pub mirror: Option<String>,
}

impl ItemKey {
    /// The parts of an item id: `docker.nas/volume/pgdata` is the volume `pgdata`, `compose.stacks/paperless` the stack `paperless`,
    /// `incus.lab/default/instance/vm1` the instance `vm1` of the project `default`.
    ///
    /// What another kind of source has below its own id, as in `files.host/before-restore`, is a name.
    pub fn parse(item: &str) -> Self {
        let (source, rest) = item.split_once('/').map_or((item, None), |(source, rest)| (source, Some(rest)));
        let key = Self { source: source.to_owned(), ..Self::default() };
        let Some(rest) = rest else { return key };
        let some = |text: &str| Some(text.to_owned());
        match source.split('.').next() {
            Some("docker") if let Some((kind, name)) = rest.split_once('/') => {
                Self { kind: some(kind), name: some(name), ..key }
            }
            Some("incus") if let Some((project, kind, name)) = split_twice(rest) => {
                Self { project: some(project), kind: some(kind), name: some(name), ..key }
            }
            Some("compose") => Self { kind: some("stack"), name: some(rest), ..key },
            _ => Self { name: some(rest), ..key },
        }
    }
}

fn split_twice(text: &str) -> Option<(&str, &str, &str)> {
    let (first, rest) = text.split_once('/')?;
    let (second, third) = rest.split_once('/')?;
    Some((first, second, third))
}

/// The rule that applies to the item: of those whose every selector matches, the most specific, in the order
/// mirror > name > kind > project > source > role > none; of equals, the later.
///
/// The mirror comes first because its points are kept for another end: a rule that thins an item in the store must not reach what a rule for
/// the mirror keeps there. Without a rule that names the mirror, what applies in the store applies there as well.
///
/// `kind` may also be that of the source: `files`, `docker`.
pub fn rule_for<'c>(rules: &'c [RetentionRule], item: &ItemKey) -> Option<&'c RetentionRule> {
    // `max_by_key` gives the last of equals.
    rules.iter().filter(|rule| matches(&rule.selects, item)).max_by_key(|rule| specificity(&rule.selects))
}

fn specificity(selects: &RetentionSelector) -> [bool; 6] {
    [
        selects.mirror.is_some(),
        selects.name.is_some(),
        selects.kind.is_some(),
        selects.project.is_some(),
        selects.source.is_some(),
        selects.role.is_some(),
    ]
}

fn matches(selects: &RetentionSelector, item: &ItemKey) -> bool {
    let (source_kind, bare_source) = item.source.split_once('.').unwrap_or(("", &item.source));
    let kind = |wanted: &str| wanted == source_kind || item.kind.as_deref() == Some(wanted);
    selects.source.as_ref().is_none_or(|glob| glob.is_match(bare_source) || glob.is_match(&item.source))
        && matches_glob(selects.mirror.as_ref(), item.mirror.as_deref())
        && matches_glob(selects.name.as_ref(), item.name.as_deref())
        && matches_glob(selects.project.as_ref(), item.project.as_deref())
        && selects.kind.as_deref().is_none_or(kind)
        && (selects.role.is_none() || selects.role == item.role)
}

fn matches_glob(wanted: Option<&globset::GlobMatcher>, given: Option<&str>) -> bool {
    wanted.is_none_or(|glob| given.is_some_and(|text| glob.is_match(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::Policy;

    fn glob(text: &str) -> Option<globset::GlobMatcher> {
        Some(globset::Glob::new(text).unwrap().compile_matcher())
    }

    fn rules(selectors: Vec<RetentionSelector>) -> Vec<RetentionRule> {
        let policy = Policy::parse("all").unwrap();
        let numbered = selectors.into_iter().enumerate();
        numbered.map(|(line, selects)| RetentionRule { line, policy: policy.clone(), selects }).collect()
    }

    fn applies(rules: &[RetentionRule], item: &str) -> Option<usize> {
        rule_for(rules, &ItemKey::parse(item)).map(|rule| rule.line)
    }

    fn key(source: &str, project: Option<&str>, kind: Option<&str>, name: Option<&str>) -> ItemKey {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        ItemKey {
            source: source.into(),
            project: owned(project),
            kind: owned(kind),
            name: owned(name),
            ..ItemKey::default()
        }
    }

    #[test]
    fn item_ids_are_taken_apart_by_their_kind_of_source() {
        for (item, expected) in [
            ("files.host", key("files.host", None, None, None)),
            ("files.host/before-restore", key("files.host", None, None, Some("before-restore"))),
            ("docker.nas/volume/pgdata", key("docker.nas", None, Some("volume"), Some("pgdata"))),
            ("docker.nas/image/me/app:1.2", key("docker.nas", None, Some("image"), Some("me/app:1.2"))),
            ("compose.stacks/paperless", key("compose.stacks", None, Some("stack"), Some("paperless"))),
            ("incus.lab/default/instance/vm1", key("incus.lab", Some("default"), Some("instance"), Some("vm1"))),
        ] {
            assert_eq!(ItemKey::parse(item), expected);
        }
    }

    #[test]
    fn most_specific_rule_applies_whatever_the_order() {
        let none = RetentionSelector::default;
        let rules = rules(vec![
            RetentionSelector { name: glob("pg*"), ..none() },
            RetentionSelector { kind: Some("volume".into()), source: glob("nas"), ..none() },
            RetentionSelector { project: glob("default"), ..none() },
            RetentionSelector { source: glob("docker.*"), ..none() },
            none(),
        ]);
        assert_eq!(applies(&rules, "docker.nas/volume/pgdata"), Some(0));
        assert_eq!(applies(&rules, "docker.nas/volume/media"), Some(1));
        assert_eq!(applies(&rules, "incus.lab/default/instance/vm1"), Some(2));
        assert_eq!(applies(&rules, "docker.other/volume/media"), Some(3));
        assert_eq!(applies(&rules, "files.host"), Some(4));
    }

    #[test]
    fn of_equally_specific_rules_the_later_applies() {
        let source = |text| RetentionSelector { source: glob(text), ..RetentionSelector::default() };
        let rules = rules(vec![source("files.host"), source("host"), source("other")]);
        assert_eq!(applies(&rules, "files.host"), Some(1));
        assert_eq!(applies(&rules, "files.none"), None);
    }

    #[test]
    fn kind_may_be_that_of_the_source() {
        let kind = |kind: &str| RetentionSelector { kind: Some(kind.into()), ..RetentionSelector::default() };
        let rules = rules(vec![kind("files"), kind("docker")]);
        assert_eq!(applies(&rules, "files.host"), Some(0));
        assert_eq!(applies(&rules, "docker.nas/volume/pgdata"), Some(1));
        assert_eq!(applies(&rules, "ios.phone"), None);
    }

    #[test]
    fn rule_for_a_role_applies_only_to_points_on_that_server() {
        let role = |role: &str| RetentionSelector { role: Some(role.into()), ..RetentionSelector::default() };
        let rules = rules(vec![RetentionSelector::default(), role("target")]);
        let mut item = ItemKey::parse("incus.lab/default/instance/vm1");
        assert_eq!(rule_for(&rules, &item).map(|rule| rule.line), Some(0));
        item.role = Some("target".into());
        assert_eq!(rule_for(&rules, &item).map(|rule| rule.line), Some(1));
    }

    #[test]
    fn rule_for_a_mirror_comes_before_all_others_there_and_nowhere_else() {
        let rules = rules(vec![
            RetentionSelector { name: glob("pg*"), ..RetentionSelector::default() },
            RetentionSelector { mirror: glob("off*"), ..RetentionSelector::default() },
            RetentionSelector { mirror: glob("offsite"), source: glob("host"), ..RetentionSelector::default() },
        ]);
        let at = |item: &str, mirror: Option<&str>| {
            let key = ItemKey { mirror: mirror.map(ToOwned::to_owned), ..ItemKey::parse(item) };
            rule_for(&rules, &key).map(|rule| rule.line)
        };
        let volume = "docker.nas/volume/pgdata";
        assert_eq!(
            [at(volume, None), at(volume, Some("offsite")), at(volume, Some("attic"))],
            [Some(0), Some(1), Some(0)]
        );
        assert_eq!([at("files.host", None), at("files.host", Some("offsite"))], [None, Some(2)]);
    }
}
