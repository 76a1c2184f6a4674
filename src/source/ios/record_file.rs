//! What `Manifest.db` says of one file: an `MBFile`, as `NSKeyedArchiver` writes it into the column `file`.
//!
//! A binary property list of `$objects` that name each other, of which `$top` names the first (Foundation, "Archives and Serializations"); the keys of an `MBFile` are
//! those that github.com/jsharkey13/iphone_backup_decrypt and libimobiledevice's issue threads show.

use anyhow::{Context, Result, ensure};

use super::objects::{List, Object, Objects};

/// A key that is wrapped with that of a protection class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrappedKey {
    /// Number of the protection class.
    pub(super) class: u32,
    /// The key, by RFC 3394.
    pub(super) bytes: [u8; 40],
}

impl WrappedKey {
    /// Reads the class, four bytes of which the smallest part comes first, and the key.
    ///
    /// # Errors
    ///
    /// When it is shorter or longer.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let (class, key) = bytes.split_first_chunk::<4>().context("it is cut short")?;
        let bytes = key.try_into().ok().context("it has not the length that a key has")?;
        Ok(Self { class: u32::from_le_bytes(*class), bytes })
    }
}

/// What is known of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MbFile {
    /// Size of the content in bytes, deciphered.
    pub(super) size: u64,
    /// Type and permissions, as `st_mode` has them.
    pub(super) mode: u32,
    /// When the content was changed last, in seconds since 1970.
    pub(super) mtime: i64,
    /// When anything of it was changed last, in seconds since 1970.
    pub(super) ctime: i64,
    /// Where a link leads.
    pub(super) target: Option<String>,
    /// With what the content is enciphered.
    pub(super) key: Option<WrappedKey>,
}

impl MbFile {
    /// Reads an archive.
    ///
    /// # Errors
    ///
    /// When it is none, or lacks something that every file has.
    pub(super) fn parse(archive: &[u8]) -> Result<Self> {
        let objects = Objects::parse(archive)?;
        let root = objects.root()?;
        let list = match objects.value(&root, "$objects")? {
            Some(Object::Array(list)) => list,
            _ => anyhow::bail!("it is no archive: it has no $objects"),
        };
        let archive = Archive { objects, list };
        let top = objects.value(&root, "$top")?.context("it is no archive: it has no $top")?;
        let file = archive.value(&top, "root")?.context("the archive has no root")?;
        ensure!(matches!(file, Object::Dictionary { .. }), "the root of the archive is no file");
        let number = |key: &str| archive.number(&file, key);
        let required = |key: &str| number(key)?.with_context(|| format!("it has no {key}"));
        let key = archive.data(&file, "EncryptionKey")?.map(WrappedKey::parse).transpose().context("read its key")?;
        let class = number("ProtectionClass")?.and_then(|class| u32::try_from(class).ok());
        let target = match archive.value(&file, "Target")? {
            Some(Object::Text(target)) => Some(target.into_owned()),
            _ => None,
        };
        Ok(Self {
            size: u64::try_from(required("Size")?).context("its size is none")?,
            mode: u32::try_from(required("Mode")?).context("its mode is none")?,
            mtime: clamp(number("LastModified")?),
            ctime: clamp(number("LastStatusChange")?),
            target,
            key: key.map(|key| WrappedKey { class: class.unwrap_or(key.class), ..key }),
        })
    }
}

/// A moment that no clock shows is as good as none.
fn clamp(seconds: Option<i128>) -> i64 {
    seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0)
}

/// The objects of an archive.
struct Archive<'a> {
    objects: Objects<'a>,
    list: List<'a>,
}

impl<'a> Archive<'a> {
    /// What an object has under a key; when that is the name of another object, that one. The first object stands for nothing.
    fn value(&self, object: &Object<'a>, key: &str) -> Result<Option<Object<'a>>> {
        match self.objects.value(object, key)? {
            Some(Object::Uid(0)) => Ok(None),
            Some(Object::Uid(uid)) => {
                let index = usize::try_from(uid).ok().and_then(|uid| self.list.get(uid));
                self.objects.get(index.with_context(|| format!("{key} names an object that is not there"))?).map(Some)
            }
            plain => Ok(plain),
        }
    }

    fn number(&self, object: &Object<'a>, key: &str) -> Result<Option<i128>> {
        Ok(match self.value(object, key)? {
            Some(Object::Integer(number)) => Some(number),
            _ => None,
        })
    }

    /// Bytes: an `NSData`, or the bytes themselves.
    fn data(&self, object: &Object<'a>, key: &str) -> Result<Option<&'a [u8]>> {
        let value = match self.value(object, key)? {
            Some(data @ Object::Dictionary { .. }) => self.value(&data, "NS.data")?,
            other => other,
        };
        Ok(match value {
            Some(Object::Data(data)) => Some(data),
            _ => None,
        })
    }
}
