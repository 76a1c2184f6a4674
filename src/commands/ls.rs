//! `holdall ls`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
pub struct LsArgs {}

/// Runs `ls`.
pub fn run(_args: &LsArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
