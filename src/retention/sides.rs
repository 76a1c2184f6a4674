//! Retention in several places: which rule applies where, and when that of an Incus target is of no use.

use crate::config::{Config, IncusConfig, RetentionRule, SourceConfig};
use crate::timeline::Place;

use super::{ItemKey, rule_for};

/// The rule that applies to the points of an item in one place. With `same-retention` the target keeps what the source keeps.
pub fn rule_at<'c>(config: &'c Config, item: &str, place: Place) -> Option<&'c RetentionRule> {
    let place = if is_shared(config, item, place) { Place::Source } else { place };
    let word = Some(place.word().to_owned());
    let (role, mirror) = match place {
        Place::Store => (None, None),
        Place::Source | Place::Target => (word, None),
        Place::Mirror(_) => (None, word),
    };
    rule_for(&config.retention, &ItemKey { role, mirror, ..ItemKey::parse(item) })
}

/// Whether what applies to the source applies in this place because of `same-retention`.
pub fn is_shared(config: &Config, item: &str, place: Place) -> bool {
    place == Place::Target && replication(config, item).is_some_and(|incus| incus.same_retention)
}

/// A target that is to keep more than its source. Incus removes from a copy, with each refresh, whatever the original has no more
/// (`CompareSnapshots` in `internal/server/storage/drivers/utils.go`), so it never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wider {
    /// `incus.lab`
    pub source: String,
    /// One of the items for which it is so.
    pub item: String,
    /// The rules, in words.
    rules: String,
}

impl Wider {
    /// What can be done about it.
    pub const HINT: &str =
        "Keep it on the source as well, save it into the store with `export = true`, or set `same-retention = true`.";
}

impl std::fmt::Display for Wider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, item, rules } = self;
        write!(
            f,
            "{source}: {rules} (as for {item}); Incus takes away from the target whatever the source has no more, so it is of no use"
        )
    }
}

/// Where the target is to keep more than the source, each pair of rules of a source once.
pub fn wider_on_target(config: &Config, items: &[String]) -> Vec<Wider> {
    let mut found: Vec<Wider> = Vec::new();
    for item in items {
        let Some(incus) = replication(config, item) else { continue };
        let [source, target] = [Place::Source, Place::Target].map(|place| rule_at(config, item, place));
        let (Some(source), Some(_)) = (source, &incus.target) else { continue };
        let is_wider = match target {
            Some(target) => target.policy.keeps_more_than(&source.policy),
            None => crate::retention::Policy::all().keeps_more_than(&source.policy),
        };
        if !is_wider {
            continue;
        }
        let keeps = match target {
            Some(target) => format!("on the target `{}` (line {}) keeps", target.policy, target.line),
            None => "no rule applies to the target, which keeps".to_owned(),
        };
        let rules = format!("{keeps} what `{}` (line {}) does not keep on the source", source.policy, source.line);
        let source = item.split('/').next().unwrap_or(item).to_owned();
        if !found.iter().any(|other| other.source == source && other.rules == rules) {
            found.push(Wider { source, item: item.clone(), rules });
        }
    }
    found
}

fn replication<'c>(config: &'c Config, item: &str) -> Option<&'c IncusConfig> {
    let id = item.split('/').next().unwrap_or(item);
    config.sources.iter().find_map(|source| match source {
        SourceConfig::Incus(incus) if source.id() == id => Some(&**incus),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = "[incus.lab]\nsource = \"https://a\"\ntarget = \"https://b\"\n";
    const PROJECT: &str = "[[incus.lab.project]]\ninstances = [{ name = \"*\" }]\nvolumes = [{ name = \"*\" }]\n";

    fn config(keys: &str, retention: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, format!("{LAB}{keys}\n{PROJECT}{retention}")).unwrap();
        crate::config::load(&file).unwrap()
    }

    fn rule(policy: &str, rest: &str) -> String {
        format!("[[retention]]\npolicy = \"{policy}\"\n{rest}\n")
    }

    fn wider(config: &Config) -> Vec<String> {
        let items = ["instance/vm1", "instance/vm2", "volume/v1"].map(|item| format!("incus.lab/default/{item}"));
        wider_on_target(config, &items).into_iter().map(|wider| wider.rules).collect()
    }

    #[test]
    fn each_pair_of_rules_is_told_once() {
        let narrow = rule("1d2w", "role = \"source\"") + &rule("1d1w", "role = \"target\"");
        assert_eq!(wider(&config("", &narrow)), [""; 0]);
        let wide = rule("1d2w", "role = \"source\"") + &rule("1d9w", "role = \"target\"");
        assert_eq!(
            wider(&config("", &wide)),
            ["on the target `1d9w` (line 11) keeps what `1d2w` (line 8) does not keep on the source"]
        );
        assert_eq!(wider(&config("same-retention = true", &wide)), [""; 0]);
        assert_eq!(
            wider(&config("", &rule("3", "role = \"source\"\nkind = \"volume\""))),
            ["no rule applies to the target, which keeps what `3` (line 8) does not keep on the source"]
        );
        assert_eq!(wider(&config("", &rule("3", ""))), [""; 0]);
    }

    #[test]
    fn name_says_more_than_kind_and_kind_more_than_project_and_role() {
        // The order in which IncusAutobackup lets one override the other.
        let config = config(
            "",
            &[
                rule("1", "role = \"source\""),
                rule("2", "role = \"source\"\nproject = \"default\""),
                rule("3", "role = \"source\"\nproject = \"default\"\nkind = \"volume\""),
                rule("4", "role = \"source\"\nproject = \"default\"\nkind = \"volume\"\nname = \"v2\""),
                rule("5", "role = \"target\""),
            ]
            .concat(),
        );
        let policy = |item: &str, place: Place| rule_at(&config, item, place).map(|rule| rule.policy.to_string());
        let source = |item: &str| policy(item, Place::Source).unwrap();
        assert_eq!(source("incus.lab/other/instance/vm1"), "1");
        assert_eq!(source("incus.lab/default/instance/vm1"), "2");
        assert_eq!(source("incus.lab/default/volume/v1"), "3");
        assert_eq!(source("incus.lab/default/volume/v2"), "4");
        assert_eq!(policy("incus.lab/default/volume/v2", Place::Target).unwrap(), "5");
        assert_eq!(policy("incus.lab/default/volume/v2", Place::Store), None);
    }

    #[test]
    fn with_same_retention_the_rule_of_the_source_applies_to_the_target() {
        let both = rule("1", "role = \"source\"") + &rule("5", "role = \"target\"");
        let config = config("same-retention = true", &both);
        let item = "incus.lab/default/instance/vm1";
        assert_eq!(rule_at(&config, item, Place::Target).unwrap().policy.to_string(), "1");
        assert!(is_shared(&config, item, Place::Target) && !is_shared(&config, item, Place::Source));
    }
}
