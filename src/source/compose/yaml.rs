//! Reads YAML files, which may be hostile: how large they are, how deep, and what their aliases unfold to is limited.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

/// How large a file may be, in bytes. Files that people write are a thousandth of that.
const LARGEST: u64 = 1 << 20;

/// How many nodes it may have, and its aliases unfold to.
const MOST: usize = 100_000;

/// A text file of at most the size that is sensible.
///
/// # Errors
///
/// When it cannot be read, is no regular file, or larger.
pub(super) fn read_text(path: &Path) -> Result<String> {
    // Opening a fifo would wait for ever.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        bail!("it is no regular file");
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        bail!("it is larger than 1 MiB");
    }
    String::from_utf8(bytes).context("it is no text")
}

/// What a YAML file says. Aliases and merge keys are unfolded; tags like `!override` are passed over.
///
/// # Errors
///
/// When it cannot be read or understood. The error quotes nothing of the file, which may have passwords.
pub(super) fn read(path: &Path) -> Result<Value> {
    parse(&read_text(path)?)
}

fn parse(text: &str) -> Result<Value> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        budget: serde_saphyr::budget! {
            max_events: MOST,
            max_nodes: MOST,
            max_aliases: MOST,
            max_depth: 64,
            max_total_scalar_bytes: 16 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.location() {
        Some(location) => anyhow::anyhow!("it is no YAML that is understood, line {}", location.line()),
        None => anyhow::anyhow!("it is no YAML that is understood"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn anchors_and_merge_keys_are_unfolded_and_tags_passed_over() {
        let text = "x: &x\n  a: 1\n  b: two\ny:\n  <<: *x\n  b: !override [3]\nz: !reset null\n";
        assert_eq!(parse(text).unwrap(), json!({"x": {"a": 1, "b": "two"}, "y": {"a": 1, "b": [3]}, "z": null}));
    }

    #[test]
    fn hostile_files_are_errors() {
        let bomb: String = (1..40).map(|n| format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)).collect();
        let deep = "[".repeat(100_000);
        let wide = "- a\n".repeat(200_000);
        let fat = format!("a: &a {}\nb: [{}]", "x".repeat(500_000), "*a, ".repeat(2000));
        for text in [&format!("a0: &a0 [x, x]\n{bomb}"), &deep, &wide, &fat, "a: [b", "a: &a [*a]", "a: *nobody"] {
            assert!(parse(text).is_err(), "{}", text.chars().take(30).collect::<String>());
        }
    }

    #[test]
    fn errors_quote_nothing_and_say_where() {
        let error = parse("services:\n  db:\n    password: hunter2\n   - hunter2: [\n").unwrap_err();
        let text = crate::error::chain(&error);
        assert!(!text.contains("hunter2") && text.contains("line 4"), "{text}");
    }

    #[test]
    fn what_is_no_sensible_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large");
        File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
        for path in [&large, directory.path(), Path::new("/dev/zero"), &directory.path().join("none")] {
            assert!(read_text(path).is_err(), "{}", path.display());
        }
    }
}
