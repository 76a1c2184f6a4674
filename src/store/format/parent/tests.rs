//! Tests of reading and comparing saved trees.

use std::ffi::OsStr;
use std::path::Path;

use proptest::prelude::*;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Metadata, NodeType, Tree as RusticTree};

use super::super::tree::{self, Payload};
use super::*;
use crate::store::node::set_xattrs;

fn written(nodes: &[(Node, Payload<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    tree::begin(&mut out);
    for (index, (node, payload)) in nodes.iter().enumerate() {
        tree::node(&mut out, node, payload, index == 0);
    }
    tree::end(&mut out);
    out
}

fn file() -> Node {
    let time = Timestamp::new(1_700_000_000, 5).ok();
    let meta = Metadata { mtime: time, ctime: time, size: 3, inode: 4, mode: Some(0o600), ..Metadata::default() };
    Node::new_node(OsStr::new("file"), NodeType::File, meta)
}

fn known(json: &str) -> Known {
    let json = format!("{{\"nodes\":[{json}]}}");
    parse(json.as_bytes()).unwrap().pop().unwrap()
}

fn error(json: &str) -> String {
    format!("{:#}", parse(json.as_bytes()).unwrap_err())
}

#[test]
fn what_was_written_is_the_same_until_anything_differs() {
    let mut meta = file().meta;
    set_xattrs(&mut meta, &[("user.a".into(), vec![1])]);
    let target = OsStr::from_bytes(b"to\xff");
    let link = Node::new_node(OsStr::new("link\n"), NodeType::from_link(Path::new(target)), meta);
    let saved = parse(&written(&[(link.clone(), Payload::None)])).unwrap().remove(0);
    assert_eq!(saved.name(), b"link\n");
    assert!(saved.is_same_node(&link));
    let changes: [fn(&mut Node); 18] = [
        |node| node.name = "link".into(),
        |node| node.node_type = NodeType::from_link(Path::new("to")),
        |node| node.node_type = NodeType::Fifo,
        |node| node.node_type = NodeType::Dev { device: 1 },
        |node| node.meta.mode = None,
        |node| node.meta.mtime = None,
        |node| node.meta.atime = Some(Timestamp::UNIX_EPOCH),
        |node| node.meta.ctime = Some(Timestamp::UNIX_EPOCH),
        |node| node.meta.uid = Some(1),
        |node| node.meta.gid = Some(1),
        |node| node.meta.user = Some("ann".into()),
        |node| node.meta.group = Some("ann".into()),
        |node| node.meta.inode += 1,
        |node| node.meta.device_id += 1,
        |node| node.meta.size += 1,
        |node| node.meta.links += 1,
        |node| node.meta.extended_attributes.clear(),
        |node| set_xattrs(&mut node.meta, &[("user.a".into(), vec![2])]),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut changed = link.clone();
        change(&mut changed);
        assert!(!saved.is_same_node(&changed), "change {index}");
    }
}

#[test]
fn a_file_is_untouched_until_restic_would_read_it_again() {
    let id = BlobId::of(b"abc");
    let saved = parse(&written(&[(file(), Payload::Content(&[id]))])).unwrap().remove(0);
    assert_eq!((saved.content(), saved.subtree(), saved.is_dir()), (Some(&[id][..]), None, false));
    let mut same = file();
    same.meta.mode = Some(0o644);
    same.meta.uid = Some(7);
    assert!(saved.is_untouched(&same));
    assert!(!saved.is_same_node(&same));
    let changes: [fn(&mut Node); 5] = [
        |node| node.node_type = NodeType::Fifo,
        |node| node.meta.mtime = Some(Timestamp::UNIX_EPOCH),
        |node| node.meta.ctime = Some(Timestamp::UNIX_EPOCH),
        |node| node.meta.size += 1,
        |node| node.meta.inode += 1,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut changed = file();
        change(&mut changed);
        assert!(!saved.is_untouched(&changed), "change {index}");
    }
}

#[test]
fn without_a_time_of_change_nothing_is_untouched() {
    let mut timeless = file();
    timeless.meta.mtime = None;
    let saved = parse(&written(&[(timeless.clone(), Payload::Content(&[]))])).unwrap().remove(0);
    assert!(saved.is_same_node(&timeless) && !saved.is_untouched(&timeless));
}

#[test]
fn what_rustic_and_older_restics_write_is_read() {
    let hex = "ab".repeat(32);
    let of_rustic = known(&format!(
        r#"{{"size":3,"ctime":"2023-11-15T00:13:20.000000005+02:00","name":"file","mtime":"2023-11-14T22:13:20.000000005Z",
            "atime":null,"user":null,"mode":384,"inode":4,"type":"file","content":["{hex}"],"subtree":null,
            "linktarget":"","linktarget_raw":null,"extended_attributes":null}}"#
    ));
    assert!(of_rustic.is_same_node(&file()) && of_rustic.is_untouched(&file()));
    assert_eq!(of_rustic.content(), Some(&[BlobId([0xab; 32])][..]));
    let directory = known(&format!(r#"{{"name":"d","type":"dir","content":null,"subtree":"{hex}"}}"#));
    assert_eq!((directory.is_dir(), directory.subtree()), (true, Some(BlobId([0xab; 32]))));
    // Restic before 0.16 kept no raw target.
    let target = OsStr::from_bytes(b"\xff");
    let link = Node::new_node(OsStr::new("l"), NodeType::from_link(Path::new(target)), Metadata::default());
    assert!(!known(r#"{"name":"l","type":"symlink","linktarget":"\ufffd"}"#).is_same_node(&link));
    assert!(
        known(r#"{"name":"l","type":"symlink","linktarget_raw":"/w==","linktarget":"\ufffd"}"#).is_same_node(&link)
    );
    assert!(parse(br#"{"nodes":null}"#).unwrap().is_empty());
    assert!(parse(b"{}").unwrap().is_empty());
}

#[test]
fn a_node_with_more_than_is_written_is_not_the_same() {
    let plain = Node::new_node(OsStr::new("x"), NodeType::Dir, Metadata::default());
    assert!(known(r#"{"name":"x","type":"dir"}"#).is_same_node(&plain));
    for more in [r#""generic_attributes":{"a":[1]}"#, r#""error":"e""#, r#""linktarget":"y""#, r#""device":1"#] {
        assert!(!known(&format!(r#"{{"name":"x","type":"dir",{more}}}"#)).is_same_node(&plain), "{more}");
    }
    assert!(!known(r#"{"name":"x","type":"irregular"}"#).is_same_node(&plain));
    assert!(!known(r#"{"name":"x"}"#).is_same_node(&plain));
}

#[test]
fn garbage_is_an_error() {
    let deep = format!("{{\"x\":{}", "[".repeat(1 << 20));
    let wrong = [
        "",
        "null",
        "[]",
        r#"{"nodes":{}}"#,
        r#"{"nodes":[]}{}"#,
        r#"{"nodes":[],"nodes":[]}"#,
        r#"{"nodes":[{"type":"file"}]}"#,
        r#"{"nodes":[{"name":"\\"}]}"#,
        r#"{"nodes":[{"name":"a","name":"a"}]}"#,
        r#"{"nodes":[{"name":"a","size":-1}]}"#,
        r#"{"nodes":[{"name":"a","mode":4294967296}]}"#,
        r#"{"nodes":[{"name":"a","mtime":"yesterday"}]}"#,
        r#"{"nodes":[{"name":"a","content":["abcd"]}]}"#,
        r#"{"nodes":[{"name":"a","linktarget_raw":"_"}]}"#,
        r#"{"nodes":[{"name":"b"},{"name":"a"}]}"#,
        &deep,
    ];
    for json in wrong {
        assert!(error(json).starts_with("read a saved tree: "), "{}", &json[..json.len().min(80)]);
    }
    assert!(error(r#"{"nodes":[{"name":"a"},{"name":"\\x61"}]}"#).contains("not in their order"));
}

#[test]
fn names_stand_in_the_order_of_their_bytes() {
    // U+FF5E sorts after U+1F600 as UTF-16, and quoted names in another way than real ones.
    let names = ["\n", " ", "\"", "A", "\u{7f}", "\u{ff5e}", "\u{1f600}"];
    let nodes =
        names.map(|name| (Node::new_node(OsStr::new(name), NodeType::Fifo, Metadata::default()), Payload::None));
    let read = parse(&written(&nodes)).unwrap();
    assert_eq!(read.iter().map(Known::name).collect::<Vec<_>>(), names.map(str::as_bytes));
}

fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
    let seconds = Timestamp::MIN.as_second() + 1..Timestamp::MAX.as_second();
    prop::option::of(
        (seconds, 0..1_000_000_000).prop_map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).unwrap()),
    )
}

fn any_type() -> impl Strategy<Value = NodeType> {
    prop_oneof![
        Just(NodeType::File),
        Just(NodeType::Dir),
        Just(NodeType::Fifo),
        Just(NodeType::Socket),
        any::<u64>().prop_map(|device| NodeType::Dev { device }),
        any::<u64>().prop_map(|device| NodeType::Chardev { device }),
        prop::collection::vec(1_u8.., 0..20)
            .prop_map(|target| NodeType::from_link(Path::new(OsStr::from_bytes(&target)))),
    ]
}

prop_compose! {
    fn any_metadata()(
        times in (any_time(), any_time(), any_time()),
        ids in any::<(Option<u32>, Option<u32>, Option<u32>)>(),
        names in any::<(Option<String>, Option<String>)>(),
        numbers: [u64; 4],
        attributes in prop::collection::vec(any::<(String, Vec<u8>)>(), 0..3),
    ) -> Metadata {
        let ((mtime, atime, ctime), (mode, uid, gid), (user, group)) = (times, ids, names);
        let [inode, device_id, size, links] = numbers;
        let mut meta =
            Metadata { mode, mtime, atime, ctime, uid, gid, user, group, inode, device_id, size, links, ..Metadata::default() };
        set_xattrs(&mut meta, &attributes);
        meta
    }
}

proptest! {
    #[test]
    fn every_node_is_read_back_as_the_same(
        name in prop::collection::vec(1_u8.., 1..20),
        node_type in any_type(),
        meta in any_metadata(),
        ids in prop::collection::vec(any::<[u8; 32]>().prop_map(BlobId), 0..4),
    ) {
        let node = Node::new_node(OsStr::from_bytes(&name), node_type, meta);
        let payload = match node.node_type {
            NodeType::File => Payload::Content(&ids),
            NodeType::Dir => ids.first().map_or(Payload::None, |id| Payload::Subtree(*id)),
            _ => Payload::None,
        };
        let json = written(&[(node.clone(), payload)]);
        let saved = parse(&json).unwrap().remove(0);
        prop_assert!(saved.is_same_node(&node));
        prop_assert_eq!(saved.name(), &name);
        prop_assert_eq!(saved.is_untouched(&node), node.meta.mtime.is_some());
        if node.is_file() {
            prop_assert_eq!(saved.content(), Some(&ids[..]));
        } else if node.is_dir() {
            prop_assert_eq!(saved.subtree(), ids.first().copied());
        }
        // Rustic reads it, and what it reads is written the same.
        let of_rustic: RusticTree = serde_json::from_slice(&json).unwrap();
        prop_assert!(saved.is_same_node(&of_rustic.nodes[0]));
        prop_assert_eq!(written(&[(of_rustic.nodes[0].clone(), payload)]), json);
    }

    #[test]
    fn no_bytes_make_reading_panic(before in 0_usize..300, with: Vec<u8>, skipped in 0_usize..20) {
        let mut meta = file().meta;
        set_xattrs(&mut meta, &[("user.a".into(), vec![1])]);
        let link = Node::new_node(OsStr::new("l\n"), NodeType::from_link(Path::new(OsStr::from_bytes(b"\xff"))), meta);
        let mut json = written(&[(file(), Payload::Content(&[BlobId([1; 32])])), (link, Payload::None)]);
        let before = before.min(json.len());
        let end = (before + skipped).min(json.len());
        json.splice(before..end, with);
        for known in parse(&json).unwrap_or_default() {
            let _ = known.is_same_node(&file());
        }
    }
}
