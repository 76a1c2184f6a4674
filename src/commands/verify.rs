//! `holdall verify`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {}

/// Runs `verify`.
pub fn run(_args: &VerifyArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
