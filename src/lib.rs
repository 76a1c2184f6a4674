//! holdall: backups of files, machines, containers and phones into one restic-format store.
//!
//! This library exists for the `holdall` binary and its tests; it is not a stable API. `doc/design.md` is the map.

pub mod archive;
pub mod cleanup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod durable;
pub mod error;
pub mod extract;
pub mod finding;
pub mod history;
pub mod hooks;
pub mod incus;
pub mod job;
pub mod lock;
pub mod logging;
pub mod monitor;
pub mod notify;
pub mod output;
pub mod page;
pub mod pinned;
pub mod process;
pub mod quantity;
pub mod rehearsal;
pub mod report;
pub mod retention;
pub mod secret;
pub mod select;
pub mod source;
pub mod store;
pub mod timeline;
pub mod ui;
