//! `[ssh.NAME]`: a machine that is named, proves who it is, and lets us in; and what is read there.

use std::path::{Path, PathBuf};

use toml::Spanned;

use self::login::Login;
use super::shared::Shared;
use crate::config::file::{SshDumpTable, SshTable};
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{SshConfig, SshDump};

mod login;
mod words;

/// Where the files of dumps are in the snapshot.
pub(super) const DUMPS: &str = "/dumps";

pub(super) fn check(
    name: &Spanned<String>,
    table: &SshTable,
    removed: &Removed,
    problems: &mut Collector,
) -> SshConfig {
    let shared = Shared::of_ssh(name, table);
    let key = &shared.key;
    let (paths, common) = (shared.paths(problems), shared.common(problems));
    if table.dump.is_empty() {
        if paths.is_empty() {
            shared.report_missing_paths(removed, problems);
        }
    } else {
        refuse_dumps(&shared, problems);
    }
    SshConfig {
        common,
        login: Login { name, table, shared: &shared, removed }.check(problems),
        sudo: table.sudo,
        optional: table.optional,
        paths,
        leave_out: shared.leave_out(problems),
        before: hook(&format!("{key}.before"), table.before.as_ref(), problems),
        after: hook(&format!("{key}.after"), table.after.as_ref(), problems),
        dumps: dumps(key, &table.dump, removed, problems),
    }
}

/// Reports paths whose files would stand where the dumps stand.
fn refuse_dumps(shared: &Shared, problems: &mut Collector) {
    for text in shared.paths.into_iter().flat_map(Spanned::get_ref) {
        if Path::new(text.get_ref()).starts_with(DUMPS) {
            let text_of_error =
                format!("`{}` cannot be saved together with dumps, which are at {DUMPS}", text.get_ref());
            problems.report(&text.span(), format!("{}.paths", shared.key), text_of_error);
        }
    }
}

/// A command that is run on the other machine if one is given.
fn hook(key: &str, argv: Option<&Spanned<Vec<String>>>, problems: &mut Collector) -> Vec<String> {
    let Some(argv) = argv.filter(|argv| !argv.get_ref().is_empty()) else { return Vec::new() };
    problems.take(&argv.span(), key, remote_command(argv.get_ref())).unwrap_or_default()
}

fn dumps(key: &str, tables: &[Spanned<SshDumpTable>], removed: &Removed, problems: &mut Collector) -> Vec<SshDump> {
    let mut dumps: Vec<SshDump> = Vec::new();
    for (position, table) in tables.iter().enumerate() {
        let SshDumpTable { command, file } = table.get_ref();
        let was_wrong = |name: &str| removed.iter().any(|r| r.starts_with(&format!("{key}.dump[{position}].{name}")));
        if command.is_none() && !was_wrong("command") {
            let missing = "missing; write it as [\"program\", \"argument\"]";
            problems.report(&table.span(), format!("{key}.dump.command"), missing);
        }
        if file.is_none() && !was_wrong("file") {
            let missing = format!("missing; write the name that the file has below {DUMPS} in the snapshot");
            problems.report(&table.span(), format!("{key}.dump.file"), missing);
        }
        let command = command.as_ref().and_then(|argv| {
            problems.take(&argv.span(), format!("{key}.dump.command"), remote_command(argv.get_ref()))
        });
        let file = file.as_ref().and_then(|text| {
            let checked = plain_file(text.get_ref()).and_then(|file| free(file, &dumps));
            problems.take(&text.span(), format!("{key}.dump.file"), checked)
        });
        // Also with half of it wrong, so that the next one is compared with it.
        dumps.extend(file.map(|file| SshDump { command: command.unwrap_or_default(), file }));
    }
    dumps
}

/// A program and its arguments, to be run on another machine.
pub(super) fn remote_command(argv: &[String]) -> Result<Vec<String>, &'static str> {
    if argv.iter().any(|word| word.contains(['\0', '\n'])) {
        return Err("holds a line break or a zero byte, which cannot be passed on; put it into a script there");
    }
    super::command(argv)
}

/// A path below another one, made of plain names.
pub(super) fn plain_file(text: &str) -> Result<PathBuf, String> {
    let plain = |name: &str| !name.is_empty() && name != "." && name != "..";
    if text.chars().any(char::is_control) {
        return Err("holds a control character, which no name here can".to_owned());
    }
    if !text.split('/').all(plain) {
        return Err(format!("`{text}` is not a plain relative path; write for example `postgres.sql`"));
    }
    Ok(text.into())
}

/// The file, when no other dump is at its place, above it or below it.
fn free(file: PathBuf, dumps: &[SshDump]) -> Result<PathBuf, String> {
    match dumps.iter().map(|dump| &dump.file).find(|other| other.starts_with(&file) || file.starts_with(other)) {
        None => Ok(file),
        Some(other) if *other == file => Err(format!("`{}` is the file of another dump as well", file.display())),
        Some(other) => {
            Err(format!("`{}` and `{}` of another dump cannot both be files", file.display(), other.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dump_is_a_plain_file_below_the_others_place() {
        for text in ["postgres.sql", "db/all.sql", "..a", "a b"] {
            assert_eq!(plain_file(text), Ok(text.into()));
        }
        for text in ["", "/x", "a/../b", "..", ".", "a//b", "a/", "a\nb"] {
            assert!(plain_file(text).is_err(), "{text}");
        }
        let dumps = [SshDump { command: Vec::new(), file: "db/all".into() }];
        assert!(free("db/al".into(), &dumps).is_ok());
        for text in ["db/all", "db", "db/all/x"] {
            assert!(free(text.into(), &dumps).is_err(), "{text}");
        }
    }

    #[test]
    fn command_for_another_machine_has_no_line_breaks() {
        let argv = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(remote_command(&argv(&["pg_dumpall", "-U", "it's", ""])).is_ok());
        for bad in [&["a\nb"][..], &["a", "\0"], &[], &["", "x"]] {
            assert!(remote_command(&argv(bad)).is_err(), "{bad:?}");
        }
    }
}
