//! Backups of a virtual iPhone by the binary as users run it, compared with what is on the phone and with what `idevicebackup2` makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

mod connection;
mod encrypted;
mod hostile;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod unwell;
mod whole;
mod wireless;
