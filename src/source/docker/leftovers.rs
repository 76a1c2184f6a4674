//! What a run that was killed has left in an engine: containers that it had stopped, and helpers of its own.

use anyhow::Result;

use super::engine::Engine;
use super::{helper, hold};

/// Whether there may be something of this source, unless a run of it is under way.
pub(crate) fn are_there(engine: &Engine, source: &str) -> Result<bool> {
    Ok(hold::needs_mending(engine, source)? || !helper::left(engine, source)?.is_empty())
}

/// Starts what was left stopped and removes the helpers; says what was started. Only for whoever has the lock of the source.
///
/// # Errors
///
/// When something does not start, or a helper cannot be removed. The rest is done all the same.
pub(crate) fn put_right(engine: &Engine, source: &str) -> Result<Vec<String>> {
    // What has to run comes first, whatever becomes of what is only in the way.
    let started = hold::mend(engine, source);
    let swept = helper::sweep(engine, source);
    let started = started?;
    swept.map(|()| started)
}
