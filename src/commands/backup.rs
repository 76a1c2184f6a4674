//! `holdall backup`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {}

/// Runs `backup`.
pub fn run(_args: &BackupArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
