//! `holdall man`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {}

/// Runs `man`.
pub fn run(_args: &ManArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
