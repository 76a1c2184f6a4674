//! Adds tables to the configuration file, for `holdall onboard`. The only user of toml_edit.
//!
//! The text that is there stays as it is, byte for byte; new tables are put behind it, or in the place of those with the same names when
//! that is asked for. The result is checked like any configuration before a byte is written, and takes the place of the old file in one step.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tempfile::NamedTempFile;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

use super::problem::Problems;
use super::{Config, validate};
use crate::durable::sync_directory;
use crate::error::{Annotate, ExitCode};
use crate::secret::make_private_dir;

mod replace;

/// A table to be added, with its sub-tables: `[files.host]`.
#[derive(Debug, Clone)]
pub struct Stanza {
    path: Vec<String>,
    table: Table,
    is_listed: bool,
}

impl Stanza {
    /// An empty table; `path` is its dotted name in parts.
    pub fn new<const N: usize>(path: [&str; N]) -> Self {
        Self { path: path.map(str::to_owned).to_vec(), table: Table::new(), is_listed: false }
    }

    /// An empty table of a list: `[[retention]]`.
    pub fn listed(name: &str) -> Self {
        Self { is_listed: true, ..Self::new([name]) }
    }

    /// An empty table without a name, for [`Stanza::set_rows`] and [`Stanza::push`].
    pub fn row() -> Self {
        Self::new([])
    }

    /// Sets a key to a string, or to true or false.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.table.insert(key, Item::Value(value.into()));
        self
    }

    /// Sets a key to an array of strings.
    pub fn set_array<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.set(key, values.into_iter().collect::<Array>())
    }

    /// Sets a key of a sub-table: `[store.options]`.
    pub fn set_below(&mut self, table: &str, key: &str, value: impl Into<Value>) -> &mut Self {
        let below = self.table.entry(table).or_insert_with(|| Item::Table(Table::new()));
        if let Some(below) = below.as_table_mut() {
            below.insert(key, Item::Value(value.into()));
        }
        self
    }

    /// Sets a key to a list of tables, one a line: `instances = [{ name = "*" }]`.
    pub fn set_rows(&mut self, key: &str, rows: Vec<Self>) -> &mut Self {
        let is_long = rows.len() > 1;
        let mut array: Array = rows.into_iter().map(|row| Value::InlineTable(row.table.into_inline_table())).collect();
        if is_long {
            array.iter_mut().for_each(|row| row.decor_mut().set_prefix("\n    "));
            array.set_trailing("\n");
            array.set_trailing_comma(true);
        }
        self.set(key, array)
    }

    /// Adds a table to a list below this one: `[[incus.lab.project]]`.
    pub fn push(&mut self, key: &str, row: Self) -> &mut Self {
        let below = self.table.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        if let Some(below) = below.as_array_of_tables_mut() {
            below.push(row.table);
        }
        self
    }

    /// The line that it begins with: `[files.host]`, `[[mirror]]`.
    pub fn header(&self) -> String {
        let name = self.name();
        if self.is_listed { format!("[[{name}]]") } else { format!("[{name}]") }
    }

    /// The dotted name of the table.
    pub fn name(&self) -> String {
        self.path.join(".")
    }
}

impl fmt::Display for Stanza {
    /// The table as it will stand in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut item = match self.is_listed {
            true => Item::ArrayOfTables(std::iter::once(self.table.clone()).collect()),
            false => Item::Table(self.table.clone()),
        };
        for (depth, part) in self.path.iter().enumerate().rev() {
            let mut around = Table::new();
            // Only the innermost table gets a header line.
            around.set_implicit(depth > 0);
            around.insert(part, item);
            item = Item::Table(around);
        }
        let document = item.into_table().map(DocumentMut::from).map_err(|_| fmt::Error)?;
        f.write_str(document.to_string().trim_start())
    }
}

/// A checked change of a configuration file, not made yet.
#[derive(Debug)]
pub struct Edit {
    file: PathBuf,
    text: String,
    config: Config,
}

impl Edit {
    /// Adds the table to the content of `file`, which need not exist, and checks the result.
    ///
    /// # Errors
    ///
    /// When the table is there already, or the configuration has problems, with it or without; exit code
    /// [`ExitCode::Usage`].
    pub fn add(file: &Path, stanza: &Stanza) -> Result<Self> {
        Self::change(file, std::slice::from_ref(stanza), false)
    }

    /// Adds the tables, or with `may_replace` puts them in the place of those that are there: of a table with the same name, and of the tables of
    /// a list that have the same `source`. The first one gives its name to errors.
    ///
    /// # Errors
    ///
    /// As [`Edit::add`].
    pub fn change(file: &Path, stanzas: &[Stanza], may_replace: bool) -> Result<Self> {
        // An editor's symbolic link (dotfiles, NixOS) stays one: its target is replaced.
        let file = fs::canonicalize(file).or_else(|_| std::path::absolute(file));
        let file = file.context("find the current directory")?;
        let mut text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => HEADING.to_owned(),
            other => other.with_context(|| format!("read configuration {file:?}")).exit(ExitCode::Usage)?,
        };
        validate::parse(&file, text.as_bytes()).exit(ExitCode::Usage)?;
        if !may_replace {
            for stanza in stanzas.iter().filter(|stanza| !stanza.is_listed) {
                if contains(&text, &stanza.path)? {
                    return Err(anyhow!("{file:?} has a table [{}] already", stanza.name())).exit(ExitCode::Usage);
                }
            }
        }
        let written = stanzas.iter().map(Stanza::to_string).collect::<Vec<_>>().join("\n");
        let places = if may_replace { replace::places(&text, stanzas)? } else { Vec::new() };
        match places.first().map(|place| place.start) {
            Some(at) => {
                places.into_iter().rev().for_each(|place| text.replace_range(place, ""));
                text.insert_str(at, &written);
            }
            None => {
                if !text.is_empty() {
                    text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
                }
                text.push_str(&written);
            }
        }
        // The text was right before, so what is wrong now is the new table; its lines do not exist yet.
        let name = stanzas.first().map(Stanza::header).unwrap_or_default();
        let config = validate::parse(&file, text.as_bytes())
            .map_err(|error| anyhow!("{}", without_lines(&error)))
            .with_context(|| format!("add {name} to the configuration"))
            .exit(ExitCode::Usage)?;
        Ok(Self { file, text, config })
    }

    /// The configuration as it will be.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Writes the file, in one step: whoever reads it sees the old content or the new. A new file can be read by its
    /// owner only, since it may hold ping URLs.
    pub fn write(self) -> Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        make_private_dir(directory)?;
        self.replace(directory).with_context(|| format!("write configuration {:?}", self.file))
    }

    fn replace(&self, directory: &Path) -> Result<()> {
        let mut temporary = NamedTempFile::with_prefix_in(".config-", directory)?;
        temporary.write_all(self.text.as_bytes())?;
        if let Ok(old) = fs::metadata(&self.file) {
            temporary.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
            let new = temporary.as_file().metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(temporary.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
        }
        temporary.as_file().sync_all()?;
        temporary.persist(&self.file)?;
        sync_directory(directory)?;
        Ok(())
    }
}

const HEADING: &str = "# Configuration of holdall; config.toml.example explains all keys.\n";

fn without_lines(error: &Problems) -> String {
    let problems = error.problems.iter().map(|problem| format!("{}: {}", problem.key, problem.text));
    problems.collect::<Vec<_>>().join("; ")
}

fn contains(text: &str, path: &[String]) -> Result<bool> {
    let document: DocumentMut = text.parse().context("read the configuration for a change")?;
    let mut item = document.as_item();
    for part in path {
        match item.get(part) {
            Some(inner) => item = inner,
            None => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::{chain, exit_code};

    fn host() -> Stanza {
        let mut stanza = Stanza::new(["files", "host"]);
        stanza.set_array("paths", ["/etc", "/a \"b\""]).set("one-file-system", true);
        stanza
    }

    fn store() -> Stanza {
        let mut stanza = Stanza::new(["store"]);
        stanza.set("repository", "s3:https://h/b").set_below("options", "region", "eu");
        stanza
    }

    const HOST: &str = "[files.host]\npaths = [\"/etc\", '/a \"b\"']\none-file-system = true\n";

    #[test]
    fn stanza_is_written_as_people_write_it() {
        assert_eq!(host().to_string(), HOST);
        assert_eq!(
            store().to_string(),
            "[store]\nrepository = \"s3:https://h/b\"\n\n[store.options]\nregion = \"eu\"\n"
        );
    }

    #[test]
    fn rest_of_the_file_is_kept_byte_for_byte() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("config.toml");
        let old = "# mine\r\n[files]\n  web = {paths=['/srv'],}   # odd\n\n\n[store]\nrepository='/srv/h' # no newline";
        fs::write(&file, old).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let edit = Edit::add(&file, &host()).unwrap();
        assert_eq!(edit.config().sources.len(), 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), old, "nothing is written before it is asked for");
        edit.write().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{old}\n\n{HOST}"));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    fn lab(policy: &str) -> [Stanza; 2] {
        let mut stanza = Stanza::new(["incus", "lab"]);
        stanza.set("source", "https://a:8443").set("export", true);
        let row = |name: &str| {
            let mut row = Stanza::row();
            row.set("name", name).set("stop", true);
            row
        };
        for (project, names) in [("default", &["*"][..]), ("b", &["x", "y"])] {
            let mut below = Stanza::row();
            below.set("name", project).set_rows("instances", names.iter().map(|name| row(name)).collect());
            stanza.push("project", below);
        }
        let mut retention = Stanza::listed("retention");
        retention.set("source", "lab").set("policy", policy);
        [stanza, retention]
    }

    const LAB: &str = "[incus.lab]\nsource = \"https://a:8443\"\nexport = true\n\n[[incus.lab.project]]\nname = \"default\"\n\
        instances = [{ name = \"*\", stop = true }]\n\n[[incus.lab.project]]\nname = \"b\"\ninstances = [\n    \
        { name = \"x\", stop = true },\n    { name = \"y\", stop = true },\n]\n\n[[retention]]\nsource = \"lab\"\npolicy = \"3\"\n";

    #[test]
    fn tables_with_lists_are_replaced_in_place_when_that_is_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("config.toml");
        let around = ["[store]\nrepository='/srv/h'\npassword-file='/p'\n\n", "\n# mine\n[files.x]\npaths=['/etc']"];
        let [before, after] = around;
        fs::write(&file, format!("{before}{LAB}{after}")).unwrap();
        let error = Edit::change(&file, &lab("4"), false).unwrap_err();
        assert!(chain(&error).ends_with("has a table [incus.lab] already"));
        Edit::change(&file, &lab("4"), true).unwrap().write().unwrap();
        let expected = format!("{before}{}{after}", LAB.replace("policy = \"3\"", "policy = \"4\""));
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    }

    #[test]
    fn missing_file_is_made_for_its_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("new/config.toml");
        Edit::add(&file, &store()).unwrap().write().unwrap();
        Edit::add(&file, &host()).unwrap().write().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{HEADING}\n{}\n{HOST}", store()));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(scratch.path().join("new")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn existing_table_is_not_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("config.toml");
        fs::write(&file, "files.host.paths = [\"/srv\"]\n").unwrap();
        let error = Edit::add(&file, &host()).unwrap_err();
        assert_eq!(chain(&error), format!("{file:?} has a table [files.host] already"));
        assert_eq!(exit_code(&error), ExitCode::Usage);
    }

    #[test]
    fn stanza_that_makes_the_configuration_wrong_is_not_written() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("config.toml");
        let mut stanza = Stanza::new(["files", "host"]);
        stanza.set_array("paths", ["relative"]);
        let error = Edit::add(&file, &stanza).unwrap_err();
        assert_eq!(
            chain(&error),
            "add [files.host] to the configuration: files.host.paths: `relative` is not absolute; it must begin with `/`"
        );
        assert!(!file.exists());
    }

    #[test]
    fn symbolic_link_to_the_file_stays_one() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("target.toml");
        let link = scratch.path().join("config.toml");
        fs::write(&target, "").unwrap();
        symlink(&target, &link).unwrap();
        Edit::add(&link, &host()).unwrap().write().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), HOST);
    }
}
