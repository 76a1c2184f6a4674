//! Retention as the design states it: its vectors, and what must hold for every policy and every set of points.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use holdall::retention::{IN_THE_FUTURE, Policy, plan};
use holdall::timeline::{Place, Point};
use proptest::prelude::*;

const HOUR: i64 = 3600;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn point(id: String, time: DateTime<Utc>, complete: bool) -> Point {
    Point {
        item: "files.host".into(),
        place: Place::Store,
        id,
        time,
        complete,
        files: None,
        bytes: None,
        pinned: false,
    }
}

fn kept(policy: &str, points: &[Point], now: DateTime<Utc>) -> Vec<Point> {
    let policy = Policy::parse(policy).unwrap();
    let verdicts = plan(Some(&policy), points, now);
    points.iter().zip(verdicts).filter(|(_, verdict)| verdict.keep).map(|(point, _)| point.clone()).collect()
}

fn ids(points: &[Point]) -> BTreeSet<String> {
    points.iter().map(|point| point.id.clone()).collect()
}

/// The points of the design, each named by its time.
fn vector_kept(policy: &str) -> Vec<String> {
    let times = [
        "2026-02-05T11:59:00Z",
        "2026-02-05T11:00:00Z",
        "2026-02-05T10:59:59Z",
        "2026-02-05T00:00:00Z",
        "2026-02-04T23:59:59Z",
        "2026-02-04T00:00:00Z",
        "2026-02-03T12:00:00Z",
        "2026-02-03T11:59:59Z",
        "2026-01-29T00:00:00Z",
        "2026-01-28T23:59:59Z",
        "2026-01-22T12:00:00Z",
        "2026-01-22T11:59:59Z",
        "2025-12-31T10:00:00Z",
    ];
    let points: Vec<Point> = times.iter().map(|time| point((*time).to_owned(), at(time), true)).collect();
    kept(policy, &points, at("2026-02-05T12:00:00Z")).into_iter().map(|point| point.id).collect()
}

const DAILY: [&str; 6] = [
    "2026-02-05T11:59:00Z",
    "2026-02-04T23:59:59Z",
    "2026-02-03T12:00:00Z",
    "2026-01-29T00:00:00Z",
    "2026-01-28T23:59:59Z",
    "2026-01-22T12:00:00Z",
];

#[test]
fn hourly_rule_keeps_what_the_design_says() {
    assert_eq!(
        vector_kept("1h2d"),
        [
            "2026-02-05T11:59:00Z",
            "2026-02-05T10:59:59Z",
            "2026-02-05T00:00:00Z",
            "2026-02-04T23:59:59Z",
            "2026-02-04T00:00:00Z",
            "2026-02-03T12:00:00Z",
        ]
    );
}

#[test]
fn daily_rule_keeps_what_the_design_says() {
    assert_eq!(vector_kept("1d2w"), DAILY);
}

#[test]
fn weekly_rule_keeps_what_the_design_says() {
    assert_eq!(
        vector_kept("1w3m"),
        ["2026-02-05T11:59:00Z", "2026-02-04T23:59:59Z", "2026-01-28T23:59:59Z", "2025-12-31T10:00:00Z"]
    );
}

#[test]
fn number_and_rule_keep_the_union() {
    let mut expected = DAILY.to_vec();
    expected.insert(1, "2026-02-05T11:00:00Z");
    assert_eq!(vector_kept("2,1d2w"), expected);
}

#[test]
fn points_kept_by_number_claim_their_buckets() {
    let start = at("2026-02-02T00:00:00Z").timestamp();
    let time = |hour: i64| DateTime::from_timestamp(start + hour * HOUR, 0).unwrap();
    let points: Vec<Point> = (0..=32).map(|hour| point(hour.to_string(), time(hour), true)).collect();
    let kept: Vec<String> = kept("6,1d2w", &points, time(32)).into_iter().map(|point| point.id).collect();
    assert_eq!(kept, ["23", "27", "28", "29", "30", "31", "32"]);
}

/// A policy of any parts, in any order of its rules, and the runs it is for.
///
/// Half of them live within seconds, where runs, periods and times to live meet often.
fn cases() -> impl Strategy<Value = (String, Runs)> {
    const USUAL: [u64; 7] = [7, 900, 3600, 18_000, 86_400, 604_800, 2_592_000];
    let gap = prop_oneof![0..100i64, 0..10_000i64, 0..400_000i64];
    let ahead = prop_oneof![9 => Just(0i64), 1 => 0..100_000i64];
    let close = (policies((2..10).collect(), 4), runs(0..4i64, prop_oneof![19 => Just(0i64), 1 => 0..9i64]));
    prop_oneof![(policies(USUAL.to_vec(), 30), runs(gap, ahead)), close]
}

fn policies(periods: Vec<u64>, most_times: u64) -> impl Strategy<Value = String> {
    let rules = proptest::sample::subsequence(periods, 0..=4).prop_shuffle();
    let ttls = proptest::collection::vec((1..most_times, 0u64..1000), 4);
    (proptest::option::of(1u32..8), rules, ttls).prop_map(|(keep, periods, ttls)| {
        let rules = periods.iter().zip(ttls);
        let rules = rules.map(|(period, (times, more))| format!("{period}s{}s", period * times + more % period));
        let parts: Vec<String> = keep.map(|keep| keep.to_string()).into_iter().chain(rules).collect();
        if parts.is_empty() { "all".into() } else { parts.join(",") }
    })
}

/// Runs: how long after the last one, how far the clock of its point is ahead, and whether the point is complete.
type Runs = Vec<(i64, i64, bool)>;

fn runs(gap: impl Strategy<Value = i64>, ahead: impl Strategy<Value = i64>) -> impl Strategy<Value = Runs> {
    proptest::collection::vec((gap, ahead, proptest::bool::weighted(0.6)), 1..80)
}

/// The points of these runs, each with the time of planning that follows it; ids in no order.
fn history(runs: &Runs) -> Vec<(Point, DateTime<Utc>)> {
    let mut now = -1_000_000;
    let mut history = Vec::new();
    for (number, &(gap, ahead, complete)) in runs.iter().enumerate() {
        now += gap;
        let id = format!("{:08x}", (number as u32).wrapping_mul(2_654_435_761));
        let time = DateTime::from_timestamp(now + ahead, 0).unwrap();
        history.push((point(id, time, complete), DateTime::from_timestamp(now, 0).unwrap()));
    }
    history
}

fn all_points(history: &[(Point, DateTime<Utc>)]) -> (Vec<Point>, DateTime<Utc>) {
    (history.iter().map(|(point, _)| point.clone()).collect(), history.last().unwrap().1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pruning_after_every_run_keeps_the_same_as_pruning_once((policy, runs) in cases()) {
        let history = history(&runs);
        let (mut all, mut left): (Vec<Point>, Vec<Point>) = (Vec::new(), Vec::new());
        for (point, now) in &history {
            all.push(point.clone());
            left.push(point.clone());
            left = kept(&policy, &left, *now);
            prop_assert_eq!(ids(&left), ids(&kept(&policy, &all, *now)));
        }
    }

    #[test]
    fn policy_keeps_the_union_of_what_its_parts_keep((policy, runs) in cases()) {
        let (points, now) = all_points(&history(&runs));
        let parts: BTreeSet<String> = policy.split(',').flat_map(|part| ids(&kept(part, &points, now))).collect();
        prop_assert_eq!(ids(&kept(&policy, &points, now)), parts);
    }

    #[test]
    fn newest_complete_point_and_future_points_are_always_kept((policy, runs) in cases()) {
        let (points, now) = all_points(&history(&runs));
        let parsed = Policy::parse(&policy).unwrap();
        let verdicts = plan(Some(&parsed), &points, now);
        let newest = points.iter().filter(|point| point.complete && point.time <= now).map(|point| point.time).max();
        let at_newest = points.iter().zip(&verdicts).filter(|(point, _)| point.complete && Some(point.time) == newest);
        prop_assert_eq!(newest.is_some(), at_newest.clone().any(|(_, verdict)| verdict.keep));
        for (point, verdict) in points.iter().zip(&verdicts).filter(|(point, _)| point.time > now) {
            prop_assert!(verdict.keep, "{} is dated ahead", point.id);
            prop_assert!(verdict.reasons.contains(&IN_THE_FUTURE.to_owned()));
        }
    }

    #[test]
    fn incomplete_points_never_change_which_complete_ones_are_kept((policy, runs) in cases()) {
        let (points, now) = all_points(&history(&runs));
        let complete: Vec<Point> = points.iter().filter(|point| point.complete).cloned().collect();
        let with: Vec<Point> = kept(&policy, &points, now).into_iter().filter(|point| point.complete).collect();
        prop_assert_eq!(with, kept(&policy, &complete, now));
    }

    #[test]
    fn order_of_input_does_not_matter((policy, runs) in cases(), seed in any::<u64>()) {
        let (points, now) = all_points(&history(&runs));
        let mut shuffled = points.clone();
        shuffled.sort_by_key(|point| u64::from_str_radix(&point.id, 16).unwrap().wrapping_mul(seed | 1).rotate_left(17));
        prop_assert_eq!(ids(&kept(&policy, &points, now)), ids(&kept(&policy, &shuffled, now)));
    }

    #[test]
    fn policy_reads_back_from_its_own_text((policy, _) in cases()) {
        let policy = Policy::parse(&policy).unwrap();
        prop_assert_eq!(Policy::parse(&policy.to_string()), Ok(policy));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,24}") {
        if let Err(error) = Policy::parse(&text) {
            prop_assert!(text.is_char_boundary(error.position), "{error} at byte {}", error.position);
        }
    }

    #[test]
    fn text_that_looks_like_a_policy_parses_or_is_refused_with_its_place(text in "[0-9smindhwyA, x]{0,20}") {
        match Policy::parse(&text) {
            Ok(policy) => prop_assert_eq!(Policy::parse(&policy.to_string()), Ok(policy)),
            Err(error) => prop_assert!(error.position <= text.len() && error.to_string().contains("position")),
        }
    }
}
