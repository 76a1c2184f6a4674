//! `holdall status`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {}

/// Runs `status`.
pub fn run(_args: &StatusArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
