//! The upper half of the virtual phone: `com.apple.mobilebackup2` as BackupAgent2 of iOS 16 and later speaks it.
//!
//! [`agent::Agent`] is what tests hold: the phone's files, its settings, what goes wrong, and what was seen. It serves any stream, so it does not
//! care how a host came to it. With a phone, it is `phone.backup`:
//!
//! ```ignore
//! phone.backup.files().change("HomeDomain", "Library/SMS/sms.db", Content::seeded(2, 140_000));
//! phone.backup.fault(Faults { connection: Some((At::Message(9), Trouble::Cut)), times: 1, ..Faults::default() });
//! phone.encrypt_backups(Some("secret"));
//! assert_eq!(phone.backup.seen().sent.len(), 1);
//! ```
//!
//! Everything in here follows what libimobiledevice and pymobiledevice3 expect of phones, and what logs of
//! phones show; what only a phone could tell is assumed: batches, the names of states between "uploading" and "finished", and where copies are made.

#![allow(unused_imports, reason = "each test file uses a part of this")]

pub mod agent;
mod archive;
mod archived;
pub mod around;
pub mod cipher;
pub mod content;
pub mod faults;
pub mod files;
mod hostile;
pub mod keybag;
pub mod link;
mod making;
pub mod manifest;
mod other;
mod password;
mod phone;
mod plan;
mod plists;
mod previous;
pub mod record;
pub mod restoring;
pub mod seen;
pub mod settings;
mod wire;

pub use agent::Agent;
pub use around::Around;
pub use content::Content;
pub use faults::{Answer, Ask, At, BadManifest, Faults, Flood, Trouble, Wrong};
pub use files::{Entry, Files, Kind, file_id};
pub use phone::Start;
pub use seen::Seen;
pub use settings::{Passcode, Settings};
pub use wire::Stream;
