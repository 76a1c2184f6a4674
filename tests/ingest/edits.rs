//! Random edits of a tree of files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{XattrFlags, setxattr};

/// What is done to a source.
#[derive(Debug, Clone, Copy)]
enum Act {
    Create,
    Overwrite,
    Touch,
    Rename,
    MoveDirectory,
    Delete,
    ReplaceByDirectory,
    Grow,
    HardLink,
    ChangeMode,
    SetAttribute,
    Symlink,
    MakeDirectory,
}

const ACTS: [Act; 16] = [
    Act::Create,
    Act::Create,
    Act::Create,
    Act::Create,
    Act::Overwrite,
    Act::Touch,
    Act::Rename,
    Act::MoveDirectory,
    Act::Delete,
    Act::ReplaceByDirectory,
    Act::Grow,
    Act::HardLink,
    Act::ChangeMode,
    Act::SetAttribute,
    Act::Symlink,
    Act::MakeDirectory,
];

/// One edit: what is done, to which of the things there are, and with how many bytes.
#[derive(Debug, Clone)]
pub struct Edit {
    act: Act,
    at: usize,
    seed: u64,
    size: usize,
}

/// A round of edits.
pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let size = prop_oneof![6 => 0..3_000_usize, 1 => 500_000..4_000_000_usize];
    let edit = (prop::sample::select(&ACTS[..]), any::<u16>(), any::<u64>(), size)
        .prop_map(|(act, at, seed, size)| Edit { act, at: at.into(), seed, size });
    prop::collection::vec(edit, 10..30)
}

/// Bytes of which about a half compresses well.
pub fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((state >> 11).to_le_bytes());
        bytes.extend(b"the same");
    }
    bytes.truncate(size);
    bytes
}

/// Everything below a directory, in order; directories before what is in them.
pub fn below(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
        .into_iter()
        .flat_map(|path| {
            let inside = if path.symlink_metadata().unwrap().is_dir() { below(&path) } else { Vec::new() };
            std::iter::once(path).chain(inside)
        })
        .collect()
}

impl Edit {
    /// Does it, if there is something to do it to.
    pub fn apply(&self, source: &Path) {
        let (mut directories, others): (Vec<_>, Vec<_>) =
            below(source).into_iter().partition(|path| path.symlink_metadata().unwrap().is_dir());
        let files: Vec<&PathBuf> = others.iter().filter(|path| path.symlink_metadata().unwrap().is_file()).collect();
        let new_name = format!("{:x}", self.seed % 0xffff);
        let moved = directories.get(self.at % directories.len().max(1)).cloned();
        directories.push(source.to_path_buf());
        let place = directories[self.at / 7 % directories.len()].join(&new_name);
        let file = files.get(self.at % files.len().max(1));
        let is_free = place.symlink_metadata().is_err();
        match (self.act, file) {
            (Act::Create, _) if is_free => fs::write(place, bytes(self.seed, self.size)).unwrap(),
            (Act::MakeDirectory, _) if is_free => fs::create_dir(place).unwrap(),
            (Act::Symlink, _) if is_free => symlink(format!("to {new_name}"), place).unwrap(),
            (Act::MoveDirectory, _) if is_free && moved.as_ref().is_some_and(|moved| !place.starts_with(moved)) => {
                fs::rename(moved.unwrap(), place).unwrap();
            }
            (Act::Rename, Some(file)) if is_free => fs::rename(file, place).unwrap(),
            (Act::HardLink, Some(file)) if is_free => fs::hard_link(file, place).unwrap(),
            (Act::Overwrite, Some(file)) => {
                let size = fs::metadata(file).unwrap().size();
                fs::write(file, bytes(self.seed, usize::try_from(size).unwrap())).unwrap();
            }
            (Act::Touch, Some(file)) => {
                let file = fs::File::options().write(true).open(file).unwrap();
                file.set_modified(std::time::SystemTime::now()).unwrap();
            }
            (Act::Delete, Some(file)) => fs::remove_file(file).unwrap(),
            (Act::ReplaceByDirectory, Some(file)) => {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
                fs::write(file.join("inside"), &new_name).unwrap();
            }
            (Act::Grow, Some(file)) => {
                let mut content = fs::read(file).unwrap();
                content.extend(bytes(self.seed, self.size));
                fs::write(file, content).unwrap();
            }
            (Act::ChangeMode, Some(file)) => {
                let mode = 0o400 | (self.seed % 0o400) as u32;
                fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
            }
            (Act::SetAttribute, Some(file)) => {
                setxattr(*file, "user.x", new_name.as_bytes(), XattrFlags::empty()).unwrap();
            }
            _ => {}
        }
    }
}
