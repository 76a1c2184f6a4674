//! Points on Incus servers: what lists them, says how old they are, compares, checks and removes them. Real servers, the real binary.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod checks;
mod diffs;
mod lab;
mod lists;
mod prunes;
mod runs;
#[path = "../support/mod.rs"]
mod support;
