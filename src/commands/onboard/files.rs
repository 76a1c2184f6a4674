//! `holdall onboard files`: a `[files.NAME]` for paths that are there and can be read.

use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::{Context, add_source};
use crate::config::edit::Stanza;
use crate::config::{self, Config};
use crate::error::{Annotate, ExitCode};
use crate::process::shell_word;
use crate::quantity::parse_duration;

/// Arguments of `onboard files`.
#[derive(Debug, clap::Args)]
pub(super) struct FilesArgs {
    /// What to call it: a-z, 0-9, `_` and `-`
    #[arg(value_parser = parse_name)]
    name: String,

    /// Directories with everything below them, or single files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Leave this out, as in a .gitignore at the root of the file system; may be given several times
    #[arg(long, value_name = "GLOB", value_parser = parse_exclude)]
    exclude: Vec<String>,

    /// Do not cross into other file systems
    #[arg(long)]
    one_file_system: bool,

    /// Leave out the content of directories that are marked as caches (CACHEDIR.TAG)
    #[arg(long)]
    exclude_caches: bool,

    /// Not due again until the newest point is this old, e.g. 20h
    #[arg(long, value_name = "DURATION", value_parser = duration_as_written)]
    every: Option<String>,

    /// Complain when the newest point is older, e.g. 3d
    #[arg(long, value_name = "DURATION", value_parser = duration_as_written)]
    max_age: Option<String>,

    /// Show what would be written; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(in crate::commands) fn parse_name(text: &str) -> Result<String, String> {
    config::check_name(text).map(|()| text.to_owned())
}

pub(super) fn parse_exclude(text: &str) -> Result<String, String> {
    config::check_exclude(text).map(|()| text.to_owned())
}

fn duration_as_written(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

pub(super) fn run(args: &FilesArgs, context: &Context) -> Result<()> {
    let file = context.config_file();
    if file.try_exists().unwrap_or(true) {
        name_is_free(&args.name, &config::load(&file)?)?;
    }
    let mut paths = Vec::new();
    for path in &args.paths {
        let path = readable(path).exit(ExitCode::Usage)?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let stanza = stanza(args, &paths);
    add_source(&stanza, &file, args.dry_run, context)
}

pub(in crate::commands) fn name_is_free(name: &str, config: &Config) -> Result<()> {
    match config.sources.iter().find(|source| source.common().name == name) {
        None => Ok(()),
        Some(source) => Err(anyhow!("the name `{name}` is taken: {} has [{}]", config.file.display(), source.id()))
            .hint("Choose another name, or change the paths there by hand.")
            .exit(ExitCode::Usage),
    }
}

fn stanza(args: &FilesArgs, paths: &[String]) -> Stanza {
    let mut stanza = Stanza::new(["files", &args.name]);
    stanza.set_array("paths", paths.iter().map(String::as_str));
    if !args.exclude.is_empty() {
        stanza.set_array("exclude", args.exclude.iter().map(String::as_str));
    }
    for (key, given) in [("one-file-system", args.one_file_system), ("exclude-caches", args.exclude_caches)] {
        if given {
            stanza.set(key, true);
        }
    }
    for (key, given) in [("every", &args.every), ("max-age", &args.max_age)] {
        if let Some(text) = given {
            stanza.set(key, text);
        }
    }
    stanza
}

/// The path as it goes into the configuration, once it is known to be there and readable.
fn readable(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).context("find the current directory")?;
    let absolute = match absolute.components().any(|component| component == Component::ParentDir) {
        true => fs::canonicalize(&absolute).with_context(|| format!("look at {absolute:?}"))?,
        false => absolute.components().collect(),
    };
    let metadata = fs::symlink_metadata(&absolute).with_context(|| format!("look at {absolute:?}"))?;
    if metadata.is_symlink() {
        // A point would hold the link and nothing of what it leads to.
        let hint = match fs::canonicalize(&absolute) {
            Ok(target) => format!("Name what it leads to: {}", shell_word(target)),
            Err(_) => "It leads nowhere.".to_owned(),
        };
        return Err(anyhow!("{absolute:?} is a symbolic link")).hint(hint);
    }
    if metadata.is_dir() {
        fs::read_dir(&absolute).with_context(|| format!("list {absolute:?}"))?;
    } else if metadata.is_file() {
        File::open(&absolute).with_context(|| format!("open {absolute:?}"))?;
    }
    let text =
        absolute.to_str().ok_or_else(|| anyhow!("{absolute:?} is not UTF-8, which the configuration must be"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::{chain, hints};

    #[test]
    fn path_is_made_absolute_and_plain() {
        assert_eq!(readable(Path::new("/usr//bin/./")).unwrap(), "/usr/bin");
        let here = std::env::current_dir().unwrap().join("src").display().to_string();
        assert_eq!(readable(Path::new("src")).unwrap(), here);
        let scratch = tempfile::tempdir().unwrap();
        let real = scratch.path().canonicalize().unwrap();
        fs::create_dir(real.join("a")).unwrap();
        assert_eq!(readable(&real.join("a/..")).unwrap(), real.display().to_string());
    }

    #[test]
    fn missing_path_is_refused() {
        let error = readable(Path::new("/nonexistent/x")).unwrap_err();
        assert!(chain(&error).starts_with("look at \"/nonexistent/x\": No such file"), "{error:#}");
    }

    #[test]
    fn symbolic_link_is_refused_with_what_it_leads_to() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        symlink("/usr", &link).unwrap();
        let error = readable(&link).unwrap_err();
        assert_eq!(chain(&error), format!("{link:?} is a symbolic link"));
        assert_eq!(hints(&error), ["Name what it leads to: /usr"]);
    }
}
