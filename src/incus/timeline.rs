//! Points on an Incus server: the snapshots that are called `IAB_…` and a time, of the instances and custom volumes of one `[incus.NAME]`.
//!
//! On the source these are what the configuration names. On the target these are the copies that are marked as ours, also those whose
//! original is gone or is not named any more: they are what brings it back. Nothing else on either server is ever a point.

use std::collections::BTreeMap;

use anyhow::{Context, Error, Result, anyhow};
use chrono::{DateTime, NaiveDateTime, SubsecRound, TimeDelta, Utc};

use super::api::{Role, Server, fingerprint, is_not_found};
use super::mark::Mark;
use super::model::{InstanceSnapshot, Settings, VolumeSnapshot};
use super::select::{self, Subject};
use super::{PREFIX, Replication};
use crate::config::IncusProject;
use crate::error::chain;
use crate::monitor::{Monitor, Silent, Unit};
use crate::timeline::{Place, Point, Timeline};

/// How far a snapshot's name may be from when it was made: IncusAutobackup names them in local time.
const ZONES: TimeDelta = TimeDelta::hours(26);

/// The time that the name of a snapshot of ours says; `None`: it is none of ours.
pub fn snapshot_time(name: &str) -> Option<DateTime<Utc>> {
    let rest = name.strip_prefix(PREFIX)?;
    let is_exact = rest.len() == 15 && rest.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() || at == 8);
    let time = NaiveDateTime::parse_from_str(rest, "%Y%m%d-%H%M%S").ok().filter(|_| is_exact)?;
    Some(time.and_utc())
}

/// When a snapshot of ours was made, in whole seconds: copies have no more.
///
/// That is what the server says, unless it is too far from the name to be the same moment in another zone.
pub fn point_time(name: &str, created_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let named = snapshot_time(name)?;
    let is_same = created_at.signed_duration_since(named).abs() <= ZONES;
    Some(if is_same { created_at.trunc_subsecs(0) } else { named })
}

/// Whether a snapshot of a copy was copied to its end: of a copy that was broken off those are that the one before has brought.
pub fn is_whole(mark: &Mark, snapshot: &str) -> bool {
    mark.counts(snapshot, |one, other| snapshot_time(one) > snapshot_time(other))
}

/// The points of one `[incus.NAME]` on one of its servers.
#[derive(Debug)]
pub struct ServerTimeline<'r> {
    replication: &'r Replication,
    server: &'r Server,
}

/// An instance or a volume that is an item on this server, with its points.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub subject: Subject,
    /// Its points, oldest first.
    pub points: Vec<Point>,
    /// What its mark says; on the source it has none that matters.
    pub mark: Mark,
    /// Whether it is a copy of another server than the one that is the source now.
    pub is_foreign: bool,
    /// Whether it is an instance that runs.
    pub is_running: bool,
    /// Whether it is an item. On the target a thing that is called like one but is not marked is none.
    pub is_ours: bool,
}

/// What came of removing points.
#[derive(Debug, Default)]
pub struct Removed {
    /// How many are gone.
    pub count: usize,
    /// The items of which something is left, each with why.
    pub failed: Vec<(String, Error)>,
}

impl<'r> ServerTimeline<'r> {
    /// The points on this server of the two.
    pub fn new(replication: &'r Replication, server: &'r Server) -> Self {
        Self { replication, server }
    }

    /// Where its points are.
    pub fn place(&self) -> Place {
        self.server.role().into()
    }

    /// Everything here that is an item, or is called like one.
    ///
    /// # Errors
    ///
    /// When the server cannot be asked.
    pub fn look(&self) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        // The target may still have what the configuration names no more.
        let is_target = self.server.role() == Role::Target;
        let projects = &self.replication.config.projects;
        let wants_volumes = |project: &IncusProject| is_target || !project.volumes.is_empty();
        let pools = match projects.iter().any(wants_volumes) {
            true => {
                let names: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
                select::list_pools(self.server, &names).with_context(|| self.doing())?
            }
            false => Vec::new(),
        };
        for project in projects {
            let doing = || format!("{}, project {}", self.doing(), project.name);
            for pool in pools.iter().filter(|_| wants_volumes(project)) {
                let listed = select::volumes_of(self.server, &project.name, pool).with_context(doing)?;
                for volume in listed {
                    let subject =
                        Subject { project: project.name.clone(), pool: Some(pool.clone()), name: volume.name };
                    let is_named = select::names(project, Some(pool), &subject.name);
                    let snapshots = volume.snapshots.iter().map(Snapshot::from).collect();
                    all.extend(self.found(subject, is_named, &volume.config, snapshots, false));
                }
            }
            if !is_target && project.instances.is_empty() {
                continue;
            }
            for instance in select::list_with_snapshots(self.server, &project.name).with_context(doing)? {
                let is_running = instance.is_running();
                let subject = Subject { project: project.name.clone(), pool: None, name: instance.name };
                let is_named = select::names(project, None, &subject.name);
                let snapshots = instance.snapshots.iter().map(Snapshot::from).collect();
                all.extend(self.found(subject, is_named, &instance.config, snapshots, is_running));
            }
        }
        Ok(all)
    }

    fn found(
        &self,
        subject: Subject,
        is_named: bool,
        config: &Settings,
        snapshots: Vec<Snapshot<'_>>,
        is_running: bool,
    ) -> Option<Found> {
        let item = subject.id(&self.replication.id);
        let mark = Mark::of(config);
        let is_source = self.server.role() == Role::Source;
        // A copy of a copy has the mark, too, and another name.
        let is_ours = if is_source { is_named } else { mark.item() == Some(item.as_str()) };
        if !is_ours && !is_named {
            return None;
        }
        let is_foreign = is_ours && !is_source && self.is_foreign(&mark);
        let mut points = Vec::new();
        for snapshot in snapshots.into_iter().filter(|_| is_ours) {
            let Some(time) = point_time(snapshot.name, snapshot.created_at) else { continue };
            points.push(Point {
                item: item.clone(),
                place: self.place(),
                id: snapshot.name.to_owned(),
                time,
                complete: is_source || is_whole(&mark, snapshot.name),
                files: None,
                bytes: u64::try_from(snapshot.size).ok().filter(|size| *size > 0),
                // Of another server that is configured by the same name: it brings things back, and only that server's runs thin it.
                pinned: is_foreign,
            });
        }
        points.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Some(Found { subject, points, mark, is_foreign, is_running, is_ours })
    }

    /// Whether a copy was made of another server than the one that is the source now.
    fn is_foreign(&self, mark: &Mark) -> bool {
        let made_of = mark.source.as_deref().and_then(|source| source.rsplit_once(' ')).map(|(_, print)| print);
        let pinned = self.replication.credentials.server_certificate(&self.replication.config.source);
        match (made_of, pinned) {
            (Some(made_of), Ok(pinned)) => !fingerprint(&pinned).starts_with(made_of),
            _ => false,
        }
    }

    /// Removes points one by one. A failure ends its item, and no other.
    ///
    /// # Errors
    ///
    /// When nothing can be removed at all.
    pub fn remove_each(&self, points: &[Point], monitor: &dyn Monitor) -> Result<Removed> {
        if points.is_empty() {
            return Ok(Removed::default());
        }
        // What is removed is looked for anew: it may have been taken for something else since it was listed.
        let there = self.look()?;
        let there: BTreeMap<String, &Found> =
            there.iter().filter(|one| one.is_ours).map(|one| (one.subject.id(&self.replication.id), one)).collect();
        let task = monitor.start(&format!("{}, {}", self.replication.id, self.place().word()), "prune", Unit::Count);
        task.expect(points.len() as u64);
        let mut removed = Removed::default();
        for point in points {
            task.advance(1);
            if removed.failed.iter().any(|(item, _)| *item == point.item) {
                continue;
            }
            let Some(found) = there.get(&point.item).filter(|one| one.points.iter().any(|other| other.id == point.id))
            else {
                continue;
            };
            match self.delete(&found.subject, &point.id) {
                Ok(()) => removed.count += 1,
                Err(error) => removed.failed.push((point.item.clone(), error)),
            }
        }
        task.finish();
        Ok(removed)
    }

    fn delete(&self, subject: &Subject, snapshot: &str) -> Result<()> {
        let call = self.server.call("DELETE", &subject.path(&["snapshots", snapshot])).project(&subject.project);
        match call.run() {
            Err(error) if is_not_found(&error) => Ok(()),
            other => other.map(drop).with_context(|| format!("remove {snapshot}")),
        }
    }

    fn doing(&self) -> String {
        format!("list the points of {} on the {}", self.replication.id, self.place().word())
    }
}

impl Timeline for ServerTimeline<'_> {
    fn points(&self) -> Result<Vec<Point>> {
        let mut points: Vec<Point> = self.look()?.into_iter().flat_map(|found| found.points).collect();
        points.sort_by(|a, b| (a.time, &a.item, &a.id).cmp(&(b.time, &b.item, &b.id)));
        Ok(points)
    }

    fn remove(&self, points: &[Point]) -> Result<()> {
        let failed = self.remove_each(points, &Silent)?.failed;
        if failed.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = failed.iter().map(|(item, error)| format!("{item}: {}", chain(error))).collect();
        Err(anyhow!("remove points on the {}: {}", self.place().word(), lines.join("; ")))
    }
}

impl From<Role> for Place {
    fn from(role: Role) -> Self {
        match role {
            Role::Source => Self::Source,
            Role::Target => Self::Target,
        }
    }
}

/// What snapshots of instances and of volumes have in common.
struct Snapshot<'s> {
    name: &'s str,
    created_at: DateTime<Utc>,
    size: i64,
}

impl<'s> From<&'s InstanceSnapshot> for Snapshot<'s> {
    fn from(snapshot: &'s InstanceSnapshot) -> Self {
        Self { name: &snapshot.name, created_at: snapshot.created_at, size: snapshot.size }
    }
}

impl<'s> From<&'s VolumeSnapshot> for Snapshot<'s> {
    fn from(snapshot: &'s VolumeSnapshot) -> Self {
        Self { name: &snapshot.name, created_at: snapshot.created_at, size: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_of_ours_are_named_after_their_time_and_nothing_else() {
        let time = snapshot_time("IAB_20260205-115900").unwrap();
        assert_eq!(time.to_rfc3339(), "2026-02-05T11:59:00+00:00");
        for name in [
            "",
            "IAB_",
            "IAB_x",
            "iab_20260101-000000",
            "IAB_20260101-000000-2",
            "IAB_20260101-0000000",
            "IAB_20260101-00000",
            "IAB_20261301-000000",
            "IAB_20260101-250000",
            "IAB_20260101 000000",
            "IAB_+2026101-000000",
            "IAB_２0260101-000000",
            " IAB_20260101-000000",
            "auto-1",
        ] {
            assert_eq!(snapshot_time(name), None, "{name}");
        }
    }

    #[test]
    fn server_knows_better_than_a_name_in_local_time() {
        let time = |created: &str| {
            point_time("IAB_20260205-115900", created.parse().unwrap()).unwrap().format("%d %H:%M:%S").to_string()
        };
        assert_eq!(time("2026-02-05T09:59:00.123Z"), "05 09:59:00");
        assert_eq!(time("2026-02-06T13:59:00Z"), "06 13:59:00");
        assert_eq!(time("2026-02-06T13:59:01Z"), "05 11:59:00");
        assert_eq!(time("0001-01-01T00:00:00Z"), "05 11:59:00");
        assert_eq!(time("2999-01-01T00:00:00Z"), "05 11:59:00");
        assert_eq!(point_time("auto", Utc::now()), None);
    }

    #[test]
    fn only_what_an_earlier_copy_has_brought_counts_while_one_is_under_way() {
        let mark = |copying: Option<&str>, point: Option<&str>| Mark {
            source: None,
            copying: copying.map(ToOwned::to_owned),
            point: point.map(ToOwned::to_owned),
        };
        let whole = |mark: &Mark| {
            let names = ["IAB_20260101-000000", "IAB_20260102-000000", "IAB_20260103-000000"];
            names.map(|name| is_whole(mark, name))
        };
        assert_eq!(whole(&mark(None, None)), [true; 3]);
        assert_eq!(whole(&mark(None, Some("IAB_20260102-000000"))), [true; 3]);
        assert_eq!(whole(&mark(Some("IAB_20260103-000000"), Some("IAB_20260102-000000"))), [true, true, false]);
        assert_eq!(whole(&mark(Some("IAB_20260103-000000"), None)), [false; 3]);
        assert_eq!(whole(&mark(Some("IAB_20260103-000000"), Some("none of ours"))), [false; 3]);
    }
}
