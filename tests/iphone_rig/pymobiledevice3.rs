//! pymobiledevice3, by usbmuxd and by the network.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::iphone::{Manner, Phone, Settings, Way};
use super::trusting;

/// Runs the script beside this file, and returns what it got.
fn client(phone: &Phone, folder: &Path, arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("timeout")
        .arg("60")
        .arg(root.join("target/venv/bin/python"))
        .arg(root.join("tests/iphone_rig/client.py"))
        .args(arguments)
        .env("USBMUXD_SOCKET_ADDRESS", phone.muxer().socket())
        .env("HOME", folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{:?}", phone.seen().troubles);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn expected() -> Value {
    json!({
        "udid": "00008110-000A1B2C3D4E5F60",
        "name": "Anna's iPhone",
        "encrypts": false,
        "files": {
            "same": true,
            "size": 102_400,
            "kind": "S_IFREG",
            "listed": ["Books", "DCIM", "Downloads", "Made", "com.apple.itunes.lock_sync", "iTunes_Control"],
            "renamed": ["other"],
            "there": false,
        },
        "apps": {
            "names": {"org.example.notes": "Notes & More", "com.apple.Maps": "Maps", "net.example.chat": "Chät"},
            "users": ["org.example.notes", "net.example.chat"],
            "metadata": ["Notes & More", "Chät"],
            "sinf": ["sinf of org.example.notes", "sinf of net.example.chat"],
            "icon": "89504e470d0a1a0a",
        },
        "notification": {"command": "RelayNotification", "name": "org.example.seen"},
    })
}

#[test]
fn pymobiledevice3_pairs_uses_every_service_and_comes_back_by_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let quick = Duration::from_millis(50);
    let phone = trusting(Settings { heartbeat: quick, ..Settings::default() });
    assert_eq!(phone.lockdown(), None);

    let mut got = client(&phone, folder.path(), &["usb", at, phone.udid()]);
    let mut wanted = expected();
    assert_eq!(got.as_object_mut().unwrap().remove("listed"), Some(json!([[phone.udid(), "USB"]])));
    assert_eq!(got.as_object_mut().unwrap().remove("paired"), Some(json!(true)));
    assert_eq!(got, wanted);
    // It sends its root's key along, which is counted.
    assert_eq!(phone.seen().private_keys, 1);

    // Other phones speak otherwise.
    phone.set(|state| {
        state.manner = Manner { services_without_tls: true, binary: true, results: true, in_pieces: true };
    });
    let mut got = client(&phone, folder.path(), &["usb", at, phone.udid()]);
    got.as_object_mut().unwrap().retain(|key, _| key != "listed" && key != "paired");
    assert_eq!(got, wanted);
    phone.set(|state| state.manner = Manner::default());

    let address = phone.lockdown().unwrap();
    assert_eq!(address.port(), 62078);
    phone.unplug();
    let got = client(&phone, folder.path(), &["network", &address.ip().to_string(), at, phone.udid()]);
    wanted["encrypts"] = json!(false);
    assert_eq!(got, wanted);
    assert_eq!(phone.seen().dropped, 0);
    assert_eq!(phone.seen().troubles, Vec::<String>::new());
    phone.cut(Way::Wifi);
}

#[test]
fn who_answers_the_heartbeat_stays_and_who_has_the_escrow_bag_comes_in_while_it_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let (heartbeat, patience) = (Duration::from_millis(100), Duration::from_secs(4));
    let phone = trusting(Settings { heartbeat, patience, wifi: true, ..Settings::default() });
    client(&phone, folder.path(), &["usb", at, phone.udid()]);

    phone.set(|state| state.locked = true);
    assert_eq!(client(&phone, folder.path(), &["locked", at, phone.udid()]), json!([true, false]));
    let bag = phone.get(|state| state.pairings.values().next().unwrap().escrow_bag.to_vec());
    assert_eq!(phone.seen().escrow_bags, [bag]);

    let address = phone.lockdown().unwrap().ip().to_string();
    let before = phone.seen().polos;
    assert_eq!(client(&phone, folder.path(), &["stay", &address, at, phone.udid(), "6"]), json!([true, false]));
    assert!(phone.seen().polos - before > 10);
    assert_eq!(phone.seen().dropped, 1);
}
