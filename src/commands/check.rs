//! `holdall check`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {}

/// Runs `check`.
pub fn run(_args: &CheckArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
