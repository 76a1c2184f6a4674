//! restic's locks: files in the repository that say who is at work in it, so that holdall and restic can share a store.
//!
//! The rules are restic's (its `internal/repository/lock_file.go` and `lock.go`): before a lock is written, those of others are read; an exclusive
//! one keeps everybody out, and any one keeps an exclusive one out. After it is written they are read again, because two may
//! have begun at once: then it is taken back. A lock is refreshed while the work goes on ([`keeper`]), and nothing is written
//! any more when that has failed for too long ([`lease`]).
//!
//! One thing is done that restic leaves to `restic unlock`: stale locks are removed on the way. Passing over them would not be safe: a machine that
//! slept looks for its lock when it wakes, and goes on only if that is still there.
//!
//! Locks that cannot be read stop the work, as in restic since 0.15: nobody knows what they say. Reading commands take no lock at
//! all, and do not look at any: nothing may keep anybody from restoring.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use chrono::Utc;

use super::Store;
use super::seal::Sealer;
use crate::cleanup;
use crate::error::{Annotate, ExitCode};
use crate::monitor::Monitor;
use crate::quantity::show_time;

mod keeper;
mod lease;
mod lock_file;
mod place;

use keeper::{Desk, Kept, Pace};
pub(super) use lease::Lease;
use lock_file::{LockFile, Myself};
pub(super) use place::{Failure, Place, Where, is_name};

/// How long to wait after writing a lock before looking at those of others again: restic's `waitBeforeLockCheck`.
const SETTLE: Duration = Duration::from_millis(200);
/// A lock that cannot be read may be one that is being written: how long to wait before each further look.
const LOOK_AGAIN: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
/// A store that is in use is tried again after this time, then after twice as much each time, up to the second.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What a lock is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To add to the store, or to need all of it for long: others may do so at the same time.
    Share,
    /// To remove from the store: nobody else may be at work in it.
    Exclude,
}

/// The store is held; dropping this lets go of it, and so does a signal.
#[must_use = "the store is let go of when this is dropped"]
pub struct Held {
    /// `None`: this kind of store has no locks.
    _kept: Option<Kept>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Store {
    /// Takes a lock in the store, waiting at most `wait` for others to let go of it. While it is held, and lost, nothing can be written
    /// to the store ([`lease`]). One kind of store has no lock files ([`place`]) and is held without.
    ///
    /// # Errors
    ///
    /// Exit code 11 when somebody else has a lock that does not go with this one, naming them; 1 when locks cannot be read or
    /// written.
    pub fn hold(&self, purpose: Purpose, wait: Duration, monitor: &dyn Monitor) -> Result<Held> {
        self.hold_and(purpose, wait, monitor, &|| {})
    }

    /// Takes a shared lock as [`Store::hold`] does, and makes use of the moment in which the locks of others must settle: the index, which the
    /// first save needs, is read then. Not before: a prune may end just before our lock is there, and what it removed would count as stored.
    ///
    /// # Errors
    ///
    /// Those of [`Store::hold`].
    pub fn hold_to_save(&self, wait: Duration, monitor: &dyn Monitor) -> Result<Held> {
        let held = self.hold_and(Purpose::Share, wait, monitor, &|| self.prepare());
        if held.is_err() {
            self.forget_engine();
        }
        held
    }

    fn hold_and(
        &self,
        purpose: Purpose,
        wait: Duration,
        monitor: &dyn Monitor,
        meanwhile: &Meanwhile<'_>,
    ) -> Result<Held> {
        let Some(place) = self.locks.open()? else {
            tracing::debug!("{} has no lock files", self.repository);
            return Ok(Held { _kept: None });
        };
        // `restic unlock` asks by SIGHUP whether the process that a lock names is alive.
        cleanup::outlive_hangups();
        let sealer = Sealer::new(&self.key, None)?;
        let desk = Arc::new(Desk { place, sealer, myself: Myself::find(), purpose, pace: Pace::RESTIC });
        Ok(Held { _kept: Some(acquire(&desk, wait, monitor, meanwhile)?.keep_for(&self.lease)?) })
    }
}

/// What is done while locks settle.
type Meanwhile<'m> = dyn Fn() + 'm;

/// What came of trying to get the lock.
enum Tried {
    Got(Kept),
    InUse(LockFile),
}

fn acquire(desk: &Arc<Desk>, wait: Duration, monitor: &dyn Monitor, meanwhile: &Meanwhile<'_>) -> Result<Kept> {
    let begun = Instant::now();
    let [mut delay, longest] = RETRY;
    let mut told = false;
    loop {
        let other = match attempt(desk, meanwhile)? {
            Tried::Got(kept) => return Ok(kept),
            Tried::InUse(other) => other,
        };
        let left = wait.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(anyhow!("{}", other.in_use())).hint(hint(&other)).exit(ExitCode::Locked);
        }
        if !told {
            monitor.say(&format!("{}; waiting for it to end", other.in_use()));
            told = true;
        }
        // Two that back off in step would meet again and again.
        thread::sleep(delay.mul_f64(rand::random_range(0.7..1.0)).min(left));
        delay = (delay * 2).min(longest);
    }
}

/// Looks, writes, looks again; `meanwhile` runs between the last two.
fn attempt(desk: &Arc<Desk>, meanwhile: &Meanwhile<'_>) -> Result<Tried> {
    if let Some(other) = in_the_way(desk, None)? {
        return Ok(Tried::InUse(other));
    }
    // When this is dropped, here and at every `?`, the lock is taken back.
    let kept = Kept::begin(Arc::clone(desk))?;
    let settled = Instant::now() + SETTLE;
    meanwhile();
    thread::sleep(settled.saturating_duration_since(Instant::now()));
    let other = in_the_way(desk, Some(&kept.name()))?;
    Ok(other.map_or(Tried::Got(kept), Tried::InUse))
}

/// The lock of somebody else that does not go with ours, if there is one. Removes the stale ones.
fn in_the_way(desk: &Desk, own: Option<&str>) -> Result<Option<LockFile>> {
    let mut looks = LOOK_AGAIN.into_iter();
    loop {
        let mut unreadable = None;
        for name in desk.place.list().context("look for locks in the store")? {
            if own == Some(&name) {
                continue;
            }
            let Some(stored) = desk.place.read(&name).context("look for locks in the store")? else { continue };
            // A service that does not write in one go leaves an empty file of an upload that broke off; restic passes over it too.
            if stored.is_empty() {
                continue;
            }
            match LockFile::open(&desk.sealer, &stored) {
                Ok(lock) if lock.is_stale(Utc::now(), &desk.myself) => remove_stale(desk, &name, &lock)?,
                Ok(lock) if conflicts(desk, &lock) => return Ok(Some(lock)),
                Ok(_) => {}
                Err(error) => unreadable = Some((name, error)),
            }
        }
        let Some((name, error)) = unreadable else { return Ok(None) };
        match looks.next() {
            Some(delay) => thread::sleep(delay),
            None => {
                return Err(error.context(format!("read the lock {name} in the store"))).hint(
                    "When nobody else works on the store, `restic unlock --remove-all` removes locks that cannot be read.",
                );
            }
        }
    }
}

fn conflicts(desk: &Desk, other: &LockFile) -> bool {
    desk.purpose == Purpose::Exclude || other.exclusive
}

fn remove_stale(desk: &Desk, name: &str, lock: &LockFile) -> Result<()> {
    match desk.place.remove(name) {
        Ok(()) => tracing::info!("removed the stale lock of {}", lock.holder()),
        Err(error) if conflicts(desk, lock) => {
            return Err(error.context(format!("remove the stale lock of {}", lock.holder())));
        }
        Err(error) => tracing::warn!("the stale lock of {} stays: {error:#}", lock.holder()),
    }
    Ok(())
}

fn hint(other: &LockFile) -> String {
    let void = other.void_at().map(|time| format!(" at {} UTC", show_time(time))).unwrap_or_default();
    format!(
        "Wait for it to end, or give `--lock-wait 1h` to wait here. If it is no more, its lock is passed over{void}, 30 minutes \
         after it was last refreshed; `restic unlock` on its machine removes it at once."
    )
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;

    use rustic_core::repofile::MasterKey;

    use super::*;
    use crate::error::{chain, exit_code, hints};
    use crate::monitor::{Recording, Silent};

    /// Holds a lock that is too old and that somebody has removed.
    pub(in crate::store) fn lost(root: &Path, lease: &Arc<Lease>) -> Held {
        Held { _kept: Some(keeper::tests::lost(root, lease)) }
    }

    struct Bench {
        root: tempfile::TempDir,
        key: MasterKey,
    }

    impl Bench {
        fn new() -> Self {
            Self { root: tempfile::tempdir().unwrap(), key: MasterKey::new() }
        }

        fn desk(&self, purpose: Purpose) -> Arc<Desk> {
            let place = Where::Local(self.root.path().to_owned()).open().unwrap().unwrap();
            let sealer = Sealer::new(&self.key, None).unwrap();
            Arc::new(Desk { place, sealer, myself: Myself::find(), purpose, pace: Pace::RESTIC })
        }

        fn take(&self, purpose: Purpose) -> Result<Kept> {
            acquire(&self.desk(purpose), Duration::ZERO, &Silent, &|| {})
        }

        /// Puts a lock of another machine there.
        fn put(&self, text: &str) -> String {
            let sealed = Sealer::new(&self.key, Some(3)).unwrap().seal(text.as_bytes()).unwrap();
            let name = "5".repeat(64);
            self.desk(Purpose::Share).place.write(&name, &sealed).unwrap();
            name
        }

        fn names(&self) -> Vec<String> {
            self.desk(Purpose::Share).place.list().unwrap()
        }
    }

    fn of_another_machine(time: &str, exclusive: bool) -> String {
        format!(r#"{{"time":"{time}","exclusive":{exclusive},"hostname":"no machine","username":"eve","pid":7}}"#)
    }

    #[test]
    fn shared_locks_go_together_and_nothing_goes_with_an_exclusive_one() {
        let bench = Bench::new();
        let one = bench.take(Purpose::Share).unwrap();
        let two = bench.take(Purpose::Share).unwrap();
        let error = bench.take(Purpose::Exclude).map(drop).unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::Locked);
        assert!(chain(&error).contains(&format!("process {}", std::process::id())), "{error:#}");
        drop((one, two));
        let alone = bench.take(Purpose::Exclude).unwrap();
        assert_eq!(exit_code(&bench.take(Purpose::Share).map(drop).unwrap_err()), ExitCode::Locked);
        assert_eq!(exit_code(&bench.take(Purpose::Exclude).map(drop).unwrap_err()), ExitCode::Locked);
        // Nothing stays of those that were refused.
        assert_eq!(bench.names(), [alone.name()]);
    }

    #[test]
    fn waiting_ends_when_the_other_lets_go() {
        let bench = Bench::new();
        let held = bench.take(Purpose::Exclude).unwrap();
        let monitor = Recording::default();
        thread::scope(|scope| {
            let waiting =
                scope.spawn(|| acquire(&bench.desk(Purpose::Share), Duration::MAX, &monitor, &|| {}).map(drop));
            while monitor.lines().is_empty() {
                thread::yield_now();
            }
            drop(held);
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(monitor.lines().len(), 1, "{:?}", monitor.lines());
    }

    #[test]
    fn lock_of_another_machine_counts_for_30_minutes_and_is_then_removed() {
        let bench = Bench::new();
        let ago = |minutes| (Utc::now() - chrono::TimeDelta::minutes(minutes)).to_rfc3339();
        let name = bench.put(&of_another_machine(&ago(29), true));
        let error = bench.take(Purpose::Share).map(drop).unwrap_err();
        assert!(chain(&error).starts_with("the store is locked by eve@no machine, process 7, "), "{error:#}");
        assert!(hints(&error)[0].contains("--lock-wait"), "{:?}", hints(&error));
        bench.put(&of_another_machine(&ago(31), true));
        let kept = bench.take(Purpose::Share).unwrap();
        assert_ne!(kept.name(), name);
        assert_eq!(bench.names(), [kept.name()]);
    }

    #[test]
    fn lock_that_cannot_be_read_stops_the_work_and_stays() {
        let bench = Bench::new();
        let name = bench.put("[]");
        let error = bench.take(Purpose::Share).map(drop).unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::Failed);
        assert!(chain(&error).starts_with(&format!("read the lock {name} in the store: ")), "{error:#}");
        assert!(hints(&error)[0].contains("restic unlock --remove-all"));
        assert_eq!(bench.names(), [name]);
    }

    #[test]
    fn lock_of_an_upload_that_broke_off_says_nothing() {
        let bench = Bench::new();
        let name = bench.put("[]");
        fs::write(bench.root.path().join("locks").join(name), "").unwrap();
        drop(bench.take(Purpose::Exclude).unwrap());
    }
}
