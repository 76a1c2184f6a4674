//! `[[mirror]]` as it is used: a further repository that receives copies.

use super::StoreConfig;
use crate::select::Selector;

/// A further repository that receives copies.
#[derive(Debug, Clone)]
pub struct MirrorConfig {
    /// What it is called. It names a place of points, as `store` does, and like that word it lasts as long as the program.
    pub name: &'static str,
    /// Where it is, and its password.
    pub store: StoreConfig,
    /// Which items it receives; empty: all.
    pub items: Vec<Selector>,
}

impl MirrorConfig {
    /// Whether it receives the points of an item.
    pub fn wants(&self, item: &str) -> bool {
        self.items.is_empty() || self.items.iter().any(|selector| selector.matches(item))
    }
}
