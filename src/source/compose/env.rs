//! The variables of a stack: its `.env`, in the format that Compose reads.
//!
//! Nothing is taken from the environment of holdall, which is that of a timer, and not that of whoever typed `docker compose up`.

use std::collections::BTreeMap;

use super::interpolate::expand;

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Env(BTreeMap<String, String>);

impl Env {
    /// Adds what a file says. What stands in it twice has the later value; what was known before stays. Lines that are not understood, and values
    /// with variables that are not set, are passed over.
    pub(super) fn add(&mut self, text: &str) {
        let mut own = Self::default();
        let mut rest = text.trim_start_matches('\u{feff}');
        while let Some((line, after)) = Line::read(rest) {
            rest = after;
            if let Some(Line { name, value, is_literal }) = line {
                let lookup = |wanted: &str| self.get(wanted).or_else(|| own.get(wanted));
                let value = if is_literal { Some(value) } else { expand(&value, &lookup).ok() };
                if let Some(value) = value {
                    own.0.insert(name, value);
                }
            }
        }
        for (name, value) in own.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A text with its variables replaced.
    pub(super) fn expand(&self, text: &str) -> anyhow::Result<String> {
        expand(text, &|name| self.get(name))
    }
}

/// One assignment.
struct Line {
    name: String,
    value: String,
    /// Whether variables in the value are none.
    is_literal: bool,
}

impl Line {
    /// The first assignment of the text, and what follows it; `None` at the end.
    fn read(text: &str) -> Option<(Option<Self>, &str)> {
        if text.is_empty() {
            return None;
        }
        let (line, after) = text.split_once('\n').unwrap_or((text, ""));
        let trimmed = line.trim_start();
        let Some((name, _)) = trimmed.split_once('=').filter(|_| !trimmed.starts_with('#')) else {
            return Some((None, after));
        };
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            return Some((None, after));
        }
        let name = name.to_owned();
        // A value in quotes may go over several lines.
        let (_, value) = text.split_once('=')?;
        let value = value.trim_start_matches([' ', '\t']);
        for quote in ['\'', '"'] {
            if let Some(inside) = value.strip_prefix(quote) {
                let Some((value, behind)) = quoted(inside, quote) else { return Some((None, after)) };
                let after = behind.split_once('\n').map_or("", |(_, after)| after);
                return Some((Some(Self { name, value, is_literal: quote == '\'' }), after));
            }
        }
        let value = value.lines().next().unwrap_or_default();
        let comment = [" #", "\t#"].iter().filter_map(|mark| value.find(mark)).min();
        let value = value.get(..comment.unwrap_or(value.len())).unwrap_or(value);
        Some((Some(Self { name, value: value.trim().to_owned(), is_literal: false }), after))
    }
}

/// What is between the quotes, of which the first was read, and what is behind them.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            _ if c == quote => return Some((value, text.get(at + c.len_utf8()..)?)),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '$' => value.push_str("$$"),
                other => value.push(other),
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_understood_as_compose_does() {
        let mut env = Env::default();
        env.add(
            "\u{feff}# comment\nPLAIN=a b # why\nexport EXPORTED = x\nEMPTY=\nHASH=a#b\nSINGLE='$PLAIN # in'\n\
             DOUBLE=\"two\\nlines ${PLAIN}\" # why\nMANY=\"one\ntwo\"\nREFERS=${EXPORTED}/y\nnothing\nTWICE=1\nTWICE=2\r\nUNSET=$NONE\nOPEN=\"x",
        );
        let cases = [
            ("PLAIN", "a b"),
            ("EXPORTED", "x"),
            ("EMPTY", ""),
            ("HASH", "a#b"),
            ("SINGLE", "$PLAIN # in"),
            ("DOUBLE", "two\nlines a b"),
            ("MANY", "one\ntwo"),
            ("REFERS", "x/y"),
            ("TWICE", "2"),
        ];
        for (name, value) in cases {
            assert_eq!(env.get(name), Some(value), "{name}");
        }
        assert_eq!((env.get("UNSET"), env.get("OPEN"), env.get("nothing")), (None, None, None));
    }

    #[test]
    fn what_is_known_stays() {
        let mut env = Env::default();
        env.add("A=1\n");
        env.add("A=2\nB=$A\n");
        assert_eq!((env.get("A"), env.get("B")), (Some("1"), Some("1")));
    }

    #[test]
    fn values_that_name_each_other_stay_small() {
        let lines: String = (1..200).map(|n| format!("A{n}=${{A{}}}${{A{}}}\n", n - 1, n - 1)).collect();
        let mut env = Env::default();
        env.add(&format!("A0=xxxxxxxxxxxxxxxx\n{lines}"));
        assert!(env.0.values().all(|value| value.len() <= 64 << 10));
    }
}
