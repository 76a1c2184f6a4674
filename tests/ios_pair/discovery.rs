//! `holdall discover ios`.

use serde_json::json;

use super::support::env::TestEnv;
use super::support::iphone::{Phone, Settings};
use super::{UDID, paired};

#[test]
fn phones_are_shown_with_what_is_known_of_them_and_which_are_covered() {
    let (phone, env) = paired(Settings::default());
    let udid = "00008110-000A1B2C3D4E5F61";
    let other = Settings { udid: udid.to_owned(), name: "Ben's iPad".to_owned(), ..Settings::default() };
    let _other = Phone::start_at(phone.muxer(), other);
    let said = env.run(["discover", "ios"]).code(0);
    let line = |udid: &str| said.stdout.lines().find(|line| line.contains(udid)).unwrap().to_owned();
    let battery = phone.get(|state| {
        state.value("com.apple.mobile.battery", "BatteryCurrentCapacity").unwrap().as_unsigned_integer().unwrap()
    });
    let known =
        format!("Anna's iPhone, iPhone14,5, iOS 17.5.1, USB, paired, backups not encrypted, battery {battery} %");
    assert!(line(UDID).contains(&known) && line(UDID).ends_with("covered by ios.phone"), "{}", said.stdout);
    assert!(line(udid).contains("Ben's iPad, iPhone14,5, iOS 17.5.1, USB, not paired"), "{}", said.stdout);
    assert!(line(udid).ends_with("not covered"), "{}", said.stdout);
    let rows = env.run(["discover", "ios", "--json"]).code(0).json();
    let row = rows.as_array().unwrap().iter().find(|row| row["udid"] == UDID).unwrap();
    let expected = json!({
        "kind": "ios",
        "name": UDID,
        "device_name": "Anna's iPhone",
        "model": "iPhone14,5",
        "version": "17.5.1",
        "connection": "USB",
        "paired": true,
        "encrypted": false,
        "battery": battery,
        "covered_by": "ios.phone",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&row[key], value, "{key}");
    }
}

#[test]
fn phone_that_is_configured_and_not_there_is_shown_as_away() {
    let (phone, env) = paired(Settings::default());
    phone.unplug();
    env.run(["discover", "ios"]).code(0).stdout_has("away: not on USB").stdout_has("covered by ios.phone");
}

#[test]
fn without_a_muxer_one_is_told_what_to_type() {
    let env = TestEnv::new().variable("USBMUXD_SOCKET_ADDRESS", "UNIX:/nowhere/usbmuxd");
    env.run(["discover", "ios"])
        .code(0)
        .stderr_has("No device can be asked over USB: no usbmuxd answers at /nowhere/usbmuxd");
    env.run(["discover", "ssh"]).code(0).stderr_lacks("usbmuxd");
}
