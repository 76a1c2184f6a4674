//! Regular expressions as `globset` makes them of globs, in the words of POSIX (extended).
//!
//! `globset` uses a small part of what the `regex` crate understands. What is not known to be in it is not translated.

/// How `globset` begins: bytes, not characters; from the beginning.
const BEGINS: &str = "(?-u)^";

/// How a group begins there.
const GROUP: &[u8] = b"(?:";

/// What means itself only behind a backslash.
const SPECIAL: &[u8] = br"\.[]{}()*+?^$|";

/// The expression that matches exactly this.
pub(super) fn literal(text: &[u8]) -> Vec<u8> {
    let mut ere = Vec::new();
    text.iter().for_each(|&byte| push_literal(&mut ere, byte));
    ere
}

/// The POSIX expression for the whole text that this one is for; `None` when there is none.
pub(super) fn of_glob(regex: &str) -> Option<Vec<u8>> {
    let inner = regex.strip_prefix(BEGINS)?.strip_suffix('$')?;
    let mut ere = Vec::new();
    let mut rest = inner.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if let Some(group) = rest.strip_prefix(GROUP) {
            ere.push(b'(');
            rest = group;
            continue;
        }
        rest = behind;
        match byte {
            b'\\' => push_literal(&mut ere, escaped(&mut rest)?),
            b'[' => ere.extend(bracket(class(&mut rest)?)?),
            b'.' | b'*' | b'?' | b'|' | b')' => ere.push(byte),
            _ if SPECIAL.contains(&byte) => return None,
            _ => push_literal(&mut ere, byte),
        }
    }
    // An alternative that is empty is not defined in POSIX; a control character does not survive on the way to every host.
    let empty = [&b"(|"[..], b"||", b"|)", b"()"].iter().any(|empty| ere.windows(2).any(|two| two == *empty));
    (!empty && !ere.iter().any(u8::is_ascii_control)).then_some(ere)
}

fn push_literal(ere: &mut Vec<u8>, byte: u8) {
    if SPECIAL.contains(&byte) {
        ere.push(b'\\');
    }
    ere.push(byte);
}

/// The byte that is meant by what stands behind a backslash.
fn escaped(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, behind) = rest.split_first()?;
    *rest = behind;
    if byte == b'x' {
        let (digits, behind) = rest.split_at_checked(2)?;
        *rest = behind;
        return u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    }
    (!byte.is_ascii_alphanumeric()).then_some(byte)
}

/// The bytes that a class matches, when what stands behind its `[` is taken from `rest`.
fn class(rest: &mut &[u8]) -> Option<[bool; 256]> {
    let negated = rest.strip_prefix(b"^").inspect(|behind| *rest = behind).is_some();
    let mut matches = [negated; 256];
    loop {
        if let Some(behind) = rest.strip_prefix(b"]") {
            *rest = behind;
            return Some(matches);
        }
        let first = member(rest)?;
        let last = match rest.strip_prefix(b"-") {
            Some(behind) => {
                *rest = behind;
                member(rest)?
            }
            None => first,
        };
        matches.get_mut(usize::from(first)..=usize::from(last))?.fill(!negated);
    }
}

fn member(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, behind) = rest.split_first()?;
    *rest = behind;
    match byte {
        b'\\' => escaped(rest),
        b'[' | b']' | b'-' | b'^' | b'&' | b'~' => None,
        _ => Some(byte),
    }
}

/// A bracket expression that matches these bytes: it lists them, or those that it does not match.
fn bracket(matches: [bool; 256]) -> Option<Vec<u8>> {
    let negated = matches.iter().filter(|&&matched| matched).count() > 128;
    let listed: Vec<u8> = (0..=u8::MAX).filter(|&byte| matches[usize::from(byte)] != negated).collect();
    if listed.is_empty() || !listed.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    if listed == [b'^'] {
        return Some(literal(b"^"));
    }
    // The places at which these four mean themselves: `]` first, `-` last, `^` not first, `[` not before `.`, `:` or `=`.
    let is_in = |byte: u8| listed.contains(&byte);
    let mut inner = Vec::new();
    inner.extend(is_in(b']').then_some(b']'));
    let others: Vec<u8> = listed.iter().copied().filter(|byte| !b"]^[-".contains(byte)).collect();
    for run in others.chunk_by(|one, next| one + 1 == *next) {
        match run {
            [first, _, .., last] if run.len() > 3 => inner.extend([*first, b'-', *last]),
            _ => inner.extend(run),
        }
    }
    inner.extend(b"[^-".iter().filter(|&&byte| is_in(byte)));
    if inner.starts_with(b"^") && !negated {
        // Only `-` can follow.
        inner.reverse();
    }
    let mut ere = vec![b'['];
    ere.extend(negated.then_some(b'^'));
    ere.extend(inner);
    ere.push(b']');
    Some(ere)
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;

    use super::*;

    fn ere(glob: &str) -> Option<String> {
        let glob = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build().unwrap();
        of_glob(glob.regex()).map(|ere| String::from_utf8(ere).unwrap())
    }

    #[test]
    fn globs_are_translated() {
        for (glob, expected) in [
            ("**/*.tmp", r"(/?|.*/)[^/]*\.tmp"),
            ("home/*/.cache", r"home/[^/]*/\.cache"),
            ("a/**/b?", "a(/|/.*/)b[^/]"),
            ("a/**/*", "a(/|/.*/)[^/]*"),
            ("**", ".*"),
            ("{a,b*}", "(a|b[^/]*)"),
            (r"\*\[x(|)+$^\{", r"\*\[x\(\|\)\+\$\^\{"),
            ("é ü#~&-!", "é ü#~&-!"),
            ("[a-z]", "[a-z]"),
            ("[!a]", "[^a]"),
            ("[]a-]", "[]a-]"),
            ("[xyz-]", "[xyz-]"),
            (r"[\]", r"[\]"),
            ("[.[:]", "[.:[]"),
            ("[a^]", "[a^]"),
        ] {
            assert_eq!(ere(glob).as_deref(), Some(expected), "{glob}");
        }
    }

    #[test]
    fn brackets_have_their_special_members_where_they_are_none() {
        for (listed, expected) in
            [("^", r"\^"), ("-^", "[-^]"), ("]^", "[]^]"), ("[^", "[[^]"), ("[-", "[[-]"), ("-", "[-]"), ("]", "[]]")]
        {
            let mut matches = [false; 256];
            listed.bytes().for_each(|byte| matches[usize::from(byte)] = true);
            assert_eq!(bracket(matches), Some(expected.into()), "{listed}");
        }
        let mut others = [true; 256];
        b"^-]".iter().for_each(|&byte| others[usize::from(byte)] = false);
        assert_eq!(bracket(others), Some(b"[^]^-]".to_vec()));
    }

    #[test]
    fn what_cannot_be_said_is_not_said() {
        for glob in ["[é]", "a\nb", "[!\n]", "a\u{7f}"] {
            assert_eq!(ere(glob), None, "{glob:?}");
        }
        for regex in
            ["a", "(?-u)^a", "(?i)^a$", r"(?-u)^\w$", "(?-u)^a+$", "(?-u)^(a)$", "(?-u)^[a&&b]$", "(?-u)^(?:|a)$"]
        {
            assert_eq!(of_glob(regex), None, "{regex}");
        }
    }
}
