//! What a machine has: every entry below the configured paths, in little memory, in the order of a tree.

/// What `lstat` says of an entry, as far as a machine tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    /// Type and permissions, as `st_mode` on Linux.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In bytes.
    pub(super) size: u64,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// The same; `None` when it is not told.
    pub(super) ctime: Option<(i64, u32)>,
    /// 0 when it is not told, as with `links` and `device`.
    pub(super) inode: u64,
    pub(super) links: u64,
    pub(super) device: u64,
}

/// An entry as a machine lists it. All of it is hostile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// Absolute, without a slash at its end.
    pub(super) path: Vec<u8>,
    pub(super) stat: Stat,
    /// Where a symbolic link leads; empty for anything else.
    pub(super) target: Vec<u8>,
}
