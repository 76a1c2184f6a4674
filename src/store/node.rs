//! What rustic_core's node needs and does not offer a public way to build.

use std::ffi::OsStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustic_core::jiff::Timestamp;
use serde_json::json;

use super::{Metadata, Node, NodeType};

/// A moment from seconds and nanoseconds since 1970; `None` when it is outside the years that restic's format can name.
pub fn timestamp(seconds: i64, nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}

/// A node of this name, which need not be UTF-8.
pub fn named(name: &OsStr, node_type: NodeType, meta: Metadata) -> Node {
    // rustic_core goes through every name character by character, for the sake of the few that restic's format escapes.
    let is_plain = |name: &&str| !name.bytes().any(|byte| matches!(byte, 7..=13 | b'"' | b'\\'));
    match name.to_str().filter(is_plain) {
        Some(plain) => Node { name: plain.to_owned(), node_type, meta, content: None, subtree: None },
        None => Node::new_node(name, node_type, meta),
    }
}

/// Gives `metadata` these extended attributes, as name and value.
pub fn set_xattrs(metadata: &mut Metadata, xattrs: &[(String, Vec<u8>)]) {
    // The type of an attribute is not exported, but its JSON form is restic's format and thus fixed.
    let attributes: Vec<_> =
        xattrs.iter().map(|(name, value)| json!({"name": name, "value": STANDARD.encode(value)})).collect();
    if let Ok(attributes) = serde_json::from_value(json!(attributes)) {
        metadata.extended_attributes = attributes;
    }
}

/// The special bits of a mode: as the kernel writes them, and as Go does (go.dev/src/io/fs/fs.go).
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// A mode of the kernel's (`st_mode`) as a node's: Go's `os.FileMode`, in which type and special bits stand elsewhere.
pub fn mode_to_node(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => 1 << 26 | 1 << 21,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let special: u32 = SPECIAL.iter().filter(|(unix, _)| mode & unix != 0).map(|(_, go)| go).sum();
    mode & 0o777 | special | kind
}

/// A node's mode as permission and special bits of the kernel's (`chmod`), without the type.
pub fn mode_from_node(mode: u32) -> u32 {
    let special: u32 = SPECIAL.iter().filter(|(_, go)| mode & go != 0).map(|(unix, _)| unix).sum();
    mode & 0o777 | special
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn xattrs_arrive_with_name_and_value() {
        let mut metadata = Metadata::default();
        set_xattrs(&mut metadata, &[("user.a".into(), vec![0, 255]), ("user.empty".into(), Vec::new())]);
        let got: Vec<_> = metadata
            .extended_attributes
            .iter()
            .map(|x| (x.name.as_str(), x.value.clone().unwrap_or_default()))
            .collect();
        assert_eq!(got, [("user.a", vec![0, 255]), ("user.empty", vec![])]);
    }

    #[test]
    fn names_are_escaped_as_rustic_core_does() {
        let with_each_byte = (0..=255).map(|byte| vec![b'a', byte, b'b']);
        for name in with_each_byte.chain(["ä", "a\u{85}b", "\u{1f600}"].map(|name| name.as_bytes().to_vec())) {
            let name = OsStr::from_bytes(&name);
            let expected = Node::new_node(name, NodeType::File, Metadata::default());
            assert_eq!(named(name, NodeType::File, Metadata::default()), expected);
            assert_eq!(expected.name(), name);
        }
    }

    #[test]
    fn modes_are_written_as_go_writes_them() {
        assert_eq!(mode_to_node(0o100_644), 0o644);
        assert_eq!(mode_to_node(0o104_755), 0o755 | 1 << 23);
        assert_eq!(mode_to_node(0o041_777), 0o777 | 1 << 20 | 1 << 31);
        assert_eq!(mode_to_node(0o020_620), 0o620 | 1 << 26 | 1 << 21);
        for mode in [0o644, 0o4755, 0o1777, 0o2750] {
            assert_eq!(mode_from_node(mode_to_node(mode | 0o100_000)), mode);
        }
    }

    #[test]
    fn time_before_1970_and_beyond_9999() {
        assert_eq!(timestamp(-1, 500).map(|t| t.as_nanosecond()), Some(-999_999_500));
        assert_eq!(timestamp(i64::MAX, 0), None);
    }
}
