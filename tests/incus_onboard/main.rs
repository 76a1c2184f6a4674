//! `holdall onboard incus` and `holdall discover incus`, with real servers.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod discover;
mod import;
mod rights;
mod setup;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod trouble;
