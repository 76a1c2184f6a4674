//! Writes a tree (a directory's list) as restic's canonical JSON, the bytes its id is the hash of.
//!
//! The order of fields and what is left away are those of restic's Go struct: everything that is zero or empty, but for name, type,
//! times, uid, gid and content. Times are written in UTC. Nothing goes through serde: half a million nodes pass here in a few
//! hundred milliseconds.

use std::os::unix::ffi::OsStrExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustic_core::repofile::{Node, NodeType};

use super::moment::Moment;
use super::{BlobId, decimal, text};

/// What a node holds apart from what describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Nothing: links, devices, pipes, sockets.
    None,
    /// The pieces of a regular file in their order; none for an empty file.
    Content(&'a [BlobId]),
    /// The tree of a directory.
    Subtree(BlobId),
}

/// Begins a tree in an empty buffer.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"nodes":["#);
}

/// Ends a tree. The id of the tree is the hash of all bytes since [`begin`].
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}\n");
}

/// Appends a node; nodes come in the order of the bytes of their names. `content` and `subtree` of `node` are not looked at.
///
/// A time that is not there is written as restic's "unknown", the beginning of year 1. Restic sets what it restores to that, so
/// who makes nodes gives them the modification time as access time, as restic does.
pub fn node(out: &mut Vec<u8>, node: &Node, payload: &Payload<'_>, is_first: bool) {
    if !is_first {
        out.push(b',');
    }
    head(out, node);
    match payload {
        Payload::Content(ids) => {
            out.push(b'[');
            for (index, id) in ids.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
                id.write_hex(out);
                out.push(b'"');
            }
            out.extend_from_slice(b"]}");
        }
        Payload::None => out.extend_from_slice(b"null}"),
        Payload::Subtree(id) => {
            out.extend_from_slice(br#"null,"subtree":""#);
            id.write_hex(out);
            out.extend_from_slice(b"\"}");
        }
    }
}

/// The part of a node's JSON that is in [`Node`]: all of it before the value of `content`.
pub(super) fn head(out: &mut Vec<u8>, node: &Node) {
    out.extend_from_slice(br#"{"name":"#);
    name(out, node);
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(type_name(&node.node_type).as_bytes());
    out.push(b'"');
    let meta = &node.meta;
    number(out, br#","mode":"#, meta.mode.unwrap_or_default().into());
    for (key, time) in [(br#","mtime":""#, meta.mtime), (br#","atime":""#, meta.atime), (br#","ctime":""#, meta.ctime)]
    {
        out.extend_from_slice(key);
        Moment::of(time).write(out);
        out.push(b'"');
    }
    out.extend_from_slice(br#","uid":"#);
    decimal(out, meta.uid.unwrap_or_default().into());
    out.extend_from_slice(br#","gid":"#);
    decimal(out, meta.gid.unwrap_or_default().into());
    string(out, br#","user":"#, meta.user.as_deref().unwrap_or_default());
    string(out, br#","group":"#, meta.group.as_deref().unwrap_or_default());
    number(out, br#","inode":"#, meta.inode);
    number(out, br#","device_id":"#, meta.device_id);
    number(out, br#","size":"#, meta.size);
    number(out, br#","links":"#, meta.links);
    link_target(out, &node.node_type);
    extended_attributes(out, node);
    number(out, br#","device":"#, device(&node.node_type));
    out.extend_from_slice(br#","content":"#);
}

/// What `type` is in the JSON.
pub(super) fn type_name(node_type: &NodeType) -> &'static str {
    match node_type {
        NodeType::File => "file",
        NodeType::Dir => "dir",
        NodeType::Symlink { .. } => "symlink",
        NodeType::Dev { .. } => "dev",
        NodeType::Chardev { .. } => "chardev",
        NodeType::Fifo => "fifo",
        NodeType::Socket => "socket",
    }
}

/// The number of a device; 0 for what is none.
pub(super) fn device(node_type: &NodeType) -> u64 {
    match node_type {
        NodeType::Dev { device } | NodeType::Chardev { device } => *device,
        _ => 0,
    }
}

/// Where a symbolic link leads; nothing for what is none.
pub(super) fn target(node_type: &NodeType) -> &[u8] {
    match node_type {
        NodeType::Symlink { linktarget_raw: Some(raw), .. } if !raw.is_empty() => raw,
        NodeType::Symlink { linktarget, .. } => linktarget.as_bytes(),
        _ => &[],
    }
}

/// `Node::name` as it is was quoted by rustic, which leaves characters as they are that Go does not.
fn name(out: &mut Vec<u8>, node: &Node) {
    if text::needs_no_quoting(&node.name) {
        text::json(out, &node.name);
    } else {
        text::json(out, &text::quote(node.name().as_bytes()));
    }
}

fn number(out: &mut Vec<u8>, key: &[u8], number: u64) {
    if number != 0 {
        out.extend_from_slice(key);
        decimal(out, number);
    }
}

fn string(out: &mut Vec<u8>, key: &[u8], string: &str) {
    if !string.is_empty() {
        out.extend_from_slice(key);
        text::json(out, string);
    }
}

/// A target that is not UTF-8 is written twice: for people, and in base64.
///
/// An empty one, which no file system has but an archive can name, is written too: restic would leave it away, but rustic then could
/// not read the whole directory.
fn link_target(out: &mut Vec<u8>, node_type: &NodeType) {
    if !matches!(node_type, NodeType::Symlink { .. }) {
        return;
    }
    let target = target(node_type);
    out.extend_from_slice(br#","linktarget":"#);
    text::json_lossy(out, target);
    if std::str::from_utf8(target).is_err() {
        out.extend_from_slice(br#","linktarget_raw":""#);
        out.extend_from_slice(STANDARD.encode(target).as_bytes());
        out.push(b'"');
    }
}

fn extended_attributes(out: &mut Vec<u8>, node: &Node) {
    for (index, attribute) in node.meta.extended_attributes.iter().enumerate() {
        out.extend_from_slice(if index == 0 { br#","extended_attributes":[{"name":"# } else { br#",{"name":"# });
        text::json(out, &attribute.name);
        match &attribute.value {
            Some(value) => {
                out.extend_from_slice(br#","value":""#);
                out.extend_from_slice(STANDARD.encode(value).as_bytes());
                out.extend_from_slice(b"\"}");
            }
            None => out.extend_from_slice(br#","value":null}"#),
        }
    }
    if !node.meta.extended_attributes.is_empty() {
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use rustic_core::jiff::Timestamp;
    use rustic_core::repofile::{Metadata, Tree};

    use super::*;
    use crate::store::node::set_xattrs;

    fn written(nodes: &[(Node, Payload<'_>)]) -> String {
        let mut out = Vec::new();
        begin(&mut out);
        for (index, (entry, payload)) in nodes.iter().enumerate() {
            node(&mut out, entry, payload, index == 0);
        }
        end(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn metadata() -> Metadata {
        let time = Timestamp::new(1_700_000_000, 500_000_000).ok();
        Metadata { mode: Some(0o644), mtime: time, atime: time, ctime: time, ..Metadata::default() }
    }

    #[test]
    fn an_empty_tree_has_the_id_that_restic_gives_it() {
        let tree = written(&[]);
        assert_eq!(tree, "{\"nodes\":[]}\n");
        let id = "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8";
        assert_eq!(BlobId::of(tree.as_bytes()).to_string(), id);
    }

    #[test]
    fn what_is_zero_or_empty_is_left_away() {
        let node = Node::new_node(OsStr::new("a"), NodeType::File, Metadata::default());
        let unknown = "0001-01-01T00:00:00Z";
        assert_eq!(
            written(&[(node, Payload::Content(&[]))]),
            format!(
                "{{\"nodes\":[{{\"name\":\"a\",\"type\":\"file\",\"mtime\":\"{unknown}\",\"atime\":\"{unknown}\",\
                 \"ctime\":\"{unknown}\",\"uid\":0,\"gid\":0,\"content\":[]}}]}}\n"
            )
        );
    }

    #[test]
    fn everything_stands_where_restic_has_it() {
        let mut meta = Metadata {
            uid: Some(1000),
            gid: Some(100),
            user: Some("ann".into()),
            group: Some("us&them".into()),
            inode: 5,
            device_id: 6,
            size: 7,
            links: 8,
            ..metadata()
        };
        set_xattrs(&mut meta, &[("user.a".into(), vec![0, 255]), ("user.b".into(), vec![])]);
        let target = OsStr::from_bytes(b"x\xff");
        let link = Node::new_node(OsStr::new("l\u{ad}"), NodeType::from_link(Path::new(target)), meta);
        let device = Node::new_node(OsStr::new("m"), NodeType::Chardev { device: 9 }, metadata());
        let id = BlobId([0xab; 32]);
        let directory = Node::new_node(OsStr::new("n"), NodeType::Dir, metadata());
        let file = Node::new_node(OsStr::new("o"), NodeType::File, metadata());
        let time = "2023-11-14T22:13:20.5Z";
        let times = format!("\"mode\":420,\"mtime\":\"{time}\",\"atime\":\"{time}\",\"ctime\":\"{time}\"");
        let hex = "ab".repeat(32);
        let expected = [
            "{\"nodes\":[{\"name\":\"l\\\\u00ad\",\"type\":\"symlink\",",
            &times,
            ",\"uid\":1000,\"gid\":100,\"user\":\"ann\",\"group\":\"us\\u0026them\",\"inode\":5,\"device_id\":6,\"size\":7,",
            "\"links\":8,\"linktarget\":\"x\\ufffd\",\"linktarget_raw\":\"eP8=\",\"extended_attributes\":[",
            "{\"name\":\"user.a\",\"value\":\"AP8=\"},{\"name\":\"user.b\",\"value\":\"\"}],\"content\":null},",
            "{\"name\":\"m\",\"type\":\"chardev\",",
            &times,
            ",\"uid\":0,\"gid\":0,\"device\":9,\"content\":null},",
            "{\"name\":\"n\",\"type\":\"dir\",",
            &times,
            &format!(",\"uid\":0,\"gid\":0,\"content\":null,\"subtree\":\"{hex}\"}},"),
            "{\"name\":\"o\",\"type\":\"file\",",
            &times,
            &format!(",\"uid\":0,\"gid\":0,\"content\":[\"{hex}\",\"{hex}\"]}}]}}\n"),
        ];
        let nodes = [
            (link, Payload::None),
            (device, Payload::None),
            (directory, Payload::Subtree(id)),
            (file, Payload::Content(&[id, id])),
        ];
        let tree = written(&nodes);
        assert_eq!(tree, expected.concat());
        let read: Tree = serde_json::from_str(&tree).unwrap();
        assert_eq!(read.nodes[0].name(), nodes[0].0.name());
        assert_eq!(read.nodes[0].node_type.to_link(), Path::new(target));
    }
}
