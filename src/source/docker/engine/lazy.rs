//! An engine that is connected to when it is first asked something.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::Engine;
use crate::config::EngineConfig;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lazy {
    config: EngineConfig,
    engine: Mutex<Option<Engine>>,
}

impl Lazy {
    /// The engine of a configuration, to which nobody is connected yet.
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self { config: config.clone(), engine: Mutex::default() }
    }

    /// The engine.
    ///
    /// # Errors
    ///
    /// As [`Engine::connect`]; it is tried again the next time.
    pub(crate) fn get(&self) -> Result<Engine> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        Ok(engine.insert(Engine::connect(&self.config)?).clone())
    }
}
