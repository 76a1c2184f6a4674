//! The keybag of encrypted backups, as iOS 10.2 and later make it: class keys under the password, keys of files under class keys.
//!
//! The format is that of `Manifest.plist`'s `BackupKeyBag`: tag, length and value, all numbers big endian (iphone-dataprotection,
//! `keystore/keybag.py`). The counts of iterations are a phone's 10,000,000 and 10,000 in kind, but small: tests have no minutes to lose.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::{pbkdf2, rand};

/// A key of AES-256.
pub type Key = [u8; 32];
/// A key that is wrapped by another one (RFC 3394).
pub type Wrapped = [u8; 40];

/// How often PBKDF2-SHA256 and then PBKDF2-SHA1 go round.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// `DPIC`: 10,000,000 on a phone.
    pub first: NonZeroU32,
    /// `ITER`: 10,000 on a phone.
    pub second: NonZeroU32,
}

impl Default for Rounds {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).expect("more than none");
        Self { first: number(1000), second: number(100) }
    }
}

/// Class keys, and how they are written under a password.
#[derive(Clone)]
pub struct Keybag {
    blob: Vec<u8>,
    classes: BTreeMap<u32, Key>,
}

impl Keybag {
    /// New keys under `password`.
    pub fn new(password: &str, rounds: Rounds) -> Self {
        let (first_salt, second_salt) = (random::<20>(), random::<20>());
        let key = passphrase_key(password, &first_salt, rounds.first, &second_salt, rounds.second);
        let classes: BTreeMap<u32, Key> = (1..=11).map(|class| (class, random())).collect();
        let mut blob = Vec::new();
        let mut put = |tag: &[u8; 4], value: &[u8]| {
            blob.extend_from_slice(tag);
            blob.extend_from_slice(&u32::try_from(value.len()).expect("it is short").to_be_bytes());
            blob.extend_from_slice(value);
        };
        put(b"VERS", &4_u32.to_be_bytes());
        put(b"TYPE", &1_u32.to_be_bytes());
        put(b"UUID", &random::<16>());
        put(b"HMCK", &random::<40>());
        put(b"WRAP", &0_u32.to_be_bytes());
        put(b"SALT", &second_salt);
        put(b"ITER", &rounds.second.get().to_be_bytes());
        put(b"DPWT", &1_u32.to_be_bytes());
        put(b"DPIC", &rounds.first.get().to_be_bytes());
        put(b"DPSL", &first_salt);
        for (class, class_key) in &classes {
            put(b"UUID", &random::<16>());
            put(b"CLAS", &class.to_be_bytes());
            // Under the password only: the device's own key has no part in it.
            put(b"WRAP", &2_u32.to_be_bytes());
            put(b"KTYP", &0_u32.to_be_bytes());
            put(b"WPKY", &wrap(&key, class_key));
        }
        Self { blob, classes }
    }

    /// As it stands in `Manifest.plist`.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Opens a keybag as `Manifest.plist` has it. `None`: it is broken, or the password is another one.
    pub fn unlock(blob: &[u8], password: &str) -> Option<Self> {
        let mut header = BTreeMap::new();
        let mut wrapped = Vec::new();
        let mut class = None;
        let mut rest = blob;
        while !rest.is_empty() {
            let (tag, length) = (rest.get(..4)?, rest.get(4..8)?);
            let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
            let value = rest.get(8..8 + length)?;
            rest = &rest[8 + length..];
            match (tag, class) {
                (b"CLAS", _) => class = Some(number(value)?),
                (b"WPKY", Some(class)) => wrapped.push((class, value.to_vec())),
                (_, None) => {
                    header.entry(tag.to_vec()).or_insert_with(|| value.to_vec());
                }
                (_, Some(_)) => {}
            }
        }
        let rounds = |tag: &[u8]| NonZeroU32::new(number(header.get(tag)?)?);
        let (first, second) = (rounds(b"DPIC")?, rounds(b"ITER")?);
        let key = passphrase_key(password, header.get(&b"DPSL"[..])?, first, header.get(&b"SALT"[..])?, second);
        let classes = wrapped
            .into_iter()
            .map(|(class, wrapped)| Some((class, unwrap(&key, &wrapped)?)))
            .collect::<Option<_>>()?;
        Some(Self { blob: blob.to_vec(), classes })
    }

    /// A new key for something of this class, and how it is written: the class, four bytes little endian, and the wrapped key.
    pub fn new_key(&self, class: u32) -> (Key, Vec<u8>) {
        let key = random();
        let mut written = class.to_le_bytes().to_vec();
        written.extend_from_slice(&wrap(&self.classes[&class], &key));
        (key, written)
    }

    /// The key that was written so.
    pub fn key(&self, written: &[u8]) -> Option<Key> {
        let class = u32::from_le_bytes(written.get(..4)?.try_into().ok()?);
        unwrap(self.classes.get(&class)?, &written[4..])
    }
}

/// Random bytes.
pub fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).expect("the machine has random bytes");
    bytes
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn passphrase_key(password: &str, salt: &[u8], first: NonZeroU32, salt2: &[u8], second: NonZeroU32) -> Key {
    let (mut middle, mut key) = ([0; 32], [0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, first, salt, password.as_bytes(), &mut middle);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, second, salt2, &middle, &mut key);
    key
}

fn wrap(with: &Key, key: &Key) -> Wrapped {
    let mut wrapped = [0; 40];
    let with = AesKek::new(&AES_256, with).expect("a key of 32 bytes");
    with.wrap(key, &mut wrapped).expect("32 bytes can be wrapped");
    wrapped
}

fn unwrap(with: &Key, wrapped: &[u8]) -> Option<Key> {
    let mut key = [0; 40];
    let with = AesKek::new(&AES_256, with).ok()?;
    with.unwrap(wrapped, &mut key).ok()?.try_into().ok()
}
