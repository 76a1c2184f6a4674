//! The record of one file in the manifest: an `MBFile`, archived by NSKeyedArchiver as a binary property list.

use plist::{Dictionary, Uid, Value};

use super::content::Sha1;
use super::files::{Entry, Kind};

/// What a manifest says of one file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Bytes of the content.
    pub size: u64,
    /// Last change, in seconds since 1970.
    pub mtime: i64,
    /// The number of the file.
    pub inode: u64,
    /// Type and permissions.
    pub mode: u32,
    /// The class of data protection.
    pub class: u32,
    /// The key of the body as it is written: class and wrapped key.
    pub key: Option<Vec<u8>>,
    /// The SHA-1 of the content.
    pub digest: Option<Sha1>,
    /// Where a link leads.
    pub target: Option<String>,
}

impl Record {
    /// The record of an entry at `path`, whose body has this key and content of this SHA-1.
    pub fn archive(path: &str, entry: &Entry, key: Option<&[u8]>, digest: Option<&Sha1>) -> Vec<u8> {
        let mut objects =
            vec![Value::String("$null".to_owned()), Value::Boolean(false), Value::String(path.to_owned())];
        let mut file = Dictionary::new();
        let mut put = |name: &str, value: Value| file.insert(name.to_owned(), value);
        put("Size", entry.size().into());
        put("Mode", entry.mode.into());
        put("LastModified", entry.mtime.into());
        put("LastStatusChange", entry.mtime.into());
        put("Birth", entry.birth.into());
        put("InodeNumber", entry.inode.into());
        put("UserID", entry.uid.into());
        put("GroupID", entry.gid.into());
        put("ProtectionClass", entry.class.into());
        put("Flags", 0_u32.into());
        put("RelativePath", uid(2));
        let mut refer = |name: &str, value: Value, objects: &mut Vec<Value>| {
            put(name, uid(objects.len()));
            objects.push(value);
        };
        if let Some(digest) = digest {
            refer("Digest", Value::Data(digest.to_vec()), &mut objects);
        }
        if let Kind::Link(target) = &entry.kind {
            refer("Target", Value::String(target.clone()), &mut objects);
        }
        if let Some(key) = key {
            let class_at = objects.len() + 1;
            let data = [("NS.data".to_owned(), Value::Data(key.to_vec())), ("$class".to_owned(), uid(class_at))];
            refer("EncryptionKey", Value::Dictionary(data.into_iter().collect()), &mut objects);
            objects.push(class(&["NSMutableData", "NSData", "NSObject"]));
        }
        refer("$class", class(&["MBFile", "NSObject"]), &mut objects);
        objects[1] = Value::Dictionary(file);
        let top = [("root".to_owned(), uid(1))].into_iter().collect();
        let archive = [
            ("$version".to_owned(), Value::Integer(100_000.into())),
            ("$archiver".to_owned(), Value::String("NSKeyedArchiver".to_owned())),
            ("$top".to_owned(), Value::Dictionary(top)),
            ("$objects".to_owned(), Value::Array(objects)),
        ];
        let mut bytes = Vec::new();
        let archive = Value::Dictionary(archive.into_iter().collect());
        archive.to_writer_binary(&mut bytes).expect("it is written to memory");
        bytes
    }

    /// Reads a record. `None`: it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let archive = Value::from_reader(std::io::Cursor::new(bytes)).ok()?.into_dictionary()?;
        let objects = archive.get("$objects")?.as_array()?;
        let object = |value: &Value| objects.get(usize::try_from(value.as_uid()?.get()).ok()?).cloned();
        let file = object(archive.get("$top")?.as_dictionary()?.get("root")?)?.into_dictionary()?;
        let number = |name: &str| file.get(name)?.as_unsigned_integer();
        let key = file.get("EncryptionKey").and_then(object).and_then(Value::into_dictionary);
        Some(Self {
            size: number("Size")?,
            mtime: file.get("LastModified")?.as_signed_integer()?,
            inode: number("InodeNumber")?,
            mode: u32::try_from(number("Mode")?).ok()?,
            class: u32::try_from(number("ProtectionClass")?).ok()?,
            key: key.and_then(|key| Some(key.get("NS.data")?.as_data()?.to_vec())),
            digest: file.get("Digest").and_then(object).and_then(|digest| digest.as_data()?.try_into().ok()),
            target: file.get("Target").and_then(object).and_then(Value::into_string),
        })
    }
}

fn uid(number: usize) -> Value {
    Value::Uid(Uid::new(number as u64))
}

fn class(names: &[&str]) -> Value {
    let classes = names.iter().map(|name| Value::String((*name).to_owned())).collect();
    let class =
        [("$classname".to_owned(), Value::String(names[0].to_owned())), ("$classes".to_owned(), Value::Array(classes))];
    Value::Dictionary(class.into_iter().collect())
}
