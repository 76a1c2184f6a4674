//! Listings are compressed on the machine, since they are numbers and names: with xz where it is, which makes an eighth of them, else with gzip, which makes
//! a sixth. The only user of lzma-rust2 and flate2.

use std::io::Write;

use anyhow::{Context, Result, bail};
use flate2::write::GzDecoder;
use lzma_rust2::{Action, Status, XzStream};

use super::commands::Argv;
use super::probe::Tools;

/// What a stream may want of memory to be unpacked, in KiB: what xz makes with the least effort wants a hundredth of it.
const MOST_MEMORY: u32 = 64 << 10;

/// How much is unpacked at once, in bytes.
const PIECE: usize = 64 << 10;

/// What compresses on a machine, always with the least effort: small machines have little to spare, and more gains little.
pub(super) fn packer(tools: &Tools) -> Option<Argv> {
    let argv = |program: &String, effort: &str| vec![program.clone().into_bytes(), effort.as_bytes().to_vec()];
    match (&tools.xz, &tools.gzip) {
        (Some(xz), _) => Some([argv(xz, "-0"), vec![b"-c".to_vec()]].concat()),
        (None, Some(gzip)) => Some([argv(gzip, "-1"), vec![b"-c".to_vec()]].concat()),
        (None, None) => None,
    }
}

/// Takes apart what [`packer`] has made.
pub(super) enum Unpacker {
    Xz { stream: Box<XzStream>, piece: Vec<u8>, is_over: bool },
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Plain,
}

/// Takes what was unpacked, in pieces.
type Take<'t> = dyn FnMut(&[u8]) -> Result<()> + 't;

impl Unpacker {
    pub(super) fn new(tools: &Tools) -> Self {
        match (&tools.xz, &tools.gzip) {
            (Some(_), _) => Self::Xz {
                stream: Box::new(XzStream::new_mem_limit(false, MOST_MEMORY)),
                piece: vec![0; PIECE],
                is_over: false,
            },
            (None, Some(_)) => Self::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            (None, None) => Self::Plain,
        }
    }

    /// Takes a piece of the stream.
    pub(super) fn push(&mut self, bytes: &[u8], take: &mut Take<'_>) -> Result<()> {
        const DOING: &str = "unpack the listing";
        match self {
            Self::Xz { stream, piece, is_over } => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    if *is_over {
                        bail!("the machine goes on behind the end of its listing");
                    }
                    // A piece may become more than is taken at once.
                    let done = stream.process(rest, piece, Action::Run).context(DOING)?;
                    take(&piece[..done.bytes_produced])?;
                    rest = &rest[done.bytes_consumed..];
                    *is_over = done.status == Status::StreamEnd;
                    if done.bytes_consumed == 0 && done.bytes_produced == 0 && !*is_over {
                        bail!("{DOING}: it does not go on");
                    }
                }
                Self::drain(stream, piece, is_over, take)
            }
            Self::Gzip(decoder) => {
                // Not all at once: a little of it may become very much.
                for part in bytes.chunks(1 << 10) {
                    decoder.write_all(part).context(DOING)?;
                    take(decoder.get_ref())?;
                    decoder.get_mut().clear();
                }
                Ok(())
            }
            Self::Plain => take(bytes),
        }
    }

    /// Takes what is unpacked and was not given yet.
    fn drain(stream: &mut XzStream, piece: &mut [u8], is_over: &mut bool, take: &mut Take<'_>) -> Result<()> {
        while !*is_over {
            let done = stream.process(&[], piece, Action::Run).context("unpack the listing")?;
            *is_over = done.status == Status::StreamEnd;
            if done.bytes_produced == 0 {
                break;
            }
            take(&piece[..done.bytes_produced])?;
        }
        Ok(())
    }

    /// The stream is over: was it whole?
    pub(super) fn finish(self, take: &mut Take<'_>) -> Result<()> {
        const CUT: &str = "the listing ended in the middle";
        match self {
            Self::Xz { is_over: true, .. } | Self::Plain => Ok(()),
            Self::Xz { .. } => bail!(CUT),
            Self::Gzip(decoder) => take(&decoder.finish().context(CUT)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ssh::shell::tests::Local;
    use crate::source::ssh::shell::{Shell, command};

    fn tools(xz: bool, gzip: bool) -> Tools {
        let place = |name: &str, is_there: bool| is_there.then(|| name.to_owned());
        Tools { xz: place("xz", xz), gzip: place("gzip", gzip), ..Tools::default() }
    }

    fn unpacked(tools: &Tools, packed: &[u8], step: usize) -> Result<Vec<u8>> {
        let mut found = Vec::new();
        let mut take = |bytes: &[u8]| {
            found.extend_from_slice(bytes);
            Ok(())
        };
        let mut unpacker = Unpacker::new(tools);
        for piece in packed.chunks(step) {
            unpacker.push(piece, &mut take)?;
        }
        unpacker.finish(&mut take)?;
        Ok(found)
    }

    #[test]
    fn what_the_real_programs_pack_comes_out_whole_or_not_at_all() {
        let plain: Vec<u8> = (0..60_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        for tools in [tools(true, true), tools(false, true)] {
            let script = command(&packer(&tools).unwrap());
            let mut packed = Vec::new();
            let mut take = |bytes: &[u8]| {
                packed.extend_from_slice(bytes);
                Ok(())
            };
            Local.run(&script, &mut &plain[..], &mut take).unwrap();
            for step in [1, 7, 1000, packed.len()] {
                assert_eq!(unpacked(&tools, &packed, step).unwrap(), plain, "{step}");
            }
            for length in [0, 1, 10, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
                assert!(unpacked(&tools, &packed[..length], 512).is_err(), "{length} of {}", packed.len());
            }
            assert!(unpacked(&tools, b"this is no such stream, and long enough", 512).is_err());
            assert!(unpacked(&tools, &[&packed[..], b"more"].concat(), 512).is_err());
        }
        assert_eq!(unpacked(&tools(false, false), &plain, 512).unwrap(), plain);
    }
}
