//! Where the marks of an axis are, and what is written at them.

use chrono::{DateTime, Utc};

/// How many steps an axis of sizes has at most.
const STEPS: u64 = 3;

/// The marks of an axis of sizes, from nothing to at least `most`: each with its label.
pub(super) fn sizes(most: u64) -> Vec<(u64, String)> {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let most = most.max(STEPS);
    let power = (most.ilog2() / 10).min(6);
    let unit = 1_u64 << (10 * power);
    // Steps that are round in the unit, or a round part of it.
    let whole = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500].into_iter().map(|factor| unit.saturating_mul(factor));
    let step =
        std::iter::once(unit / 2).filter(|step| *step > 0).chain(whole).find(|step| most.div_ceil(*step) <= STEPS);
    let step = step.unwrap_or(unit.saturating_mul(500)).max(1);
    let count = most.div_ceil(step);
    (0..=count)
        .map(|number| {
            let size = step.saturating_mul(number);
            let half = if size % unit > 0 { ".5" } else { "" };
            let label =
                if size == 0 { "0".to_owned() } else { format!("{}{half} {}", size / unit, UNITS[power as usize]) };
            (size, label)
        })
        .collect()
}

/// What is written at a moment on an axis of this many seconds.
pub(super) fn moment(seconds: i64, length: i64) -> String {
    const DAY: i64 = 86_400;
    let formats = [(DAY, "%H:%M"), (2 * DAY, "%d %b %H:%M"), (300 * DAY, "%d %b")];
    let format = formats.into_iter().find(|(longest, _)| length <= *longest).map_or("%b %Y", |(_, format)| format);
    let time = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
    time.format(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(most: u64) -> Vec<String> {
        sizes(most).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn marks_are_round_and_the_last_is_not_below_the_largest_size() {
        assert_eq!(labels(0), ["0", "1 B", "2 B", "3 B"]);
        assert_eq!(labels(1024), ["0", "0.5 KiB", "1 KiB"]);
        assert_eq!(labels(7 << 30), ["0", "5 GiB", "10 GiB"]);
        assert_eq!(labels(999 << 20), ["0", "500 MiB", "1000 MiB"]);
        assert_eq!(labels(3 << 40), ["0", "1 TiB", "2 TiB", "3 TiB"]);
        for most in (0..64).flat_map(|power| [(1_u64 << power) - 1, 1 << power, (1 << power) + 1]).chain([u64::MAX]) {
            let marks = sizes(most);
            assert!((2..=4).contains(&marks.len()), "{most}: {marks:?}");
            assert!(marks.last().is_some_and(|(last, _)| *last >= most), "{most}: {marks:?}");
        }
    }

    #[test]
    fn moments_are_as_exact_as_the_axis_is_long() {
        assert_eq!(moment(1_770_292_740, 3600), "11:59");
        assert_eq!(moment(1_770_292_740, 100_000), "05 Feb 11:59");
        assert_eq!(moment(1_770_292_740, 2_000_000), "05 Feb");
        assert_eq!(moment(1_770_292_740, 90_000_000), "Feb 2026");
    }
}
