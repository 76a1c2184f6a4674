//! A moment as restic's JSON names it: RFC 3339 with up to nine digits of a second, as Go's `time.Time` writes and reads it.
//!
//! Written by hand, because a node has three of them and they would take most of the time that a node takes.

use rustic_core::jiff::Timestamp;

/// Seconds from 1970 to the beginning of year 1, which is Go's zero time: what restic writes for a time that it does not know.
const UNKNOWN: i64 = -62_135_596_800;

/// Seconds from 1970 to the beginning of year 0, the first that Go writes.
const YEAR_0: i64 = -62_167_219_200;

const SECONDS_OF_DAY: i64 = 86_400;

/// A moment in UTC; never before year 0 when it is of a node of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Whole seconds since 1970, rounded down.
    seconds: i64,
    /// What is above them, below a thousand million.
    nanoseconds: u32,
}

impl Moment {
    /// What is written for a time that is not known.
    pub(super) const UNKNOWN: Self = Self { seconds: UNKNOWN, nanoseconds: 0 };

    /// The moment that is written for this time.
    ///
    /// Go cannot write years before 0; such a time becomes the same day and time in year 0, as in restic. There is no [`Timestamp`] after year 9999.
    pub(super) fn of(time: Option<Timestamp>) -> Self {
        let Some(time) = time else { return Self::UNKNOWN };
        // A `Timestamp` before 1970 has both parts below zero.
        let (mut seconds, mut nanoseconds) = (time.as_second(), time.subsec_nanosecond());
        if nanoseconds < 0 {
            seconds -= 1;
            nanoseconds += 1_000_000_000;
        }
        if seconds < YEAR_0 {
            let (_, month, day) = date(seconds.div_euclid(SECONDS_OF_DAY));
            seconds = days(0, month, day) * SECONDS_OF_DAY + seconds.rem_euclid(SECONDS_OF_DAY);
        }
        Self { seconds, nanoseconds: nanoseconds.unsigned_abs() }
    }

    /// Appends the moment, without quotes: `2006-01-02T15:04:05.999999999Z`, zeros at the end of the fraction left away.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let (year, month, day) = date(self.seconds.div_euclid(SECONDS_OF_DAY));
        let second = self.seconds.rem_euclid(SECONDS_OF_DAY);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        digits(&mut text[0..4], year.unsigned_abs());
        digits(&mut text[5..7], month.unsigned_abs());
        digits(&mut text[8..10], day.unsigned_abs());
        digits(&mut text[11..13], second.unsigned_abs() / 3600);
        digits(&mut text[14..16], second.unsigned_abs() / 60 % 60);
        digits(&mut text[17..19], second.unsigned_abs() % 60);
        digits(&mut text[20..29], self.nanoseconds.into());
        let mut end = 29;
        while text[end - 1] == b'0' && end > 20 {
            end -= 1;
        }
        if end == 20 {
            end = 19;
        }
        text[end] = b'Z';
        out.extend_from_slice(&text[..=end]);
    }

    /// Reads a moment with any offset from UTC; `None` when it is not one.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (&[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1], mut rest) =
            text.split_first_chunk::<19>()?
        else {
            return None;
        };
        let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
        let (hour, minute, second) = (number(&[h0, h1])?, number(&[i0, i1])?, number(&[s0, s1])?);
        if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let day_number = days(year, month, day);
        // A day that the month does not have comes back as one of the next.
        if date(day_number) != (year, month, day) {
            return None;
        }
        let mut nanoseconds = 0;
        if let [b'.', fraction @ ..] = rest {
            let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&length) {
                return None;
            }
            let (fraction, after) = fraction.split_at(length);
            nanoseconds = u32::try_from(number(fraction)?).ok()? * 10_u32.pow(9 - u32::try_from(length).ok()?);
            rest = after;
        }
        let offset = match *rest {
            [b'Z'] => 0,
            [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
                let (hours, minutes) = (number(&[h0, h1])?, number(&[m0, m1])?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 3600 + minutes * 60) * if sign == b'-' { -1 } else { 1 }
            }
            _ => return None,
        };
        let seconds = day_number * SECONDS_OF_DAY + hour * 3600 + minute * 60 + second - offset;
        Some(Self { seconds, nanoseconds })
    }
}

/// Fills the place with the last digits of the number.
fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The number these digits stand for; `None` when one is none.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Days of the 400 years after which the calendar repeats, and from 0000-03-01 to 1970-01-01.
const CYCLE: i64 = 146_097;
const TO_1970: i64 = 719_468;

/// Year, month and day of a number of days since 1970 (Gregorian, also before there was that calendar).
///
/// Years are counted from March here, so that the day a leap year has more is its last; a month then begins on day (153 * month + 2) / 5.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + TO_1970;
    let day_of_cycle = days.rem_euclid(CYCLE);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = days.div_euclid(CYCLE) * 400 + year_of_cycle;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// The number of days since 1970 of a date; the other way of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year_of_cycle = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    year.div_euclid(400) * CYCLE + day_of_cycle - TO_1970
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(time: Option<Timestamp>) -> String {
        let mut out = Vec::new();
        Moment::of(time).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn at(seconds: i64, nanoseconds: i32) -> Option<Timestamp> {
        Some(Timestamp::new(seconds, nanoseconds).unwrap())
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(written(at(0, 0)), "1970-01-01T00:00:00Z");
        assert_eq!(written(at(0, 1)), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(written(at(-1, -500_000_000)), "1969-12-31T23:59:58.5Z");
        assert_eq!(written(at(951_782_400, 123_000_000)), "2000-02-29T00:00:00.123Z");
        assert_eq!(written(None), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn times_that_go_cannot_read_are_not_written() {
        assert_eq!(written(Some(Timestamp::MAX)), "9999-12-30T22:00:00.999999999Z");
        assert_eq!(written(Some(Timestamp::MIN)), "0000-01-02T01:59:59Z");
        assert_eq!(written(at(YEAR_0, 0)), "0000-01-01T00:00:00Z");
        assert_eq!(written(at(YEAR_0 - 1, 0)), "0000-12-31T23:59:59Z");
    }

    #[test]
    fn an_offset_names_the_same_moment() {
        let utc = Moment::parse(b"2024-03-01T00:30:00.25Z");
        assert!(utc.is_some());
        for same in ["2024-03-01T02:30:00.250+02:00", "2024-02-29T21:00:00.25-03:30"] {
            assert_eq!(Moment::parse(same.as_bytes()), utc, "{same}");
        }
        assert_eq!(Moment::parse(b"0001-01-01T00:00:00Z"), Some(Moment::UNKNOWN));
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        let wrong = [
            "",
            "2024-03-01T00:30:00",
            "2024-03-01T00:30:00.Z",
            "2024-03-01T00:30:00.1234567890Z",
            "2024-03-01T00:30:00+24:00",
            "2024-03-01T00:30:00+2:00",
            "2024-03-01T24:00:00Z",
            "2024-03-01T00:60:00Z",
            "2024-03-01T00:00:60Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-03-01 00:30:00Z",
            "2024-03-01T00:30:00ZZ",
            "+024-03-01T00:30:00Z",
        ];
        for text in wrong {
            assert_eq!(Moment::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_back_and_is_that_of_another_calendar(seconds in UNKNOWN..253_402_207_200, nanoseconds in 0..1_000_000_000) {
            let time = at(seconds, nanoseconds);
            let text = written(time);
            prop_assert_eq!(&text, &time.unwrap().to_string());
            prop_assert_eq!(Moment::parse(text.as_bytes()), Some(Moment::of(time)));
        }
    }
}
