//! Where symbolic links lead.

use std::io::Read;

use anyhow::{Result, ensure};

use super::complaints;
use crate::source::ssh::listing::Found;
use crate::source::ssh::shell::{Shell, quote};

/// How programs put name and target into `%N`: before, between and behind them. GNU's does it in the second way only when it is told to, and else
/// escapes what is not plain, which makes it longer than it is.
const FORMS: [[&[u8]; 3]; 3] = [[b"'", b"' -> '", b"'"], [b"", b" -> ", b""], [b"`", b"' -> `", b"'"]];

/// What one answer may have at most, in bytes: a target, or a message with a name in it.
const LONGEST: usize = 16 << 10;

/// Cuts the target of the link `name` off the beginning of what `stat -c '%s %N'` says. `None` when it is not there, or not as long as it is said to
/// be.
pub(super) fn cut<'a>(text: &'a [u8], name: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let blank = text.iter().position(|&byte| byte == b' ')?;
    let size: usize = std::str::from_utf8(&text[..blank]).ok()?.parse().ok()?;
    FORMS.iter().find_map(|[before, between, behind]| {
        let rest = text[blank + 1..].strip_prefix(*before)?.strip_prefix(name)?.strip_prefix(*between)?;
        let (target, rest) = rest.split_at_checked(size)?;
        Some((target, rest.strip_prefix(*behind)?.strip_prefix(b"\n")?)).filter(|_| size > 0)
    })
}

/// A link with where it leads, or why that cannot be told.
type Answer = (Found, Result<Vec<u8>, String>);

/// Asks for the targets one by one.
///
/// # Errors
///
/// When the connection fails, or the answers break off.
pub(super) fn read(shell: &mut dyn Shell, prefix: &[u8], links: Vec<Found>) -> Result<Vec<Answer>> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    // The dot is there because the shell would cut off newlines at the end.
    let mut program = [
        b"LC_ALL=C\nexport LC_ALL\nl() { if t=$(",
        prefix,
        b"readlink -n -- \"$1\" 2>&1 </dev/null && echo .); then printf '=%s\\0' \"$t\"; else printf '!%s\\0' \"$t\"; fi; }\n",
    ]
    .concat();
    for link in &links {
        program.extend_from_slice(b"l ");
        program.extend(quote(&link.path));
        program.push(b'\n');
    }
    let mut told = Vec::new();
    let input: &mut dyn Read = &mut &program[..];
    let most = links.len() * LONGEST;
    let ended = shell.run(b"exec sh", input, &mut |bytes| {
        told.extend_from_slice(bytes);
        ensure!(told.len() <= most, "the answers are longer than links can be");
        Ok(())
    })?;
    let mut answers = told.split_inclusive(|&byte| byte == 0);
    let mut read = Vec::with_capacity(links.len());
    for link in links {
        let answer = answers.next().and_then(|answer| answer.strip_suffix(b"\0"));
        let target = match answer.and_then(|answer| answer.split_first()) {
            Some((b'=', target)) => Ok(target.strip_suffix(b".").unwrap_or(target).to_vec()),
            Some((b'!', reason)) => Err(String::from_utf8_lossy(reason).trim_end().to_owned()),
            _ => {
                let reasons = complaints::text(&ended.complaints);
                anyhow::bail!("the answers broke off with status {}{reasons}", ended.status)
            }
        };
        read.push((link, target));
    }
    ensure!(answers.next().is_none(), "there are more answers than questions");
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_cut_out_by_its_length() {
        let text = b"4 '/a' -> 'b'\nc'\n1 '/x' -> 'y'\n";
        let (target, rest) = cut(text, b"/a").unwrap();
        assert_eq!(target, b"b'\nc");
        assert_eq!(cut(rest, b"/x"), Some((&b"y"[..], &b""[..])));
        assert_eq!(cut(b"1 /a -> b\n", b"/a"), Some((&b"b"[..], &b""[..])));
    }

    #[test]
    fn what_is_not_as_long_as_it_is_said_to_be_is_left_to_another_way() {
        assert_eq!(cut(b"0 '/proc/self' -> '12'\n", b"/proc/self"), None);
        assert_eq!(cut(b"3 '/a' -> 'a'$'\\n''b'\n", b"/a"), None);
        assert_eq!(cut(b"4 \"/it's\" -> 'back'\n", b"/it's"), None);
        assert_eq!(cut(b"", b"/a"), None);
    }
}
