//! A store that says that it has written what it has not: `verify` tells, the points before stay whole, and nothing hangs.

use rustic_core::FileType;

use super::made::Made;
use super::memory::{Fault, Write};
use super::steps::{after, before, with_a_point};
use super::*;

/// Lets a lie befall each write in its turn, and looks what comes of it.
fn at_each_step(fault: Fault) {
    let (base, point) = with_a_point();
    for number in 1.. {
        let lab = base.copy();
        lab.memory.plan_at(fault, number);
        let (lab, saved) = soon(move || {
            let saved = lab.save(Made::files(&after()));
            (lab, saved)
        });
        saved.unwrap();
        if lab.memory.begun() < number {
            assert!(number > 5);
            return;
        }
        let when = format!("{fault:?} at {number}");
        let files = lab.memory.content();
        let is_whole = |write: &Write| {
            let file = files.get(&(write.kind.dirname(), write.id));
            file.is_some_and(|file| *BlobId::of(file).to_string() == *write.id.to_hex().as_str())
        };
        let writes = lab.memory.writes();
        let damaged: Vec<&Write> = writes.iter().filter(|write| !is_whole(write)).collect();
        let [damaged] = damaged[..] else { panic!("{when}: {damaged:?}") };
        tells_and_goes_on(lab, &point, damaged, &when);
    }
}

fn tells_and_goes_on(lab: Lab, point: &Point, damaged: &Write, when: &str) {
    let is_gone = !lab.memory.ids(damaged.kind).contains(&damaged.id);
    let next = lab.copy();
    let (next, found) = soon(move || {
        let found = next.store.verify(Some(100.0));
        (next, found)
    });
    let is_told = found.is_err() || found.is_ok_and(|found| !found.errors.is_empty());
    // Nobody can know of a snapshot that is not there, and it does no harm.
    assert_eq!(is_told, damaged.kind != FileType::Snapshot || !is_gone, "{when}: {damaged:?}");

    // The next run ends, well or with an error.
    let (next, saved) = soon(move || {
        let saved = next.save(Made::files(&after()));
        (next, saved)
    });
    if damaged.kind == FileType::Index && !is_gone {
        saved.unwrap_err();
        // What `restic repair index` does first.
        next.memory.lose(FileType::Index, damaged.id);
        next.save(Made::files(&after())).unwrap();
    } else {
        saved.unwrap();
    }
    assert_eq!(next.read(point), before().content(), "{when}");
    if damaged.kind != FileType::Pack {
        // Nothing that a snapshot needs is missing any more.
        assert_eq!(next.read(&next.newest()), after().content(), "{when}");
    } else {
        assert!(!next.damage().is_empty(), "{when}");
    }
}

#[test]
fn each_write_may_lose_its_tail_behind_our_back() {
    at_each_step(Fault::LosesTail);
}

#[test]
fn each_write_may_be_lost_behind_our_back() {
    at_each_step(Fault::Lost);
}
