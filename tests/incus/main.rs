//! Replication of Incus instances and volumes: two real servers, the real binary.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod broken_off;
mod calls;
mod copies;
mod devices;
mod lab;
mod owners;
mod reseed;
mod runs;
mod stops;
#[path = "../support/mod.rs"]
mod support;
