//! `[ios.NAME]`: which device, and how it is reached.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::engine::one_of;
use super::shared::Shared;
use super::{absolute, command};
use crate::config::file::IosTable;
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{Connect, IosConfig};
use crate::secret::Secret;

/// Where lockdownd listens. Source: libimobiledevice, src/lockdown.c.
const LOCKDOWN_PORT: u16 = 62078;

/// A device gives up waiting for its passcode after three minutes and says so; whoever is less patient does not hear of it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const LEAST_IDLE_TIMEOUT: Duration = Duration::from_secs(4 * 60);

const WAYS: [(&str, Connect); 3] = [("auto", Connect::Auto), ("usb", Connect::Usb), ("network", Connect::Network)];

/// All tables; a device can have only one, since its points are found by the name of the table.
pub(super) fn check_all(
    tables: &BTreeMap<Spanned<String>, IosTable>,
    removed: &Removed,
    problems: &mut Collector,
) -> Vec<IosConfig> {
    let mut devices: Vec<IosConfig> = Vec::new();
    for (name, table) in tables {
        let device = check(name, table, removed, problems);
        if let (Some(first), Some(text)) = (devices.iter().find(|other| other.udid == device.udid), &table.udid)
            && !device.udid.is_empty()
        {
            let key = format!("ios.{}.udid", device.common.name);
            problems.report(
                &text.span(),
                key,
                format!("the device of ios.{} as well; keep one of them", first.common.name),
            );
        }
        devices.push(device);
    }
    devices
}

fn check(name: &Spanned<String>, table: &IosTable, removed: &Removed, problems: &mut Collector) -> IosConfig {
    let timing = [table.every.as_ref(), table.max_age.as_ref()];
    let shared = Shared::of_timing("ios", name, timing, table.allow_empty);
    let key = shared.key.as_str();
    let was_wrong = |name: &str| removed.iter().any(|removed| removed.starts_with(&format!("{key}.{name}")));
    if table.udid.is_none() && !was_wrong("udid") {
        problems.report(&name.span(), format!("{key}.udid"), "missing; `holdall pair` finds it and writes it down");
    }
    let mut directory = |name: &str, text: &Option<Spanned<String>>| {
        let text = text.as_ref()?;
        problems.take(&text.span(), format!("{key}.{name}"), absolute(text.get_ref()))
    };
    let credentials = directory("credentials", &table.credentials);
    let staging = directory("staging", &table.staging);
    let idle_timeout = table.idle_timeout.as_ref().and_then(|text| {
        let duration = shared.duration("idle-timeout", Some(text), problems)?;
        if duration < LEAST_IDLE_TIMEOUT {
            let short = "too short: a device waits three minutes for its passcode; give at least 4min";
            problems.report(&text.span(), format!("{key}.idle-timeout"), short);
        }
        Some(duration)
    });
    IosConfig {
        common: shared.common(problems),
        udid: table
            .udid
            .as_ref()
            .and_then(|text| problems.take(&text.span(), format!("{key}.udid"), udid(text.get_ref())))
            .unwrap_or_default(),
        connect: one_of(table.connect.as_ref(), key, "connect", &WAYS, problems).unwrap_or_default(),
        address: table
            .address
            .as_ref()
            .and_then(|text| problems.take(&text.span(), format!("{key}.address"), address(text.get_ref()))),
        credentials,
        encryption_password: encryption_password(table, key, problems),
        staging,
        idle_timeout: idle_timeout.unwrap_or(IDLE_TIMEOUT),
    }
}

fn encryption_password(table: &IosTable, key: &str, problems: &mut Collector) -> Option<Secret> {
    let file = table.encryption_password_file.as_ref();
    let argv = table.encryption_password_command.as_ref();
    if let (Some(_), Some(argv)) = (file, argv) {
        let both = "`encryption-password-file` is given as well; keep one of them";
        problems.report(&argv.span(), format!("{key}.encryption-password-command"), both);
    }
    let file = file.and_then(|file| {
        problems.take(&file.span(), format!("{key}.encryption-password-file"), absolute(file.get_ref()))
    });
    let argv = argv.and_then(|argv| {
        problems.take(&argv.span(), format!("{key}.encryption-password-command"), command(argv.get_ref()))
    });
    file.map(Secret::file).or_else(|| argv.map(Secret::command))
}

/// An UDID in the one way it is written here: lower case for the old ones, and upper case with a dash for those since 2018.
///
/// Some programs leave the dash out. Source: The Apple Wiki, "UDID".
fn udid(text: &str) -> Result<String, String> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    match (digits.len(), is_hex, text.matches('-').count()) {
        (40, true, 0) => Ok(digits.to_ascii_lowercase()),
        (24, true, 0 | 1) => {
            let digits = digits.to_ascii_uppercase();
            Ok(format!("{}-{}", &digits[..8], &digits[8..]))
        }
        _ => Err(format!(
            "`{text}` is no UDID: 40 hexadecimal digits, or like 00008110-0123456789ABCDEF; see `holdall discover ios`"
        )),
    }
}

/// A name or an address, with the port behind it if it is not lockdownd's own: `iphone.lan`, `192.168.1.7:62078`, `[fe80::1%eth0]`.
fn address(text: &str) -> Result<(String, u16), String> {
    let wrong =
        || format!("`{text}` is no name or address; write for example iphone.lan, 192.168.1.7 or [fe80::1%eth0]");
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(wrong());
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) })
        }
        // An IPv6 address without brackets has several colons, and no port.
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.map(str::parse::<u16>) {
        None => LOCKDOWN_PORT,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return Err(format!("`{text}` has no port between 1 and 65535 behind the colon")),
    };
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udid_has_one_spelling() {
        let old = "ABCDEF0123456789abcdef0123456789ABCDEF01";
        assert_eq!(udid(old), Ok(old.to_lowercase()));
        let new = "00008110-000A1B2C3D4E5F60";
        for spelled in [new, "00008110000a1b2c3d4e5f60", "00008110-000a1b2c3d4e5f60"] {
            assert_eq!(udid(spelled).as_deref(), Ok(new));
        }
        for text in ["", "phone", "00008110", "0000-8110-000A1B2C3D4E5F60", &old[1..], "../../etc/passwd"] {
            assert!(udid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn address_may_have_a_port() {
        for (text, host, port) in [
            ("iphone.lan", "iphone.lan", 62078),
            ("192.168.1.7:62079", "192.168.1.7", 62079),
            ("fe80::1%eth0", "fe80::1%eth0", 62078),
            ("[fe80::1%eth0]:7", "fe80::1%eth0", 7),
            ("[::1]", "::1", 62078),
        ] {
            assert_eq!(address(text), Ok((host.to_owned(), port)));
        }
        for text in ["", "a b", "a:b", "a:0", "a:70000", "[::1", "[::1]7", ":7", "http://x"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
