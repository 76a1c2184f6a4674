//! The record of one file in the manifest: an `MBFile`, archived by NSKeyedArchiver as a binary property list.

use super::archive::Archive;
use super::archived::{Archived, Object};
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
        let size = i64::try_from(entry.said.unwrap_or_else(|| entry.size())).expect("files are not so large");
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
        let archive = Archived::new(bytes)?;
        let top = archive.root()?;
        let objects = archive.get(top, "$objects")?;
        let follow = |object: Object<'_>| match object {
            Object::Uid(at) => archive.item(objects, at),
            _ => None,
        };
        let file = follow(archive.get(archive.get(top, "$top")?, "root")?)?;
        let number = |name: &str| archive.get(file, name)?.integer();
        let unsigned = |name: &str| u64::try_from(number(name)?).ok();
        let small = |name: &str| u32::try_from(number(name)?).ok();
        let other = |name: &str| follow(archive.get(file, name)?);
        let key = other("EncryptionKey").and_then(|key| Some(archive.get(key, "NS.data")?.data()?.to_vec()));
        Some(Self {
            size: unsigned("Size")?,
            mtime: number("LastModified")?,
            inode: unsigned("InodeNumber")?,
            mode: small("Mode")?,
            class: small("ProtectionClass")?,
            key,
            digest: other("Digest").and_then(|digest| digest.data()?.try_into().ok()),
            target: other("Target").and_then(Object::text),
        })
    }
}

fn class(archive: &mut Archive, names: &[&str]) -> u8 {
    let classes: Vec<u8> = names.iter().map(|name| archive.text(name)).collect();
    let (name, classes) = (archive.text(names[0]), archive.array(&classes));
    archive.dictionary(&[("$classname", name), ("$classes", classes)])
}
