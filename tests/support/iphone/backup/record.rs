//! The record of one file in the manifest: an `MBFile`, archived by NSKeyedArchiver as a binary property list.

use plist::Value;

use super::archive::Archive;
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
        let mut archive = Archive::new();
        // What `$objects` holds: nothing, the file, which is only known at the end, and its path.
        let mut objects = vec![archive.text("$null"), 0, archive.text(path)];
        let mut refer = |archive: &mut Archive, object: u8| {
            objects.push(object);
            archive.uid(u8::try_from(objects.len() - 1).expect("they are a few"))
        };
        let inode = i64::try_from(entry.inode).expect("inodes are small numbers");
        let size = i64::try_from(entry.size()).expect("files are not so large");
        let mut file = vec![("RelativePath", archive.uid(2))];
        for (name, number) in [
            ("Size", size),
            ("Mode", entry.mode.into()),
            ("LastModified", entry.mtime),
            ("LastStatusChange", entry.mtime),
            ("Birth", entry.birth),
            ("InodeNumber", inode),
            ("UserID", entry.uid.into()),
            ("GroupID", entry.gid.into()),
            ("ProtectionClass", entry.class.into()),
            ("Flags", 0),
        ] {
            file.push((name, archive.integer(number)));
        }
        if let Some(digest) = digest {
            let digest = archive.data(digest);
            file.push(("Digest", refer(&mut archive, digest)));
        }
        if let Kind::Link(target) = &entry.kind {
            let target = archive.text(target);
            file.push(("Target", refer(&mut archive, target)));
        }
        if let Some(key) = key {
            let class = class(&mut archive, &["NSMutableData", "NSData", "NSObject"]);
            let (bytes, class) = (archive.data(key), refer(&mut archive, class));
            let data = archive.dictionary(&[("NS.data", bytes), ("$class", class)]);
            file.push(("EncryptionKey", refer(&mut archive, data)));
        }
        let class = class(&mut archive, &["MBFile", "NSObject"]);
        file.push(("$class", refer(&mut archive, class)));
        objects[1] = archive.dictionary(&file);
        let root = archive.uid(1);
        let entries = [
            ("$version", archive.integer(100_000)),
            ("$archiver", archive.text("NSKeyedArchiver")),
            ("$top", archive.dictionary(&[("root", root)])),
            ("$objects", archive.array(&objects)),
        ];
        let root = archive.dictionary(&entries);
        archive.finish(root)
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

fn class(archive: &mut Archive, names: &[&str]) -> u8 {
    let classes: Vec<u8> = names.iter().map(|name| archive.text(name)).collect();
    let (name, classes) = (archive.text(names[0]), archive.array(&classes));
    archive.dictionary(&[("$classname", name), ("$classes", classes)])
}
