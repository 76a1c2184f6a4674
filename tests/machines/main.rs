//! What `[ssh.NAME]` saves of other machines and brings back to them: real servers, the real binary.
//!
//! Each test has a machine of its own ([`bench::Machine`]); what is on it lies where the test sees it, too.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod bench;
mod everything;
mod hostile;
mod left_out;
mod plain;
mod restore;
mod same;
mod sudo;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
