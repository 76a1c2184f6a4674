//! Reads what the script that lists prints: words that end with NUL.
//!
//! For each batch: the number of names, the names, then `all` with the lines and the links of all of them, or `each` with a word for each, whose
//! first letter says what it is. At the end `end` with two numbers.

use anyhow::{Result, bail};

use super::{describe, links};
use crate::source::ssh::listing::Found;

/// Something the listing says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// An entry of which all is known; with `st_rdev` when it is a device.
    Entry { found: Found, device: Option<u64> },
    /// A symbolic link of which it is still to be asked where it leads.
    Link(Found),
    /// It could not be looked at.
    Failed { path: Vec<u8>, reason: String },
}

/// A longer word than any that the script prints: 200 names with what is said of them.
const LONGEST: usize = 16 << 20;

/// More names than the script gives in one batch.
const MOST_NAMES: usize = 1000;

/// What comes next.
#[derive(Debug, Default)]
enum Next {
    #[default]
    Count,
    Names(usize),
    How,
    Lines,
    Links,
    Each(usize),
    Nothing {
        find: i32,
        xargs: i32,
    },
}

/// A reader that is given the pieces of a listing as they come.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The word that is not whole yet.
    word: Vec<u8>,
    next: Next,
    /// Of this batch.
    names: Vec<Vec<u8>>,
    lines: Vec<u8>,
}

impl Records {
    /// Takes the next bytes and tells what they say.
    pub(super) fn push(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(Fact) -> Result<()>) -> Result<()> {
        while let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            let mut word = std::mem::take(&mut self.word);
            word.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.take(word, tell)?;
        }
        self.word.extend_from_slice(bytes);
        if self.word.len() > LONGEST {
            bail!("the listing does not have the form that was asked for");
        }
        Ok(())
    }

    /// How `find` and `xargs` ended; `None` when the listing is not whole.
    pub(super) fn end(&self) -> Option<(i32, i32)> {
        match self.next {
            Next::Nothing { find, xargs } if self.word.is_empty() => Some((find, xargs)),
            _ => None,
        }
    }

    fn take(&mut self, word: Vec<u8>, tell: &mut dyn FnMut(Fact) -> Result<()>) -> Result<()> {
        let text = || String::from_utf8_lossy(&word).into_owned();
        self.next = match self.next {
            Next::Count => match ended(&word) {
                Some((find, xargs)) => Next::Nothing { find, xargs },
                None => match text().parse() {
                    Ok(count @ 1..=MOST_NAMES) => Next::Names(count),
                    _ => bail!("understand the listing at `{}`", text()),
                },
            },
            Next::Names(left) => {
                self.names.push(word);
                if left > 1 { Next::Names(left - 1) } else { Next::How }
            }
            Next::How if word == b"all" => Next::Lines,
            Next::How if word == b"each" => Next::Each(0),
            Next::Lines => {
                self.lines = word;
                Next::Links
            }
            Next::Links => {
                self.tell_all(&word, tell)?;
                self.names.clear();
                Next::Count
            }
            Next::Each(number) => {
                let name = std::mem::take(&mut self.names[number]);
                tell(described(name, &word))?;
                if number + 1 < self.names.len() {
                    Next::Each(number + 1)
                } else {
                    self.names.clear();
                    Next::Count
                }
            }
            Next::How | Next::Nothing { .. } => bail!("understand the listing at `{}`", text()),
        };
        Ok(())
    }

    /// Tells of a batch of which each name has a line.
    fn tell_all(&mut self, mut links: &[u8], tell: &mut dyn FnMut(Fact) -> Result<()>) -> Result<()> {
        let text = String::from_utf8_lossy(&self.lines);
        let mut lines = text.lines();
        for path in self.names.drain(..) {
            let line = lines.next().unwrap_or_default();
            let Some(description) = describe::stat_line(line) else {
                bail!("understand `{line}`, which is said of {}", String::from_utf8_lossy(&path));
            };
            let mut found = Found { path, stat: description.stat, target: Vec::new() };
            let is_link = found.stat.mode & 0o170_000 == 0o120_000;
            match links::cut(links, &found.path) {
                Some((target, rest)) if is_link => {
                    found.target = target.to_vec();
                    links = rest;
                }
                _ if is_link => {
                    // Where the next one begins is not known either.
                    links = &[];
                    tell(Fact::Link(found))?;
                    continue;
                }
                _ => {}
            }
            tell(Fact::Entry { found, device: description.device })?;
        }
        if lines.next().is_some() {
            bail!("more is said than there are names in the listing");
        }
        Ok(())
    }
}

/// What was said of one name.
fn described(path: Vec<u8>, word: &[u8]) -> Fact {
    let description = match word.split_first() {
        Some((b'=', line)) => std::str::from_utf8(line).ok().and_then(describe::stat_line),
        Some((b'l', text)) => describe::ls_text(text),
        _ => None,
    };
    let Some(description) = description else {
        let reason = String::from_utf8_lossy(word.get(1..).unwrap_or_default());
        return Fact::Failed { path, reason: reason.trim_end().to_owned() };
    };
    let is_link = description.stat.mode & 0o170_000 == 0o120_000;
    let found = Found { path, stat: description.stat, target: Vec::new() };
    if is_link { Fact::Link(found) } else { Fact::Entry { found, device: description.device } }
}

/// `end FIND\nXARGS`
fn ended(word: &[u8]) -> Option<(i32, i32)> {
    let text = std::str::from_utf8(word.strip_prefix(b"end ")?).ok()?;
    let (find, xargs) = text.split_once('\n')?;
    Some((find.parse().ok()?, xargs.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "81a4 0 0 3 5 6 7 1 5 0 0 x|y";
    const LINK: &str = "a1ff 0 0 1 5 6 7 1 5 0 0 x|y";

    /// What was told, and how find and xargs ended.
    type Told = (Vec<String>, Option<(i32, i32)>);

    /// What is told, by letter and path; the listing comes in pieces of one byte.
    fn told(listing: &str) -> Result<Told> {
        let (mut records, mut told) = (Records::default(), Vec::new());
        for byte in listing.bytes() {
            records.push(&[byte], &mut |fact| {
                told.push(match fact {
                    Fact::Entry { found, .. } => {
                        format!("{} {}", String::from_utf8(found.path)?, String::from_utf8(found.target)?)
                    }
                    Fact::Link(found) => format!("link {}", String::from_utf8(found.path)?),
                    Fact::Failed { path, reason } => format!("failed {} {reason}", String::from_utf8(path)?),
                });
                Ok(())
            })?;
        }
        Ok((told, records.end()))
    }

    #[test]
    fn batch_is_told_entry_by_entry() {
        let listing =
            format!("3\0/a\n/x\0/l\0/m\0all\0{LINE}\n{LINK}\n{LINK}\01 '/l' -> 'a'\n1 '/m' -> ''\n\0end 1\n0\0");
        assert_eq!(told(&listing).unwrap(), (vec!["/a\n/x ".into(), "/l a".into(), "link /m".into()], Some((1, 0))));
    }

    #[test]
    fn single_descriptions_are_told_with_what_failed() {
        let listing = format!("3\0/a\0/b\0/l\0each\0={LINE}\0!stat: /b: x\n\0={LINK}\0end 0\n0\0");
        assert_eq!(told(&listing).unwrap().0, ["/a ", "failed /b stat: /b: x", "link /l"]);
    }

    #[test]
    fn listing_that_is_cut_short_has_no_end() {
        let listing = format!("1\0/a\0all\0{LINE}\0\0end 0\n0\0");
        assert_eq!(told(&listing).unwrap().1, Some((0, 0)));
        for length in 0..listing.len() {
            assert_eq!(told(&listing[..length]).unwrap().1, None, "{length}");
        }
    }

    #[test]
    fn what_does_not_have_the_form_is_an_error() {
        for listing in ["x\0", "0\0", "5000\0", "1\0/a\0some\0", "1\0/a\0all\0\0\0", "end 0\n0\0more\0"] {
            assert!(told(listing).is_err(), "{listing:?}");
        }
        let more = format!("1\0/a\0all\0{LINE}\n{LINE}\0\0");
        assert!(told(&more).is_err());
    }
}
