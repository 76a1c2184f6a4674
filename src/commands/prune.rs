//! `holdall prune`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `prune`.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {}

/// Runs `prune`.
pub fn run(_args: &PruneArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
