//! What `holdall check` has found: of each thing that was looked at whether it is well.

use anyhow::{Error, Result};

/// One thing that was looked at, and what came of it.
#[derive(Debug)]
pub struct Finding {
    /// What: `store`, `incus.lab, target`.
    pub what: String,
    /// What came of it.
    pub said: Said,
}

/// What came of looking.
#[derive(Debug)]
pub enum Said {
    /// All is well; says what there is.
    Well(String),
    /// A run would work, but something is not as it will have been meant, or will not be for long.
    Warning {
        /// What.
        text: String,
        /// What to do about it.
        hint: String,
    },
    /// A run would fail.
    Wrong(Error),
}

impl Finding {
    /// Of this thing.
    pub fn of(what: impl Into<String>, result: Result<String>) -> Self {
        let said = result.map_or_else(Said::Wrong, Said::Well);
        Self { what: what.into(), said }
    }

    /// A warning of this thing; the hint may be empty.
    pub fn warning(what: impl Into<String>, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), said: Said::Warning { text: text.into(), hint: hint.into() } }
    }

    /// Something that is wrong with this thing.
    pub fn wrong(what: impl Into<String>, error: Error) -> Self {
        Self { what: what.into(), said: Said::Wrong(error) }
    }
}
