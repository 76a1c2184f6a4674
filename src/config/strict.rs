//! TOML to the written form, with every unknown key and every wrong type.
//!
//! serde stops at its first error. So what it complains about is reported, taken out of the parsed document, and the rest is
//! read again, until serde is content. Each round takes out one key, hence it ends. The types in [`super::file`] thus stay
//! the only list of keys there is.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::problem::{Collector, did_you_mean};

/// Dotted keys that were taken out, with positions in arrays (`retention[1].policy`): they are wrong, not missing.
pub(super) type Removed = BTreeSet<String>;

/// Reads what can be read of `text` and reports the rest. `None` when the text is not TOML.
pub(super) fn read<T: DeserializeOwned>(text: &str, problems: &mut Collector) -> Option<(T, Removed)> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.first() {
        // Errors behind the first are often only its consequences, so one is all that can be said with certainty.
        problems.report(&error.span().unwrap_or_default(), "", error.message());
        return None;
    }
    read_document(document, problems)
}

/// The same of a text that need not be TOML throughout: what a parser makes of it that goes on behind errors.
pub(super) fn read_what_can_be<T: DeserializeOwned>(text: &str, problems: &mut Collector) -> Option<(T, Removed)> {
    read_document(DeTable::parse_recoverable(text).0, problems)
}

fn read_document<T: DeserializeOwned>(
    document: Spanned<DeTable<'_>>,
    problems: &mut Collector,
) -> Option<(T, Removed)> {
    let whole = document.span();
    let mut table = document.into_inner();
    let mut removed = Removed::new();
    loop {
        let error = match T::deserialize(Deserializer::from(Spanned::new(whole.clone(), table.clone()))) {
            Ok(value) => return Some((value, removed)),
            Err(error) => error,
        };
        let span = error.span().unwrap_or_default();
        let Some((key, found)) = remove(&mut table, &span, "") else {
            problems.report(&span, "", error.message());
            return None;
        };
        problems.report(&span, without_positions(&key), explain(&error, &key, found));
        removed.insert(key);
    }
}

/// Takes out the innermost key or array element at `span`; returns its dotted key and the type of its value.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>, prefix: &str) -> Option<(String, &'static str)> {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let path = if prefix.is_empty() { key.as_ref().to_string() } else { format!("{prefix}.{}", key.as_ref()) };
        if key.span() == *span {
            found = Some((key.clone(), path));
            break;
        }
        if let Some(inner) = remove_inside(value, span, &path) {
            return Some(inner);
        }
        if value.span() == *span {
            found = Some((key.clone(), path));
            break;
        }
    }
    let (key, path) = found?;
    let value = table.remove(&key)?;
    Some((path, value.get_ref().type_str()))
}

fn remove_inside(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, path: &str) -> Option<(String, &'static str)> {
    match value.as_mut() {
        DeValue::Table(table) => remove(table, span, path),
        DeValue::Array(array) => {
            for (position, element) in array.iter_mut().enumerate() {
                if let Some(inner) = remove_inside(element, span, &format!("{path}[{position}]")) {
                    return Some(inner);
                }
            }
            let position = array.iter().position(|element| element.span() == *span)?;
            let found = array[position].get_ref().type_str();
            let others = array.iter().enumerate().filter(|&(index, _)| index != position);
            *array = others.map(|(_, element)| element.clone()).collect();
            Some((format!("{path}[{position}]"), found))
        }
        _ => None,
    }
}

/// `retention[1].policy` as people write it: `retention.policy`.
fn without_positions(key: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in key.chars() {
        inside = (inside || c == '[') && c != ']';
        if !inside && c != ']' {
            text.push(c);
        }
    }
    text
}

/// serde's message in the words of the documentation. `found` is the type of the offending value: serde's own words hold
/// the value itself, which might be a secret in the wrong place.
fn explain(error: &Error, key: &str, found: &str) -> String {
    let message = error.message();
    let expected = message.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    if message.starts_with("unknown field") {
        let name = key.rsplit('.').next().unwrap_or(key);
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        return match did_you_mean(name, known.iter().copied()) {
            near if near.is_empty() => format!("unknown key; known here: {}", known.join(", ")),
            near => format!("unknown key{near}"),
        };
    }
    let expected = match expected {
        "a sequence" if !key.contains('.') || key.ends_with(".dump") || key == "notify.webhook" => {
            &format!("an array of tables, [[{key}]]")
        }
        "a sequence" => "an array",
        "a map" => "a table",
        "a boolean" => "true or false",
        "i64" => "a whole number",
        other => other,
    };
    // toml's names of types: string, integer, float, boolean, datetime, array, table.
    let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("must be {expected}, not {article} {found}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::EXAMPLE;
    use super::super::file::File;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut collector = Collector::new(text);
        let _ = read::<File>(text, &mut collector);
        let Err(found) = collector.into_result(Path::new("x"), ()) else { return Vec::new() };
        found.problems.iter().map(|problem| format!("{}: {}: {}", problem.line, problem.key, problem.text)).collect()
    }

    #[test]
    fn every_unknown_key_and_wrong_type_is_found_in_one_run() {
        let text = r#"
color = "blue"
[store]
repository = 5
pasword-file = "/x"
[store.options]
[[retention]]
policy = ["1"]
[[retention]]
polcy = "1"
[files.host]
paths = ["/a", 7, { x = 1 }]
one-file-system = "yes"
every = 1979-05-27
[files]
web = 3
"#;
        assert_eq!(
            problems(text),
            [
                "2: color: unknown key; known here: report-file, store, mirror, notify, hooks, retention, files, ssh, docker, compose, incus, ios",
                "4: store.repository: must be a string, not an integer",
                "5: store.pasword-file: unknown key; did you mean `password-file`?",
                "8: retention.policy: must be a string, not an array",
                "10: retention.polcy: unknown key; did you mean `policy`?",
                "12: files.host.paths: must be a string, not a table",
                "12: files.host.paths: must be a string, not an integer",
                "13: files.host.one-file-system: must be true or false, not a string",
                "14: files.host.every: must be a string, not a datetime",
                "16: files.web: must be a table, not an integer",
            ]
        );
    }

    #[test]
    fn what_was_wrong_is_told_apart_by_position() {
        let text = "[[retention]]\npolicy = 1\n[[retention]]\n";
        let (file, removed) = read::<File>(text, &mut Collector::new(text)).unwrap();
        assert_eq!(file.retention.len(), 2);
        assert_eq!(removed.into_iter().collect::<Vec<_>>(), ["retention[0].policy"]);
    }

    #[test]
    fn value_that_may_be_a_secret_is_not_repeated() {
        let found = problems("[store]\npassword-command = \"hunter2\"\nrepository = 12345\n").join("\n");
        assert!(!found.contains("hunter2") && !found.contains("12345"), "{found}");
    }

    #[test]
    fn text_that_is_not_toml_is_reported_with_its_line() {
        assert_eq!(problems("[store]\nrepository = \n").len(), 1);
        assert!(problems("\n\n[store\n")[0].starts_with("3: : "));
        assert!(problems("a = 1\na = 2\n")[0].starts_with("2: : duplicate key"));
    }

    /// The keys of a table, as serde tells them to somebody who guesses wrong.
    fn keys_of(header: &str) -> Vec<String> {
        let text = format!("{header}\nzz = 1\n");
        let error = toml::from_str::<File>(&text).map(|_| ()).unwrap_err();
        let (_, expected) = error.message().rsplit_once(", expected ").unwrap();
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn example_shows_every_key_in_its_table() {
        let headers = [
            "",
            "[store]",
            "[notify]",
            "[notify.healthchecks]",
            "[[mirror]]",
            "[notify.mail]",
            "[notify.metrics]",
            "[[notify.webhook]]",
            "[hooks]",
            "[[retention]]",
            "[files.host]",
            "[ssh.pi]",
            "[[ssh.pi.dump]]",
        ];
        let mut missing = Vec::new();
        for header in headers {
            // The lines of every table with this header, also of those that are commented out.
            let mut inside = header.is_empty();
            let lines: Vec<&str> = EXAMPLE
                .lines()
                .map(|line| line.strip_prefix("# ").unwrap_or(line))
                .filter(|line| {
                    if line.starts_with('[') && !header.is_empty() {
                        inside = *line == header;
                    }
                    inside
                })
                .collect();
            let table = header.trim_matches(['[', ']']);
            for key in keys_of(header) {
                let below = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
                let shown = lines.iter().any(|line| line.starts_with(&format!("{key} = ")))
                    || EXAMPLE.lines().any(|line| line.trim_start_matches(['#', ' ', '[']).starts_with(&below));
                if !shown {
                    missing.push(below);
                }
            }
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
