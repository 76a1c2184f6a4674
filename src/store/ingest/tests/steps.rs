//! A store that fails at each step of a backup, is slow, or is gone: what was there before stays whole, and the next run goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::anyhow;
use rustic_core::FileType;

use super::made::{Files, Made, noise};
use super::memory::{Fault, Plan};
use super::*;

/// What the point has that was there before.
pub(super) fn before() -> Files {
    let mut files = Files::default().with("/kept/same", noise(1, 60_000), 1).with("/gone", noise(2, 1000), 1);
    for number in 0..5 {
        files = files.with(format!("/directory {number}/file"), noise(10 + number, 30_000), 1);
    }
    files
}

/// What the source has now: some is new, some is changed, some is moved, one file is of several pieces.
pub(super) fn after() -> Files {
    let mut files = before().with("/large", noise(3, 2_000_000), 2).with("/moved", noise(2, 1000), 1);
    files.0.remove(Path::new("/gone"));
    for number in 0..4 {
        files = files.with(format!("/directory {number}/file"), noise(20 + number, 40_000), 2);
        files = files.with(format!("/new {number}/below/file"), noise(30 + number, 70_000), 2);
    }
    files
}

/// A store with one point.
pub(super) fn with_a_point() -> (Lab, Point) {
    let lab = Lab::new();
    lab.save(Made::files(&before())).unwrap();
    let point = lab.newest();
    (lab, point)
}

/// Saves, and takes it for an error when the library that writes breaks off.
fn attempt(lab: Lab) -> (Lab, Result<Saved>) {
    soon(move || {
        let saved = catch_unwind(AssertUnwindSafe(|| lab.save(Made::files(&after()))));
        (lab, saved.unwrap_or_else(|_| Err(anyhow!("it broke off"))))
    })
}

/// After a failure: no point was made, the one before is whole, and both the next run and the next item of this run get through.
fn assert_nothing_is_lost(lab: &Lab, point: &Point, when: &str) {
    assert_eq!(lab.points(), std::slice::from_ref(point), "{when}");
    assert_eq!(lab.read(point), before().content(), "{when}");
    let next = lab.copy();
    next.save(Made::files(&after())).unwrap();
    assert_eq!(next.points().len(), 2, "{when}");
    assert_eq!(next.read(&next.newest()), after().content(), "{when}");
    assert_eq!(next.read(point), before().content(), "{when}");
    assert_eq!(next.damage(), "", "{when}");
    next.assert_nothing_is_stored_twice();

    lab.memory.plan(None);
    lab.save_as("next.item", Made::files(&after())).unwrap();
    assert_eq!(lab.read(&lab.newest()), after().content(), "{when}");
    lab.assert_nothing_is_stored_twice();
}

/// Lets writes go wrong from each step on, and gives the number of steps.
fn at_each_step(plan: impl Fn(usize) -> Plan) -> usize {
    let (base, point) = with_a_point();
    for number in 1.. {
        let lab = base.copy();
        lab.memory.plan(Some(plan(number)));
        let (lab, saved) = attempt(lab);
        if lab.memory.begun() < number {
            saved.unwrap();
            return number - 1;
        }
        let when = format!("{:?}", plan(number));
        assert!(saved.is_err(), "{when}: {saved:?}");
        assert_nothing_is_lost(&lab, &point, &when);
    }
    0
}

#[test]
fn each_write_may_fail() {
    let steps = at_each_step(|number| Plan { fault: Fault::Fails, from: number, to: number });
    assert!(steps > 5, "{steps}");
}

#[test]
fn each_write_may_be_cut_short() {
    let steps = at_each_step(|number| Plan { fault: Fault::CutShort, from: number, to: number });
    assert!(steps > 5, "{steps}");
}

#[test]
fn the_library_that_writes_may_break_off_at_each_write() {
    at_each_step(|number| Plan { fault: Fault::Panics, from: number, to: number });
}

#[test]
fn the_store_may_be_gone_from_each_write_on() {
    at_each_step(|number| Plan { fault: Fault::Fails, from: number, to: usize::MAX });
}

#[test]
fn a_slow_store_gets_several_packs_at_a_time_and_all_is_well() {
    let (lab, point) = with_a_point();
    lab.memory.plan(Some(Plan { fault: Fault::Slow, from: 1, to: usize::MAX }));
    let (lab, saved) = attempt(lab);
    saved.unwrap();
    assert!(lab.memory.most_under_way() > 1);
    assert_eq!(lab.read(&lab.newest()), after().content());
    assert_eq!(lab.read(&point), before().content());
    assert_eq!(lab.damage(), "");
    assert_order(&lab);
}

/// No index was begun before the packs that it names were stored, and no snapshot before all indexes were.
fn assert_order(lab: &Lab) {
    let writes = lab.memory.writes();
    let place = |kind, id: &Id| {
        let place = writes.iter().position(|write| write.kind == kind && write.id == *id);
        place.unwrap_or_else(|| panic!("{kind:?} {id} was not written"))
    };
    let mut named = HashSet::new();
    for (id, file) in lab.indexes() {
        let Some(index) = writes.iter().find(|write| write.id == id) else { continue };
        for pack in file.packs {
            assert!(place(FileType::Pack, &pack.id) < index.after, "{id} names what is not there");
            named.insert(*pack.id);
        }
    }
    let of_kind = |kind| writes.iter().filter(move |write| write.kind == kind);
    let snapshot = of_kind(FileType::Snapshot).next().unwrap();
    assert_eq!(snapshot.after, writes.len() - 1, "something was written behind the snapshot");
    let packs: HashSet<Id> = of_kind(FileType::Pack).map(|write| write.id).collect();
    assert_eq!(packs, named);
}

fn many_small_files() -> Files {
    (0..2100_u64).fold(Files::default(), |files, number| files.with(format!("/{number}"), noise(number, 20), 1))
}

#[test]
fn indexes_are_written_as_it_goes_and_none_before_its_packs() {
    let lab = Lab::with_tiny_packs();
    lab.memory.plan(None);
    lab.save(Made::files(&many_small_files())).unwrap();
    assert_order(&lab);
    assert_eq!(lab.indexes().len(), 2);
    assert_eq!(lab.read(&lab.newest()), many_small_files().content());
}

#[test]
fn what_an_index_names_is_not_uploaded_again_after_a_stop() {
    for stop in [1, 2001, 2050, 2102, 2103, 2104] {
        let lab = Lab::with_tiny_packs();
        lab.memory.plan(Some(Plan { fault: Fault::Fails, from: stop, to: usize::MAX }));
        let stopped = lab.save(Made::files(&many_small_files()));
        let next = lab.copy();
        let named: usize = next.indexes().iter().map(|(_, file)| file.packs.len()).sum();
        // The last writes come when all packs are stored, and the first index.
        assert!(stop < 2103 || named >= 2000, "{stop}: {named}");
        if lab.memory.begun() < stop {
            stopped.unwrap();
            continue;
        }
        stopped.unwrap_err();
        next.memory.plan(None);
        next.save(Made::files(&many_small_files())).unwrap();
        let packs = next.memory.writes().iter().filter(|write| write.kind == FileType::Pack).count();
        // The tree has a pack as well.
        assert_eq!(packs + named, 2101, "{stop}");
        next.assert_nothing_is_stored_twice();
        assert_order(&next);
        assert_eq!(next.read(&next.newest()), many_small_files().content());
    }
}
