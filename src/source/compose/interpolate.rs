//! Variables in compose files: `$NAME`, `${NAME:-default}` and the like, as Compose replaces them.
//!
//! Compose replaces a variable that is not set by nothing. Here it is an error: what is asked for is a path, and half a path is another one.

use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Result, anyhow, bail};

/// How long a text may become, in bytes. Values that name each other would double with every line.
const LONGEST: usize = 64 << 10;

/// How many defaults may be within each other.
const DEEPEST: usize = 16;

/// The text with its variables replaced by what `lookup` says of each.
///
/// # Errors
///
/// When a variable is not set and has no default, or what is there is not understood.
pub(super) fn expand<'v>(text: &str, lookup: &dyn Fn(&str) -> Option<&'v str>) -> Result<String> {
    let expanded = Expansion { rest: text.chars().peekable(), lookup }.run(None, 0)?;
    expanded.unset.map_or(Ok(expanded.text), |name| Err(anyhow!("the variable {name} is not set in .env")))
}

struct Expansion<'t, 'l, 'v> {
    rest: Peekable<Chars<'t>>,
    lookup: &'l dyn Fn(&str) -> Option<&'v str>,
}

/// A text, and the first variable that was needed for it and is not set.
#[derive(Default)]
struct Expanded {
    text: String,
    unset: Option<String>,
}

impl Expansion<'_, '_, '_> {
    /// Goes on to the end of the text, or to the brace that ends a default.
    fn run(&mut self, end: Option<char>, depth: usize) -> Result<Expanded> {
        let mut expanded = Expanded::default();
        while let Some(c) = self.rest.next() {
            if Some(c) == end {
                return Ok(expanded);
            }
            if c != '$' {
                expanded.text.push(c);
            } else if self.rest.next_if_eq(&'$').is_some() {
                expanded.text.push('$');
            } else {
                let variable = self.variable(depth)?;
                expanded.text.push_str(&variable.text);
                expanded.unset = expanded.unset.or(variable.unset);
            }
            if expanded.text.len() > LONGEST {
                bail!("it becomes too long");
            }
        }
        if end.is_some() {
            bail!("a brace is not closed");
        }
        Ok(expanded)
    }

    /// What stands for a variable, whose dollar sign was read.
    fn variable(&mut self, depth: usize) -> Result<Expanded> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                bail!("a dollar sign stands alone; two of them stand for one");
            }
            return Ok(self.plain(name));
        }
        let name = self.name();
        let counts_empty = self.rest.next_if_eq(&':').is_some();
        let operator = self.rest.next();
        if operator == Some('}') && !counts_empty {
            return Ok(self.plain(name));
        }
        if depth >= DEEPEST {
            bail!("its defaults are too deep within each other");
        }
        let other = self.run(Some('}'), depth + 1)?;
        let is_set = (self.lookup)(&name).is_some_and(|value| !(counts_empty && value.is_empty()));
        Ok(match (operator, is_set) {
            (Some('-'), false) | (Some('+'), true) => other,
            (Some('-'), true) | (Some('?'), _) => self.plain(name),
            (Some('+'), false) => Expanded::default(),
            _ => bail!("what stands behind ${{{name} is not understood"),
        })
    }

    fn plain(&self, name: String) -> Expanded {
        match (self.lookup)(&name) {
            Some(value) => Expanded { text: value.to_owned(), unset: None },
            None => Expanded { text: String::new(), unset: Some(name) },
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Option<String> {
        let lookup = |name: &str| match name {
            "SET" => Some("value"),
            "EMPTY" => Some(""),
            _ => None,
        };
        expand(text, &lookup).ok()
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        let cases = [
            ("./data", "./data"),
            ("$SET/x", "value/x"),
            ("${SET}x", "valuex"),
            ("$$SET", "$SET"),
            ("${NONE:-default}", "default"),
            ("${NONE-default}", "default"),
            ("${EMPTY:-default}", "default"),
            ("${EMPTY-default}", ""),
            ("${NONE:-${SET}/y}z", "value/yz"),
            ("${SET:-${NONE:-a}}b", "valueb"),
            ("${SET:-${NONE}/x}b", "valueb"),
            ("${SET:+there}", "there"),
            ("${EMPTY:+there}", ""),
            ("${NONE+there}", ""),
            ("${SET:?must be}", "value"),
        ];
        for (text, expected) in cases {
            assert_eq!(expanded(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_set_or_not_understood_is_an_error() {
        for text in ["$NONE/x", "${NONE}", "${NONE:?must be}", "${SET", "${NONE:-x", "$", "${SET!}", "${SET:}"] {
            assert_eq!(expanded(text), None, "{text}");
        }
        assert_eq!(expanded(&"${NONE:-".repeat(100_000)), None);
        let long = "x".repeat(LONGEST);
        assert!(expand("$A$A", &|_| Some(&long)).is_err());
    }
}
