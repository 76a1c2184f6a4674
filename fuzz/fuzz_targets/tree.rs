//! Whatever a saved tree holds, reading and comparing it does not panic; and what rustic makes of it is read back after writing it.
#![no_main]

use std::ffi::OsStr;

use holdall_fuzz::format::BlobId;
use holdall_fuzz::format::parent;
use holdall_fuzz::format::tree::{self, Payload};
use libfuzzer_sys::fuzz_target;
use rustic_core::repofile::{Metadata, Node, NodeType, Tree};

fuzz_target!(|json: &[u8]| {
    let plain = Node::new_node(OsStr::new("file"), NodeType::File, Metadata::default());
    for known in parent::parse(json).unwrap_or_default() {
        let _ = known.is_untouched(&plain);
        assert!(!known.is_same_node(&plain) || known.name() == b"file");
    }
    let Ok(Tree { nodes }) = serde_json::from_slice(json) else { return };
    for node in nodes {
        let payload = if node.is_dir() { Payload::Subtree(BlobId([7; 32])) } else { Payload::Content(&[]) };
        let mut out = Vec::new();
        tree::begin(&mut out);
        tree::node(&mut out, &node, &payload, true);
        tree::end(&mut out);
        let known = parent::parse(&out).expect("what is written can be read");
        assert!(known[0].is_same_node(&node), "{node:?}");
        serde_json::from_slice::<Tree>(&out).expect("rustic can read what is written");
    }
});
