//! Strings in restic's JSON: escaped as Go's `encoding/json` does, and names quoted as Go's `strconv.Quote` does before that.

use std::fmt::Write;

use super::printable::is_printable;

/// Bytes that stand for themselves in a JSON string of Go's. 0xe2 begins U+2028 and U+2029, which do not.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    let special = [b'"', b'\\', b'<', b'>', b'&', 0xe2];
    let mut index = 0;
    while index < special.len() {
        plain[special[index] as usize] = false;
        index += 1;
    }
    plain
};

/// Whether the text stands for itself in a JSON string.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| PLAIN[usize::from(byte)])
}

/// Appends text as a JSON string, with its quotes.
pub(super) fn json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Appends bytes as a JSON string; each that is not part of UTF-8 becomes U+FFFD, as in Go.
pub(super) fn json_lossy(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(br"\ufffd");
        }
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(br#"\""#),
            '\\' => out.extend_from_slice(br"\\"),
            // Since Go 1.22; before it, these two were written as \u0008 and \u000c.
            '\u{8}' => out.extend_from_slice(br"\b"),
            '\u{c}' => out.extend_from_slice(br"\f"),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            '\t' => out.extend_from_slice(br"\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether [`quote`] leaves this text as it is.
pub(super) fn needs_no_quoting(text: &str) -> bool {
    let is_simple = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    text.bytes().all(is_simple)
        || text.chars().all(|character| is_printable(character) && character != '"' && character != '\\')
}

/// A name as Go's `strconv.Quote` writes it, without the quotes around it: all of it is UTF-8 and can be seen.
pub(super) fn quote(name: &[u8]) -> String {
    let mut quoted = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        chunk.valid().chars().for_each(|character| quote_character(&mut quoted, character));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted
}

fn quote_character(quoted: &mut String, character: char) {
    match character {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        _ if is_printable(character) => quoted.push(character),
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{b}' => quoted.push_str("\\v"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        _ => {
            let code = u32::from(character);
            let _ = match code {
                0..=0x7f => write!(quoted, "\\x{code:02x}"),
                0x80..=0xffff => write!(quoted, "\\u{code:04x}"),
                _ => write!(quoted, "\\U{code:08x}"),
            };
        }
    }
}

/// The name that was quoted, by Go or by rustic (which leaves more characters as they are); `None` when it is no quoted name.
pub(super) fn unquote(quoted: &str) -> Option<Box<[u8]>> {
    let Some(first) = quoted.bytes().position(|byte| byte == b'\\') else { return Some(quoted.as_bytes().into()) };
    let mut name = Vec::with_capacity(quoted.len());
    name.extend_from_slice(&quoted.as_bytes()[..first]);
    let mut rest = &quoted[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let kind = escape.chars().next()?;
        let mut after = &escape[kind.len_utf8()..];
        match kind {
            'a' => name.push(7),
            'b' => name.push(8),
            'f' => name.push(0xc),
            'n' => name.push(b'\n'),
            'r' => name.push(b'\r'),
            't' => name.push(b'\t'),
            'v' => name.push(0xb),
            '\\' | '"' | '\'' | '`' => name.push(kind as u8),
            'x' => name.push(u8::try_from(number(&mut after, 2)?).ok()?),
            'u' | 'U' => {
                let code = number(&mut after, if kind == 'u' { 4 } else { 8 })?;
                name.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
        let plain = after.bytes().position(|byte| byte == b'\\').unwrap_or(after.len());
        name.extend_from_slice(&after.as_bytes()[..plain]);
        rest = &after[plain..];
    }
    Some(name.into())
}

/// Takes so many hexadecimal digits from the text.
fn number(text: &mut &str, digits: usize) -> Option<u32> {
    let (number, rest) = text.split_at_checked(digits)?;
    *text = rest;
    // `from_str_radix` would take a sign.
    number.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(number, 16).ok())?
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;
    use rustic_core::repofile::Node;

    use super::*;

    fn as_json(text: &[u8]) -> String {
        let (mut strict, mut lossy) = (Vec::new(), Vec::new());
        json_lossy(&mut lossy, text);
        if let Ok(text) = std::str::from_utf8(text) {
            json(&mut strict, text);
            assert_eq!(strict, lossy);
        }
        String::from_utf8(lossy).unwrap()
    }

    /// What rustic_core takes this quoted name for.
    fn read_by_rustic(quoted: &str) -> Vec<u8> {
        let node = Node { name: quoted.to_owned(), ..Node::default() };
        node.name().as_bytes().to_vec()
    }

    #[test]
    fn text_is_escaped_as_go_does() {
        assert_eq!(as_json("plain é 漢 😀 \u{7f}".as_bytes()), "\"plain é 漢 😀 \u{7f}\"");
        assert_eq!(as_json(b"<a href=\"x\">&\\"), r#""\u003ca href=\"x\"\u003e\u0026\\""#);
        assert_eq!(as_json(b"\x08\x0c\n\r\t\x00\x1f"), r#""\b\f\n\r\t\u0000\u001f""#);
        assert_eq!(as_json("€\u{2028}\u{2029}\u{fffd}".as_bytes()), "\"€\\u2028\\u2029\u{fffd}\"");
        // One sign for each byte, where Rust's own conversion has one for what could have become a character.
        assert_eq!(as_json(b"\xe2\x80 \xff"), r#""\ufffd\ufffd \ufffd""#);
    }

    #[test]
    fn names_are_quoted_as_go_does() {
        let cases: [(&[u8], &str); 9] = [
            (b"a b'`<>&", "a b'`<>&"),
            (b"\\\"", r#"\\\""#),
            (b"\x07\x08\x0b\x0c\n\r\t", r"\a\b\v\f\n\r\t"),
            (b"\x01\x7f", r"\x01\x7f"),
            (b"\xff\xe2\x80", r"\xff\xe2\x80"),
            ("é漢😀\u{301}\u{fffd}".as_bytes(), "é漢😀\u{301}\u{fffd}"),
            ("\u{a0}\u{ad}\u{2028}\u{feff}".as_bytes(), r"\u00a0\u00ad\u2028\ufeff"),
            ("\u{e000}\u{e0001}\u{10ffff}".as_bytes(), r"\ue000\U000e0001\U0010ffff"),
            // Halves of UTF-16 pairs are no UTF-8.
            (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ];
        for (name, quoted) in cases {
            assert_eq!(quote(name), quoted);
            assert_eq!(unquote(quoted).as_deref(), Some(name), "{quoted}");
            assert_eq!(read_by_rustic(quoted), name, "{quoted}");
        }
    }

    #[test]
    fn what_is_not_quoted_right_is_no_name() {
        for wrong in [r"\", r"a\", r"\q", r"\x1", r"\x+1", r"\xé", r"\ud800", r"\U00110000", r"\u12", r"\é"] {
            assert_eq!(unquote(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let quoted = quote(&name);
            prop_assert_eq!(unquote(&quoted).unwrap().to_vec(), name.clone());
            prop_assert_eq!(read_by_rustic(&quoted), name.clone());
            // And what rustic writes.
            let rustic = Node::new_node(OsStr::from_bytes(&name), Default::default(), Default::default());
            prop_assert_eq!(unquote(&rustic.name).unwrap().to_vec(), name);
        }

        #[test]
        fn every_text_is_read_back_and_what_needs_no_quoting_is_not_changed(text: String) {
            let read: String = serde_json::from_str(&as_json(text.as_bytes())).unwrap();
            prop_assert_eq!(&read, &text);
            prop_assert_eq!(needs_no_quoting(&text), quote(text.as_bytes()) == text);
        }

        #[test]
        fn no_text_makes_unquoting_panic(text in "[\\\\xuUn0-9a-fé]{0,20}") {
            let _ = unquote(&text);
        }
    }
}
