//! `holdall diff`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {}

/// Runs `diff`.
pub fn run(_args: &DiffArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
