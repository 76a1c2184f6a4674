//! What lockdownd says of the phone, domain by domain.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};

use super::super::state::Settings;

/// What it says to everybody, before any session.
pub(super) const TOLD_TO_ALL: &[&str] = &[
    "BuildVersion",
    "CPUArchitecture",
    "DeviceClass",
    "DeviceColor",
    "DeviceName",
    "DevicePublicKey",
    "HardwareModel",
    "PasswordProtected",
    "ProductName",
    "ProductType",
    "ProductVersion",
    "ProtocolVersion",
    "TelephonyCapability",
    "UniqueChipID",
    "UniqueDeviceID",
    "WiFiAddress",
];

/// What hosts may change.
pub(super) const CHANGEABLE: &[(&str, &str)] = &[
    ("", "DeviceName"),
    ("", "TimeIntervalSince1970"),
    ("", "TimeZone"),
    ("", "Uses24HourClock"),
    ("com.apple.mobile.wireless_lockdown", "EnableWifiConnections"),
    ("com.apple.mobile.wireless_lockdown", "EnableWifiDebugging"),
    ("com.apple.mobile.wireless_lockdown", "BonjourFullServiceName"),
    ("com.apple.mobile.data_sync", "Contacts"),
    ("com.apple.mobile.iTunes", "iTunesSetupComplete"),
    ("com.apple.international", "Language"),
    ("com.apple.international", "Locale"),
];

/// What there is when it starts; its public key is put in besides.
pub fn values(settings: &Settings) -> BTreeMap<String, Dictionary> {
    let mut all = BTreeMap::new();
    let mut add = |domain: &str, values: Vec<(&str, Value)>| {
        let values = values.into_iter().map(|(key, value)| (key.to_owned(), value));
        all.insert(domain.to_owned(), values.collect::<Dictionary>());
    };
    let chip = settings.udid.split_once('-').and_then(|(_, chip)| u64::from_str_radix(chip, 16).ok());
    add(
        "",
        vec![
            ("ActivationState", "Activated".into()),
            ("BasebandVersion", "2.60.02".into()),
            ("BuildVersion", "21F90".into()),
            ("CPUArchitecture", "arm64e".into()),
            ("DeviceClass", "iPhone".into()),
            ("DeviceColor", "1".into()),
            ("DeviceName", settings.name.as_str().into()),
            ("FirmwareVersion", "iBoot-10151.122.1".into()),
            ("HardwareModel", "D17AP".into()),
            ("HardwarePlatform", "t8110".into()),
            ("HumanReadableProductVersionString", settings.version.as_str().into()),
            ("IntegratedCircuitCardIdentity", "8949000000000000001".into()),
            ("InternationalMobileEquipmentIdentity", "350000000000001".into()),
            ("MLBSerialNumber", "F3X0000000000000A".into()),
            ("MobileEquipmentIdentifier", "35000000000000".into()),
            ("ModelNumber", "MLPF3".into()),
            ("NonVolatileRAM", Value::Dictionary(Dictionary::new())),
            ("PasswordProtected", true.into()),
            ("PhoneNumber", "+49 151 00000000".into()),
            ("ProductName", "iPhone OS".into()),
            ("ProductType", "iPhone14,5".into()),
            ("ProductVersion", settings.version.as_str().into()),
            ("ProtocolVersion", "2".into()),
            ("RegionInfo", "ZD/A".into()),
            ("SerialNumber", "F4GX000000".into()),
            ("SIMStatus", "kCTSIMSupportSIMStatusReady".into()),
            ("TelephonyCapability", true.into()),
            ("TimeIntervalSince1970", 1_700_000_000.25.into()),
            ("TimeZone", "Europe/Berlin".into()),
            ("TimeZoneOffsetFromUTC", 3600.0.into()),
            ("TrustedHostAttached", false.into()),
            ("UniqueChipID", chip.unwrap_or(0x000A_1B2C_3D4E).into()),
            ("UniqueDeviceID", settings.udid.as_str().into()),
            ("Uses24HourClock", true.into()),
            ("WiFiAddress", "a4:cf:99:00:11:22".into()),
        ],
    );
    add(
        "com.apple.mobile.battery",
        vec![
            ("BatteryCurrentCapacity", 83_u64.into()),
            ("BatteryIsCharging", true.into()),
            ("ExternalChargeCapable", true.into()),
            ("ExternalConnected", true.into()),
            ("FullyCharged", false.into()),
            ("GasGaugeCapability", true.into()),
            ("HasBattery", true.into()),
        ],
    );
    add(
        "com.apple.disk_usage",
        vec![
            ("AmountDataAvailable", 64_012_345_344_u64.into()),
            ("AmountDataReserved", 209_715_200_u64.into()),
            ("TotalDataAvailable", 64_222_060_544_u64.into()),
            ("TotalDataCapacity", 119_989_493_760_u64.into()),
            ("TotalDiskCapacity", 127_989_493_760_u64.into()),
            ("TotalSystemAvailable", 0_u64.into()),
            ("TotalSystemCapacity", 8_000_000_000_u64.into()),
        ],
    );
    add(
        "com.apple.international",
        vec![("Keyboard", "de_DE".into()), ("Language", "de-DE".into()), ("Locale", "de_DE".into())],
    );
    add("com.apple.mobile.backup", vec![("WillEncrypt", false.into())]);
    add(
        "com.apple.mobile.wireless_lockdown",
        vec![
            ("BonjourFullServiceName", "a4:cf:99:00:11:22@fe80::1._apple-mobdev2._tcp.local.".into()),
            ("EnableWifiConnections", settings.wifi.into()),
            ("EnableWifiDebugging", false.into()),
            ("SupportsWifi", true.into()),
            ("SupportsWifiSyncing", true.into()),
        ],
    );
    add("com.apple.mobile.iTunes", vec![("MinITunesVersion", "12.11.0".into()), ("iTunesSetupComplete", true.into())]);
    add("com.apple.fmip", vec![("IsAssociated", false.into())]);
    all
}
