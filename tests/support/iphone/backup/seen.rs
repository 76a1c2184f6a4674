//! What the phone has seen of hosts, for tests to look at.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};

use super::faults::{Answer, Ask};

/// What the phone has seen since the test has last asked it to forget.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Connections, and the most that there were at once.
    pub connections: (usize, usize),
    /// Connections that the host ended with `DLMessageDisconnect`.
    pub farewells: usize,
    /// Requests, with everything that came with them.
    pub requests: Vec<Dictionary>,
    /// How they ended: the code and the text that was sent, or the error of the connection.
    pub ends: Vec<Result<(u64, String), String>>,
    /// How often the phone has sent which message.
    pub messages: BTreeMap<String, usize>,
    /// Whether the last backup was a full one.
    pub full: Option<bool>,
    /// Files whose bodies were sent in the last backup: domain and path.
    pub sent: Vec<(String, String)>,
    /// Files that the host has copied in the last backup.
    pub copied: Vec<(String, String)>,
    /// Files that the host had to remove in the last backup, because the phone no longer has them.
    pub removed: usize,
    /// Bytes of bodies that were sent.
    pub body_bytes: u64,
    /// Bytes that were sent in the last request.
    pub bytes: u64,
    /// Paths that were asked of the host.
    pub downloads: Vec<String>,
    /// The longest block that the host has sent.
    pub longest_block: usize,
    /// Downloads in which files failed without a status that says so, or the other way round.
    pub untold: usize,
    /// What the host has refused: message, code, text.
    pub refusals: Vec<(String, i64, String)>,
    /// What the host has answered to what no phone would ask.
    pub answers: Vec<(Ask, Answer)>,
    /// What the host has answered to a message that nobody knows.
    pub unknown: Option<Value>,
    /// What the host has said of its free space.
    pub free: Vec<Option<u64>>,
    /// Whether the phone has asked for its passcode, and how often.
    pub prompts: usize,
}
