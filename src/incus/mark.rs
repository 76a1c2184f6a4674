//! What holdall writes into the configuration of instances and volumes, as keys that Incus leaves to its users: whose replica it is, how far it got, and what
//! has to be started again. Nothing of it is ever copied from one server to the other.

use super::model::Settings;

/// What all of our keys begin with.
pub const KEYS: &str = "user.holdall.";

/// On a replica: the item, a blank, and the first digits of the fingerprint of the certificate of the server that it is a copy of.
pub const SOURCE: &str = "user.holdall.source";

/// On a replica while a copy is under way: the snapshot that is copied.
pub const COPYING: &str = "user.holdall.copying";

/// On a replica: the newest snapshot that was copied whole.
pub const POINT: &str = "user.holdall.point";

/// On a replica that was brought back to the source, and has to be made anew: the copies on both sides have nothing by which a refresh could go on.
pub const RESEED: &str = "user.holdall.reseed";

/// On an instance of the source while a backup has stopped it: see [`super::hold`].
pub const STOPPED: &str = "user.holdall.stopped";

/// On a profile of the target that is empty, and only there because snapshots name it: Incus refreshes nothing whose snapshots name a profile that is not there.
pub const PLACEHOLDER: &str = "user.holdall.placeholder";

/// How many digits of a fingerprint tell servers apart.
const DIGITS: usize = 16;

/// What the marks of a replica say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// Of which item and server it is a copy; `None`: holdall did not make it.
    pub source: Option<String>,
    /// The snapshot that is being copied, or was when a copy broke off.
    pub copying: Option<String>,
    /// The newest snapshot that was copied whole; `None`: none was yet.
    pub point: Option<String>,
}

impl Mark {
    /// What the configuration of an instance or a volume says.
    pub fn of(settings: &Settings) -> Self {
        let value = |key: &str| settings.get(key).filter(|value| !value.is_empty()).cloned();
        Self { source: value(SOURCE), copying: value(COPYING), point: value(POINT) }
    }

    /// The item of which it is a copy.
    pub fn item(&self) -> Option<&str> {
        self.source.as_deref().map(|source| source.rsplit_once(' ').map_or(source, |(item, _)| item))
    }

    /// Whether a snapshot counts: while a copy is under way, and after one that broke off, only those up to [`Mark::point`] do. `newer` says whether a
    /// snapshot is newer than that one.
    pub fn counts(&self, snapshot: &str, newer: impl FnOnce(&str, &str) -> bool) -> bool {
        match (&self.copying, &self.point) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(point)) => snapshot == point || !newer(snapshot, point),
        }
    }
}

/// The value of [`SOURCE`] for a copy of `item`, of the server whose certificate has this fingerprint.
pub fn source(item: &str, fingerprint: &str) -> String {
    format!("{item} {}", fingerprint.get(..DIGITS).unwrap_or(fingerprint))
}

/// Takes all marks away.
pub fn strip(settings: &mut Settings) {
    settings.retain(|key, _| !key.starts_with(KEYS));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(pairs: &[(&str, &str)]) -> Mark {
        Mark::of(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn mark_names_item_and_server() {
        let value = source("incus.lab/default/instance/vm1", "0123456789abcdef0123");
        assert_eq!(value, "incus.lab/default/instance/vm1 0123456789abcdef");
        let mark = mark(&[(SOURCE, &value), (COPYING, "")]);
        assert_eq!((mark.item(), mark.copying.as_deref()), (Some("incus.lab/default/instance/vm1"), None));
    }

    #[test]
    fn only_what_was_copied_whole_counts() {
        let newer = |a: &str, b: &str| a > b;
        let broken_off = mark(&[(COPYING, "IAB_3"), (POINT, "IAB_2")]);
        assert!(broken_off.counts("IAB_1", newer) && broken_off.counts("IAB_2", newer));
        assert!(!broken_off.counts("IAB_3", newer));
        assert!(!mark(&[(COPYING, "IAB_3")]).counts("IAB_1", newer));
        assert!(mark(&[(POINT, "IAB_2")]).counts("IAB_3", newer));
    }

    #[test]
    fn nothing_of_ours_is_copied() {
        let mut settings =
            Settings::from([(POINT.to_owned(), "x".to_owned()), ("user.other".to_owned(), "y".to_owned())]);
        strip(&mut settings);
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["user.other"]);
    }
}
