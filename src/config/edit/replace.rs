//! Finds the text of tables that are to be replaced. What stands around them stays as it is, byte for byte, and comments between them and the
//! next table belong to that one.

use std::ops::Range;

use anyhow::{Context, Result, anyhow};
use toml_edit::{Document, Item, Table};

use super::Stanza;
use crate::error::{Annotate, ExitCode};

/// The header line of a table.
struct Header {
    at: usize,
    is_ours: bool,
}

/// Where in the text the tables stand that the stanzas take the place of, in its order: one with the name of a stanza, with everything below
/// it, and of a list of tables those with the same `source`.
///
/// # Errors
///
/// When one is there, but not written as a table of its own.
pub(super) fn places(text: &str, stanzas: &[Stanza]) -> Result<Vec<Range<usize>>> {
    let document = Document::parse(text).context("read the configuration for a change")?;
    let mut headers = Vec::new();
    walk(document.as_table(), &mut Vec::new(), false, stanzas, &mut headers)?;
    headers.sort_by_key(|header| header.at);
    let ends = headers.iter().skip(1).map(|next| next.at).chain([text.len()]);
    let mut places: Vec<Range<usize>> = Vec::new();
    for (header, end) in headers.iter().zip(ends).filter(|(header, _)| header.is_ours) {
        let place = line_begin(text, header.at)..content_end(text, header.at, end);
        match places.last_mut() {
            // Blank lines between two of them go with them.
            Some(last) if text[last.end..place.start].trim().is_empty() => last.end = place.end,
            _ => places.push(place),
        }
    }
    Ok(places)
}

fn walk<'t>(
    table: &'t Table,
    path: &mut Vec<&'t str>,
    is_ours: bool,
    stanzas: &[Stanza],
    headers: &mut Vec<Header>,
) -> Result<()> {
    for (key, item) in table {
        path.push(key);
        let is_named = stanzas.iter().any(|stanza| stanza.path == *path);
        match item {
            Item::Table(below) => {
                let is_ours = is_ours || is_named;
                if below.is_dotted() && is_named {
                    return by_hand(path);
                }
                let at = below.span().filter(|_| !below.is_implicit() && !below.is_dotted());
                headers.extend(at.map(|span| Header { at: span.start, is_ours }));
                walk(below, path, is_ours, stanzas, headers)?;
            }
            Item::ArrayOfTables(list) => {
                for below in list {
                    let is_same =
                        |stanza: &Stanza| stanza.is_listed && is_named && source(&stanza.table) == source(below);
                    let is_ours = is_ours || stanzas.iter().any(is_same);
                    headers.extend(below.span().map(|span| Header { at: span.start, is_ours }));
                    walk(below, path, is_ours, stanzas, headers)?;
                }
            }
            Item::Value(_)
                if stanzas.iter().any(|stanza| {
                    stanza.path.len() >= path.len() && stanza.path.iter().zip(&*path).all(|(a, b)| a == b)
                }) =>
            {
                return by_hand(path);
            }
            Item::Value(_) | Item::None => {}
        }
        path.pop();
    }
    Ok(())
}

fn source(table: &Table) -> Option<&str> {
    table.get("source").and_then(Item::as_str)
}

fn by_hand(path: &[&str]) -> Result<()> {
    let name = path.join(".");
    Err(anyhow!("`{name}` is there, but not as a table [{name}] of its own"))
        .hint("Take it out by hand, and run this again.")
        .exit(ExitCode::Usage)
}

fn line_begin(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |line_break| line_break + 1)
}

/// Where the last line of a table ends: what follows it up to the next header is blank, or a comment.
fn content_end(text: &str, begin: usize, end: usize) -> usize {
    let mut last = begin;
    let mut at = line_begin(text, begin);
    for line in text[at..line_begin(text, end).max(at)].split_inclusive('\n') {
        at += line.len();
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            last = at;
        }
    }
    // The last line of the file may have no end.
    if end == text.len()
        && last < end
        && !text[last..].lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'))
    {
        last = end;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    fn lab() -> Stanza {
        Stanza::new(["incus", "lab"])
    }

    fn cut(text: &str, stanzas: &[Stanza]) -> String {
        let mut rest = text.to_owned();
        for place in places(text, stanzas).unwrap().into_iter().rev() {
            rest.replace_range(place, "|");
        }
        rest
    }

    #[test]
    fn table_goes_with_everything_below_it_and_nothing_else() {
        let text = "# top\n[store]\nrepository='x' # c\r\n\n# about lab\n  [incus.lab] # hi\nsource = \"\"\"\n[x]\n# \"\"\"\n\
            b = 3\n\n# proj\n[[incus.lab.project]]\nname='a'\n# last\n\n# of files\n[files.x]\na=1\n[incus.other]\n[incus.lab.z]\nq=1";
        let rest = "# top\n[store]\nrepository='x' # c\r\n\n# about lab\n|\n# proj\n|# last\n\n# of files\n[files.x]\na=1\n[incus.other]\n|";
        assert_eq!(cut(text, &[lab()]), rest);
        assert_eq!(cut("[files.x]\na=1\n", &[lab()]), "[files.x]\na=1\n");
        assert_eq!(cut("[incus.lab]\na=1\n# end", &[lab()]), "|# end");
        assert_eq!(cut("[incus.lab]", &[lab()]), "|");
    }

    #[test]
    fn of_a_list_only_those_of_the_same_source_go() {
        let mut ours = Stanza::listed("retention");
        ours.set("source", "incus.lab");
        let text = "[[retention]]\nsource='incus.lab'\n[[retention]]\npolicy='3'\n# c\n[[retention]]\nrole='target'\nsource=\"incus.lab\"\n";
        assert_eq!(cut(text, &[ours]), "|[[retention]]\npolicy='3'\n# c\n|");
    }

    #[test]
    fn what_is_no_table_of_its_own_is_left_to_people() {
        let inline = "incus = { lab = {} }\n";
        for text in ["incus.lab.source = 1\n", "[incus]\nlab = {}\n", inline, "[incus]\nlab.x = 1\n"] {
            let name = if text == inline { "incus" } else { "incus.lab" };
            let error = places(text, &[lab()]).unwrap_err();
            assert_eq!(chain(&error), format!("`{name}` is there, but not as a table [{name}] of its own"));
        }
        assert!(places("[incus.other]\nlab = {}\n", &[lab()]).unwrap().is_empty());
    }
}
