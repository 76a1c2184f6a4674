//! Which points to keep: parse a policy, say it in words, plan. Pure.

/// A retention policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy;
