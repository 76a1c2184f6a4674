//! The header of a member with all that stands before it: long names, records of pax, maps of holes.

use std::io;

use rustix::fs::makedev;
use tar::{EntryType, Header};

use super::blocks::{BLOCK, Blocks, malformed, odd, padding};
use super::pax::Extended;
use super::sparse::Map;
use super::{Kind, Stat};

/// How long the headers of pax before a member may be: enough for all attributes of an entry, or a million holes.
const EXTENDED: u64 = 16 << 20;

/// How long a name may be. The kernel takes 4096 bytes at once.
const NAME: usize = 1 << 16;

/// A member, of which the content follows in the stream.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) rdev: u64,
    pub(super) stat: Stat,
    pub(super) target: Vec<u8>,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
    pub(super) complaint: Option<String>,
    /// Where its data is: files only.
    pub(super) map: Option<Map>,
}

impl Head {
    /// Reads the next one; `None` at the end mark.
    pub(super) fn read(blocks: &mut Blocks) -> io::Result<Option<Self>> {
        let mut extended = Extended::default();
        let mut is_first = true;
        let mut room = EXTENDED;
        loop {
            let mut header = Header::new_old();
            blocks.fill(header.as_mut_bytes())?;
            if is_zero(header.as_bytes()) {
                // One block of zeros is what a damaged archive may have anywhere.
                if !is_first || !is_zero(&blocks.block()?) {
                    return Err(malformed("its end mark is in the middle"));
                }
                return Ok(None);
            }
            check_sum(&header)?;
            let length = header.entry_size().map_err(odd)?;
            match header.entry_type() {
                // There may be several, which are one.
                EntryType::XHeader => {
                    extended.add(&short(length, room, blocks)?)?;
                    room -= length;
                }
                EntryType::GNULongName => extended.path = Some(long_name(length, blocks)?),
                EntryType::GNULongLink => extended.target = Some(long_name(length, blocks)?),
                // Holds for the whole archive; tar writes none unless it is told to.
                EntryType::XGlobalHeader => drop(short(length, EXTENDED, blocks)?),
                kind => return Self::finish(&header, kind, extended, blocks).map(Some),
            }
            is_first = false;
        }
    }

    fn finish(header: &Header, kind: EntryType, mut extended: Extended, blocks: &mut Blocks) -> io::Result<Self> {
        let stored = match extended.stored {
            Some(stored) => stored,
            None => header.entry_size().map_err(odd)?,
        };
        // What is behind it must be within what can be counted.
        stored.checked_add(padding(stored)).ok_or_else(|| malformed("a size is too large"))?;
        let mut map = None;
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous => {
                map = Some(Map::of_pax(&mut extended.sparse, stored, blocks)?.unwrap_or_else(|| Map::full(stored)));
                Kind::File
            }
            EntryType::GNUSparse => {
                map = Some(Map::of_gnu(header, stored, blocks)?);
                Kind::File
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Link => Kind::HardLink,
            EntryType::Char => Kind::CharDevice,
            EntryType::Block => Kind::BlockDevice,
            _ => Kind::Other,
        };
        // As tar does: a hard link has no data, whatever its size says.
        if map.is_none() && header.entry_type() != EntryType::Link {
            blocks.skip(stored)?;
            blocks.skip(padding(stored))?;
        }
        let rdev = match kind {
            Kind::CharDevice | Kind::BlockDevice => makedev(
                header.device_major().map_err(odd)?.unwrap_or(0),
                header.device_minor().map_err(odd)?.unwrap_or(0),
            ),
            _ => 0,
        };
        let is_link = matches!(header.entry_type(), EntryType::Symlink | EntryType::Link);
        let linked = || header.link_name_bytes().unwrap_or_default().into_owned();
        let target =
            extended.target.take().filter(|_| is_link).unwrap_or_else(|| if is_link { linked() } else { Vec::new() });
        let mut path = extended.path.take().unwrap_or_else(|| header.path_bytes().into_owned());
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        if path.len() > NAME || target.len() > NAME {
            return Err(malformed("a name is too long"));
        }
        let stat = Stat {
            mode: header.mode().map_err(odd)? & 0o7777,
            uid: extended.uid.map_or_else(|| header.uid().map(id), Ok).map_err(odd)?,
            gid: extended.gid.map_or_else(|| header.gid().map(id), Ok).map_err(odd)?,
            mtime: match extended.mtime {
                Some(mtime) => mtime,
                None => (i64::try_from(header.mtime().map_err(odd)?).unwrap_or(i64::MAX), 0),
            },
        };
        let (xattrs, complaint) = extended.into_xattrs();
        Ok(Self { path, kind, rdev, stat, target, xattrs, complaint, map })
    }
}

/// The number of an owner; one that no owner has for a number that is too large.
fn id(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads what is written like a file before the member it is about.
fn short(length: u64, most: u64, blocks: &mut Blocks) -> io::Result<Vec<u8>> {
    if length > most {
        return Err(malformed("a header is too long"));
    }
    blocks.padded(length)
}

fn long_name(length: u64, blocks: &mut Blocks) -> io::Result<Vec<u8>> {
    let mut name = short(length, NAME as u64, blocks)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn check_sum(header: &Header) -> io::Result<()> {
    // The sum itself counts as blanks.
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let bytes = header.as_bytes();
    if sum(&bytes[..148]) + sum(&bytes[156..]) + 8 * u32::from(b' ') != header.cksum().map_err(odd)? {
        return Err(malformed("the checksum of a header is wrong"));
    }
    Ok(())
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}
