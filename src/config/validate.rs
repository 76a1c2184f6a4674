//! From the written form to the used form: checks everything there is to check, and says all that is wrong at once.
//!
//! What is checked here needs the text alone: whether paths exist and stores answer is asked by the commands that need them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::sources::Names;
use super::Config;
use super::file::File;
use super::problem::{Collector, Problem, Problems, line_at};
use super::strict::{self, Removed};
use crate::error::{Annotate, ExitCode};

mod compose;
mod docker;
mod engine;
mod hooks;
mod incus;
mod ios;
mod mirror;
mod notify;
mod retention;
mod shared;
mod sources;
mod ssh;
mod store;

pub(super) use self::notify::of_broken;
pub(crate) use self::shared::check_exclude;
pub(crate) use self::sources::check_name;

/// Reads and checks the file.
pub(super) fn load(file: &Path) -> Result<Config> {
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("read configuration {file:?}"))
                .hint("Set up a store with `holdall onboard store`, or name the file with --config.")
                .exit(ExitCode::Usage);
        }
        other => other.with_context(|| format!("read configuration {file:?}")).exit(ExitCode::Usage)?,
    };
    if fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o022 != 0) {
        tracing::warn!("others than the owner of {file:?} can change it, and with it the commands that holdall runs");
    }
    parse(file, &bytes).exit(ExitCode::Usage)
}

/// Checks the content of a file.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Config, Problems> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = line_at(bytes, error.valid_up_to());
        let problem = Problem { line, key: String::new(), text: "not UTF-8 text".to_owned() };
        Problems { file: file.to_path_buf(), problems: vec![problem] }
    })?;
    let mut problems = Collector::new(text);
    let config = strict::read::<File>(text, &mut problems)
        .map(|(written, removed)| check(file, &written, &removed, &mut problems))
        .unwrap_or_else(|| Config::empty(file));
    problems.into_result(file, config)
}

fn check(file: &Path, written: &File, removed: &Removed, problems: &mut Collector) -> Config {
    let names = Names::check(written, problems);
    let report_file = written.report_file.as_ref();
    let store = written.store.as_ref().map(|table| store::check(table, removed, problems));
    let mirrors = mirror::check(&written.mirror, store.as_ref(), removed, problems);
    Config {
        file: file.to_path_buf(),
        report_file: report_file.and_then(|file| problems.take(&file.span(), "report-file", absolute(file.get_ref()))),
        retention: retention::check(&written.retention, &names, &mirrors, problems),
        store,
        mirrors,
        notify: notify::check(written, removed, problems),
        hooks: hooks::check(written, problems),
        sources: sources::check(written, removed, problems),
    }
}

/// An absolute path without `.`, `..`, and slashes at its end.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if text.is_empty() {
        return Err("is empty; write an absolute path".to_owned());
    }
    if text.contains('\0') {
        return Err("holds a zero byte, which no path can".to_owned());
    }
    if text.starts_with('~') {
        return Err(format!("`{text}` is not absolute: `~` is not expanded here; write the home directory out"));
    }
    if !path.is_absolute() {
        return Err(format!("`{text}` is not absolute; it must begin with `/`"));
    }
    if path.components().any(|component| component == std::path::Component::ParentDir) {
        return Err(format!("`{text}` has a `..`; write the path without it"));
    }
    Ok(path.components().collect())
}

/// A program and its arguments, to be run on this machine.
fn command(argv: &[String]) -> Result<Vec<String>, &'static str> {
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv.to_vec()),
        _ => Err("names no program; write it as [\"program\", \"argument\"]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE;
    use crate::error::{chain, exit_code, hints};

    #[test]
    fn missing_file_says_how_to_make_one() {
        let error = load(Path::new("/nonexistent/config.toml")).unwrap_err();
        assert!(
            chain(&error).starts_with("read configuration \"/nonexistent/config.toml\": No such file"),
            "{error:#}"
        );
        assert_eq!(exit_code(&error), ExitCode::Usage);
        assert!(hints(&error)[0].contains("`holdall onboard store`"));
    }

    #[test]
    fn file_that_is_not_text_is_reported_with_its_line() {
        let error = parse(Path::new("x"), b"# one\n# two\n# \xff").unwrap_err();
        assert_eq!(error.to_string(), "x: 1 problem\n  line 3: not UTF-8 text");
    }

    #[test]
    fn example_is_a_valid_configuration() {
        let config = parse(Path::new("config.toml.example"), EXAMPLE.as_bytes()).unwrap();
        assert_eq!(config.store.unwrap().repository, "/srv/holdall");
        assert_eq!(config.retention.len(), 1);
        assert_eq!(config.sources.iter().map(|source| source.id()).collect::<Vec<_>>(), ["files.host"]);
    }

    #[test]
    fn example_is_toml_also_with_every_comment_removed() {
        let uncommented: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(|line| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .map(|line| format!("{line}\n"))
            .collect();
        let error = parse(Path::new("x"), uncommented.as_bytes()).unwrap_err();
        // What shows two ways to give the same thing, and nothing else.
        assert_eq!(
            error.problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(),
            [
                "store.password-command",
                "store.options.secret-access-key-file",
                "mirror.password-command",
                "notify.healthchecks.url-file",
                "notify.mail.password-command",
                "notify.webhook.url-file",
                "notify.webhook.token-command",
                "notify.webhook.body",
                "retention.role",
                "ssh.pi.known-hosts",
                "ssh.pi.passphrase-command",
                "ssh.pi.password-command",
                "docker.nas.host",
                "compose.stacks.host",
                "ios.phone.encryption-password-command",
            ]
        );
    }

    #[test]
    fn empty_file_is_a_configuration_without_anything() {
        let config = parse(Path::new("x"), b"").unwrap();
        assert!(config.store.is_none() && config.sources.is_empty() && config.retention.is_empty());
    }

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(absolute("/a//b/./c/"), Ok("/a/b/c".into()));
        assert_eq!(absolute("/"), Ok("/".into()));
        for path in ["", "a", "./a", "/a/../b", "~/x", "/a\0"] {
            assert!(absolute(path).is_err(), "{path}");
        }
    }
}
