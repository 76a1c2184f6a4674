//! `holdall onboard`.

use anyhow::Result;

use super::Context;
use crate::error::ExitCode;

/// Arguments of `onboard`.
#[derive(Debug, clap::Args)]
pub struct OnboardArgs {}

/// Runs `onboard`.
pub fn run(_args: &OnboardArgs, _context: &Context) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
