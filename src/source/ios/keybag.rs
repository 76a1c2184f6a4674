//! The keys of an encrypted backup: the `BackupKeyBag` in its `Manifest.plist`, opened with the password.
//!
//! The bag is a list of tags, lengths and values: first how the password is stretched, then one wrapped key for each protection class. How they belong together is
//! told in the "iOS Security" guide and shown by github.com/dinosec/iphone-dataprotection (`keystore/keybag.py`) and iphone_backup_decrypt.

use std::num::NonZeroU32;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_lc_rs::pbkdf2;
use plist::Value;

use super::bounds;
use super::decrypt::Key;
use super::record_file::WrappedKey;
use crate::error::Annotate;

/// How often a password is stretched at most; real bags have ten million. More would take minutes, and only somebody who forged the bag wants that.
const MOST_ITERATIONS: u32 = 100_000_000;

/// A class key is wrapped with the key of the password.
const WRAPPED_BY_PASSWORD: u32 = 2;

/// What is needed to decipher a backup: the keys of the protection classes.
#[derive(Debug)]
pub(super) struct Keys {
    classes: Vec<(u32, Key)>,
    /// The key of `Manifest.db`; before iOS 10.2 it was not encrypted.
    manifest: Option<WrappedKey>,
}

/// What `Manifest.plist` says of the encryption of a backup.
#[derive(Debug, Default)]
struct Encryption {
    is_on: bool,
    bag: Option<Vec<u8>>,
    manifest_key: Option<Vec<u8>>,
}

/// Whether a backup is encrypted, by its `Manifest.plist`.
///
/// # Errors
///
/// When it cannot be read.
pub(super) fn is_encrypted(manifest_plist: &[u8]) -> Result<bool> {
    Ok(Encryption::read(manifest_plist)?.is_on)
}

impl Keys {
    /// Opens the bag in `Manifest.plist`. Takes seconds: the password is stretched.
    ///
    /// # Errors
    ///
    /// When the password is wrong, the backup is not encrypted, or the bag is damaged.
    pub(super) fn unlock(manifest_plist: &[u8], password: &str) -> Result<Self> {
        let encryption = Encryption::read(manifest_plist)?;
        ensure!(encryption.is_on, "the backup is not encrypted");
        let bag =
            encryption.bag.context("Manifest.plist has no keys (BackupKeyBag), though the backup is encrypted")?;
        let bag = Bag::parse(&bag).context("read the keys (BackupKeyBag) of Manifest.plist")?;
        let manifest = encryption.manifest_key.map(|key| WrappedKey::parse(&key)).transpose();
        let manifest = manifest.context("read ManifestKey of Manifest.plist")?;
        let key = bag.stretch(password).context("read the keys (BackupKeyBag) of Manifest.plist")?;
        let opened = bag.classes.iter().filter(|class| class.wrap & WRAPPED_BY_PASSWORD != 0);
        let classes: Vec<(u32, Key)> =
            opened.filter_map(|class| Some((class.number, key.unwrap_key(&class.wrapped)?))).collect();
        if classes.is_empty() {
            return Err(anyhow!("the password of the encrypted backup is wrong"))
                .hint("It is the one that the device had when the backup was made; a password that was changed since opens only newer points.");
        }
        Ok(Self { classes, manifest })
    }

    /// The key of `Manifest.db`, when there is one.
    ///
    /// # Errors
    ///
    /// When it is of a class that the password does not open.
    pub(super) fn manifest(&self) -> Result<Option<Key>> {
        self.manifest.as_ref().map(|wrapped| self.key(wrapped)).transpose()
    }

    /// The key of one file.
    ///
    /// # Errors
    ///
    /// When it is of a class that the password does not open, or damaged.
    pub(super) fn key(&self, wrapped: &WrappedKey) -> Result<Key> {
        let class = self.classes.iter().find(|(number, _)| *number == wrapped.class);
        let (_, class) =
            class.with_context(|| format!("there is no key of its protection class, {}", wrapped.class))?;
        class.unwrap_key(&wrapped.bytes).context("its key is damaged")
    }
}

impl Encryption {
    fn read(manifest_plist: &[u8]) -> Result<Self> {
        let value = bounds::parse(manifest_plist).context("read Manifest.plist")?;
        let dictionary = value.as_dictionary().context("Manifest.plist is no dictionary")?;
        let data = |key: &str| dictionary.get(key).and_then(Value::as_data).map(<[u8]>::to_vec);
        Ok(Self {
            is_on: dictionary.get("IsEncrypted").and_then(Value::as_boolean).unwrap_or(false),
            bag: data("BackupKeyBag"),
            manifest_key: data("ManifestKey"),
        })
    }
}

/// A bag as it is written.
#[derive(Debug, Default)]
struct Bag {
    salt: Vec<u8>,
    iterations: u32,
    /// Since iOS 10.2 the password is stretched with SHA-256 first.
    first: Option<(Vec<u8>, u32)>,
    classes: Vec<Class>,
}

#[derive(Debug, Default)]
struct Class {
    number: u32,
    wrap: u32,
    wrapped: Vec<u8>,
}

impl Bag {
    fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut bag = Self::default();
        let (mut first_salt, mut first_iterations) = (None, None);
        let mut is_first_uuid = true;
        while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
            let (tag, length) = head.split_at(4);
            let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            let (value, rest) = rest.split_at_checked(length).context("it is cut short")?;
            bytes = rest;
            let class = bag.classes.last_mut();
            match (tag, class) {
                (b"UUID", _) if std::mem::take(&mut is_first_uuid) => {}
                (b"UUID", _) => bag.classes.push(Class::default()),
                (b"CLAS", Some(class)) => class.number = integer(value)?,
                (b"WRAP", Some(class)) => class.wrap = integer(value)?,
                (b"WPKY", Some(class)) => class.wrapped = value.to_vec(),
                (b"SALT", None) => bag.salt = value.to_vec(),
                (b"ITER", None) => bag.iterations = integer(value)?,
                (b"DPSL", None) => first_salt = Some(value.to_vec()),
                (b"DPIC", None) => first_iterations = Some(integer(value)?),
                _ => {}
            }
        }
        bag.first = first_salt.zip(first_iterations);
        ensure!(bytes.is_empty(), "it is cut short");
        ensure!(!bag.classes.is_empty(), "there is no key in it");
        Ok(bag)
    }

    /// The key that a password becomes.
    fn stretch(&self, password: &str) -> Result<Key> {
        let mut first = [0; 32];
        let secret = match &self.first {
            Some((salt, iterations)) => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, times(*iterations)?, salt, password.as_bytes(), &mut first);
                &first[..]
            }
            None => password.as_bytes(),
        };
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, times(self.iterations)?, &self.salt, secret, &mut key);
        Ok(Key(key))
    }
}

fn times(iterations: u32) -> Result<NonZeroU32> {
    match NonZeroU32::new(iterations) {
        Some(times) if iterations <= MOST_ITERATIONS => Ok(times),
        _ => bail!("the password would be stretched {iterations} times, which no device does"),
    }
}

fn integer(value: &[u8]) -> Result<u32> {
    let value: [u8; 4] = value.try_into().context("a number in it is damaged")?;
    Ok(u32::from_be_bytes(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: &[u8; 4], value: &[u8]) -> Vec<u8> {
        [&tag[..], &(value.len() as u32).to_be_bytes(), value].concat()
    }

    #[test]
    fn bag_is_read_with_the_numbers_of_its_head_and_of_its_classes() {
        let bytes = [
            tagged(b"VERS", &5_u32.to_be_bytes()),
            tagged(b"UUID", &[1; 16]),
            tagged(b"WRAP", &0_u32.to_be_bytes()),
            tagged(b"SALT", b"salt"),
            tagged(b"ITER", &1000_u32.to_be_bytes()),
            tagged(b"DPIC", &7_u32.to_be_bytes()),
            tagged(b"DPSL", b"first"),
            tagged(b"UUID", &[2; 16]),
            tagged(b"CLAS", &3_u32.to_be_bytes()),
            tagged(b"WRAP", &2_u32.to_be_bytes()),
            tagged(b"WPKY", &[9; 40]),
        ]
        .concat();
        let bag = Bag::parse(&bytes).unwrap();
        assert_eq!(
            (bag.salt.as_slice(), bag.iterations, bag.first),
            (&b"salt"[..], 1000, Some((b"first".to_vec(), 7)))
        );
        assert_eq!((bag.classes[0].number, bag.classes[0].wrap, bag.classes[0].wrapped.len()), (3, 2, 40));
        for length in 0..bytes.len() {
            // Cut between two values it is only shorter.
            let _ = Bag::parse(&bytes[..length]);
        }
        assert!(Bag::parse(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn number_of_iterations_that_no_device_uses_is_refused() {
        for iterations in [0, MOST_ITERATIONS + 1, u32::MAX] {
            assert!(times(iterations).is_err());
        }
        assert!(times(10_000_000).is_ok());
    }
}
