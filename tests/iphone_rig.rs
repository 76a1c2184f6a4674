//! The virtual iPhone is what real clients take for one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

mod support;

use std::process::Command;

use support::iphone::{Phone, Settings, Trust};

fn client(phone: &Phone, program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).env("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), text)
}

#[test]
fn libimobiledevice_pairs_and_asks() {
    let phone = Phone::start(Settings::default());
    for (program, arguments) in [("idevice_id", &["-l"][..]), ("idevicepair", &["pair"]), ("idevicepair", &["list"])] {
        eprintln!("{program} {arguments:?} {:?}", client(&phone, program, arguments));
    }
    phone.set(|state| state.trust = Trust::Accepted);
    for (program, arguments) in [
        ("idevicepair", &["pair"][..]),
        ("idevicepair", &["validate"]),
        ("idevicepair", &["list"]),
        ("ideviceinfo", &[]),
        ("ideviceinfo", &["-s"]),
        ("ideviceinfo", &["-q", "com.apple.mobile.battery"]),
        ("idevicepair", &["unpair"]),
    ] {
        eprintln!("{program} {arguments:?} {:?}", client(&phone, program, arguments));
    }
    eprintln!("{:?}", phone.seen());
}
