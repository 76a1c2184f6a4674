//! A volume, or a path of the engine's machine, as the engine gives it: an archive of what is mounted in a helper container.
//!
//! What is in it is understood in [`walk`]. An archive has no inodes, and of a file with several names the further ones without content. So every file gets a number of its own, and
//! each counts as one that may have more names; what a further name holds is asked for once more, over another helper.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::engine::Engine;
use super::helper::{DATA, Helper, Mounted};
use crate::source::Failure;
use crate::source::parts::Part;
use crate::source::stream::{Kind, Members};
use crate::source::{Content, Entries};

mod walk;

use walk::{Origin, Walk};

/// What the engine gives of something that is mounted in a helper container.
pub(super) struct Archived(Arc<Shared>);

struct Shared {
    engine: Engine,
    source: String,
    mounted: Mounted,
    /// As long as it is there, nobody removes the volume.
    helper: Helper,
    /// For what is asked for beside the archive: a container gives one archive at a time.
    second: Mutex<Option<Arc<Helper>>>,
    failure: Failure,
}

impl Archived {
    /// Makes the helper container. When what it gives is not whole, `failure` hears of it.
    pub(super) fn new(engine: &Engine, source: &str, mounted: Mounted, failure: &Failure) -> Result<Self> {
        let helper = Helper::new(engine, source, &mounted, false)?;
        let (engine, source, failure) = (engine.clone(), source.to_owned(), failure.clone());
        Ok(Self(Arc::new(Shared { engine, source, mounted, helper, second: Mutex::default(), failure })))
    }
}

impl Part for Archived {
    fn entries(&self, at: &Path) -> Entries {
        let stream = self.0.engine.archive(self.0.helper.id(), DATA);
        let shared = Arc::clone(&self.0);
        let origin = Origin {
            may_be_nothing: match &self.0.mounted {
                Mounted::Bind(path) => Some(path.clone()),
                Mounted::Volume(_) => None,
            },
            fetch: Arc::new(move |path| shared.fetch(path)),
            failure: self.0.failure.clone(),
        };
        Walk::entries(stream, at, origin)
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

impl Shared {
    /// Reads one file, by its path below what is archived.
    fn fetch(&self, name: &Path) -> Result<Box<dyn io::Read + Send>> {
        let helper = {
            let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
            match &*second {
                Some(helper) => Arc::clone(helper),
                None => {
                    let helper = Helper::new(&self.engine, &self.source, &self.mounted, false)?;
                    Arc::clone(second.insert(Arc::new(helper)))
                }
            }
        };
        let path = Path::new(DATA).join(name);
        let path = path.to_str().context("its name is not UTF-8, and cannot be asked for once more")?;
        let mut members = Members::read(self.engine.archive(helper.id(), path))?;
        let content = members.next()?.filter(|member| member.kind == Kind::File).and_then(|member| member.content);
        let Some(Content::Read(opener)) = content else { bail!("was replaced while it was being backed up") };
        let content = opener.open()?;
        Ok(Box::new(Fetched { content, _helper: helper, _members: members }))
    }
}

/// A content with what it comes from.
struct Fetched {
    content: Box<dyn io::Read + Send>,
    _members: Members,
    _helper: Arc<Helper>,
}

impl io::Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}
