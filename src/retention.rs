//! Which points to keep: read a policy, say it in words, plan. Pure; the time of planning is an argument.
//!
//! A policy is `[keep] ("," rule)*`, where `keep` is a number and a rule is a period and a time to live: `6,1h2d,1d2w`. Nothing is removed here;
//! commands hand the points that [`plan()`] does not keep to [`crate::timeline::Timeline::remove`].

use std::fmt;

pub mod applies;
mod parse;
mod plan;
pub mod sides;

pub use applies::{ItemKey, rule_for};
pub use parse::PolicyError;
pub use plan::{IN_THE_FUTURE, Verdict, plan};

/// What to keep of an item's points.
///
/// Periods are aligned to the Unix epoch in UTC: days begin at 00:00 UTC, weeks on Thursdays. A month is 30 days, a year 365.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(Terms);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Terms {
    /// Every point, for ever.
    All,
    /// The union of what `keep` and the rules keep.
    Thin { keep: Option<usize>, rules: Vec<Rule> },
}

/// The newest point of every `period`, as long as it is not older than `ttl`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    period: Span,
    ttl: Span,
}

/// A length of time as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    /// At least 1.
    amount: u64,
    /// In lower case, known to [`crate::quantity::seconds_per`].
    unit: String,
    /// The product of the two, at least 1.
    seconds: i64,
}

impl Policy {
    /// Reads a policy: `6,1h2d,1d2w,1w3m`, or `all`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with which part of the text, and where; the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        parse::policy(text)
    }

    /// The one that keeps every point.
    pub fn all() -> Self {
        Self(Terms::All)
    }

    /// The policy in words, one line for each of its parts; a point is kept when one of them holds.
    pub fn explain(&self) -> Vec<String> {
        match &self.0 {
            Terms::All => vec!["every point".to_owned()],
            Terms::Thin { keep, rules } => {
                let keep = keep.iter().map(|keep| format!("the newest {keep}"));
                keep.chain(rules.iter().map(Rule::explain)).collect()
            }
        }
    }
}

impl Policy {
    /// Whether there are points of which this policy keeps one that `other` does not.
    ///
    /// That is so as soon as one of its parts is not contained in one part of `other`. Several parts of `other` together contain no part that
    /// none of them contains: where the buckets of each cut one of ours, there is a newest point that none of them keeps.
    pub fn keeps_more_than(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (_, Terms::All) => false,
            (Terms::All, _) => true,
            (Terms::Thin { keep, rules }, Terms::Thin { keep: other_keep, rules: others }) => {
                // The newest one is kept whatever the policy.
                keep.unwrap_or(1) > other_keep.unwrap_or(1).max(1)
                    || rules.iter().any(|rule| !others.iter().any(|other| other.contains(rule)))
            }
        }
    }
}

impl Rule {
    /// Whether it keeps whatever `other` does: as long, and its buckets lie within those of `other`, so that what is newest there is newest here.
    fn contains(&self, other: &Self) -> bool {
        self.ttl.seconds >= other.ttl.seconds && other.period.seconds % self.period.seconds == 0
    }

    fn explain(&self) -> String {
        let period = match self.period.amount {
            1 => format!("each {}", self.period.name(false)),
            amount => format!("every {amount} {}", self.period.name(true)),
        };
        format!("the newest of {period}, for {} {}", self.ttl.amount, self.ttl.name(self.ttl.amount != 1))
    }
}

impl Span {
    fn name(&self, plural: bool) -> &str {
        let (one, many) = match self.unit.as_str() {
            "s" => ("second", "seconds"),
            "min" => ("minute", "minutes"),
            "h" => ("hour", "hours"),
            "d" => ("day", "days"),
            "w" => ("week", "weeks"),
            "m" => ("month of 30 days", "months of 30 days"),
            "y" => ("year of 365 days", "years of 365 days"),
            unit => (unit, unit),
        };
        if plural { many } else { one }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Terms::All => f.write_str("all"),
            Terms::Thin { keep, rules } => {
                let keep = keep.iter().map(ToString::to_string);
                let parts: Vec<String> = keep.chain(rules.iter().map(ToString::to_string)).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}{}", self.period.amount, self.period.unit, self.ttl.amount, self.ttl.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_is_said_in_words_one_line_a_part() {
        let policy = Policy::parse("6,1h2d,2w1y,15min1h").unwrap();
        assert_eq!(
            policy.explain(),
            [
                "the newest 6",
                "the newest of each hour, for 2 days",
                "the newest of every 2 weeks, for 1 year of 365 days",
                "the newest of every 15 minutes, for 1 hour",
            ]
        );
        assert_eq!(Policy::parse("all").unwrap().explain(), ["every point"]);
    }

    #[test]
    fn policy_is_shown_in_its_canonical_form() {
        assert_eq!(Policy::parse(" 06 , 1H02D,1d2W ").unwrap().to_string(), "6,1h2d,1d2w");
        assert_eq!(Policy::parse(" ALL ").unwrap().to_string(), "all");
    }

    #[test]
    fn policy_keeps_more_when_one_of_its_parts_is_in_none_of_the_other() {
        let more = |one: &str, other: &str| Policy::parse(one).unwrap().keeps_more_than(&Policy::parse(other).unwrap());
        for (one, other) in [
            ("1d2w", "1d2w"),
            ("1d2w", "1h2w"),
            ("1d1w", "1d2w"),
            ("3,1d1w", "3,1d1w,1w3m"),
            ("1", "1d1d"),
            ("2w3m", "1w3m"),
            ("all", "all"),
            ("6,1h2d", "all"),
        ] {
            assert!(!more(one, other), "{one} keeps no more than {other}");
        }
        for (one, other) in [
            ("1d3w", "1d2w"),
            ("1h1d", "1d2w"),
            ("1m1y", "1w1y"),
            ("2,1d2w", "1d2w"),
            ("7", "6,1h2d"),
            ("6h1w", "1h2d,4h1w"),
            ("all", "99,1s99y"),
        ] {
            assert!(more(one, other), "{one} keeps more than {other}");
        }
    }

    /// What the two policies keep of dense and of sparse histories, against what is said of their texts.
    #[test]
    fn policy_that_keeps_no_more_never_does() {
        use chrono::DateTime;

        use crate::timeline::{Place, Point};

        let texts = ["1", "2", "3s9s", "2s12s", "4s40s", "6s40s", "5,2s20s", "9s9s,3s30s", "12s60s", "1s60s", "all"];
        let point = |seconds: i64| Point {
            item: "i".into(),
            place: Place::Source,
            id: seconds.to_string(),
            time: DateTime::from_timestamp(seconds, 0).unwrap(),
            complete: true,
            files: None,
            bytes: None,
            pinned: false,
        };
        let histories: Vec<Vec<Point>> =
            (1..8).map(|step| (0..80).filter(|at| at * at % (step + 1) <= step / 2).map(point).collect()).collect();
        for one in texts {
            for other in texts {
                let (first, second) = (Policy::parse(one).unwrap(), Policy::parse(other).unwrap());
                let is_more = histories.iter().any(|points| {
                    (80..140).any(|now| {
                        let now = DateTime::from_timestamp(now, 0).unwrap();
                        let [first, second] = [&first, &second].map(|policy| plan(Some(policy), points, now));
                        first.iter().zip(second).any(|(first, second)| first.keep && !second.keep)
                    })
                });
                assert_eq!(first.keeps_more_than(&second), is_more, "{one} against {other}");
            }
        }
    }
}
