//! Contents that are left in the store before anybody knows where in a tree they belong.

use std::io::{self, Cursor, Read};
use std::sync::mpsc::sync_channel;

use super::made::{Made, noise, with_content};
use super::memory::{Fault, Plan};
use super::*;
use crate::source::{Content as Bytes, Deposit, Opener, Stored};

fn opener(content: Vec<u8>) -> Opener {
    Opener::new(|| Ok(Box::new(Cursor::new(content)) as Box<dyn Read + Send>))
}

/// Leaves the contents there, and says where each is.
fn deposit(lab: &Lab, contents: Vec<Opener>) -> Result<Vec<Option<Stored>>> {
    let stored = Mutex::new((0..contents.len()).map(|_| None).collect::<Vec<_>>());
    let tell = |number: usize, what| {
        assert!(stored.lock().unwrap()[number].replace(what).is_none(), "told twice");
    };
    lab.store.deposit().take(&mut contents.into_iter(), &tell)?;
    Ok(stored.into_inner().unwrap())
}

#[test]
fn contents_left_before_are_what_a_tree_is_made_of() {
    let lab = Lab::new();
    let contents = [noise(1, 1_500_000), b"small".to_vec(), Vec::new(), noise(2, 300_000)];
    let left = deposit(&lab, contents.clone().into_iter().map(opener).collect()).unwrap();
    let sizes: Vec<u64> = left.iter().flatten().map(|stored| stored.size).collect();
    assert_eq!(sizes, contents.clone().map(|content| content.len() as u64));
    lab.memory.plan(None);
    let saved = lab.save(Made::of(move || {
        let entry =
            |name: &str, stored: Stored| Ok(with_content(name, stored.size, 1, Some(Bytes::Stored(stored.blobs))));
        let left: Vec<Stored> = left.clone().into_iter().flatten().collect();
        ["/a", "/b", "/c", "/d"].into_iter().zip(left).map(move |(name, stored)| entry(name, stored))
    }));
    let saved = saved.unwrap();
    // Nothing but the tree, its index and the snapshot was still to be written, and all of it counts as this item's.
    assert_eq!(lab.memory.writes().len(), 3);
    assert_eq!(saved.files_new, 4);
    assert!(saved.bytes_added > 1_800_000, "{}", saved.bytes_added);
    let expected =
        ["/a", "/b", "/c", "/d"].into_iter().map(PathBuf::from).zip(contents.map(|bytes| BlobId::of(&bytes)));
    assert_eq!(lab.read(&lab.newest()), expected.collect());
    assert_eq!(lab.damage(), "");
    lab.assert_nothing_is_stored_twice();
}

#[test]
fn content_that_cannot_be_read_is_not_told_of_and_stops_nobody() {
    let lab = Lab::new();
    let broken = Opener::new(|| Err(io::Error::other("the disk is broken")));
    let left = deposit(&lab, vec![opener(b"one".to_vec()), broken, opener(b"three".to_vec())]).unwrap();
    assert_eq!(left.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn contents_are_taken_while_they_still_come() {
    let lab = Lab::new();
    let (sender, contents) = sync_channel::<Opener>(1);
    let (told, answers) = mpsc::channel();
    thread::scope(|scope| {
        let lab = &lab;
        scope.spawn(move || {
            let tell = move |number, stored: Stored| told.send((number, stored.size)).unwrap();
            lab.store.deposit().take(&mut contents.into_iter(), &tell).unwrap();
        });
        for number in 0..3 {
            sender.send(opener(vec![number; 10])).unwrap();
            // The next one is sent only after this one is there.
            assert_eq!(answers.recv_timeout(SOON), Ok((usize::from(number), 10)));
        }
        drop(sender);
    });
}

#[test]
fn store_that_fails_is_an_error_and_what_was_left_there_is_not_counted_on() {
    let lab = Lab::new();
    lab.memory.plan(Some(Plan { fault: Fault::Fails, from: 1, to: usize::MAX }));
    let error = deposit(&lab, vec![opener(noise(1, 1_500_000))]).unwrap_err();
    assert!(format!("{error:#}").starts_with("write to the store: "), "{error:#}");
    lab.memory.plan(None);
    let again = deposit(&lab, vec![opener(noise(1, 1_500_000))]).unwrap();
    assert!(again[0].is_some());
    assert_eq!(lab.damage(), "");
}
