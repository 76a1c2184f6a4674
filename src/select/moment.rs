//! The POINT of a point spec: which of an item's points is meant.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use crate::incus::PREFIX;

/// Which of an item's points is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moment {
    /// The newest one, or so many before it.
    Latest(usize),
    /// The one whose id begins with this: digits in lower case, or the name of a snapshot on a server.
    Id(String),
    /// The newest one not made after this.
    NotAfter(DateTime<Utc>),
}

impl Moment {
    /// Reads `latest`, `latest~N`, the beginning of an id of the store or of a server (`IAB_2026`), or a date with or without a time and a zone; `None` if it is none of them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(back) = text.strip_prefix("latest") {
            return match back.strip_prefix('~') {
                Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    number.parse().ok().map(Self::Latest)
                }
                None if back.is_empty() => Some(Self::Latest(0)),
                _ => None,
            };
        }
        if is_id(text) {
            return Some(Self::Id(text.to_ascii_lowercase()));
        }
        if text.starts_with(PREFIX) {
            return Some(Self::Id(text.to_owned()));
        }
        end_of(text).map(Self::NotAfter)
    }
}

/// Whether the text can be the beginning of a snapshot id: 4 to 64 hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The last instant of the day, minute or second that the text names; UTC unless it says otherwise.
///
/// What people copy from a list or type by hand is the beginning of a day or second, and they mean all of it.
fn end_of(text: &str) -> Option<DateTime<Utc>> {
    let (start, length) = named(text)?;
    start.checked_add_signed(length - TimeDelta::nanoseconds(1))
}

/// The first instant of the day, minute or second that the text names; UTC unless it says otherwise.
pub fn start_of(text: &str) -> Option<DateTime<Utc>> {
    named(text).map(|(start, _)| start)
}

/// Where the day, minute or second that the text names begins, and how long it is.
fn named(text: &str) -> Option<(DateTime<Utc>, TimeDelta)> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(start) => (&rest[..start], zone(&rest[start..])?),
        None => (rest, FixedOffset::east_opt(0)?),
    };
    let (start, length) = if time.is_empty() {
        (NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?, TimeDelta::days(1))
    } else {
        let time = time.strip_prefix(['T', 't', ' '])?;
        let read = |format: &str| NaiveDateTime::parse_from_str(&format!("{date} {time}"), format).ok();
        match read("%Y-%m-%d %H:%M:%S%.f") {
            Some(start) => (start, TimeDelta::seconds(1)),
            None => (read("%Y-%m-%d %H:%M")?, TimeDelta::minutes(1)),
        }
    };
    start.and_local_timezone(offset).single().map(|start| (start.to_utc(), length))
}

fn zone(text: &str) -> Option<FixedOffset> {
    if text.eq_ignore_ascii_case("z") { FixedOffset::east_opt(0) } else { FixedOffset::from_str(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_after(text: &str) -> String {
        match Moment::parse(text) {
            Some(Moment::NotAfter(time)) => time.to_rfc3339(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn date_means_the_end_of_its_day() {
        assert_eq!(not_after("2026-02-05"), "2026-02-05T23:59:59.999999999+00:00");
    }

    #[test]
    fn time_means_all_of_the_minute_or_second_it_names() {
        assert_eq!(not_after("2026-02-05T11:59"), "2026-02-05T11:59:59.999999999+00:00");
        assert_eq!(not_after("2026-02-05 11:59:00"), "2026-02-05T11:59:00.999999999+00:00");
    }

    #[test]
    fn zone_is_honoured_and_utc_without_one() {
        assert_eq!(not_after("2026-02-05T11:59:00Z"), "2026-02-05T11:59:00.999999999+00:00");
        assert_eq!(not_after("2026-02-05T11:59:00+02:00"), "2026-02-05T09:59:00.999999999+00:00");
        assert_eq!(not_after("2026-02-05T23:59-0130"), "2026-02-06T01:29:59.999999999+00:00");
    }

    #[test]
    fn latest_and_ids_are_told_from_dates() {
        assert_eq!(Moment::parse("latest"), Some(Moment::Latest(0)));
        assert_eq!(Moment::parse("latest~12"), Some(Moment::Latest(12)));
        assert_eq!(Moment::parse("A1b2"), Some(Moment::Id("a1b2".into())));
        assert_eq!(Moment::parse("20260205"), Some(Moment::Id("20260205".into())));
        assert_eq!(Moment::parse("IAB_20260205-11"), Some(Moment::Id("IAB_20260205-11".into())));
    }

    #[test]
    fn anything_else_is_no_point() {
        for text in [
            "",
            "a1b",
            "latest~",
            "latest~-1",
            "latest~x",
            "latestx",
            "yesterday",
            "iab_20260205",
            "2026-02-30",
            "2026-02-05T",
            "2026-02-05T25:00",
            "2026-02-05T11:59:00+99:00",
            "2026-02-05T11:59:00Zulu",
            "2026-02-0ä",
            "02026-2-05T11:59",
            "latest~99999999999999999999",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
