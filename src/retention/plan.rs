//! Decides which points stay.
//!
//! What is kept is the union of what the parts of the policy keep, and of what is kept whatever the policy. Every decision depends on `now` and on
//! points that the same decision keeps, so pruning after every run leaves the same points as pruning once at the end. For incomplete points
//! this needs the two rules below.
//!
//! - `keep N` counts complete points, and incomplete ones, newest first, only where there are fewer than N complete ones.
//! - A bucket belongs to its newest complete point. Its newest incomplete point has it only while there is no complete one in it, and only as
//!   long as the *whole* bucket is within the rule's time: a complete point may have been there and have expired before the incomplete one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};

use super::{Policy, Rule, Terms};
use crate::timeline::Point;

/// The reason for which points are kept that are dated after the time of planning; worth a warning.
pub const IN_THE_FUTURE: &str = "in the future";

/// What becomes of one point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Whether it stays.
    pub keep: bool,
    /// Why it stays, in words; empty when it does not.
    ///
    /// `no policy`, `all`, `keep 6`, the rule (`1h2d`), `newest complete`, `newest, none is complete`, [`IN_THE_FUTURE`], `pinned`.
    pub reasons: Vec<String>,
}

/// Decides about `points`, which may come in any order, and gives the verdicts in that order.
///
/// Points of several items do not compete: each item is planned on its own. `now` must not be before the points made in this run, or they
/// count as future ones.
pub fn plan(policy: Option<&Policy>, points: &[Point], now: DateTime<Utc>) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::default(); points.len()];
    let mut items: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        items.entry(&point.item).or_default().push(index);
    }
    for indices in items.into_values() {
        for (index, reason) in Candidates::new(points, indices, now).kept(policy) {
            verdicts[index].keep = true;
            verdicts[index].reasons.push(reason);
        }
    }
    verdicts
}

/// The points of one item, as indices into `points`.
struct Candidates<'p> {
    points: &'p [Point],
    now: i64,
    all: Vec<usize>,
    future: Vec<usize>,
    /// Not in the future, newest first.
    complete: Vec<usize>,
    /// Not in the future, newest first.
    incomplete: Vec<usize>,
}

impl<'p> Candidates<'p> {
    fn new(points: &'p [Point], mut all: Vec<usize>, now: DateTime<Utc>) -> Self {
        // The id decides between points of one moment, so that the order of input does not.
        all.sort_by_key(|&index| Reverse((points[index].time, &points[index].id)));
        let now = now.timestamp();
        let (past, future): (Vec<_>, Vec<_>) = all.iter().partition(|&&index| points[index].time.timestamp() <= now);
        let (complete, incomplete) = past.into_iter().partition(|&index: &usize| points[index].complete);
        Self { points, now, all, future, complete, incomplete }
    }

    /// Every point to keep with a reason; once for each reason.
    fn kept(&self, policy: Option<&Policy>) -> Vec<(usize, String)> {
        let mut kept = Vec::new();
        let mut keep = |indices: &[usize], reason: &str| {
            kept.extend(indices.iter().map(|&index| (index, reason.to_owned())));
        };
        match policy.map(|policy| &policy.0) {
            None => keep(&self.all, "no policy"),
            Some(Terms::All) => keep(&self.all, "all"),
            Some(Terms::Thin { keep: number, rules }) => {
                if let Some(number) = *number {
                    keep(&self.newest(number), &format!("keep {number}"));
                }
                for rule in rules {
                    keep(&self.one_a_bucket(rule), &rule.to_string());
                }
            }
        }
        match (self.complete.first(), self.incomplete.first()) {
            (Some(&newest), _) => keep(&[newest], "newest complete"),
            (None, Some(&newest)) => keep(&[newest], "newest, none is complete"),
            (None, None) => {}
        }
        keep(&self.future, IN_THE_FUTURE);
        let pinned: Vec<usize> = self.all.iter().copied().filter(|&index| self.points[index].pinned).collect();
        keep(&pinned, "pinned");
        kept
    }

    fn newest(&self, number: usize) -> Vec<usize> {
        self.complete.iter().chain(&self.incomplete).copied().take(number).collect()
    }

    fn one_a_bucket(&self, rule: &Rule) -> Vec<usize> {
        let (period, ttl) = (rule.period.seconds, rule.ttl.seconds);
        let seconds = |index: usize| self.points[index].time.timestamp();
        let holds = |since: i64| self.now.saturating_sub(since) <= ttl;
        let mut taken = HashSet::new();
        let mut kept = Vec::new();
        for &index in &self.complete {
            if taken.insert(seconds(index).div_euclid(period)) && holds(seconds(index)) {
                kept.push(index);
            }
        }
        for &index in &self.incomplete {
            let bucket = seconds(index).div_euclid(period);
            if taken.insert(bucket) && holds(bucket.saturating_mul(period)) {
                kept.push(index);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Place;

    fn point(item: &str, id: &str, seconds: i64, complete: bool) -> Point {
        let time = DateTime::from_timestamp(seconds, 0).unwrap();
        Point {
            item: item.into(),
            place: Place::Store,
            id: id.into(),
            time,
            complete,
            files: None,
            bytes: None,
            pinned: false,
        }
    }

    /// The ids of what is kept, each with its reasons.
    fn kept(policy: &str, points: &[Point], now: i64) -> Vec<String> {
        let policy = Policy::parse(policy).unwrap();
        let verdicts = plan(Some(&policy), points, DateTime::from_timestamp(now, 0).unwrap());
        let kept = points.iter().zip(verdicts).filter(|(_, verdict)| verdict.keep);
        kept.map(|(point, verdict)| format!("{}: {}", point.id, verdict.reasons.join("; "))).collect()
    }

    #[test]
    fn reasons_name_every_part_that_keeps_a_point() {
        let points = [point("i", "a", 10, true), point("i", "b", 70, true), point("i", "c", 71, true)];
        assert_eq!(kept("2,1min1h", &points, 100), ["a: 1min1h", "b: keep 2", "c: keep 2; 1min1h; newest complete"]);
    }

    #[test]
    fn items_do_not_compete() {
        let points = [point("x", "a", 10, true), point("y", "b", 20, true), point("y", "c", 15, true)];
        assert_eq!(kept("1", &points, 100), ["a: keep 1; newest complete", "b: keep 1; newest complete"]);
    }

    #[test]
    fn without_a_policy_everything_stays() {
        let points = [point("i", "a", 10, true), point("i", "b", 20, false)];
        let verdicts = plan(None, &points, DateTime::from_timestamp(100, 0).unwrap());
        assert_eq!(verdicts[0].reasons, ["no policy", "newest complete"]);
        assert_eq!(verdicts[1].reasons, ["no policy"]);
        assert_eq!(kept("all", &points, 100), ["a: all; newest complete", "b: all"]);
    }

    #[test]
    fn future_points_stay_and_are_never_counted() {
        let points = [point("i", "a", 10, true), point("i", "b", 20, true), point("i", "f", 101, true)];
        assert_eq!(kept("1", &points, 100), ["b: keep 1; newest complete", "f: in the future"]);
        assert_eq!(kept("1", &points, 101), ["f: keep 1; newest complete"]);
    }

    #[test]
    fn fraction_of_the_second_of_planning_is_not_the_future() {
        let mut late = point("i", "a", 100, true);
        late.time = DateTime::from_timestamp(100, 900_000_000).unwrap();
        assert_eq!(kept("1", &[late], 100), ["a: keep 1; newest complete"]);
    }

    #[test]
    fn pinned_point_stays() {
        let mut pinned = point("i", "a", 10, true);
        pinned.pinned = true;
        assert_eq!(kept("1", &[pinned, point("i", "b", 20, true)], 100), ["a: pinned", "b: keep 1; newest complete"]);
    }

    #[test]
    fn incomplete_point_takes_no_keep_place_from_a_complete_one() {
        let points = [point("i", "a", 10, true), point("i", "b", 20, false), point("i", "c", 30, false)];
        assert_eq!(kept("1", &points, 100), ["a: keep 1; newest complete"]);
        assert_eq!(kept("2", &points, 100), ["a: keep 2; newest complete", "c: keep 2"]);
    }

    #[test]
    fn incomplete_point_has_a_bucket_only_where_there_is_no_complete_one() {
        let points = [
            point("i", "a", 5, true),
            point("i", "b", 50, false),
            point("i", "c", 70, false),
            point("i", "d", 80, false),
            point("i", "e", 130, true),
        ];
        assert_eq!(kept("1min1h", &points, 150), ["a: 1min1h", "d: 1min1h", "e: 1min1h; newest complete"]);
    }

    #[test]
    fn incomplete_point_goes_when_its_bucket_begins_to_leave_the_rule() {
        let points = [point("i", "a", 70, false), point("i", "b", 1000, true)];
        assert_eq!(kept("1min2min", &points, 180), ["a: 1min2min; newest, none is complete", "b: in the future"]);
        assert_eq!(kept("1min15min,1s1s", &points, 1000), ["b: 1min15min; 1s1s; newest complete"]);
        assert_eq!(kept("1min16min,1s1s", &points, 1000), ["a: 1min16min", "b: 1min16min; 1s1s; newest complete"]);
    }

    #[test]
    fn newest_point_stays_when_none_is_complete() {
        let points = [point("i", "a", 10, false), point("i", "b", 20, false)];
        assert_eq!(kept("1s1s", &points, 100), ["b: newest, none is complete"]);
    }

    #[test]
    fn age_equal_to_the_ttl_is_kept_and_a_second_more_is_not() {
        let points = [point("i", "a", 39, true), point("i", "b", 40, true), point("i", "c", 100, true)];
        assert_eq!(kept("1s1min", &points, 100), ["b: 1s1min", "c: 1s1min; newest complete"]);
    }

    #[test]
    fn buckets_before_the_epoch_are_whole() {
        let points = [point("i", "a", -61, true), point("i", "b", -1, true), point("i", "c", 1, true)];
        assert_eq!(kept("1min1h", &points, 10), ["a: 1min1h", "b: 1min1h", "c: 1min1h; newest complete"]);
    }
}
