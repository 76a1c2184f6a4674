//! Sources that are one stream from front to back: the next entry comes when what was given before was read, or let go of.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustic_core::FileType;

use super::made::{Files, Given, Made, directory, noise, read_by};
use super::memory::Fault;
use super::*;

/// A file in the stream.
#[derive(Clone)]
struct Member {
    path: PathBuf,
    content: Vec<u8>,
    second: i64,
    /// Whether the stream gives an error behind that content.
    breaks: bool,
}

/// A piece of content, or the error that the stream ends with.
type Piece = io::Result<Vec<u8>>;

/// The stream. Pieces of a member are handed over one by one, while the next entry is asked for.
struct Stream {
    members: std::vec::IntoIter<Member>,
    current: Option<(Member, SyncSender<Piece>)>,
    /// How many bytes a piece has.
    piece: usize,
}

impl Iterator for Stream {
    type Item = Given;

    fn next(&mut self) -> Option<Given> {
        if let Some((member, sender)) = self.current.take() {
            let pieces = member.content.chunks(self.piece).map(|piece| Ok(piece.to_vec()));
            let error = member.breaks.then(|| Err(io::ErrorKind::UnexpectedEof.into()));
            // Whoever lets go of a content skips the rest of it.
            let _ = pieces.chain(error).try_for_each(|piece| sender.send(piece));
        }
        let member = self.members.next()?;
        if member.path.ends_with("directory") {
            return Some(Ok(directory(&member.path)));
        }
        let (sender, receiver) = sync_channel(0);
        let size = member.content.len() as u64;
        let entry = read_by(&member.path, size, member.second, move || {
            Ok(Box::new(Pieces { receiver, rest: Vec::new() }) as Box<dyn Read + Send>)
        });
        self.current = Some((member, sender));
        Some(Ok(entry))
    }
}

/// The content of a member, as it comes.
struct Pieces {
    receiver: Receiver<Piece>,
    rest: Vec<u8>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            match self.receiver.recv() {
                Ok(piece) => self.rest = piece?,
                Err(_) => return Ok(0),
            }
        }
        let length = self.rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest[..length]);
        self.rest.drain(..length);
        Ok(length)
    }
}

fn member(path: impl Into<PathBuf>, content: Vec<u8>) -> Member {
    Member { path: path.into(), content, second: 1, breaks: false }
}

/// Saves a stream of these members; it comes to an end.
fn save(lab: Lab, members: &[Member], piece: usize) -> (Lab, Result<Saved>) {
    let members = members.to_vec();
    soon(move || {
        let tree = Made::of(move || Stream { members: members.clone().into_iter(), current: None, piece });
        let saved = lab.save(tree);
        (lab, saved)
    })
}

fn content(members: &[Member]) -> BTreeMap<PathBuf, BlobId> {
    let files = members.iter().filter(|member| !member.path.ends_with("directory") && !member.breaks);
    let all = Files(files.map(|member| (member.path.clone(), (member.content.clone(), 1))).collect());
    all.content()
}

#[test]
fn many_small_files_come_out_of_one_stream() {
    let mut members = vec![member("/directory", Vec::new())];
    let small =
        (0..5000_usize).map(|number| member(format!("/directory/{number:04}"), noise(number as u64, number % 50)));
    members.extend(small);
    let (lab, saved) = save(Lab::new(), &members, 7);
    assert_eq!(saved.unwrap().files_new, 5000);
    assert_eq!(lab.read(&lab.newest()), content(&members));
}

#[test]
fn huge_and_empty_files_come_out_of_one_stream() {
    let members = [
        member("/a", Vec::new()),
        member("/b", noise(1, 40_000_000)),
        member("/c", Vec::new()),
        member("/d", noise(2, 9_000_001)),
        member("/e", b"end".to_vec()),
    ];
    let (lab, saved) = save(Lab::new(), &members, 100_000);
    assert_eq!(saved.unwrap().files_new, 5);
    assert_eq!(lab.read(&lab.newest()), content(&members));
}

#[test]
fn unchanged_files_of_a_stream_are_let_go_of_unread() {
    let mut members: Vec<Member> =
        (0..200).map(|number| member(format!("/{number:03}"), noise(number, 10_000))).collect();
    let (lab, saved) = save(Lab::new(), &members, 100);
    saved.unwrap();
    for number in [0, 77, 199] {
        members[number].content = noise(1000 + number as u64, 10_000);
        members[number].second = 2;
    }
    let (lab, saved) = save(lab.copy(), &members, 100);
    let saved = saved.unwrap();
    assert_eq!((saved.files_new, saved.files_changed, saved.files_unmodified), (0, 3, 197));
    assert_eq!(lab.read(&lab.newest()), content(&members));
}

#[test]
fn an_error_within_a_stream_costs_that_file_alone() {
    let mut members: Vec<Member> =
        (0..30).map(|number| member(format!("/{number:02}"), noise(number, 300_000))).collect();
    members[11].breaks = true;
    members[20].breaks = true;
    let (lab, saved) = save(Lab::new(), &members, 10_000);
    let saved = saved.unwrap();
    assert_eq!((saved.files_new, saved.problem_count), (28, 2));
    assert!(!lab.newest().complete);
    assert_eq!(lab.read(&lab.newest()), content(&members));
}

#[test]
fn a_stream_is_let_go_of_when_the_store_fails() {
    let members: Vec<Member> = (0..100).map(|number| member(format!("/{number:02}"), noise(number, 300_000))).collect();
    for step in [1, 3, 20] {
        let lab = Lab::new();
        lab.memory.plan_at(Fault::Fails, step);
        let (lab, saved) = save(lab, &members, 10_000);
        saved.unwrap_err();
        assert!(lab.memory.ids(FileType::Snapshot).is_empty());
    }
}
