//! `holdall onboard`: sets one thing up, proves that it works, and writes it to the configuration.
//!
//! What is written is checked as a whole first, and nothing that stands in the configuration is changed, but for a table that is to be replaced by
//! force. Every step can be repeated: what an earlier, interrupted run has done is found and kept.

use std::path::Path;
use std::slice;

use anyhow::Result;

use super::Context;
use crate::config::edit::{Edit, Stanza};
use crate::error::ExitCode;
use crate::process::shell_word;

mod engine;
pub(super) mod files;
mod incus;
mod mirror;
mod ssh;
mod store;

/// Arguments of `onboard`.
#[derive(Debug, clap::Args)]
pub struct OnboardArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a store or a mirror of it, or adopt one that is there
    Store(store::StoreArgs),
    /// Back up files and directories of this machine
    Files(files::FilesArgs),
    /// Back up another machine over SSH
    Ssh(ssh::SshArgs),
    /// Back up volumes, containers and images of a container engine
    Docker(engine::DockerArgs),
    /// Back up Compose stacks
    Compose(engine::ComposeArgs),
    /// Copy instances and volumes of an Incus server to another one
    Incus(Box<incus::IncusArgs>),
}

/// Runs `onboard`.
pub fn run(args: &OnboardArgs, context: &Context) -> Result<ExitCode> {
    match &args.what {
        What::Store(args) => store::run(args, context)?,
        What::Files(args) => files::run(args, context)?,
        What::Ssh(args) => ssh::run(args, context)?,
        What::Docker(args) => engine::docker(args, context)?,
        What::Compose(args) => engine::compose(args, context)?,
        What::Incus(args) => incus::run(args, context)?,
    }
    Ok(ExitCode::Done)
}

/// Shows on standard output what a dry run would write.
fn show(stanzas: &[Stanza], file: &Path, context: &Context) -> Result<()> {
    context.monitor.say(&format!("Would add to {}:", file.display()));
    let all: Vec<String> = stanzas.iter().map(Stanza::to_string).collect();
    context.output.bytes(all.join("\n").as_bytes())
}

/// Adds a source to the configuration, and says what to type next; in a dry run only shows it.
pub(super) fn add_source(stanza: &Stanza, file: &Path, is_dry_run: bool, context: &Context) -> Result<()> {
    let edit = Edit::add(file, stanza)?;
    if is_dry_run {
        return show(slice::from_ref(stanza), file, context);
    }
    let command = match edit.config().store {
        Some(_) => format!("backup {}", stanza.name()),
        None => "onboard store".to_owned(),
    };
    write(edit, stanza, file, context)?;
    context.monitor.say(&format!("Next: {}", next(&command, context)));
    Ok(())
}

/// Writes what was checked, and says so.
fn write(edit: Edit, stanza: &Stanza, file: &Path, context: &Context) -> Result<()> {
    edit.write()?;
    context.monitor.say(&format!("Wrote {} to {}.", stanza.header(), file.display()));
    Ok(())
}

/// A command to type next, with the same configuration as this one.
fn next(command: &str, context: &Context) -> String {
    match &context.global.config {
        Some(file) => format!("holdall --config {} {command}", shell_word(file)),
        None => format!("holdall {command}"),
    }
}
