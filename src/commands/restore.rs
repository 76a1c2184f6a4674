//! `holdall restore`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {}

/// Runs `restore`.
pub fn run(_args: &RestoreArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
