//! What a device may name in its backup folder, and nothing else.
//!
//! Devices name files by their path in the folder above that of the device: `UDID/Status.plist`, `UDID/Snapshot/ab/ab12…`. A path that could lead elsewhere is
//! no mistake of a backup service but an attack; what only is not known is refused, and the session goes on.

use std::fmt;

use super::manifest::FileId;

/// How long a name may be, in bytes: what file systems take.
const MOST_NAME: usize = 255;

/// How deep names below the scratch folder may be.
const MOST_DEPTH: usize = 16;

/// The files of a backup that are about all others, in the order of their names.
pub(super) const NAMED: [&str; 5] = ["Info.plist", "Manifest.db", "Manifest.mbdb", "Manifest.plist", "Status.plist"];

/// The part of the folder that a body is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// `UDID/ab/ab12…`: what the manifest of the last finished backup names.
    Kept,
    /// `UDID/Snapshot/ab/ab12…`: what is on its way there.
    Snapshot,
}

/// A place in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The folder of the device itself.
    Top,
    /// `Snapshot`.
    Snapshot,
    /// The folder of the bodies whose names begin with this byte.
    Hash(Area, u8),
    /// The content of a file of the device.
    Body(Area, FileId),
    /// Any other file or folder: its path below the folder of the device.
    Named(Box<str>),
}

/// Why a path is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It could lead out of the folder, or is made to break something.
    Attack(String),
    /// No backup has such a file.
    Unknown,
}

impl Place {
    /// The place that a device means by `path`.
    ///
    /// # Errors
    ///
    /// When it is none that a backup of the device `udid` has.
    pub(super) fn parse(udid: &str, path: &str) -> Result<Self, Unfit> {
        let attack = |why: &str| Err(Unfit::Attack(why.to_owned()));
        // Devices have a scratch folder that they name so; it is beside that of the backup for every host, and none saves it.
        let scratch = path.strip_prefix("/.b/").or_else(|| path.strip_prefix(".b/"));
        let relative = match scratch {
            Some(rest) => rest,
            None if path.is_empty() => return attack("has no name"),
            None if path.starts_with('/') => return attack("is absolute"),
            None => path,
        };
        let relative = relative.strip_suffix('/').unwrap_or(relative);
        let names: Vec<&str> = relative.split('/').take(MOST_DEPTH + 1).collect();
        for name in &names {
            match *name {
                "" => return attack("has an empty name in it"),
                "." | ".." => return attack("leads out of the backup"),
                name if name.len() > MOST_NAME => return attack("has a name of more than 255 bytes in it"),
                name if name.contains('\0') => return attack("has a zero byte in it"),
                _ => {}
            }
        }
        if names.len() > MOST_DEPTH {
            return attack("is too deep");
        }
        if scratch.is_some() {
            return Ok(Self::Named(format!(".b/{relative}").into()));
        }
        match names.as_slice() {
            [top, below @ ..] if *top == udid => Self::below(below).ok_or(Unfit::Unknown),
            _ => Err(Unfit::Unknown),
        }
    }

    fn below(names: &[&str]) -> Option<Self> {
        match names {
            [] => Some(Self::Top),
            ["Snapshot"] => Some(Self::Snapshot),
            ["Snapshot", names @ ..] => Self::in_area(Area::Snapshot, names),
            names => Self::in_area(Area::Kept, names),
        }
    }

    fn in_area(area: Area, names: &[&str]) -> Option<Self> {
        match names {
            [name] if NAMED.contains(name) => {
                let folder = if area == Area::Snapshot { "Snapshot/" } else { "" };
                Some(Self::Named(format!("{folder}{name}").into()))
            }
            [hash] => Some(Self::Hash(area, byte(hash)?)),
            [hash, name] => {
                let id = file_id(name)?;
                (byte(hash)? == id.0[0]).then_some(Self::Body(area, id))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attack(why) => f.write_str(why),
            Self::Unknown => f.write_str("is nothing that a backup has"),
        }
    }
}

/// Two hexadecimal digits, in lower case as devices write them.
fn byte(digits: &str) -> Option<u8> {
    let digit = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    match digits.as_bytes() {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

/// Forty hexadecimal digits, in lower case as devices write them.
pub(super) fn file_id(digits: &str) -> Option<FileId> {
    FileId::parse(digits).filter(|_| !digits.bytes().any(|digit| digit.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDID: &str = "00008110-000000000000001E";
    const HASH: &str = "ab12000000000000000000000000000000000000";

    fn parse(path: &str) -> Result<Place, Unfit> {
        Place::parse(UDID, &path.replace("UDID", UDID).replace("HASH", HASH))
    }

    #[test]
    fn what_a_backup_has_is_taken() {
        let id = file_id(HASH).unwrap();
        assert_eq!(id.to_string(), HASH);
        assert_eq!(parse("UDID"), Ok(Place::Top));
        assert_eq!(parse("UDID/"), Ok(Place::Top));
        assert_eq!(parse("UDID/Snapshot"), Ok(Place::Snapshot));
        assert_eq!(parse("UDID/ab/HASH"), Ok(Place::Body(Area::Kept, id)));
        assert_eq!(parse("UDID/Snapshot/ab/HASH"), Ok(Place::Body(Area::Snapshot, id)));
        assert_eq!(parse("UDID/Snapshot/0f"), Ok(Place::Hash(Area::Snapshot, 15)));
        assert_eq!(parse("UDID/Manifest.db"), Ok(Place::Named("Manifest.db".into())));
        assert_eq!(parse("UDID/Snapshot/Manifest.db"), Ok(Place::Named("Snapshot/Manifest.db".into())));
        assert_eq!(parse("/.b/6/x"), Ok(Place::Named(".b/6/x".into())));
    }

    #[test]
    fn what_no_backup_has_is_refused() {
        for path in [
            "UDID/x",
            "UDID/cd/HASH",
            "UDID/ab/cd",
            "UDID/AB",
            "UDID/ab/HASH/x",
            "other/ab",
            "UDID/Snapshot/Snapshot",
            "x",
        ] {
            assert_eq!(parse(path), Err(Unfit::Unknown), "{path}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_an_attack() {
        let long = format!("UDID/{}", "a".repeat(256));
        let deep = format!("UDID{}", "/a".repeat(1000));
        let hostile = [
            "",
            "/",
            "..",
            ".",
            "../../etc/shadow",
            "/etc/shadow",
            "UDID/../x",
            "UDID//x",
            "UDID/\0",
            "/.b/../x",
            "/.b/",
            &long,
            &deep,
        ];
        for path in hostile {
            assert!(matches!(parse(path), Err(Unfit::Attack(_))), "{path}");
        }
    }
}
