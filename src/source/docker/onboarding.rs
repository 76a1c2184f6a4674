//! What `holdall onboard` says of a container engine.

use anyhow::Result;

use super::engine::Engine;
use crate::config::EngineConfig;

/// Which engine answers, and how volumes are going to be read.
///
/// # Errors
///
/// When none answers.
pub fn introduce(config: &EngineConfig) -> Result<String> {
    let engine = Engine::connect(config)?;
    let info = engine.info()?;
    let is_own = engine.is_here()? && !info.shifts_ids;
    let how = if is_own { "where they lie" } else { "through the engine" };
    let name = crate::output::printable(info.host.as_ref());
    let version = crate::output::printable(info.version.as_ref());
    Ok(format!("The engine at {} is version {version} on {name}; volumes are read {how}.", engine.place()))
}
