//! Hard links: which entries of a point are names of one file, and where the first of them was made.
//!
//! What a point says about inodes may be a lie: two files with different content under one number. So names are taken together only when content,
//! owner and mode are the same as well.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::ffi::OsString;
use std::hash::BuildHasher;

use super::directory::Identity;
use crate::store::Node;

/// The device and inode number a file had when it was backed up.
pub type Key = (u64, u64);

/// What a file is to those with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has one name.
    Alone,
    /// It is the first name; the others are linked to it.
    First(Key),
    /// It is a further name of a file that came before.
    Further(Key),
}

/// Where the first name was made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// The names from the target down to it.
    pub(super) names: Vec<OsString>,
    /// The inode it has here.
    pub(super) identity: Identity,
}

/// All files with several names that were met.
#[derive(Debug, Default)]
pub struct Links {
    groups: HashMap<Key, Group>,
    /// Seeded at random, so that nobody can make two contents that look the same.
    hasher: RandomState,
}

#[derive(Debug)]
struct Group {
    fingerprint: u64,
    made: Option<Made>,
}

impl Links {
    /// What `node` is to those before it.
    pub fn role(&mut self, node: &Node) -> Role {
        let meta = &node.meta;
        if meta.links < 2 || meta.inode == 0 {
            return Role::Alone;
        }
        let key = (meta.device_id, meta.inode);
        let fingerprint = self.hasher.hash_one((&node.content, meta.mode, meta.uid, meta.gid));
        match self.groups.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Group { fingerprint, made: None });
                Role::First(key)
            }
            Entry::Occupied(group) if group.get().fingerprint == fingerprint => Role::Further(key),
            Entry::Occupied(_) => Role::Alone,
        }
    }

    /// The first name is there.
    pub(super) fn made(&mut self, key: Key, made: Made) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.made = Some(made);
        }
    }

    /// Where the first name is; `None` when it could not be made.
    pub(super) fn first(&self, key: Key) -> Option<&Made> {
        self.groups.get(&key)?.made.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::store::{Metadata, NodeType};

    fn node(inode: u64, links: u64, mode: u32) -> Node {
        let meta = Metadata { inode, links, mode: Some(mode), device_id: 1, ..Metadata::default() };
        let mut node = Node::new_node(OsStr::new("a"), NodeType::File, meta);
        node.content = Some(Vec::new());
        node
    }

    #[test]
    fn names_of_one_inode_belong_together() {
        let mut links = Links::default();
        assert_eq!(links.role(&node(5, 2, 0o644)), Role::First((1, 5)));
        assert_eq!(links.role(&node(5, 2, 0o644)), Role::Further((1, 5)));
        assert_eq!(links.role(&node(6, 2, 0o644)), Role::First((1, 6)));
        assert_eq!(links.role(&node(7, 1, 0o644)), Role::Alone);
    }

    #[test]
    fn same_number_does_not_make_different_files_one() {
        let mut links = Links::default();
        assert_eq!(links.role(&node(5, 2, 0o644)), Role::First((1, 5)));
        assert_eq!(links.role(&node(5, 2, 0o600)), Role::Alone);
        let mut other = node(5, 2, 0o644);
        other.content = None;
        assert_eq!(links.role(&other), Role::Alone);
    }

    #[test]
    fn first_name_is_known_only_once_it_is_made() {
        let mut links = Links::default();
        links.role(&node(5, 2, 0o644));
        assert!(links.first((1, 5)).is_none());
        links.made((1, 5), Made { names: vec!["a".into()], identity: (9, 9) });
        assert_eq!(links.first((1, 5)).map(|made| made.identity), Some((9, 9)));
    }
}
