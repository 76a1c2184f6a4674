//! The engine against sources and stores that misbehave, all in memory.
//!
//! A [`memory::Memory`] is the place of the repository: it counts what is written and fails, lies or dawdles where a test says so.
//! A [`made::Made`] is the source. The whole way is taken, from [`Store::save`] to the bytes of the repository.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use chrono::DateTime;
use rustic_core::repofile::{BlobType, IndexFile, MasterKey};
use rustic_core::{ConfigOptions, Credentials, Id, KeyOptions, RepositoryOptions};

use super::super::gate::Gate;
use super::super::progress::Bars;
use super::super::{Store, Unopened};
use crate::monitor::Silent;
use crate::report::Saved;
use crate::source::{Item, Tree};
use crate::store::SaveOptions;
use crate::store::format::BlobId;
use crate::store::locks::{Lease, Where};
use crate::timeline::{Place, Point, Timeline};

mod cached;
mod content;
mod deposit;
mod hostile;
mod lies;
mod made;
mod memory;
mod sequence;
mod steps;

use memory::{Content, Memory};

/// How long anything here may take; what takes longer hangs.
const SOON: Duration = Duration::from_secs(120);

/// Does something, and fails the test when it comes to no end.
fn soon<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || drop(sender.send(work())));
    match receiver.recv_timeout(SOON) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// A store in memory, and the key to it.
struct Lab {
    memory: Memory,
    store: Store,
}

/// What is made once: the password of a repository is stretched for a good while.
struct Blank {
    content: Content,
    key: MasterKey,
}

impl Blank {
    /// With these sizes of packs with data and with trees, if they are not the usual ones.
    fn new(sizes: Option<(&str, &str)>) -> Self {
        let mut options = ConfigOptions::default();
        if let Some((data, trees)) = sizes {
            options.set_datapack_size = data.parse().ok();
            options.set_datapack_growfactor = Some(0);
            options.set_treepack_size = trees.parse().ok();
            options.set_treepack_growfactor = Some(0);
        }
        let memory = Memory::default();
        let repository = unopened(&memory).repository().unwrap();
        let made = repository.init(&Credentials::password("x"), &KeyOptions::default(), &options).unwrap();
        Self { content: memory.content(), key: made.key() }
    }
}

impl Lab {
    /// A new store whose packs are small, so that a backup takes several writes.
    fn new() -> Self {
        static BLANK: OnceLock<Blank> = OnceLock::new();
        let blank = BLANK.get_or_init(|| Blank::new(Some(("200 kB", "1 kB"))));
        Self::holding(blank.content.clone(), blank.key.clone())
    }

    /// A new store in which each blob has a pack of its own.
    fn with_tiny_packs() -> Self {
        let blank = Blank::new(Some(("1 B", "1 kB")));
        Self::holding(blank.content, blank.key)
    }

    /// A new store as users have it.
    fn with_usual_packs() -> Self {
        let blank = Blank::new(None);
        Self::holding(blank.content, blank.key)
    }

    fn holding(content: Content, key: MasterKey) -> Self {
        let memory = Memory::holding(content);
        let Unopened { repository, place, gate, locks, lease, options, bars } = unopened(&memory);
        let (cache, engine) = (None, Mutex::default());
        let store = Store { repository, place, gate, locks, lease, key, options, cache, bars, engine };
        Self { memory, store }
    }

    /// Another run, on a copy of the repository as it is now.
    fn copy(&self) -> Self {
        Self::holding(self.memory.content(), self.store.key.clone())
    }

    /// Saves as a run does, the newest point as parent.
    fn save(&self, tree: Box<dyn Tree>) -> Result<Saved> {
        self.save_as("made.up", tree)
    }

    fn save_as(&self, item: &str, tree: Box<dyn Tree>) -> Result<Saved> {
        let points = self.points();
        let newest = points.iter().rfind(|point| point.item == item);
        let time = DateTime::from_timestamp(1_700_000_000 + points.len() as i64, 0).unwrap();
        let options = SaveOptions { time, parent: newest, newest, ..SaveOptions::default() };
        let item = Item { id: item.into(), source: "made.up".into(), paths: vec!["/".into()] };
        self.store.save(&item, tree, &options, &Silent)
    }

    fn points(&self) -> Vec<Point> {
        self.store.points().unwrap()
    }

    fn newest(&self) -> Point {
        self.points().pop().unwrap()
    }

    /// The files of a point, each read to its end, as hashes.
    fn read(&self, point: &Point) -> BTreeMap<PathBuf, BlobId> {
        let tree = self.store.tree(point).unwrap();
        let mut files = BTreeMap::new();
        for saved in tree.walk(Path::new("/")).unwrap() {
            let saved = saved.unwrap();
            if saved.node.is_file() {
                let content = tree.read(&saved.node).unwrap().collect::<Result<Vec<_>>>().unwrap().concat();
                assert_eq!(content.len() as u64, saved.node.meta.size, "{:?}", saved.path);
                files.insert(saved.path, BlobId::of(&content));
            }
        }
        files
    }

    /// What a check that reads everything finds wrong, a line each.
    fn damage(&self) -> String {
        self.store.verify(Some(100.0)).unwrap().errors.join("\n")
    }

    /// All indexes, and the packs that each of them names.
    fn indexes(&self) -> Vec<(Id, IndexFile)> {
        let repository = self.store.opened().unwrap();
        let files = repository.stream_files::<IndexFile>().unwrap();
        files.map(|file| file.unwrap()).map(|(id, file)| (*id, file)).collect()
    }

    /// Fails when two packs that indexes name hold the same blob: then it was uploaded though it was there.
    fn assert_nothing_is_stored_twice(&self) {
        let mut seen = HashSet::new();
        for pack in self.indexes().into_iter().flat_map(|(_, file)| file.packs) {
            for blob in pack.blobs {
                assert!(seen.insert((format!("{:?}", blob.tpe), *blob.id)), "{} is stored twice", *blob.id);
            }
        }
    }
}

fn unopened(memory: &Memory) -> Unopened {
    let lease = Arc::<Lease>::default();
    Unopened {
        place: Place::Store,
        repository: "memory:".to_owned(),
        gate: Arc::new(Gate::new(Arc::new(memory.clone()), Arc::clone(&lease), None)),
        locks: Where::Nowhere,
        lease,
        options: RepositoryOptions::default().no_cache(true),
        bars: Bars::new(Arc::new(Silent)),
    }
}
