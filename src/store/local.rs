//! Repositories on this machine's disks: how files are written to them.
//!
//! Reading, listing and removing are rustic_backend's. Its way of writing copies a pack to the kernel in pieces of 8 KiB, keeps it in memory until the disk has it, and does
//! not see to it that the name of the new file outlives a loss of power. Here a file is handed over in one piece, its memory is free before the wait for the disk
//! begins, and the directory is written too, as restic does.
//!
//! The disk takes packs from where they are, if the file system can do that (`O_DIRECT` in open(2)). Else the kernel would copy each to its
//! cache, which costs about as much as to encipher it, and would drop other programs' files from there for what is not read again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::durable::sync_directory;

/// rustic_backend's option for a command that it runs after each file; then it must write itself.
const POST_CREATE: &str = "post-create-command";

/// What the places and lengths of direct writes must be multiples of, in bytes: no disk asks for more.
const PAGE: usize = 4096;
/// What is shorter goes through the kernel's cache: waiting for the disk twice would take longer than the copy.
const DIRECT_FROM: usize = 1 << 20;

/// A repository below a directory.
#[derive(Debug)]
pub(super) struct Local {
    inner: Arc<dyn WriteBackend>,
    root: PathBuf,
}

impl Local {
    /// Writes for a backend of rustic's whose repository is at `root`; unless its options ask for what only rustic does.
    pub(super) fn before<'o>(
        inner: Arc<dyn WriteBackend>,
        root: PathBuf,
        mut options: impl Iterator<Item = &'o String>,
    ) -> Arc<dyn WriteBackend> {
        if options.any(|option| option == POST_CREATE) { inner } else { Arc::new(Self { inner, root }) }
    }

    fn directory(&self, tpe: FileType, id: &Id) -> PathBuf {
        match tpe {
            FileType::Config => self.root.clone(),
            FileType::Pack => self.root.join("data").join(&id.to_hex().as_str()[..2]),
            _ => self.root.join(tpe.dirname()),
        }
    }
}

impl ReadBackend for Local {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.inner.list_with_size(tpe)
    }

    fn list(&self, tpe: FileType) -> RusticResult<Vec<Id>> {
        self.inner.list(tpe)
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        self.inner.read_full(tpe, id)
    }

    fn read_partial(&self, tpe: FileType, id: &Id, cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.inner.read_partial(tpe, id, cacheable, offset, length)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.inner.warmup_path(tpe, id)
    }
}

impl WriteBackend for Local {
    fn create(&self) -> RusticResult<()> {
        self.inner.create()
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        let directory = self.directory(tpe, id);
        let name = if tpe == FileType::Config { "config".to_owned() } else { id.to_hex().as_str().to_owned() };
        let path = directory.join(&name);
        // As rustic names them, which passes over such a file when it lists.
        let unfinished = directory.join(format!("{name}-tmp-"));
        write(&directory, &unfinished, &path, content).map_err(|error| {
            drop(fs::remove_file(&unfinished));
            RusticError::with_source(ErrorKind::InputOutput, "Writing `{path}` failed", error)
                .attach_context("path", path.display().to_string())
        })
    }

    fn remove(&self, tpe: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.inner.remove(tpe, id, cacheable)
    }
}

fn write(directory: &Path, unfinished: &Path, path: &Path, content: BytesList) -> io::Result<()> {
    let mut file = match File::create(unfinished) {
        // A repository of restic's has all directories, but who knows.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            File::create(unfinished)?
        }
        created => created?,
    };
    for (number, part) in content.slice().iter().enumerate() {
        // Only at the beginning of the file is it certain that the place in it fits too.
        let written = if number == 0 { write_directly(&mut file, part)? } else { 0 };
        file.write_all(&part[written..])?;
    }
    // Somebody may be waiting for this memory.
    drop(content);
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    sync_directory(directory)
}

/// Writes as many whole pages as can be written past the kernel's cache; how many bytes that was.
fn write_directly(file: &mut File, content: &[u8]) -> io::Result<usize> {
    if content.len() < DIRECT_FROM || content.as_ptr().align_offset(PAGE) != 0 {
        return Ok(0);
    }
    let flags = fcntl_getfl(&*file)?;
    if fcntl_setfl(&*file, flags | OFlags::DIRECT).is_err() {
        return Ok(0);
    }
    let whole = content.len() - content.len() % PAGE;
    let mut written = 0;
    // After an odd number of bytes the next place would not fit.
    while written < whole && written % PAGE == 0 {
        match file.write(&content[written..whole]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => written += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Some file systems say only now that they cannot do it, or ask for larger pages.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break,
            Err(error) => return Err(error),
        }
    }
    fcntl_setfl(&*file, flags)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use rustic_backend::BackendOptions;

    use super::*;
    use crate::store::format::BlobId;

    fn local(root: &Path, options: &[String]) -> Arc<dyn WriteBackend> {
        let location = format!("local:{}", root.display());
        let inner = BackendOptions::default().repository(location).to_backends().unwrap().repository();
        Local::before(inner, root.to_path_buf(), options.iter())
    }

    #[test]
    fn what_was_written_is_found_by_its_name_and_nothing_is_left_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let local = local(root.path(), &[]);
        let content: BytesList = Bytes::from_static(b"content").into();
        let id = Id::from(BlobId::of(b"content"));
        for tpe in [FileType::Pack, FileType::Index, FileType::Snapshot, FileType::Key, FileType::Config] {
            local.write_bytes(tpe, &id, false, content.clone()).unwrap();
            assert_eq!(local.read_full(tpe, &id).unwrap(), "content");
            if tpe != FileType::Config {
                assert_eq!(local.list_with_size(tpe).unwrap(), [(id, 7)]);
            }
            local.remove(tpe, &id, false).unwrap();
        }
        assert_eq!(fs::read_dir(root.path().join("index")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_disk_takes_directly_is_written_as_anything_else_is() {
        let root = tempfile::tempdir().unwrap();
        let local = local(root.path(), &[]);
        let memory: Vec<u8> = (0..DIRECT_FROM as u32 * 2).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
        let memory = Bytes::from(memory);
        let page = memory.as_ptr().align_offset(PAGE);
        for begin in [page, page + 1] {
            for length in [DIRECT_FROM - 1, DIRECT_FROM, DIRECT_FROM + 1, DIRECT_FROM + 3 * PAGE - 1] {
                let content = memory.slice(begin..begin + length);
                let id = Id::from(BlobId::of(&content));
                let odd_end = memory.slice(..7);
                let mut parts = BytesList::from(content.clone());
                parts.add(odd_end.clone());
                local.write_bytes(FileType::Pack, &id, false, parts).unwrap();
                let read = local.read_full(FileType::Pack, &id).unwrap();
                assert!(read == [content, odd_end].concat(), "{length} bytes from {begin}");
            }
        }
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_and_says_where() {
        let root = tempfile::tempdir().unwrap();
        let id = Id::from(BlobId::of(b"content"));
        // The name is taken by something that cannot be replaced.
        fs::create_dir_all(root.path().join("index").join(id.to_hex().as_str()).join("x")).unwrap();
        let error = local(root.path(), &[]).write_bytes(FileType::Index, &id, false, Bytes::new().into()).unwrap_err();
        assert!(crate::error::chain(&crate::store::explain(*error)).contains(root.path().to_str().unwrap()));
        assert_eq!(fs::read_dir(root.path().join("index")).unwrap().count(), 1);
    }

    #[test]
    fn a_command_that_only_rustic_runs_leaves_the_writing_to_rustic() {
        let root = tempfile::tempdir().unwrap();
        let kept = local(root.path(), &[POST_CREATE.to_owned()]);
        assert!(!format!("{kept:?}").starts_with("Local {"), "{kept:?}");
    }
}
