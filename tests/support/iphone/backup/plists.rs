//! The property lists beside the manifest: `Status.plist`, by which a backup is known to be whole, and `Manifest.plist`.

use std::io::Cursor;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plist::{Date, Dictionary, Value};

use super::around::Around;
use super::keybag::Keybag;
use super::wire::binary;

/// The phone's clock, which may be wrong by some seconds; in whole seconds.
pub fn now(wrong: i64) -> Date {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("this machine's clock is right").as_secs();
    let now = now.saturating_add_signed(wrong);
    Date::from(UNIX_EPOCH + Duration::from_secs(now))
}

/// What a host's `Status.plist` says of its state; `None`: nothing that can be read.
pub fn state(status: &[u8]) -> Option<String> {
    let status = Value::from_reader(Cursor::new(status)).ok()?.into_dictionary()?;
    Some(status.get("SnapshotState")?.as_string()?.to_owned())
}

/// `Status.plist` in this state.
pub fn status(state: &str, full: bool, uuid: &str, date: Date) -> Vec<u8> {
    let mut status = Dictionary::new();
    let mut put = |name: &str, value: Value| status.insert(name.to_owned(), value);
    put("BackupState", Value::String("new".to_owned()));
    put("Date", Value::Date(date));
    put("IsFullBackup", Value::Boolean(full));
    put("SnapshotState", Value::String(state.to_owned()));
    put("UUID", Value::String(uuid.to_owned()));
    put("Version", Value::String("2.4".to_owned()));
    binary(&Value::Dictionary(status))
}

/// What `Manifest.plist` says, for which a phone has to ask itself.
pub struct Described<'a> {
    /// The keys; under a password that nobody knows when the backup is not encrypted.
    pub keybag: &'a Keybag,
    /// Whether the backup is encrypted, and then the key of `Manifest.db` as it is written.
    pub manifest_key: Option<&'a [u8]>,
    /// Whether the phone has a passcode.
    pub passcode: bool,
    /// When.
    pub date: Date,
}

/// `Manifest.plist`.
pub fn manifest(described: &Described<'_>, around: &dyn Around) -> Vec<u8> {
    let mut manifest = Dictionary::new();
    let mut put = |name: &str, value: Value| manifest.insert(name.to_owned(), value);
    put("BackupKeyBag", Value::Data(described.keybag.blob().to_vec()));
    put("Version", Value::String("10.0".to_owned()));
    put("Date", Value::Date(described.date));
    put("SystemDomainsVersion", Value::String("24.0".to_owned()));
    put("WasPasscodeSet", Value::Boolean(described.passcode));
    put("IsEncrypted", Value::Boolean(described.manifest_key.is_some()));
    if let Some(key) = described.manifest_key {
        put("ManifestKey", Value::Data(key.to_vec()));
    }
    let names = ["BuildVersion", "DeviceName", "ProductType", "ProductVersion", "SerialNumber", "UniqueDeviceID"];
    let lockdown = names.into_iter().filter_map(|name| Some((name.to_owned(), around.lockdown(name)?)));
    put("Lockdown", Value::Dictionary(lockdown.collect()));
    let app = |bundle: String| {
        let version = [("CFBundleVersion".to_owned(), Value::String("1".to_owned()))];
        (bundle, Value::Dictionary(version.into_iter().collect()))
    };
    put("Applications", Value::Dictionary(around.apps().into_iter().map(app).collect()));
    binary(&Value::Dictionary(manifest))
}

/// What a phone reads in the `Manifest.plist` of a host.
pub struct Read {
    /// Whether the bodies are encrypted.
    pub encrypted: bool,
    /// The keybag as it is written.
    pub keybag: Vec<u8>,
    /// The key of `Manifest.db`, as it is written.
    pub manifest_key: Option<Vec<u8>>,
}

/// Reads a `Manifest.plist`. `None`: it is none.
pub fn read_manifest(bytes: &[u8]) -> Option<Read> {
    let manifest = Value::from_reader(Cursor::new(bytes)).ok()?.into_dictionary()?;
    Some(Read {
        encrypted: manifest.get("IsEncrypted")?.as_boolean()?,
        keybag: manifest.get("BackupKeyBag")?.as_data()?.to_vec(),
        manifest_key: manifest.get("ManifestKey").and_then(Value::as_data).map(<[u8]>::to_vec),
    })
}
