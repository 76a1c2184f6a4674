//! The backups of the virtual iPhone are what real clients take for backups, and what independent readers read.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod faults;
mod folder;
mod host;
mod rig;
mod service;
