//! Keeps a lock while the work goes on: refreshes it, knows whether it still counts, and removes it however the run ends.
//!
//! A lock is refreshed by writing it anew and then removing the old file, so that there is one at every moment. Time is read from the
//! clock and not from a timer, which would stand still while the machine sleeps. A lock that was not refreshed for so long that others
//! may soon call it stale is lost, unless it is still there after all: the work is held up while that is found out.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};

use super::lease::Lease;
use super::lock_file::{LockFile, Myself, STALE_AFTER};
use super::place::Patient;
use super::{Purpose, SETTLE};
use crate::cleanup::Guard;
use crate::store::format::BlobId;
use crate::store::seal::Sealer;

/// How long a store that does not answer may keep the run from ending; the lock then stays, until it is stale.
const LET_GO_WITHIN: Duration = Duration::from_secs(10);

/// How a lock is kept fresh.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How often it is looked at whether there is something to do.
    tick: Duration,
    /// How old a lock is when it is refreshed: restic's `defaultRefreshInterval`.
    refresh: TimeDelta,
    /// How old a lock is when it counts no more for its owner: restic's `refreshabilityTimeout`, which leaves time for clocks that
    /// differ.
    limit: TimeDelta,
}

impl Pace {
    /// restic's.
    pub(super) const RESTIC: Self = {
        let refresh = TimeDelta::minutes(5);
        let limit = TimeDelta::seconds(STALE_AFTER.num_seconds() - refresh.num_seconds() * 3 / 2);
        Self { tick: Duration::from_secs(15), refresh, limit }
    };
}

/// What a lock is written with, and where.
pub(super) struct Desk {
    pub(super) place: Patient,
    pub(super) sealer: Sealer,
    pub(super) myself: Myself,
    pub(super) purpose: Purpose,
    pub(super) pace: Pace,
}

/// One lock of ours.
pub(super) struct Keeper {
    desk: Arc<Desk>,
    /// Until when nothing need be asked, in milliseconds since 1970.
    good_until: AtomicI64,
    /// Whether it is being let go of; never taken back.
    over: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// The files of this lock; the last one counts, the others could not be removed yet.
    names: Vec<String>,
    refreshed: DateTime<Utc>,
    /// Why it counts no more.
    lost: Option<String>,
}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why nothing may be written any more, if that is so. Waits when it has to be found out.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.is_over() {
            return Err("the run is ending".to_owned());
        }
        if self.is_good() {
            return Ok(());
        }
        let mut state = self.state();
        if state.lost.is_none() && !self.is_over() && !self.is_good() {
            self.recover(&mut state);
        }
        state.lost.clone().map_or(Ok(()), Err)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether the lock is young enough to count without a look whether it is still there.
    fn is_good(&self) -> bool {
        Utc::now().timestamp_millis() < self.good_until.load(Ordering::SeqCst)
    }

    /// Writes the lock under a new name, and gives back the time it says. It does not count before it is trusted.
    fn write(&self, state: &mut State) -> Result<DateTime<Utc>> {
        let desk = &self.desk;
        let lock = LockFile::new(&desk.myself, desk.purpose == Purpose::Exclude, Utc::now());
        let stored = lock.seal(&desk.sealer)?;
        let name = BlobId::of(&stored).to_string();
        // Known before it is there: what is written in part must go too.
        state.names.insert(0, name.clone());
        desk.place.write(&name, &stored).context("write a lock into the store")?;
        Ok(lock.time)
    }

    /// From now on the file counts that was written last, at this time.
    fn trust(&self, state: &mut State, time: DateTime<Utc>) {
        state.names.rotate_left(1);
        state.refreshed = time;
        let good_until = time + self.desk.pace.limit;
        self.good_until.store(good_until.timestamp_millis(), Ordering::SeqCst);
    }

    /// Writes the lock anew, and removes what was there of it before.
    fn refresh(&self, state: &mut State) -> Result<()> {
        let time = self.write(state)?;
        if !self.is_good() {
            // The machine may have slept while it was written. Whether somebody has removed the old one in that time must be looked at first.
            bail!("that took too long");
        }
        self.trust(state, time);
        self.remove_old(state);
        Ok(())
    }

    /// Removes the files that do not count.
    fn remove_old(&self, state: &mut State) {
        let current = state.names.pop();
        state.names.retain(|name| {
            let removed = self.desk.place.remove(name);
            removed.inspect_err(|error| tracing::debug!("an old lock stays for now: {error:#}")).is_err()
        });
        state.names.extend(current);
    }

    /// The lock is so old that others may have removed it, and begun: it is good again only if nobody has.
    fn recover(&self, state: &mut State) {
        if let Err(error) = self.try_recover(state) {
            tracing::error!("the lock in the store is lost: {error:#}");
            state.lost = Some(format!("{error:#}"));
        }
    }

    fn try_recover(&self, state: &mut State) -> Result<()> {
        let old = state.names.last().cloned().unwrap_or_default();
        let context = "it was not refreshed in time";
        let check = |state: &mut State| {
            if self.desk.place.list().context(context)?.contains(&old) {
                return Ok(());
            }
            // What was written meanwhile must not keep others out any longer.
            self.remove_old(state);
            bail!("{context}, and somebody has removed it");
        };
        check(state)?;
        let time = self.write(state).context(context)?;
        thread::sleep(SETTLE);
        check(state)?;
        self.trust(state, time);
        self.remove_old(state);
        Ok(())
    }

    fn keep_fresh(&self) {
        let mut state = self.state();
        // Asked before each waiting: whoever lets go may have called before anybody waited.
        while !self.is_over() && state.lost.is_none() {
            let waited = self.wake.wait_timeout(state, self.desk.pace.tick);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            // A clock that was set back does not tell how old it is.
            let age = (Utc::now() - state.refreshed).abs();
            if self.is_over() {
                return;
            }
            if age > self.desk.pace.limit {
                self.recover(&mut state);
            } else if age >= self.desk.pace.refresh
                && let Err(error) = self.refresh(&mut state)
            {
                tracing::warn!("the lock in the store is not refreshed yet: {error:#}");
            }
        }
    }

    /// Removes the lock; nothing is written under it any more.
    fn release(self: &Arc<Self>) {
        self.over.store(true, Ordering::SeqCst);
        let (sender, receiver) = mpsc::channel();
        let keeper = Arc::clone(self);
        let work = move || {
            let mut state = keeper.state();
            keeper.wake.notify_all();
            let mut failed = None;
            for name in std::mem::take(&mut state.names) {
                failed = keeper.desk.place.remove(&name).err().or(failed);
            }
            drop(sender.send(failed));
        };
        // A server that does not answer must not keep a run from ending, least of all one that a signal ends.
        let begun = thread::Builder::new().spawn(work);
        let failed = match begun.map(|_| receiver.recv_timeout(LET_GO_WITHIN)) {
            Ok(Ok(failed)) => failed.map(|error| format!("{error:#}")),
            Ok(Err(_)) => Some("the store does not answer".to_owned()),
            Err(error) => Some(format!("no thread for it: {error}")),
        };
        if let Some(why) = failed {
            tracing::warn!(
                "the lock of this run stays in the store until it is stale, or `restic unlock` removes it: {why}"
            );
        }
    }
}

/// A lock that is kept until this is dropped, or a signal ends the program.
pub(super) struct Kept {
    keeper: Arc<Keeper>,
    guard: Option<Guard>,
    thread: Option<JoinHandle<()>>,
    lease: Option<Arc<Lease>>,
}

impl Kept {
    /// Writes the lock.
    pub(super) fn begin(desk: Arc<Desk>) -> Result<Self> {
        let (good_until, over, state, wake) = Default::default();
        let keeper = Arc::new(Keeper { desk, good_until, over, state, wake });
        let released = Arc::clone(&keeper);
        // Armed before anything is there to be removed.
        let guard = Guard::new(move |_| released.release());
        let kept = Self { keeper, guard: Some(guard), thread: None, lease: None };
        let mut state = kept.keeper.state();
        let time = kept.keeper.write(&mut state)?;
        kept.keeper.trust(&mut state, time);
        drop(state);
        Ok(kept)
    }

    /// The name of the file.
    pub(super) fn name(&self) -> String {
        self.keeper.state().names.last().cloned().unwrap_or_default()
    }

    /// Keeps it fresh from now on, and makes the lease depend on it.
    pub(super) fn keep_for(mut self, lease: &Arc<Lease>) -> Result<Self> {
        let keeper = Arc::clone(&self.keeper);
        let thread = thread::Builder::new().name("lock".to_owned()).spawn(move || keeper.keep_fresh());
        self.thread = Some(thread.context("start the thread that refreshes the lock in the store")?);
        lease.begin(Arc::clone(&self.keeper));
        self.lease = Some(Arc::clone(lease));
        Ok(self)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.guard.take());
        if let Some(lease) = &self.lease {
            lease.end();
        }
        // It ends at once, unless the store does not answer it.
        let is_idle = self.keeper.state.try_lock().is_ok();
        if let Some(thread) = self.thread.take()
            && is_idle
            && self.keeper.is_over()
        {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    use rustic_core::repofile::MasterKey;

    use super::*;
    use crate::store::locks::place::Where;

    const SOON: Duration = Duration::from_secs(20);

    /// A lock that is too old and that somebody has removed.
    pub(in crate::store::locks) fn lost(root: &Path, lease: &Arc<Lease>) -> Kept {
        let kept = begin(root, LATE).keep_for(lease).unwrap();
        fs::remove_file(root.join("locks").join(kept.name())).unwrap();
        kept
    }

    fn begin(root: &Path, pace: Pace) -> Kept {
        let place = Where::Local(root.to_owned()).open().unwrap().unwrap();
        let sealer = Sealer::new(&MasterKey::new(), None).unwrap();
        let desk = Desk { place, sealer, myself: Myself::find(), purpose: Purpose::Share, pace };
        Kept::begin(Arc::new(desk)).unwrap()
    }

    fn keep(root: &Path, pace: Pace) -> (Kept, Arc<Lease>) {
        let lease = Arc::<Lease>::default();
        (begin(root, pace).keep_for(&lease).unwrap(), lease)
    }

    fn files(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root.join("locks")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < SOON, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    const SLOW: Pace = Pace { tick: Duration::from_secs(3600), ..Pace::RESTIC };
    const FAST: Pace = Pace {
        tick: Duration::from_millis(5),
        refresh: TimeDelta::milliseconds(20),
        limit: TimeDelta::milliseconds(1_000_000),
    };
    /// Always too old.
    const LATE: Pace = Pace { tick: Duration::from_secs(3600), refresh: TimeDelta::zero(), limit: TimeDelta::zero() };

    #[test]
    fn lock_is_refreshed_under_another_name_and_then_removed() {
        let root = tempfile::tempdir().unwrap();
        let (kept, lease) = keep(root.path(), FAST);
        let first = kept.name();
        wait_until("it is not refreshed", || kept.name() != first && !files(root.path()).contains(&first));
        lease.check().unwrap();
        drop(kept);
        assert!(files(root.path()).is_empty());
        lease.check().unwrap();
    }

    #[test]
    fn letting_go_does_not_wait_for_the_next_refreshing() {
        let root = tempfile::tempdir().unwrap();
        let (kept, _) = keep(root.path(), SLOW);
        let begun = Instant::now();
        drop(kept);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn lock_that_is_too_old_is_good_again_if_nobody_has_removed_it() {
        let root = tempfile::tempdir().unwrap();
        let (kept, lease) = keep(root.path(), LATE);
        let first = kept.name();
        lease.check().unwrap();
        assert_eq!(files(root.path()), [kept.name()]);
        assert_ne!(kept.name(), first);
    }

    #[test]
    fn lock_that_became_too_old_while_it_was_refreshed_counts_if_nobody_has_removed_it() {
        for is_removed in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let (kept, lease) = keep(root.path(), LATE);
            let first = kept.name();
            if is_removed {
                fs::remove_file(root.path().join("locks").join(&first)).unwrap();
            }
            kept.keeper.refresh(&mut kept.keeper.state()).unwrap_err();
            assert_eq!(kept.name(), first);
            assert_eq!(lease.check().is_err(), is_removed);
            let left = if is_removed { vec![] } else { vec![kept.name()] };
            assert_eq!(files(root.path()), left);
        }
    }

    #[test]
    fn lock_that_is_removed_while_it_is_looked_at_is_lost_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (kept, lease) = keep(root.path(), LATE);
        let first = root.path().join("locks").join(kept.name());
        thread::scope(|scope| {
            let checked = scope.spawn(|| lease.check());
            wait_until("it is not written anew", || files(root.path()).len() == 2);
            fs::remove_file(first).unwrap();
            checked.join().unwrap().unwrap_err();
        });
        assert!(files(root.path()).is_empty());
    }

    #[test]
    fn lock_is_refreshed_when_the_clock_was_set_back() {
        let root = tempfile::tempdir().unwrap();
        let pace = Pace { tick: FAST.tick, ..Pace::RESTIC };
        let (kept, _lease) = keep(root.path(), pace);
        let first = kept.name();
        kept.keeper.state().refreshed += pace.refresh * 2;
        wait_until("it is not refreshed", || kept.name() != first);
    }

    #[test]
    fn lock_that_is_too_old_and_gone_is_lost_for_good() {
        let root = tempfile::tempdir().unwrap();
        let lease = Arc::<Lease>::default();
        let _kept = lost(root.path(), &lease);
        let why = lease.check().unwrap_err();
        assert_eq!(why, "it was not refreshed in time, and somebody has removed it");
        assert_eq!(lease.check().unwrap_err(), why);
        assert!(files(root.path()).is_empty());
    }

    #[test]
    fn lock_that_cannot_be_refreshed_is_lost_when_it_is_too_old_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let pace = Pace { limit: TimeDelta::milliseconds(500), ..FAST };
        let (kept, lease) = keep(root.path(), pace);
        let locks = root.path().join("locks");
        // A file where the directory was: root too can write nothing there.
        fs::rename(&locks, root.path().join("away")).unwrap();
        fs::write(&locks, "").unwrap();
        wait_until("it is not lost", || lease.check().is_err());
        fs::remove_file(&locks).unwrap();
        drop(kept);
    }

    #[test]
    fn nothing_is_written_once_the_lock_is_let_go_of_by_a_signal() {
        let root = tempfile::tempdir().unwrap();
        let (kept, lease) = keep(root.path(), SLOW);
        kept.keeper.release();
        assert_eq!(lease.check().unwrap_err(), "the run is ending");
        assert!(files(root.path()).is_empty());
    }
}
