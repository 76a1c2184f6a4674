//! A repository in memory whose writes can be made to go wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

/// All files of a repository: by directory and name.
pub(super) type Content = BTreeMap<(&'static str, Id), Bytes>;

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is written, and an error tells so.
    Fails,
    /// A part is written, and an error tells so.
    CutShort,
    /// A part is written, and nothing tells so.
    LosesTail,
    /// Nothing is written, and nothing tells so.
    Lost,
    /// It takes its time.
    Slow,
    /// The library breaks off.
    Panics,
}

/// Which writes a fault befalls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) fault: Fault,
    /// The number of the first such write, counted from 1.
    pub(super) from: usize,
    /// The number of the last one.
    pub(super) to: usize,
}

/// A write that came to its end, in the order in which they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) kind: FileType,
    pub(super) id: Id,
    /// How many writes had come to their end before this one began.
    pub(super) after: usize,
}

#[derive(Default)]
struct State {
    files: Content,
    plan: Option<Plan>,
    begun: usize,
    ended: Vec<Write>,
    under_way: usize,
    most_under_way: usize,
}

/// The repository; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

impl Memory {
    /// A repository of its own with this content.
    pub(super) fn holding(files: Content) -> Self {
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    /// All files as they are now.
    pub(super) fn content(&self) -> Content {
        self.0.lock().unwrap().files.clone()
    }

    /// Forgets the writes before, and lets those to come go wrong so.
    pub(super) fn plan(&self, plan: Option<Plan>) {
        let mut state = self.0.lock().unwrap();
        *state = State { files: std::mem::take(&mut state.files), plan, ..State::default() };
    }

    /// Lets the write of this number go wrong.
    pub(super) fn plan_at(&self, fault: Fault, number: usize) {
        self.plan(Some(Plan { fault, from: number, to: number }));
    }

    /// The writes that came to a good end since the last [`Memory::plan`].
    pub(super) fn writes(&self) -> Vec<Write> {
        self.0.lock().unwrap().ended.clone()
    }

    /// How many writes were begun since the last [`Memory::plan`].
    pub(super) fn begun(&self) -> usize {
        self.0.lock().unwrap().begun
    }

    /// How many writes were under way at a time since the last [`Memory::plan`].
    pub(super) fn most_under_way(&self) -> usize {
        self.0.lock().unwrap().most_under_way
    }

    /// The ids of the files of a kind.
    pub(super) fn ids(&self, kind: FileType) -> Vec<Id> {
        let state = self.0.lock().unwrap();
        state.files.keys().filter(|(directory, _)| *directory == kind.dirname()).map(|(_, id)| *id).collect()
    }

    /// Takes a file away.
    pub(super) fn lose(&self, kind: FileType, id: Id) {
        self.0.lock().unwrap().files.remove(&(kind.dirname(), id)).unwrap();
    }

    fn get(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        let id = if kind == FileType::Config { Id::default() } else { *id };
        let found = self.0.lock().unwrap().files.get(&(kind.dirname(), id)).cloned();
        found.ok_or_else(|| error(io::Error::from(io::ErrorKind::NotFound)))
    }
}

fn error(cause: io::Error) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, "The memory refuses", cause)
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl ReadBackend for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let state = self.0.lock().unwrap();
        let of_kind = state.files.iter().filter(|((directory, _), _)| *directory == kind.dirname());
        Ok(of_kind.map(|((_, id), bytes)| (*id, u32::try_from(bytes.len()).unwrap())).collect())
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.get(kind, id)
    }

    fn read_partial(&self, kind: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let bytes = self.get(kind, id)?;
        let (begin, end) = (offset as usize, offset as usize + length as usize);
        if end > bytes.len() {
            return Err(error(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        Ok(bytes.slice(begin..end))
    }

    fn warmup_path(&self, _: FileType, _: &Id) -> String {
        String::new()
    }
}

impl WriteBackend for Memory {
    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        let id = if kind == FileType::Config { Id::default() } else { *id };
        let bytes = Bytes::from(content.into_vec().concat());
        let (fault, after) = {
            let mut state = self.0.lock().unwrap();
            state.begun += 1;
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            let begun = state.begun;
            let plan = state.plan.filter(|plan| (plan.from..=plan.to).contains(&begun));
            (plan.map(|plan| plan.fault), state.ended.len())
        };
        if fault == Some(Fault::Slow) {
            thread::sleep(Duration::from_millis(10));
        }
        let mut state = self.0.lock().unwrap();
        state.under_way -= 1;
        let kept = match fault {
            None | Some(Fault::Slow) => Some(bytes),
            Some(Fault::CutShort | Fault::LosesTail) => Some(bytes.slice(..bytes.len() / 2)),
            Some(Fault::Fails | Fault::Lost | Fault::Panics) => None,
        };
        if let Some(kept) = kept {
            state.files.insert((kind.dirname(), id), kept);
        }
        match fault {
            Some(Fault::Fails | Fault::CutShort) => return Err(error(io::Error::other("on purpose"))),
            Some(Fault::Panics) => {
                drop(state);
                panic!("on purpose");
            }
            _ => {}
        }
        state.ended.push(Write { kind, id, after });
        Ok(())
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let removed = self.0.lock().unwrap().files.remove(&(kind.dirname(), *id));
        removed.map(drop).ok_or_else(|| error(io::Error::from(io::ErrorKind::NotFound)))
    }
}
