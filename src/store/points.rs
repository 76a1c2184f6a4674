//! Our snapshots among restic's: how an item and its state are written into a snapshot, and read back.
//!
//! host = `KIND.NAME`, label = item id, tags `holdall`, `item=<item id>` and, where it applies, `incomplete`. A snapshot without
//! the tag `holdall` is somebody else's: it is never listed and never removed.

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use rustic_core::jiff::{Timestamp, tz::TimeZone};
use rustic_core::repofile::{SnapshotFile, SnapshotId, StringList};
use rustic_core::{OpenStatus, Repository, SnapshotOptions};

use super::{Store, explain};
use crate::error::{chain, hints};
use crate::source::Item;
use crate::timeline::{Place, Point, Timeline};

const OURS: &str = "holdall";
const INCOMPLETE: &str = "incomplete";
const ITEM: &str = "item=";

/// A snapshot of `item`, still without a tree.
pub(super) fn new_snapshot(item: &Item, time: DateTime<Utc>) -> Result<SnapshotFile> {
    let time = Timestamp::new(time.timestamp(), i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default())
        .context("the clock is outside the years a snapshot can name")?;
    let mut options = SnapshotOptions::default().host(item.source.clone()).label(item.id.clone());
    options.time = Some(time.to_zoned(TimeZone::UTC));
    let mut snapshot = options.to_snapshot().map_err(|error| explain(*error))?;
    snapshot.program_version = concat!("holdall ", env!("CARGO_PKG_VERSION")).to_owned();
    add_tag(&mut snapshot, OURS);
    add_tag(&mut snapshot, &format!("{ITEM}{}", item.id));
    Ok(snapshot)
}

/// Marks the snapshot as one that lacks something of its source.
pub(super) fn mark_incomplete(snapshot: &mut SnapshotFile) {
    add_tag(snapshot, INCOMPLETE);
}

fn add_tag(snapshot: &mut SnapshotFile, tag: &str) {
    // Not through `StringList::from_str`: that would split an item id at a comma.
    let mut tags = StringList::default();
    tags.add(tag.to_owned());
    snapshot.add_tags(vec![tags]);
}

/// The point a snapshot in this place is, if holdall made it.
pub(super) fn point(snapshot: &SnapshotFile, place: Place) -> Option<Point> {
    if !snapshot.tags.contains(OURS) {
        return None;
    }
    let item = snapshot.tags.iter().find_map(|tag| tag.strip_prefix(ITEM))?;
    let timestamp = snapshot.time.timestamp();
    let summary = snapshot.summary.as_ref();
    Some(Point {
        item: item.to_owned(),
        place,
        id: snapshot.id.to_hex().as_str().to_owned(),
        time: DateTime::from_timestamp(
            timestamp.as_second(),
            u32::try_from(timestamp.subsec_nanosecond()).unwrap_or(0),
        )?,
        complete: !snapshot.tags.contains(INCOMPLETE),
        files: summary.map(|summary| summary.total_files_processed),
        bytes: summary.map(|summary| summary.total_bytes_processed),
        pinned: false,
    })
}

/// Reads the snapshots when not all of them can be read: a damaged one must not hide the others from who needs to restore.
fn one_by_one(repository: &Repository<OpenStatus>) -> Result<Vec<SnapshotFile>> {
    let ids = repository.list::<SnapshotId>().map_err(|error| explain(*error)).context("list the snapshots")?;
    let mut snapshots = Vec::new();
    for id in ids {
        match repository.get_file::<SnapshotFile>(&id) {
            Ok(mut snapshot) => {
                snapshot.id = id;
                snapshots.push(snapshot);
            }
            Err(error) => {
                let error = explain(*error);
                let damage = "See \"Damage\" in doc/format.md.";
                let hint = hints(&error).into_iter().chain([damage]).collect::<Vec<_>>().join("\n");
                tracing::error!(hint, "snapshot {id} cannot be read and is left out: {}", chain(&error));
            }
        }
    }
    Ok(snapshots)
}

impl Store {
    /// All snapshots, also those of others.
    pub(super) fn snapshots(&self) -> Result<Vec<SnapshotFile>> {
        let repository = self.opened()?;
        repository.get_all_snapshots().or_else(|_| one_by_one(&repository))
    }
}

impl Timeline for Store {
    fn points(&self) -> Result<Vec<Point>> {
        let mut points: Vec<Point> =
            self.snapshots()?.iter().filter_map(|snapshot| point(snapshot, self.place)).collect();
        points.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Ok(points)
    }

    fn remove(&self, doomed: &[Point]) -> Result<()> {
        if doomed.is_empty() {
            return Ok(());
        }
        let repository = self.opened()?;
        let ids: Vec<&str> = doomed.iter().map(|point| point.id.as_str()).collect();
        // Read once more: nothing is removed that is not ours, however the list came about.
        let snapshots =
            repository.get_snapshots(&ids).map_err(|error| explain(*error)).context("read the snapshots to remove")?;
        if let Some(foreign) = snapshots.iter().find(|snapshot| point(snapshot, self.place).is_none()) {
            bail!("snapshot {} was not made by holdall and is not removed", foreign.id);
        }
        let ids: Vec<SnapshotId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
        repository.delete_snapshots(&ids).map_err(|error| explain(*error)).context("remove snapshots")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item { id: "docker.nas/image/app:1,2".into(), source: "docker.nas".into(), paths: Vec::new() }
    }

    #[test]
    fn snapshot_carries_item_and_state() {
        let time = DateTime::from_timestamp(1_770_292_740, 5_000_000).unwrap();
        let mut snapshot = new_snapshot(&item(), time).unwrap();
        let whole = point(&snapshot, Place::Mirror("offsite")).unwrap();
        assert_eq!((whole.item.as_str(), whole.time, whole.complete), ("docker.nas/image/app:1,2", time, true));
        mark_incomplete(&mut snapshot);
        assert!(!point(&snapshot, Place::Store).unwrap().complete);
        assert_eq!((snapshot.hostname.as_str(), snapshot.label.as_str()), ("docker.nas", "docker.nas/image/app:1,2"));
    }

    #[test]
    fn snapshot_of_somebody_else_is_no_point() {
        assert_eq!(point(&SnapshotFile::default(), Place::Store), None);
    }
}
