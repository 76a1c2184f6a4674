//! What is on the virtual phone: domains with files, directories and symbolic links, which tests change between backups.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;

use super::content::{Content, Sha1, sha1};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Link(String),
}

/// One file, directory or link of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Type and permissions, as `st_mode` has them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content, in seconds since 1970.
    pub mtime: i64,
    /// When it was made, in seconds since 1970.
    pub birth: i64,
    /// The same as long as it is the same file, under whatever name.
    pub inode: u64,
    /// The class of data protection: 1 to 4, or 0 for what has none.
    pub class: u8,
    /// What clones of one file have in common.
    pub clone: Option<u64>,
    /// The size that the manifest has in place of the true one, as phones write it down of databases in use.
    pub said: Option<u64>,
}

impl Entry {
    /// Bytes of the content: 0 for what has none.
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.size(),
            Kind::Directory | Kind::Link(_) => 0,
        }
    }

    /// The content of a file.
    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File(content) => Some(content),
            Kind::Directory | Kind::Link(_) => None,
        }
    }

    /// The number that the column `flags` of the manifest has for it.
    pub fn flags(&self) -> i64 {
        match self.kind {
            Kind::File(_) => 1,
            Kind::Directory => 2,
            Kind::Link(_) => 4,
        }
    }
}

/// The name of a file in a backup: the SHA-1 of domain, a dash and the path in the domain.
pub fn file_id(domain: &str, path: &str) -> Sha1 {
    sha1(format!("{domain}-{path}").as_bytes())
}

/// All that a phone would back up.
#[derive(Clone, Debug)]
pub struct Files {
    domains: BTreeMap<String, BTreeMap<String, Entry>>,
    /// The next number that no file has had.
    inode: u64,
    /// The moment of the next change: one second later with each.
    now: i64,
}

impl Default for Files {
    fn default() -> Self {
        Self { domains: BTreeMap::new(), inode: 1000, now: 1_760_000_000 }
    }
}

impl Files {
    /// Everything, by domain and path, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Entry)> {
        self.domains.iter().flat_map(|(domain, paths)| paths.iter().map(|(path, entry)| (&**domain, &**path, entry)))
    }

    /// What is at this place.
    pub fn get(&self, domain: &str, path: &str) -> Option<&Entry> {
        self.domains.get(domain)?.get(path)
    }

    /// What is at this place, to be changed in every detail.
    pub fn get_mut(&mut self, domain: &str, path: &str) -> Option<&mut Entry> {
        self.domains.get_mut(domain)?.get_mut(path)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.domains.values().map(BTreeMap::len).sum()
    }

    /// Bytes of all contents.
    pub fn size(&self) -> u64 {
        self.iter().map(|(_, _, entry)| entry.size()).sum()
    }

    /// Makes a file, with the directories above it; what was there is replaced by a new file.
    pub fn add(&mut self, domain: &str, path: &str, content: impl Into<Content>) -> &mut Self {
        let entry = self.entry(Kind::File(content.into()), 0o100_644);
        self.put(domain, path, entry)
    }

    /// Makes a directory.
    pub fn directory(&mut self, domain: &str, path: &str) -> &mut Self {
        let entry = self.entry(Kind::Directory, 0o040_755);
        self.put(domain, path, entry)
    }

    /// Makes a symbolic link to `target`.
    pub fn link(&mut self, domain: &str, path: &str, target: &str) -> &mut Self {
        let entry = self.entry(Kind::Link(target.to_owned()), 0o120_755);
        self.put(domain, path, entry)
    }

    /// Gives a file other contents: it stays the same file, changed now.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn change(&mut self, domain: &str, path: &str, content: impl Into<Content>) -> &mut Self {
        self.now += 1;
        let now = self.now;
        let entry = self.get_mut(domain, path).unwrap_or_else(|| panic!("there is no {domain}/{path}"));
        (entry.kind, entry.mtime, entry.clone) = (Kind::File(content.into()), now, None);
        self
    }

    /// Gives an entry another path, perhaps in another domain.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn rename(&mut self, domain: &str, path: &str, to_domain: &str, to_path: &str) -> &mut Self {
        let entry = self.take(domain, path);
        self.put(to_domain, to_path, entry)
    }

    /// Makes a clone of a file, as "duplicate" does on APFS: another file with the same blocks.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn clone_file(&mut self, domain: &str, path: &str, to_path: &str) -> &mut Self {
        self.inode += 1;
        let inode = self.inode;
        let original = self.get_mut(domain, path).unwrap_or_else(|| panic!("there is no {domain}/{path}"));
        original.clone.get_or_insert(inode);
        let copy = Entry { inode, ..original.clone() };
        self.put(domain, to_path, copy)
    }

    /// Removes an entry.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn remove(&mut self, domain: &str, path: &str) -> &mut Self {
        self.take(domain, path);
        self
    }

    /// Makes `count` files of `size` bytes each, 1,000 to a directory, all in one domain.
    pub fn many(&mut self, domain: &str, seed: u64, count: usize, size: u64) -> &mut Self {
        for number in 0..count {
            let path = format!("Documents/{:05}/item-{number:07}.dat", number / 1000);
            self.add(domain, &path, Content::seeded(seed.wrapping_mul(1 << 32).wrapping_add(number as u64), size));
        }
        self
    }

    /// What a small phone has: photos, messages, settings, apps, links, empty files, names in many writings.
    pub fn typical(seed: u64) -> Self {
        let mut files = Self::default();
        let of = |number: u64, size: u64| Content::seeded(seed.wrapping_mul(1_000_003).wrapping_add(number), size);
        for number in 1..=8 {
            let path = format!("Media/DCIM/100APPLE/IMG_{number:04}.JPG");
            files.add("CameraRollDomain", &path, of(number, 40_000 * number + 7));
        }
        files.add("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0009.MOV", of(9, 3_000_000));
        files.add("CameraRollDomain", "Media/PhotoData/Photos.sqlite", of(10, 65_536));
        files.add("HomeDomain", "Library/SMS/sms.db", of(11, 131_072));
        files.add("HomeDomain", "Library/SMS/Attachments/a0/00/Grüße aus Köln 🏖.heic", of(12, 32_767));
        files.add("HomeDomain", "Library/AddressBook/AddressBook.sqlitedb", of(13, 32_768));
        files.add("HomeDomain", "Library/Preferences/com.apple.springboard.plist", "a small file\n");
        files.add("HomeDomain", "Library/Preferences/empty.plist", "");
        files.link("HomeDomain", "Library/Logs/current", "/var/mobile/Library/Logs/now");
        files.directory("HomeDomain", "Library/Empty directory");
        files.add("AppDomain-com.example.notes", "Documents/メモ.txt", "知らせ\n");
        files.add("AppDomain-com.example.notes", "Documents/e\u{301} decomposed, é composed.txt", of(14, 1));
        files.add("AppDomain-com.example.notes", "Documents/it's \"quoted\" \\ & <odd>.txt", of(15, 16));
        files.add("AppDomainGroup-group.com.example.shared", "Library/state.json", of(16, 15));
        files.add("WirelessDomain", "Library/Databases/CellularUsage.db", of(17, 20_480));
        files.add("KeychainDomain", "keychain-backup.plist", of(18, 4_000));
        files.get_mut("KeychainDomain", "keychain-backup.plist").expect("it was just made").class = 4;
        files.get_mut("HomeDomain", "Library/SMS/sms.db").expect("it was just made").class = 1;
        files
    }

    fn entry(&mut self, kind: Kind, mode: u32) -> Entry {
        self.inode += 1;
        self.now += 1;
        let class = if kind == Kind::Directory { 0 } else { 3 };
        let (now, inode) = (self.now, self.inode);
        Entry { kind, mode, uid: 501, gid: 501, mtime: now, birth: now, inode, class, clone: None, said: None }
    }

    fn put(&mut self, domain: &str, path: &str, entry: Entry) -> &mut Self {
        let mut above = path;
        while !above.is_empty() {
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
            if self.get(domain, above).is_some() {
                break;
            }
            let directory = self.entry(Kind::Directory, 0o040_755);
            self.domains.entry(domain.to_owned()).or_default().insert(above.to_owned(), directory);
        }
        self.domains.entry(domain.to_owned()).or_default().insert(path.to_owned(), entry);
        self
    }

    fn take(&mut self, domain: &str, path: &str) -> Entry {
        let paths = self.domains.get_mut(domain).unwrap_or_else(|| panic!("there is no {domain}"));
        match paths.entry(path.to_owned()) {
            Place::Occupied(place) => place.remove(),
            Place::Vacant(_) => panic!("there is no {domain}/{path}"),
        }
    }
}
