//! How every configured item stands after a run, whatever the run was about: what is told of what it did not touch.

use std::time::Duration;

use anyhow::Error;
use chrono::{DateTime, Utc};

/// How every item stands.
#[derive(Debug, Default)]
pub struct Standing {
    /// The items, by name.
    pub items: Vec<ItemStanding>,
    /// Places that could not be asked; their items are not known.
    pub unknown: Vec<Error>,
}

/// How one item stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemStanding {
    /// `files.host`
    pub item: String,
    /// When its newest point was made that counts, as `holdall status` has it; `None`: there is none.
    pub newest: Option<DateTime<Utc>>,
    /// When its newest complete point was made.
    pub newest_complete: Option<DateTime<Utc>>,
    /// How old the newest one may be.
    pub max_age: Option<Duration>,
    /// Whether it is older, or there is none.
    pub is_stale: bool,
    /// How many moments it can be brought back to.
    pub points: u64,
    /// Size of the newest point in bytes.
    pub bytes: Option<u64>,
}

impl Standing {
    /// Those whose newest point is older than it may be.
    pub fn stale(&self) -> impl Iterator<Item = &ItemStanding> {
        self.items.iter().filter(|item| item.is_stale)
    }
}
