//! `holdall completions`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {}

/// Runs `completions`.
pub fn run(_args: &CompletionsArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
