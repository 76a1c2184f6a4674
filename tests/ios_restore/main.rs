//! Points of a virtual iPhone that go back onto it, and the encryption of its backups.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

mod encryption;
mod restore;
#[path = "../ios_backup/rig.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;
