//! How containers are held while what they write to is read, and that they come back whatever happens: a real engine, the real binary.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod bench;
mod killed;
mod modes;
mod order;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
