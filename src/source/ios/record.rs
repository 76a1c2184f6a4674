//! Pairing records: what a device and this machine know of each other since somebody tapped *Trust*.
//!
//! A record is a property list with certificates and keys as PEM, as all programs of this field write it (libimobiledevice, usbmuxd, iTunes). What we do not know in it
//! is kept. Ours are in the directory of credentials, one file `UDID.plist` each; those of the muxer are shared by all programs of the machine.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use plist::{Dictionary, Value};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::wire;
use crate::durable::sync_directory;
use crate::error::Annotate;
use crate::secret;

/// The longest record that is taken, in bytes; one is about ten thousand long.
const LONGEST: usize = 1 << 20;

/// The key of the identifier in a record: iTunes and we write it, others do not.
const UDID: &str = "UDID";

/// A pairing record that can be used. Its keys are not shown by `Debug`.
#[derive(Clone)]
pub(super) struct Record {
    entries: Dictionary,
    device_certificate: CertificateDer<'static>,
    host_certificate: CertificateDer<'static>,
    host_id: String,
}

impl Record {
    /// Reads a record, XML or binary.
    ///
    /// # Errors
    ///
    /// When it is none, or something is missing without which no session can be opened.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > LONGEST {
            bail!("it is {} bytes long", bytes.len());
        }
        Self::of(wire::parse(bytes)?)
    }

    /// A record of these entries.
    ///
    /// # Errors
    ///
    /// As for [`Record::parse`].
    pub(super) fn of(entries: Dictionary) -> Result<Self> {
        let record = Self {
            device_certificate: certificate(&entries, "DeviceCertificate")?,
            host_certificate: certificate(&entries, "HostCertificate")?,
            host_id: text(&entries, "HostID").context("HostID is missing")?.to_owned(),
            entries,
        };
        record.host_key()?;
        Ok(record)
    }

    /// The certificate under whose key the device speaks.
    pub(super) fn device_certificate(&self) -> &CertificateDer<'static> {
        &self.device_certificate
    }

    /// The certificate that we show.
    pub(super) fn host_certificate(&self) -> &CertificateDer<'static> {
        &self.host_certificate
    }

    /// Its private key.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(super) fn host_key(&self) -> Result<PrivateKeyDer<'static>> {
        let bytes = data(&self.entries, "HostPrivateKey").context("HostPrivateKey is missing")?;
        // The error of the library could show a part of it.
        PrivateKeyDer::from_pem_slice(bytes).map_err(|_| anyhow!("HostPrivateKey is no private key"))
    }

    /// By which the device knows this record.
    pub(super) fn host_id(&self) -> &str {
        &self.host_id
    }

    /// By which devices know the machine that the record was made on.
    pub(super) fn system_buid(&self) -> &str {
        text(&self.entries, "SystemBUID").unwrap_or_default()
    }

    /// With which the device lets its files be read while it is locked.
    pub(super) fn escrow_bag(&self) -> Option<&[u8]> {
        data(&self.entries, "EscrowBag")
    }

    /// The part of it that a device is told when it shall forget it.
    pub(super) fn public_part(&self) -> Dictionary {
        let names = ["DeviceCertificate", "HostCertificate", "RootCertificate", "HostID", "SystemBUID"];
        let known = names.iter().filter_map(|name| Some(((*name).to_owned(), self.entries.get(name)?.clone())));
        known.collect()
    }

    /// As it is written, XML.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Value::Dictionary(self.entries.clone()).to_writer_xml(&mut bytes).context("write a pairing record")?;
        Ok(bytes)
    }

    /// The record of this device in a directory of credentials; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When others can read it, or it is broken.
    pub(super) fn load(directory: &Path, udid: &str) -> Result<Option<Self>> {
        let Some(file) = Self::file(directory, udid) else { return Ok(None) };
        if !file.try_exists().with_context(|| format!("look for the pairing record {}", file.display()))? {
            return Ok(None);
        }
        let read = || Self::parse(&secret::read_private(&file)?);
        let hint = "If it is beyond repair, remove it and run `holdall pair` with the device on USB.";
        read().with_context(|| format!("read the pairing record {}", file.display())).hint(hint).map(Some)
    }

    /// Keeps the record in a directory of credentials, in the place of one that may be there.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn save(&self, directory: &Path, udid: &str) -> Result<()> {
        let mut entries = self.entries.clone();
        entries.insert(UDID.to_owned(), udid.into());
        let file = Self::file(directory, udid).context("the device has no name that a file could have")?;
        let bytes = Self { entries, ..self.clone() }.to_bytes()?;
        secret::write_over(&file, &bytes).with_context(|| format!("write the pairing record {}", file.display()))
    }

    /// Removes the record of this device from a directory of credentials; whether there was one.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(super) fn remove(directory: &Path, udid: &str) -> Result<bool> {
        let Some(file) = Self::file(directory, udid).filter(|file| file.exists()) else { return Ok(false) };
        let remove = || {
            fs::remove_file(&file)?;
            sync_directory(directory)
        };
        remove().with_context(|| format!("remove the pairing record {}", file.display()))?;
        Ok(true)
    }

    /// Where the record of this device is, whether or not it is there; `None` for what is no identifier of a device.
    pub(super) fn file(directory: &Path, udid: &str) -> Option<PathBuf> {
        let is_plain =
            !udid.is_empty() && udid.len() <= 64 && udid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        is_plain.then(|| directory.join(format!("{udid}.plist")))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("host_id", &self.host_id).finish_non_exhaustive()
    }
}

fn text<'e>(entries: &'e Dictionary, name: &str) -> Option<&'e str> {
    entries.get(name).and_then(Value::as_string)
}

fn data<'e>(entries: &'e Dictionary, name: &str) -> Option<&'e [u8]> {
    entries.get(name).and_then(Value::as_data)
}

fn certificate(entries: &Dictionary, name: &str) -> Result<CertificateDer<'static>> {
    let bytes = data(entries, name).with_context(|| format!("{name} is missing"))?;
    CertificateDer::from_pem_slice(bytes).with_context(|| format!("{name} is no certificate"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::error::{chain, hints};
    use crate::source::ios::certificate::{Made, tests::device_key};

    fn made() -> Dictionary {
        let Made { device, host, root, host_key, root_key } =
            crate::source::ios::certificate::make(&device_key()).unwrap();
        let mut entries = Dictionary::new();
        for (name, pem) in [
            ("DeviceCertificate", device),
            ("HostCertificate", host),
            ("RootCertificate", root),
            ("HostPrivateKey", host_key),
            ("RootPrivateKey", root_key),
        ] {
            entries.insert(name.to_owned(), Value::Data(pem.into_bytes()));
        }
        entries.insert("HostID".to_owned(), "HOST".into());
        entries.insert("SystemBUID".to_owned(), "BUID".into());
        entries.insert("SomethingNew".to_owned(), 7.into());
        entries
    }

    #[test]
    fn record_comes_back_as_it_was_kept_with_what_nobody_knows() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("ios");
        let record = Record::of(made()).unwrap();
        assert!(Record::load(&directory, "A-1").unwrap().is_none());
        record.save(&directory, "A-1").unwrap();
        let back = Record::load(&directory, "A-1").unwrap().unwrap();
        assert_eq!(back.entries.get("SomethingNew"), Some(&7.into()));
        assert_eq!(back.entries.get("UDID"), Some(&"A-1".into()));
        assert_eq!((back.host_id(), back.system_buid(), back.escrow_bag()), ("HOST", "BUID", None));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("A-1.plist"))), (0o700, 0o600));
        assert!(Record::remove(&directory, "A-1").unwrap());
        assert!(!Record::remove(&directory, "A-1").unwrap());
    }

    #[test]
    fn what_a_device_is_told_holds_no_private_key() {
        let part = Record::of(made()).unwrap().public_part();
        assert!(part.contains_key("HostID") && part.contains_key("RootCertificate"));
        assert!(part.keys().all(|name| !name.contains("Private")));
    }

    #[test]
    fn record_that_others_can_read_or_that_lacks_something_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        Record::of(made()).unwrap().save(directory, "A").unwrap();
        let file = directory.join("A.plist");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Record::load(directory, "A").unwrap_err();
        assert!(hints(&error).iter().any(|hint| hint.starts_with("chmod 600")), "{error:#}");
        for name in ["DeviceCertificate", "HostCertificate", "HostPrivateKey", "HostID"] {
            let mut entries = made();
            entries.remove(name);
            assert_eq!(chain(&Record::of(entries).unwrap_err()), format!("{name} is missing"));
        }
        let mut entries = made();
        entries.insert("HostPrivateKey".to_owned(), Value::Data(b"-----BEGIN hunter2".to_vec()));
        assert!(!format!("{:?}", Record::of(entries).unwrap_err()).contains("hunter2"));
        for bytes in [&b""[..], b"bplist00", b"<plist version=\"1.0\"><array/></plist>"] {
            assert!(Record::parse(bytes).is_err());
        }
    }

    #[test]
    fn identifiers_that_are_paths_have_no_file() {
        for udid in ["", "../x", "a/b", "a.b", &"a".repeat(65)] {
            assert_eq!(Record::file(Path::new("/c"), udid), None, "{udid}");
        }
    }
}
