//! What is run on this machine around a run and around each source, as the program uses it: `[hooks]` and `[KIND.NAME.hooks]`.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long one command may take unless it is configured.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// All hooks.
#[derive(Debug, Clone, Default)]
pub struct HooksConfig {
    /// `[hooks]`: around the whole run.
    pub run: HookSet,
    /// `[KIND.NAME.hooks]`: around one source, by its id.
    pub sources: BTreeMap<String, HookSet>,
}

impl HooksConfig {
    /// Those of the source with this id; without any when it has none.
    pub fn of(&self, source: &str) -> HookSet {
        self.sources.get(source).cloned().unwrap_or_default()
    }
}

/// What is run around something: programs with their arguments, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSet {
    /// Before it.
    pub before: Vec<Vec<String>>,
    /// After it, whatever happened.
    pub after: Vec<Vec<String>>,
    /// After that, if it failed or is incomplete.
    pub on_failure: Vec<Vec<String>>,
    /// How long each of them may take.
    pub timeout: Duration,
}

impl Default for HookSet {
    fn default() -> Self {
        Self { before: Vec::new(), after: Vec::new(), on_failure: Vec::new(), timeout: TIMEOUT }
    }
}

impl HookSet {
    /// Whether nothing is run.
    pub fn is_empty(&self) -> bool {
        self.commands().next().is_none()
    }

    /// All of them.
    pub fn commands(&self) -> impl Iterator<Item = &Vec<String>> {
        self.before.iter().chain(&self.after).chain(&self.on_failure)
    }
}
