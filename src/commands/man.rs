//! `holdall man`: the manual pages, made from the command line as clap knows it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::CommandFactory;

use super::Context;
use crate::cli::{Cli, VERSION};
use crate::error::ExitCode;

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Where the pages go; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Runs `man`.
pub fn run(args: &ManArgs, context: &Context) -> Result<ExitCode> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| format!("create {directory:?}"))?;
    let mut written = Vec::new();
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, directory, &mut written)?;
    if context.output.json {
        context.output.json_document(&written)?;
    } else {
        for page in &written {
            context.output.line(&page.display().to_string())?;
        }
    }
    Ok(ExitCode::Done)
}

/// Writes the page of a command, then those of its subcommands: `holdall.1`, `holdall-backup.1`, …
fn write_pages(command: &clap::Command, directory: &Path, written: &mut Vec<PathBuf>) -> Result<()> {
    let page = clap_mangen::Man::new(command.clone()).source(format!("holdall {VERSION}")).manual("holdall manual");
    let file = directory.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text).with_context(|| format!("render {file:?}"))?;
    fs::write(&file, text).with_context(|| format!("write {file:?}"))?;
    written.push(file);
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| write_pages(sub, directory, written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let mut written = Vec::new();
        write_pages(&command, directory.path(), &mut written).unwrap();
        let names: Vec<_> = written.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names[0], "holdall.1");
        for command in command.get_subcommands() {
            assert!(names.contains(&format!("holdall-{}.1", command.get_name()).as_str()), "{names:?}");
        }
        let text = fs::read_to_string(directory.path().join("holdall-man.1")).unwrap();
        assert!(text.contains("made if it is not there"), "{text}");
    }
}
