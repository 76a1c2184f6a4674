//! Points: the moments an item can be brought back to, wherever they are kept.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, Utc};

/// What is appended to an item's id for its safety points: what a restore in place was about to overwrite.
///
/// They are points of an item of their own, so that the newest point of the item itself is always one of its backups.
pub const SAFETY_SUFFIX: &str = "/before-restore";

/// A moment an item can be brought back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The item, `files.host`.
    pub item: String,
    /// Where it is kept.
    pub place: Place,
    /// What names the point: in the store the snapshot id in full, as hexadecimal digits; on a server the name of the snapshot.
    pub id: String,
    /// When it was made.
    pub time: DateTime<Utc>,
    /// Whether everything of the source is in it.
    pub complete: bool,
    /// Number of files, when known.
    pub files: Option<u64>,
    /// Sum of the files' sizes in bytes, when known.
    pub bytes: Option<u64>,
    /// Whether pruning must leave it alone, whatever the policy: it is the last one common to two servers.
    pub pinned: bool,
}

impl Point {
    /// The id as people read it: of a snapshot in the store or a mirror the first eight digits.
    pub fn short_id(&self) -> &str {
        let short = self.id.get(..8).filter(|_| self.place.is_repository());
        short.unwrap_or(&self.id)
    }
}

/// Where a point is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Place {
    /// In the store.
    #[default]
    Store,
    /// On the Incus server that is backed up.
    Source,
    /// On the Incus server with the replicas.
    Target,
    /// In the mirror of this name.
    Mirror(&'static str),
}

impl Place {
    /// `store`, `source`, `target`, or the name of a mirror.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Source => "source",
            Self::Target => "target",
            Self::Mirror(name) => name,
        }
    }

    /// Whether it is a repository in restic's format, and not a server.
    pub fn is_repository(self) -> bool {
        matches!(self, Self::Store | Self::Mirror(_))
    }
}

/// A place where points are kept.
pub trait Timeline {
    /// All points that holdall made here, oldest first.
    fn points(&self) -> Result<Vec<Point>>;

    /// Removes these points and nothing else; their space is freed later.
    fn remove(&self, points: &[Point]) -> Result<()>;
}

/// Pins, for each item, the newest snapshot that both servers have complete, on both: the next copy goes on from it.
pub fn pin_common(points: &mut [Point]) {
    let at = |place: Place| {
        let here = points.iter().filter(move |point| point.place == place && point.complete);
        here.map(|point| ((point.item.clone(), point.id.clone()), point.time)).collect::<BTreeMap<_, _>>()
    };
    let target = at(Place::Target);
    let mut newest: BTreeMap<String, (DateTime<Utc>, String)> = BTreeMap::new();
    for ((item, id), time) in at(Place::Source) {
        if target.contains_key(&(item.clone(), id.clone())) {
            let this = (time, id);
            let best = newest.entry(item).or_insert_with(|| this.clone());
            *best = this.max(best.clone());
        }
    }
    for point in points.iter_mut().filter(|point| !point.place.is_repository()) {
        point.pinned |= newest.get(&point.item).is_some_and(|(_, id)| *id == point.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(place: Place, id: &str, seconds: i64, complete: bool) -> Point {
        Point {
            item: "incus.lab/default/instance/vm1".into(),
            place,
            id: id.into(),
            time: DateTime::from_timestamp(seconds, 0).unwrap(),
            complete,
            files: None,
            bytes: None,
            pinned: false,
        }
    }

    fn pinned(mut points: Vec<Point>) -> Vec<(Place, String)> {
        pin_common(&mut points);
        points.into_iter().filter(|point| point.pinned).map(|point| (point.place, point.id)).collect()
    }

    #[test]
    fn newest_snapshot_of_both_servers_is_pinned_on_both() {
        use Place::{Source, Store, Target};
        let here = [("c", 3), ("b", 2), ("a", 1)].map(|(id, at)| point(Source, id, at, true));
        let there = [("a", 1), ("b", 2), ("x", 9)].map(|(id, at)| point(Target, id, at, true));
        let points = here.into_iter().chain(there).chain([point(Store, "b", 2, true)]).collect();
        assert_eq!(pinned(points), [(Source, "b".to_owned()), (Target, "b".to_owned())]);
    }

    #[test]
    fn half_copied_snapshot_and_that_of_another_item_are_not_common() {
        let half = vec![point(Place::Source, "a", 1, true), point(Place::Target, "a", 1, false)];
        assert_eq!(pinned(half), []);
        let mut other = vec![point(Place::Source, "a", 1, true), point(Place::Target, "a", 1, true)];
        other[1].item.push('2');
        assert_eq!(pinned(other), []);
    }
}
