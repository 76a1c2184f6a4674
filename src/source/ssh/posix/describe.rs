//! What `stat` and `ls` say of one entry.

use rustix::fs::makedev;

use crate::source::ssh::listing::Stat;

/// An entry as it was described.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) stat: Stat,
    /// `st_rdev` of a device.
    pub(super) device: Option<u64>,
}

/// Reads a line of `stat` as [`super::script`] asks for it; `None` when it is not one.
pub(super) fn stat_line(line: &str) -> Option<Description> {
    let mut words = line.splitn(12, ' ');
    let mode = u32::from_str_radix(words.next()?, 16).ok()?;
    let (uid, gid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let size = words.next()?.parse().ok()?;
    let (mtime, ctime) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (inode, links, device) =
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (major, minor) = (u32::from_str_radix(words.next()?, 16).ok()?, u32::from_str_radix(words.next()?, 16).ok()?);
    let (modified, changed) = words.next()?.split_once('|')?;
    let mtime = (mtime, nanoseconds(modified));
    let stat = Stat { mode, uid, gid, size, mtime, ctime: Some((ctime, nanoseconds(changed))), inode, links, device };
    Some(Description { stat, device: is_device(mode).then(|| makedev(major, minor)) })
}

/// The fraction of `2026-11-21 20:50:53.620789313 +0000`; old programs leave it out.
fn nanoseconds(time: &str) -> u32 {
    let fraction = time.split_once('.').map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default());
    if fraction.len() == 9 { fraction.parse().unwrap_or(0) } else { 0 }
}

/// Reads what `ls -lnid --full-time` says of one entry: `12 brw-rw---- 1 0 6 8, 1 2026-11-21 20:50:53 +0000 /dev/sda`.
///
/// Name and target at its end are not looked at: `ls` puts `?` for what it holds to be unprintable.
pub(super) fn ls_text(text: &[u8]) -> Option<Description> {
    let mut rest = text;
    let mut word = || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|&byte| byte == b' ')?;
        let word = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end..];
        Some(word)
    };
    let inode = word()?.parse().ok()?;
    let mode = mode(word()?)?;
    let (links, uid, gid) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
    let first = word()?;
    let (size, device) = match first.strip_suffix(',') {
        Some(major) => (0, Some(makedev(major.parse().ok()?, word()?.parse().ok()?))),
        None => (first.parse().ok()?, None),
    };
    let time = [word()?, word()?, word()?].join(" ");
    let moment = chrono::DateTime::parse_from_str(&time, "%Y-%m-%d %H:%M:%S%.f %z").ok()?;
    let mtime = (moment.timestamp(), moment.timestamp_subsec_nanos());
    let stat = Stat { mode, uid, gid, size, mtime, ctime: None, inode, links, device: 0 };
    Some(Description { stat, device })
}

/// `drwxr-sr-t` as a mode.
fn mode(text: &str) -> Option<u32> {
    let bytes: [u8; 10] = text.as_bytes().get(..10)?.try_into().ok()?;
    let kind = match bytes[0] {
        b'-' => 0o100_000,
        b'd' => 0o040_000,
        b'l' => 0o120_000,
        b'b' => 0o060_000,
        b'c' => 0o020_000,
        b'p' => 0o010_000,
        b's' => 0o140_000,
        _ => return None,
    };
    let mut mode = kind;
    for (place, letter) in bytes[1..].iter().enumerate() {
        let bit = 1 << (8 - place);
        let special = 0o4000 >> (place / 3);
        mode |= match letter {
            b'-' => 0,
            b'r' | b'w' | b'x' => bit,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            _ => return None,
        };
    }
    Some(mode)
}

fn is_device(mode: u32) -> bool {
    matches!(mode & 0o170_000, 0o060_000 | 0o020_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_stat_is_read_with_its_fractions() {
        let line = "61b0 0 6 0 -5 1795294254 7 1 5 8 10 1969-12-31 23:59:55.000000007 +0000|2026-11-21 20:50:54.620789313 +0000";
        let stat = Stat {
            mode: 0o060_660,
            gid: 6,
            mtime: (-5, 7),
            ctime: Some((1_795_294_254, 620_789_313)),
            inode: 7,
            links: 1,
            device: 5,
            ..Stat::default()
        };
        assert_eq!(stat_line(line), Some(Description { stat, device: Some(makedev(8, 16)) }));
        let old = "81a4 0 0 3 5 6 7 1 5 0 0 1970-01-01 00:00:05|1970-01-01 00:00:06";
        assert_eq!(stat_line(old).map(|read| (read.stat.mtime, read.stat.ctime)), Some(((5, 0), Some((6, 0)))));
        assert_eq!(stat_line("81a4 0 0 3 5 6 7 1"), None);
        assert_eq!(stat_line("stat: not found"), None);
    }

    #[test]
    fn text_of_ls_is_read_up_to_the_name() {
        let read = ls_text(b"  9 lrwxrwxrwx    1 0   5    4 1970-01-01 01:00:09 +0100 /a? -> b -> x").unwrap();
        assert_eq!((read.stat.mode, read.stat.gid, read.stat.size, read.stat.mtime), (0o120_777, 5, 4, (9, 0)));
        let device = ls_text(b"9 crwSr-x--T 1 0 5 4,   64 1970-01-01 01:00:09 +0100 /d").unwrap();
        assert_eq!((device.device, device.stat.mode), (Some(makedev(4, 64)), 0o025_650));
        assert_eq!(ls_text(b"ls: /d: No such file or directory"), None);
        assert_eq!(ls_text(b"9 crw------- 1 0 5 4, 64 Jan 1 01:00 /d"), None);
    }
}
