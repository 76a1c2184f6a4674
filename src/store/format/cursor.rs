//! Goes through a saved tree beside the directory it was made of, as long as nothing has changed.
//!
//! What has not changed is written today as it was saved: an entry is compared by writing its JSON and looking whether that stands in the saved tree
//! at this place. That takes a fifth of the time of reading the saved tree, which is only done ([`super::parent`]) when something differs.

use rustic_core::repofile::Node;

use super::BlobId;
use super::tree::head;

/// A place in a saved tree.
#[derive(Debug)]
pub struct Cursor {
    json: Vec<u8>,
    at: usize,
    /// Where an entry is written to be compared.
    scratch: Vec<u8>,
}

/// What an entry that has not changed holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing: a link, a device.
    Nothing,
    /// The pieces of a file.
    Content(Vec<BlobId>),
    /// The tree of a directory.
    Subtree(BlobId),
}

impl Cursor {
    /// The beginning of a saved tree.
    ///
    /// # Errors
    ///
    /// Gives it back when it is not written as holdall and restic write one.
    pub fn new(json: Vec<u8>) -> Result<Self, Vec<u8>> {
        let begin = br#"{"nodes":["#;
        if json.starts_with(begin) { Ok(Self { json, at: begin.len(), scratch: Vec::new() }) } else { Err(json) }
    }

    /// What the next saved entry holds, if it is this one in all that [`super::tree::node`] writes of it. Else `None`, and the cursor stays.
    pub fn next_if_same(&mut self, node: &Node) -> Option<Held> {
        self.scratch.clear();
        head(&mut self.scratch, node);
        let rest = self.json[self.at..].strip_prefix(self.scratch.as_slice())?;
        let (held, rest) = held(rest)?;
        let rest = match rest {
            [b',', rest @ ..] if rest.starts_with(b"{") => rest,
            [b']', ..] => rest,
            _ => return None,
        };
        self.at = self.json.len() - rest.len();
        Some(held)
    }

    /// Whether all saved entries have passed.
    pub fn is_at_end(&self) -> bool {
        self.json[self.at..] == *b"]}\n"
    }

    /// Takes the saved tree out; nothing can be compared any more.
    pub fn take_json(&mut self) -> Vec<u8> {
        self.at = 0;
        std::mem::take(&mut self.json)
    }
}

/// The value of `content`, and what may follow in a node; and what stands behind the node.
fn held(json: &[u8]) -> Option<(Held, &[u8])> {
    if let Some(rest) = json.strip_prefix(b"null}") {
        return Some((Held::Nothing, rest));
    }
    if let Some(rest) = json.strip_prefix(br#"null,"subtree":"#) {
        let (tree, rest) = id(rest)?;
        return Some((Held::Subtree(tree), rest.strip_prefix(b"}")?));
    }
    if let Some(rest) = json.strip_prefix(b"[]}") {
        return Some((Held::Content(Vec::new()), rest));
    }
    let mut blobs = Vec::new();
    let mut rest = json.strip_prefix(b"[")?;
    loop {
        let (blob, behind) = id(rest)?;
        blobs.push(blob);
        if let Some(rest) = behind.strip_prefix(b"]}") {
            return Some((Held::Content(blobs), rest));
        }
        rest = behind.strip_prefix(b",")?;
    }
}

fn id(json: &[u8]) -> Option<(BlobId, &[u8])> {
    let (hex, rest) = json.strip_prefix(b"\"")?.split_at_checked(64)?;
    Some((BlobId::from_hex(str::from_utf8(hex).ok()?)?, rest.strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use rustic_core::repofile::{Metadata, NodeType};

    use super::super::tree::{Payload, begin, end, node};
    use super::*;

    fn named(name: &str, node_type: NodeType) -> Node {
        Node::new_node(OsStr::new(name), node_type, Metadata { mode: Some(0o644), size: 3, ..Metadata::default() })
    }

    fn entries() -> Vec<(Node, Held)> {
        let [one, two] = [BlobId([1; 32]), BlobId([2; 32])];
        vec![
            (named("a", NodeType::File), Held::Content(vec![])),
            (named("b\n", NodeType::Dir), Held::Subtree(one)),
            (named("c", NodeType::File), Held::Content(vec![one])),
            (named("d", NodeType::Fifo), Held::Nothing),
            (named("e", NodeType::File), Held::Content(vec![one, two, one])),
        ]
    }

    fn saved(entries: &[(Node, Held)]) -> Cursor {
        let mut json = Vec::new();
        begin(&mut json);
        for (number, (entry, held)) in entries.iter().enumerate() {
            let payload = match held {
                Held::Nothing => Payload::None,
                Held::Content(blobs) => Payload::Content(blobs),
                Held::Subtree(tree) => Payload::Subtree(*tree),
            };
            node(&mut json, entry, &payload, number == 0);
        }
        end(&mut json);
        Cursor::new(json).unwrap()
    }

    #[test]
    fn unchanged_entries_pass_with_what_they_hold() {
        for length in 0..=entries().len() {
            let mut cursor = saved(&entries()[..length]);
            for (number, (entry, held)) in entries().into_iter().take(length).enumerate() {
                assert!(!cursor.is_at_end(), "{number} of {length}");
                assert_eq!(cursor.next_if_same(&entry), Some(held));
            }
            assert!(cursor.is_at_end());
            assert_eq!(cursor.next_if_same(&named("z", NodeType::File)), None);
        }
    }

    #[test]
    fn whatever_differs_does_not_pass() {
        let changes: [fn(&mut Node); 6] = [
            |node| node.name = "A".to_owned(),
            |node| node.name.push('a'),
            |node| node.node_type = NodeType::Dir,
            |node| node.meta.size = 30,
            |node| node.meta.mode = Some(0o64),
            |node| node.meta.user = Some("me".to_owned()),
        ];
        for change in changes {
            let mut cursor = saved(&entries());
            let (mut entry, held) = entries().remove(0);
            change(&mut entry);
            assert_eq!(cursor.next_if_same(&entry), None, "{entry:?}");
            assert_eq!(cursor.next_if_same(&entries()[0].0), Some(held), "the cursor has not moved");
        }
        let mut cursor = saved(&entries());
        assert_eq!(cursor.next_if_same(&entries()[1].0), None, "one was removed");
    }

    #[test]
    fn what_is_not_written_so_is_left_to_the_reader() {
        assert!(Cursor::new(br#"{ "nodes": []}"#.to_vec()).is_err());
        for broken in [
            r#""content":"#,
            r#""content":["#,
            r#""content":["0"]}"#,
            r#""content":null"#,
            r#""content":[],"x":1}"#,
            r#""content":[]},"#,
        ] {
            let entry = named("a", NodeType::File);
            let mut json = br#"{"nodes":["#.to_vec();
            head(&mut json, &entry);
            json.truncate(json.len() - br#""content":"#.len());
            json.extend_from_slice(broken.as_bytes());
            json.extend_from_slice(b"]}\n");
            assert_eq!(Cursor::new(json).unwrap().next_if_same(&entry), None, "{broken}");
        }
    }
}
