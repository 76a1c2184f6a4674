//! What `[docker.NAME]` saves of a container engine: a real one, the real binary.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod archives;
mod discover;
mod dumps;
mod items;
mod onboard;
mod podman;
mod reach;
#[path = "../support/mod.rs"]
mod support;
