//! libimobiledevice's programs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::support::iphone::{Manner, Muxer, Phone, Settings, Trust};
use super::{refused, run, told, trusting};

#[test]
fn libimobiledevice_pairs_when_the_owner_agrees_asks_and_unpairs() {
    let phone = Phone::start(Settings::default());
    let udid = phone.udid().to_owned();
    assert_eq!(told(&phone, "idevice_id", &["-l"]), format!("{udid}\n"));
    assert_eq!(told(&phone, "idevice_id", &[&udid]), "Anna's iPhone\n");
    assert!(refused(&phone, "idevicepair", &["pair"]).contains("accept the trust dialog"));
    phone.set(|state| state.trust = Trust::Denied);
    assert!(refused(&phone, "idevicepair", &["pair"]).contains("user denied the trust dialog"));
    phone.set(|state| (state.locked, state.trust) = (true, Trust::Accepted));
    assert!(refused(&phone, "idevicepair", &["pair"]).contains("a passcode is set"));
    assert!(fs::read_dir(phone.muxer().records()).unwrap().next().is_none());

    phone.set(|state| state.locked = false);
    assert!(told(&phone, "idevicepair", &["pair"]).contains(&format!("SUCCESS: Paired with device {udid}")));
    let record = plist::Value::from_file(phone.muxer().records().join(format!("{udid}.plist"))).unwrap();
    let record = record.as_dictionary().unwrap();
    assert_eq!(record.get("WiFiMACAddress").unwrap().as_string(), Some("a4:cf:99:00:11:22"));
    assert_eq!(record.get("EscrowBag").unwrap().as_data().unwrap().len(), 32);
    assert!(told(&phone, "idevicepair", &["validate"]).contains("SUCCESS: Validated"));
    assert!(told(&phone, "idevicepair", &["systembuid"]).trim().len() == 36);
    assert!(told(&phone, "idevicepair", &["hostid"]).contains(record.get("HostID").unwrap().as_string().unwrap()));
    // It looks for records in a folder of the machine and not at the muxer's.
    told(&phone, "idevicepair", &["list"]);
    assert_eq!(phone.seen().private_keys, 0);

    assert!(told(&phone, "idevicepair", &["unpair"]).contains("SUCCESS: Unpaired"));
    assert_eq!(phone.get(|state| state.pairings.len()), 0);
    assert!(fs::read_dir(phone.muxer().records()).unwrap().next().is_none());
    // It would pair anew.
    phone.set(|state| state.trust = Trust::Pending);
    assert!(refused(&phone, "idevicepair", &["validate"]).contains("accept the trust dialog"));
    assert_eq!(phone.seen().troubles, Vec::<String>::new());
}

#[test]
fn ideviceinfo_is_told_all_in_a_session_and_little_without() {
    let phone = trusting(Settings::default());
    let little = told(&phone, "ideviceinfo", &["-s"]);
    assert!(little.contains("DeviceName: Anna's iPhone\n"), "{little}");
    assert!(!little.contains("SerialNumber"), "{little}");

    told(&phone, "idevicepair", &["pair"]);
    let all = told(&phone, "ideviceinfo", &[]);
    assert!(all.contains("SerialNumber: F4GX000000\n") && all.contains("ProductVersion: 17.5.1\n"), "{all}");
    assert_eq!(told(&phone, "ideviceinfo", &["-k", "ProductType"]), "iPhone14,5\n");
    assert!(
        told(&phone, "ideviceinfo", &["-k", "UniqueDeviceID", "-x"])
            .contains("<string>00008110-000A1B2C3D4E5F60</string>")
    );
    let battery = told(&phone, "ideviceinfo", &["-q", "com.apple.mobile.battery"]);
    assert!(battery.contains("BatteryCurrentCapacity: 83\n"), "{battery}");
    phone.set(|state| {
        state.manner = Manner { services_without_tls: true, binary: true, results: true, in_pieces: true };
    });
    assert_eq!(told(&phone, "ideviceinfo", &[]), all);
    let disk = told(&phone, "ideviceinfo", &["-x", "-q", "com.apple.disk_usage"]);
    assert!(disk.contains("<key>TotalDiskCapacity</key>\n\t<integer>127989493760</integer>"), "{disk}");
    assert_eq!(phone.seen().troubles, Vec::<String>::new());
}

#[test]
fn a_name_that_is_set_is_the_name_that_is_told() {
    let phone = trusting(Settings::default());
    told(&phone, "idevicepair", &["pair"]);
    told(&phone, "idevicename", &["Zoë's"]);
    assert_eq!(told(&phone, "idevicename", &[]), "Zoë's\n");
}

#[test]
fn one_muxer_has_several_phones_and_one_phone_can_be_listed_twice() {
    let muxer = Arc::new(Muxer::start());
    let udid = "0123456789".repeat(4);
    let [one, other] = [Settings::default(), Settings { udid: udid.clone(), wifi: true, ..Settings::default() }]
        .map(|settings| Phone::start_at(&muxer, settings));
    other.set(|state| state.trust = Trust::Accepted);
    assert_eq!(told(&one, "idevice_id", &["-l"]), format!("{}\n{udid}\n", one.udid()));
    told(&other, "idevicepair", &["-u", &udid, "pair"]);
    assert_eq!(one.seen().lockdown.len(), 0);

    other.list_as_network_device();
    assert_eq!(told(&other, "idevice_id", &["-n"]), format!("{udid}\n"));
    other.unplug();
    assert_eq!(told(&other, "idevice_id", &["-l"]), format!("{}\n", one.udid()));
    // It connects to the address that the muxer tells, and not by the muxer.
    let connects = muxer.requests().iter().filter(|request| *request == "Connect").count();
    assert_eq!(told(&other, "ideviceinfo", &["-n", "-u", &udid, "-k", "SerialNumber"]), "F4GX000000\n");
    assert_eq!(muxer.requests().iter().filter(|request| *request == "Connect").count(), connects);
}

#[test]
fn who_listens_is_told_what_comes_and_goes() {
    let phone = Phone::start(Settings::default());
    phone.unplug();
    let mut watcher = Command::new("timeout")
        .args(["20", "stdbuf", "-oL", "idevicesyslog", "-u", phone.udid()])
        .env("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("Waiting for device"));
    phone.plug_in();
    let seen = phone.wait_until(std::time::Duration::from_secs(10), |_| !phone.seen().lockdown.is_empty());
    let _ = watcher.kill();
    watcher.wait().unwrap();
    assert!(seen, "a client that listens came to no phone");
}

#[test]
fn a_phone_that_was_reset_or_never_unlocked_opens_no_session() {
    let phone = trusting(Settings::default());
    told(&phone, "idevicepair", &["pair"]);
    phone.set(|state| state.before_first_unlock = true);
    assert!(refused(&phone, "ideviceinfo", &[]).contains("Could not connect to lockdownd"));
    phone.set(|state| state.before_first_unlock = false);
    told(&phone, "ideviceinfo", &[]);
    phone.reset();
    let (_, text) = run(&phone, "idevicepair", &["validate"]);
    assert!(text.contains("is not paired with this host"), "{text}");
}
