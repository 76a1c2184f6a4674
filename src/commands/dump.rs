//! `holdall dump`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `dump`.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {}

/// Runs `dump`.
pub fn run(_args: &DumpArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
