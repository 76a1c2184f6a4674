//! `Info.plist`: what the host writes about a device into its backup, and what others want to see before they restore it.
//!
//! Keys and sources are those of libimobiledevice's `idevicebackup2` 1.3.0 (`tools/idevicebackup2.c`, `mobilebackup_factory_info_plist_new`). What the device does
//! not have is not in it; services that do not answer cost what they would have told, and not the backup.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use plist::{Date, Dictionary, Value};

use super::afc::Afc;
use super::phone::{Escrow, Phone};
use super::way::Socket;
use super::wire;

/// Values of lockdownd, under the names that they have here.
const VALUES: [(&str, &str); 10] = [
    ("Build Version", "BuildVersion"),
    ("Device Name", "DeviceName"),
    ("Display Name", "DeviceName"),
    ("ICCID", "IntegratedCircuitCardIdentity"),
    ("IMEI", "InternationalMobileEquipmentIdentity"),
    ("MEID", "MobileEquipmentIdentifier"),
    ("Phone Number", "PhoneNumber"),
    ("Product Type", "ProductType"),
    ("Product Version", "ProductVersion"),
    ("Serial Number", "SerialNumber"),
];

/// Files of iTunes on the device.
const ITUNES_FILES: [&str; 11] = [
    "ApertureAlbumPrefs",
    "IC-Info.sidb",
    "IC-Info.sidv",
    "PhotosFolderAlbums",
    "PhotosFolderName",
    "PhotosFolderPrefs",
    "VoiceMemos.plist",
    "iPhotoAlbumPrefs",
    "iTunesApplicationIDs",
    "iTunesPrefs",
    "iTunesPrefs.plist",
];

/// How long one of these may be, and an icon, in bytes.
const MOST_FILE: usize = 4 << 20;

/// What stands for a version of iTunes that the device does not say.
const OLDEST_ITUNES: &str = "10.0.1";

/// Asks the device for all of it; gives the file.
///
/// # Errors
///
/// When the device does not say who it is.
pub(super) async fn gather(phone: &mut Phone, afc: &mut Afc) -> Result<Vec<u8>> {
    let values = phone.value(None, None).await?.and_then(Value::into_dictionary);
    let values = values.context("the device does not say what it is")?;
    let mut info = Dictionary::new();
    for (key, value) in VALUES {
        if let Some(value @ Value::String(_)) = values.get(value) {
            info.insert(key.to_owned(), value.clone());
        }
    }
    let (applications, installed) = match applications(phone).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!("the backup will not know which apps are installed: {error:#}");
            Default::default()
        }
    };
    let settings = phone.value(Some("com.apple.iTunes"), None).await.unwrap_or_default();
    let itunes = phone.value(Some("com.apple.mobile.iTunes"), Some("MinITunesVersion")).await.unwrap_or_default();
    let udid = phone.udid().to_owned();
    let mut put = |key: &str, value: Value| drop(info.insert(key.to_owned(), value));
    put("Applications", Value::Dictionary(applications));
    put("GUID", uuid::Uuid::new_v4().simple().to_string().to_uppercase().into());
    put("Installed Applications", Value::Array(installed));
    put("Last Backup Date", now().into());
    put("Target Identifier", udid.clone().into());
    put("Target Type", "Device".into());
    put("Unique Identifier", udid.to_uppercase().into());
    put(
        "iTunes Settings",
        settings.filter(|value| value.as_dictionary().is_some()).unwrap_or_else(|| Dictionary::new().into()),
    );
    put("iTunes Version", itunes.filter(|value| value.as_string().is_some()).unwrap_or_else(|| OLDEST_ITUNES.into()));
    let mut files = Dictionary::new();
    for name in ITUNES_FILES {
        if let Some(bytes) = file(afc, &format!("/iTunes_Control/iTunes/{name}")).await {
            files.insert(name.to_owned(), Value::Data(bytes));
        }
    }
    put("iTunes Files", Value::Dictionary(files));
    if let Some(bytes) = file(afc, "/Books/iBooksData2.plist").await {
        put("iBooks Data 2", Value::Data(bytes));
    }
    info.sort_keys();
    let mut bytes = Vec::new();
    Value::Dictionary(info).to_writer_xml(&mut bytes).context("write Info.plist")?;
    Ok(bytes)
}

/// This second: fractions are no part of Apple's format.
fn now() -> Date {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Date::from(UNIX_EPOCH + Duration::from_secs(now.as_secs()))
}

async fn file(afc: &mut Afc, path: &str) -> Option<Vec<u8>> {
    match afc.whole(path, MOST_FILE).await {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::debug!("{path} is not in the backup's Info.plist: {error:#}");
            None
        }
    }
}

/// The apps that the owner has installed: what is needed to install them again, and their names.
async fn applications(phone: &mut Phone) -> Result<(Dictionary, Vec<Value>)> {
    let mut service = phone.service("com.apple.mobile.installation_proxy", Escrow::Without).await?;
    let attributes = ["CFBundleIdentifier", "ApplicationSINF", "iTunesMetadata"].map(Value::from).to_vec();
    let options = [("ApplicationType", Value::from("User")), ("ReturnAttributes", Value::Array(attributes))];
    let request =
        [("Command", Value::from("Browse")), ("ClientOptions", Value::Dictionary(Dictionary::from_iter(options)))];
    wire::send(&mut service, Dictionary::from_iter(request)).await?;
    let (mut applications, mut installed) = (Dictionary::new(), Vec::new());
    let mut springboard = None;
    loop {
        let mut answer = wire::receive(&mut service).await?;
        for app in answer.remove("CurrentList").and_then(Value::into_array).unwrap_or_default() {
            let Some(mut app) = app.into_dictionary() else { continue };
            let Some(Value::String(name)) = app.remove("CFBundleIdentifier") else { continue };
            installed.push(Value::from(name.clone()));
            let (Some(sinf), Some(metadata)) = (app.remove("ApplicationSINF"), app.remove("iTunesMetadata")) else {
                continue;
            };
            if springboard.is_none() {
                springboard = Some(springboard_of(phone).await);
            }
            let mut entry = Dictionary::from_iter([("ApplicationSINF", sinf), ("iTunesMetadata", metadata)]);
            if let Some(Some(service)) = &mut springboard
                && let Some(icon) = icon(service, &name).await
            {
                entry.insert("PlaceholderIcon".to_owned(), Value::Data(icon));
            }
            applications.insert(name, Value::Dictionary(entry));
        }
        if answer.get("Status").and_then(Value::as_string) != Some("BrowsingApplications") {
            return Ok((applications, installed));
        }
    }
}

async fn springboard_of(phone: &mut Phone) -> Option<Socket> {
    let service = phone.service("com.apple.springboardservices", Escrow::Without).await;
    match service {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::debug!("the backup will have no icons: {error:#}");
            None
        }
    }
}

async fn icon(service: &mut Socket, app: &str) -> Option<Vec<u8>> {
    let request = [("command", Value::from("getIconPNGData")), ("bundleId", app.into())];
    wire::send(service, Dictionary::from_iter(request)).await.ok()?;
    let answer = wire::receive(service).await.ok()?;
    answer.get("pngData").and_then(Value::as_data).filter(|icon| icon.len() <= MOST_FILE).map(<[u8]>::to_vec)
}
