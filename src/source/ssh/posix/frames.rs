//! Takes apart the stream in which the contents of many files follow one another.
//!
//! What is said of a file begins with a word that nobody can know before, and ends with NUL: `WORD+IDENTITY` before its content,
//! `WORD=STATUS COMPLAINT` behind it, `WORD!COMPLAINT` in place of both, and `WORD.` at the end of all.

use anyhow::{Result, bail};

/// The length of the word in bytes.
pub(super) const WORD: usize = 32;

/// The longest that may be said of a file.
const LONGEST: usize = 1 << 20;

/// A part of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// The next file was opened: what it is, if that was told.
    Opened(&'a [u8]),
    /// Some of its content.
    Bytes(&'a [u8]),
    /// Its content ended.
    Closed { status: i32, complaint: &'a [u8] },
    /// The next file was not opened.
    Refused(&'a [u8]),
    /// All files were told of.
    End,
}

/// A reader that is given the stream in pieces.
#[derive(Debug)]
pub(super) struct Frames {
    word: [u8; WORD],
    /// For each byte, how far behind the end of its last place in the word is (Horspool's way to search: most of the content is never looked at).
    skip: [u8; 256],
    /// What is not told yet.
    rest: Vec<u8>,
    is_inside: bool,
    is_over: bool,
}

impl Frames {
    pub(super) fn new(word: [u8; WORD]) -> Self {
        let mut skip = [WORD as u8; 256];
        for (place, byte) in word[..WORD - 1].iter().enumerate() {
            skip[usize::from(*byte)] = (WORD - 1 - place) as u8;
        }
        Self { word, skip, rest: Vec::new(), is_inside: false, is_over: false }
    }

    /// Takes the next bytes and tells what they say.
    ///
    /// # Errors
    ///
    /// When they are not in that form, or `tell` fails.
    pub(super) fn push(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Frame<'_>) -> Result<()>) -> Result<()> {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let mut at = 0;
        while at < rest.len() {
            let left = &rest[at..];
            if self.is_inside {
                // The end may be the beginning of the word.
                let found = self.find(left);
                let sure = found.unwrap_or_else(|| left.len().saturating_sub(WORD - 1));
                if sure > 0 {
                    tell(Frame::Bytes(&left[..sure]))?;
                    at += sure;
                }
                if found.is_none() {
                    break;
                }
            }
            let left = &rest[at..];
            let known = left.len().min(WORD);
            if left[..known] != self.word[..known] || self.is_over {
                bail!("something else stands between two files");
            }
            let Some(end) = left.iter().skip(WORD).position(|&byte| byte == 0) else {
                if left.len() > LONGEST {
                    bail!("what is said of a file does not end");
                }
                break;
            };
            self.said(&left[WORD..WORD + end], tell)?;
            at += WORD + end + 1;
        }
        rest.drain(..at);
        self.rest = rest;
        Ok(())
    }

    fn said(&mut self, said: &[u8], tell: &mut dyn FnMut(Frame<'_>) -> Result<()>) -> Result<()> {
        match (self.is_inside, said.split_first()) {
            (false, Some((b'+', identity))) => {
                self.is_inside = true;
                tell(Frame::Opened(identity))
            }
            (true, Some((b'=', ended))) => {
                let blank = ended.iter().position(|&byte| byte == b' ').unwrap_or(ended.len());
                let status = std::str::from_utf8(&ended[..blank]).ok().and_then(|status| status.parse().ok());
                let Some(status) = status else { bail!("how a file ended is not told") };
                self.is_inside = false;
                tell(Frame::Closed { status, complaint: ended.get(blank + 1..).unwrap_or_default() })
            }
            (false, Some((b'!', complaint))) => tell(Frame::Refused(complaint)),
            (false, Some((b'.', b""))) => {
                self.is_over = true;
                tell(Frame::End)
            }
            _ => bail!("what is said of a file is not understood"),
        }
    }

    /// Where the word begins in `bytes`.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(window) = bytes.get(at..at + WORD) {
            if window == self.word {
                return Some(at);
            }
            at += usize::from(self.skip[usize::from(window[WORD - 1])]);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8; WORD] = b"00112233445566778899aabbccddeeff";

    /// What is told, in one text; content in brackets, joined.
    fn told(stream: &[u8], piece: usize) -> Result<String> {
        let (mut frames, mut told) = (Frames::new(*TEXT), String::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for piece in stream.chunks(piece) {
            frames.push(piece, &mut |frame| {
                told += &match frame {
                    Frame::Opened(identity) => format!("<{}:", text(identity)),
                    Frame::Bytes(bytes) => text(bytes),
                    Frame::Closed { status, complaint } => format!(":{status}:{}>", text(complaint)),
                    Frame::Refused(complaint) => format!("!{}", text(complaint)),
                    Frame::End => ".".into(),
                };
                Ok(())
            })?;
        }
        Ok(told)
    }

    fn stream(text: &str) -> Vec<u8> {
        text.replace('W', std::str::from_utf8(TEXT).unwrap()).into_bytes()
    }

    #[test]
    fn stream_is_taken_apart_however_it_comes_in_pieces() {
        let almost = &std::str::from_utf8(TEXT).unwrap()[..WORD - 1];
        let content = format!("0{almost}{almost}\n=0 \0x");
        let stream = stream(&format!("W+1 2\0{content}W=0 \0W+\0W=1 cat: x\0W!no\0W.\0"));
        let expected = format!("<1 2:{content}:0:><::1:cat: x>!no.");
        for piece in [1, 2, 31, 32, 33, 1000] {
            assert_eq!(told(&stream, piece).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn content_is_never_taken_for_what_is_said_of_it_and_the_other_way_round() {
        for wrong in ["x", "W+\0W+\0", "W=0 \0", "W.\0W.\0", "W.\0x", "W?\0", "W+\0W=x\0"] {
            assert!(told(&stream(wrong), 1).is_err(), "{wrong}");
        }
    }

    #[test]
    fn word_is_found_at_every_place() {
        let frames = Frames::new(*TEXT);
        for place in 0..100 {
            let mut bytes = b"f".repeat(place);
            bytes.extend_from_slice(TEXT);
            bytes.extend_from_slice(b"fe");
            assert_eq!(frames.find(&bytes), Some(place));
            assert_eq!(frames.find(&bytes[..place + WORD - 1]), None);
        }
    }
}
