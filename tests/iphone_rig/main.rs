//! The virtual iPhone is what real clients take for one: Debian's libimobiledevice and PyPI's pymobiledevice3 pair with it and use its services.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

mod faults;
mod libimobiledevice;
mod network;
mod pymobiledevice3;
mod raw;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::process::Command;

use support::iphone::{Phone, Settings, Trust};

/// A phone whose owner trusts whoever asks.
fn trusting(settings: Settings) -> Phone {
    let phone = Phone::start(settings);
    phone.set(|state| state.trust = Trust::Accepted);
    phone
}

/// Runs a program of libimobiledevice; whether it succeeded, and what it said.
fn run(phone: &Phone, program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("timeout")
        .args(["20", program])
        .args(arguments)
        .env("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), text)
}

/// Runs a program that has to succeed.
fn told(phone: &Phone, program: &str, arguments: &[&str]) -> String {
    let (succeeded, text) = run(phone, program, arguments);
    assert!(succeeded, "{program} {arguments:?}: {text}");
    text
}

/// Runs a program that has to fail.
fn refused(phone: &Phone, program: &str, arguments: &[&str]) -> String {
    let (succeeded, text) = run(phone, program, arguments);
    assert!(!succeeded, "{program} {arguments:?}: {text}");
    text
}
