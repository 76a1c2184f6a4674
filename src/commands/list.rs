//! `holdall list`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {}

/// Runs `list`.
pub fn run(_args: &ListArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
