//! Durations and sizes as people write them in the configuration and read them in tables.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// Seconds in a unit of time: `s min h d w m y`, case-insensitive; m = 30 d, y = 365 d.
pub fn seconds_per(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "m" => 30 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    })
}

/// Reads a duration: a whole number and a unit (`30s`, `15min`, `24h`, `7d`, `2w`, `1m`, `1y`).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (amount, unit) = split_number(text.trim());
    let amount: u64 =
        amount.parse().map_err(|_| format!("`{text}` is not a duration; write for example 30s, 15min, 24h or 7d"))?;
    let seconds = seconds_per(unit.trim())
        .ok_or_else(|| format!("`{text}` has no known unit of time; use s, min, h, d, w, m (30 d) or y (365 d)"))?;
    amount.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long"))
}

/// Reads a size: a whole number and an optional unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`, or `kB`, `MB`, `GB`, `TB` by 1000).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (amount, unit) = split_number(text.trim());
    let amount: u64 =
        amount.parse().map_err(|_| format!("`{text}` is not a size; write for example 512MiB or 20GB"))?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("`{text}` has no known unit of size; use KiB, MiB, GiB or TiB")),
    };
    amount.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

/// Splits text behind its leading digits.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// A size for people: `1.5 GiB`, three digits at most.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A duration for people, its two largest units: `3d 4h`, `12min 5s`, `0.4s`.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 10 {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = parts.iter().position(|&(amount, _)| amount > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .take(2)
        .filter(|&&(amount, _)| amount > 0)
        .map(|(amount, unit)| format!("{amount}{unit}"))
        .collect();
    shown.join(" ")
}

/// A moment for people: `2026-02-05 11:59:00` UTC.
pub fn show_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment for programs: RFC 3339, UTC, whole seconds.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("15 min"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("7D"), Ok(Duration::from_secs(604_800)));
        assert!(parse_duration("7x").unwrap_err().contains("unit"));
        assert!(parse_duration("").is_err());
        assert!(parse_duration("99999999999999999999s").is_err());
        assert!(parse_duration("18446744073709551615y").unwrap_err().contains("too long"));
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size("20 GB"), Ok(20_000_000_000));
        assert_eq!(parse_size("7"), Ok(7));
        assert!(parse_size("7 parsecs").is_err());
        assert!(parse_size("-1").is_err());
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        assert_eq!(show_bytes(0), "0 B");
        assert_eq!(show_bytes(1023), "1023 B");
        assert_eq!(show_bytes(1024), "1.00 KiB");
        assert_eq!(show_bytes(1_023_999), "0.98 MiB");
        assert_eq!(show_bytes(15 << 30), "15.0 GiB");
    }

    #[test]
    fn durations_are_shown_with_two_units() {
        assert_eq!(show_duration(Duration::from_millis(420)), "0.4s");
        assert_eq!(show_duration(Duration::from_secs(725)), "12min 5s");
        assert_eq!(show_duration(Duration::from_secs(273_600)), "3d 4h");
        assert_eq!(show_duration(Duration::from_secs(86_400)), "1d");
    }
}
