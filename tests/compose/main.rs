//! Compose stacks: a real engine, Debian's docker-compose, the real binary.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod back;
mod bench;
mod beside;
mod dumps;
mod found;
mod held;
mod saved;
#[path = "../support/mod.rs"]
mod support;
