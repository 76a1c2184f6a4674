//! Gets the nodes out of a tree's JSON in one pass, without keeping anything that is not compared.
//!
//! serde_json does the grammar, and bounds how deep values may be nested. `null` is as good as a field that is not there, as it is to Go.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::BlobId;
use super::super::moment::Moment;
use super::super::text::unquote;
use super::Known;

/// A tree while it is read; the one field is `nodes`.
pub(super) struct Tree(pub(super) Vec<Known>);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tree")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut nodes = None;
                while let Some(Text(key)) = map.next_key()? {
                    if key != "nodes" {
                        map.next_value::<IgnoredAny>()?;
                    } else if nodes.replace(map.next_value_seed(Nodes)?).is_some() {
                        return Err(A::Error::duplicate_field("nodes"));
                    }
                }
                Ok(Tree(nodes.unwrap_or_default()))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Reads the list of nodes, or `null`.
struct Nodes;

impl<'de> DeserializeSeed<'de> for Nodes {
    type Value = Vec<Known>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Known>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nodes {
    type Value = Vec<Known>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of nodes")
    }

    fn visit_unit<E>(self) -> Result<Vec<Known>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Known>, A::Error> {
        let mut nodes: Vec<Known> = Vec::new();
        let mut owners = Owners::default();
        while let Some(node) = list.next_element_seed(&mut owners)? {
            if nodes.last().is_some_and(|last| last.name >= node.name) {
                return Err(A::Error::custom("names are not in their order"));
            }
            nodes.push(node);
        }
        Ok(nodes)
    }
}

/// Names of the last node's owners: most nodes of a directory have the same, and share them.
#[derive(Default)]
struct Owners {
    user: Option<Arc<str>>,
    group: Option<Arc<str>>,
}

/// The text, shared with the last one when it is the same.
fn shared(last: &mut Option<Arc<str>>, text: &str) -> Option<Arc<str>> {
    if text.is_empty() {
        return None;
    }
    if last.as_deref() != Some(text) {
        *last = Some(text.into());
    }
    last.clone()
}

#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Name,
    Type,
    Mode,
    Mtime,
    Atime,
    Ctime,
    Uid,
    Gid,
    User,
    Group,
    Inode,
    DeviceId,
    Size,
    Links,
    Linktarget,
    LinktargetRaw,
    ExtendedAttributes,
    Device,
    Content,
    Subtree,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for &mut Owners {
    type Value = Known;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Known, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Owners {
    type Value = Known;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Known, A::Error> {
        let mut node = Known {
            name: Box::default(),
            kind: "",
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Moment::UNKNOWN,
            atime: Moment::UNKNOWN,
            ctime: Moment::UNKNOWN,
            user: None,
            group: None,
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            device: 0,
            content: None,
            subtree: None,
            rest: None,
            has_more: false,
        };
        let mut seen = 0_u32;
        while let Some(field) = map.next_key::<Field>()? {
            let bit = 1 << field as u32;
            if matches!(field, Field::Other) {
                node.has_more = true;
            } else if seen & bit != 0 {
                // Go would take the last, others the first.
                return Err(A::Error::custom("a node has a field twice"));
            }
            seen |= bit;
            match field {
                Field::Name => {
                    let Text(quoted) = map.next_value()?;
                    node.name = unquote(&quoted).ok_or_else(|| A::Error::custom("a name is not quoted right"))?;
                }
                Field::Type => node.kind = kind(&map.next_value::<Text<'_>>()?.0),
                Field::Mode => node.mode = or_zero(&mut map)?,
                Field::Mtime => node.mtime = or_unknown(&mut map)?,
                Field::Atime => node.atime = or_unknown(&mut map)?,
                Field::Ctime => node.ctime = or_unknown(&mut map)?,
                Field::Uid => node.uid = or_zero(&mut map)?,
                Field::Gid => node.gid = or_zero(&mut map)?,
                Field::User => node.user = shared(&mut self.user, &or_empty(&mut map)?),
                Field::Group => node.group = shared(&mut self.group, &or_empty(&mut map)?),
                Field::Inode => node.inode = or_zero(&mut map)?,
                Field::DeviceId => node.device_id = or_zero(&mut map)?,
                Field::Size => node.size = or_zero(&mut map)?,
                Field::Links => node.links = or_zero(&mut map)?,
                Field::Linktarget => {
                    let target = or_empty(&mut map)?;
                    // The raw form is what counts, wherever it stands.
                    if !target.is_empty() && seen & 1 << Field::LinktargetRaw as u32 == 0 {
                        node.rest.get_or_insert_default().target = target.as_bytes().to_vec();
                    }
                }
                Field::LinktargetRaw => {
                    let Raw(target) = map.next_value::<Option<Raw>>()?.unwrap_or_default();
                    if !target.is_empty() {
                        node.rest.get_or_insert_default().target = target;
                    }
                }
                Field::ExtendedAttributes => {
                    let attributes: Vec<Attribute> = map.next_value::<Option<_>>()?.unwrap_or_default();
                    if !attributes.is_empty() {
                        node.rest.get_or_insert_default().attributes = attributes
                            .into_iter()
                            .map(|attribute| (attribute.name, attribute.value.map(|raw| raw.0)))
                            .collect();
                    }
                }
                Field::Device => node.device = or_zero(&mut map)?,
                Field::Content => node.content = map.next_value::<Option<Ids>>()?.map(|ids| ids.0),
                Field::Subtree => node.subtree = map.next_value()?,
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if seen & 1 << Field::Name as u32 == 0 {
            return Err(A::Error::missing_field("name"));
        }
        Ok(node)
    }
}

/// The type as [`type_name`](super::super::tree::type_name) has it; empty for one that it does not have.
fn kind(text: &str) -> &'static str {
    const KINDS: [&str; 7] = ["file", "dir", "symlink", "dev", "chardev", "fifo", "socket"];
    KINDS.into_iter().find(|kind| *kind == text).unwrap_or_default()
}

fn or_zero<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(map: &mut A) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

fn or_unknown<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Moment, A::Error> {
    Ok(map.next_value::<Option<_>>()?.unwrap_or(Moment::UNKNOWN))
}

fn or_empty<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Cow<'de, str>, A::Error> {
    Ok(map.next_value::<Option<Text<'de>>>()?.map(|text| text.0).unwrap_or_default())
}

#[derive(Deserialize)]
struct Attribute {
    name: String,
    value: Option<Raw>,
}

/// Text that is borrowed from the JSON where it stands there as it is.
struct Text<'de>(Cow<'de, str>);

/// Bytes in base64.
#[derive(Default)]
struct Raw(Vec<u8>);

/// Implements `Deserialize` for what is a string in the JSON.
macro_rules! read_string {
    ($type:ty, $what:literal, |$text:ident| $read:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl Visitor<'_> for Read {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: Error>(self, $text: &str) -> Result<Self::Value, E> {
                        $read.ok_or_else(|| E::custom(concat!("expected ", $what)))
                    }
                }
                deserializer.deserialize_str(Read)
            }
        }
    };
}

read_string!(BlobId, "an id", |text| Self::Value::from_hex(text));
read_string!(Moment, "a time", |text| Self::Value::parse(text.as_bytes()));
read_string!(Raw, "base64", |text| STANDARD.decode(text).ok().map(Raw));

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// Ids of pieces: most files have one, and get no room for more.
struct Ids(Vec<BlobId>);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Ids;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of ids")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ids, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    if ids.is_empty() {
                        ids.reserve_exact(1);
                    }
                    ids.push(id);
                }
                Ok(Ids(ids))
            }
        }
        deserializer.deserialize_seq(Read)
    }
}
