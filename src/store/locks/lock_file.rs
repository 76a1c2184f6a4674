//! What a lock says, and when it says nothing any more.
//!
//! A file of restic's, `locks/ID`: JSON, sealed as every unpacked file. `uid` and `gid` are left out when they are 0.

use std::ffi::OsStr;
use std::fs;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use rustix::io::Errno;
use rustix::process::{Pid, getegid, geteuid, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::output::printable;
use crate::quantity::show_time;
use crate::store::seal::Sealer;

/// A lock that was not refreshed for so long is stale: restic's `staleLockTimeout`.
pub(super) const STALE_AFTER: TimeDelta = TimeDelta::minutes(30);

/// A lock as it is in the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LockFile {
    /// When it was written or last refreshed.
    pub(super) time: DateTime<Utc>,
    /// Whether nobody else may work on the repository.
    pub(super) exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    gid: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// This process, as a lock names it.
#[derive(Debug, Clone)]
pub(super) struct Myself {
    hostname: String,
    username: String,
}

impl Myself {
    /// Asks the system.
    pub(super) fn find() -> Self {
        // What cannot be found out is left empty; then no lock of this machine is taken for stale before its time.
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
        let username = user.ok().flatten().map(|user| user.name).unwrap_or_default();
        Self { hostname: hostname.trim_end().to_owned(), username }
    }
}

impl LockFile {
    /// A lock of this process.
    pub(super) fn new(myself: &Myself, exclusive: bool, time: DateTime<Utc>) -> Self {
        Self {
            time,
            exclusive,
            hostname: myself.hostname.clone(),
            username: myself.username.clone(),
            pid: i64::from(std::process::id()),
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        }
    }

    /// Reads a stored lock.
    pub(super) fn open(sealer: &Sealer, stored: &[u8]) -> Result<Self> {
        serde_json::from_slice(&sealer.open(stored)?).context("understand what it says")
    }

    /// The lock as it is stored.
    pub(super) fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>> {
        sealer.seal(&serde_json::to_vec(self)?)
    }

    /// Whether it can be passed over: nobody refreshes it any more, or its process on this machine is no more.
    ///
    /// Machines are told apart by their names, as restic does it.
    pub(super) fn is_stale(&self, now: DateTime<Utc>, myself: &Myself) -> bool {
        now - self.time > STALE_AFTER
            || !myself.hostname.is_empty() && self.hostname == myself.hostname && !self.is_alive()
    }

    fn is_alive(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        // A process of somebody else's may not be signalled, but is there.
        pid.is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
    }

    /// When it is stale if it is not refreshed.
    pub(super) fn void_at(&self) -> Option<DateTime<Utc>> {
        self.time.checked_add_signed(STALE_AFTER)
    }

    /// `root@nas, process 4711`
    pub(super) fn holder(&self) -> String {
        let name = |name: &str| if name.is_empty() { "?".to_owned() } else { printable(OsStr::new(name)) };
        format!("{}@{}, process {}", name(&self.username), name(&self.hostname), self.pid)
    }

    /// Who has the store, and what can be said of when.
    pub(super) fn in_use(&self) -> String {
        let how = if self.exclusive { "locked" } else { "in use" };
        // The time is not when it began: each refreshing moves it.
        format!("the store is {how} by {}, last heard of at {} UTC", self.holder(), show_time(self.time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-02-05T12:00:00Z";

    fn lock(text: &str) -> LockFile {
        serde_json::from_str(text).unwrap()
    }

    fn myself(hostname: &str) -> Myself {
        Myself { hostname: hostname.to_owned(), username: "me".to_owned() }
    }

    #[test]
    fn lock_of_restic_is_understood() {
        let found = lock(
            r#"{"time":"2026-02-05T12:59:00.123456789+01:00","exclusive":true,"hostname":"nas","username":"root","pid":4711,"new":1}"#,
        );
        assert_eq!((found.exclusive, found.uid, found.gid), (true, 0, 0));
        assert_eq!(found.holder(), "root@nas, process 4711");
        let said = "the store is locked by root@nas, process 4711, last heard of at 2026-02-05 11:59:00 UTC";
        assert_eq!(found.in_use(), said);
        assert!(!found.is_stale(NOW.parse().unwrap(), &myself("other")));
    }

    #[test]
    fn lock_of_ours_has_restics_fields() {
        let time = "2026-02-05T11:59:00.5Z".parse().unwrap();
        let mut own = LockFile::new(&myself("nas"), false, time);
        (own.uid, own.gid) = (0, 5);
        let expected = format!(
            r#"{{"time":"2026-02-05T11:59:00.500Z","exclusive":false,"hostname":"nas","username":"me","pid":{},"gid":5}}"#,
            std::process::id()
        );
        assert_eq!(serde_json::to_string(&own).unwrap(), expected);
    }

    #[test]
    fn lock_is_stale_after_30_minutes_whoever_has_it() {
        let now = NOW.parse().unwrap();
        let of = |time: &str| lock(&format!(r#"{{"time":"{time}","exclusive":false,"hostname":"far","pid":1}}"#));
        assert!(!of("2026-02-05T11:30:00Z").is_stale(now, &myself("near")));
        assert!(of("2026-02-05T11:29:59.999Z").is_stale(now, &myself("near")));
        assert!(!of("2026-02-06T11:30:00Z").is_stale(now, &myself("near")));
    }

    #[test]
    fn lock_of_this_machine_is_stale_when_its_process_is_gone() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let of = |pid: u32, host: &str| {
            lock(&format!(r#"{{"time":"{NOW}","exclusive":true,"hostname":"{host}","username":"x","pid":{pid}}}"#))
        };
        let now = NOW.parse().unwrap();
        assert!(of(ended.id(), "near").is_stale(now, &myself("near")));
        assert!(!of(ended.id(), "far").is_stale(now, &myself("near")));
        assert!(!of(std::process::id(), "near").is_stale(now, &myself("near")));
        // Somebody else's, for whoever is not root.
        assert!(!of(1, "near").is_stale(now, &myself("near")));
        assert!(of(0, "near").is_stale(now, &myself("near")));
        assert!(!of(ended.id(), "").is_stale(now, &myself("")));
    }

    #[test]
    fn name_from_the_store_cannot_move_the_cursor() {
        let found = lock(r#"{"time":"2026-02-05T12:00:00Z","exclusive":true,"hostname":"\u001b[2J","pid":1}"#);
        assert!(!found.in_use().contains('\u{1b}'), "{:?}", found.in_use());
    }
}
