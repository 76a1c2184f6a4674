//! `holdall pair`, and what else reaches an iPhone: by USB, by the network, and past everything that stands in between. The phone is the virtual one of
//! `tests/support/iphone.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

mod discovery;
mod impostor;
mod muxers;
mod pairing;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
mod wireless;

use support::env::TestEnv;
use support::iphone::{Phone, Settings, Trust};

/// The identifier of the phone that tests have unless they say otherwise.
const UDID: &str = "00008110-000A1B2C3D4E5F60";

/// A phone whose owner taps Trust as soon as it asks.
fn trusting(settings: Settings) -> Phone {
    let phone = Phone::start(settings);
    phone.set(|state| state.trust = Trust::Accepted);
    phone
}

/// An environment with a store, whose programs find this phone's muxer.
fn env_of(phone: &Phone) -> TestEnv {
    let env = TestEnv::new().variable("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd());
    env.onboard_store();
    env
}

/// A phone that is paired and configured as `ios.phone`, over USB only.
fn paired(settings: Settings) -> (Phone, TestEnv) {
    let phone = trusting(settings);
    let env = env_of(&phone);
    env.run(["pair", "--usb", "--name", "phone"]).code(0);
    (phone, env)
}

/// Configures the paired phone anew, with these keys.
fn configure(env: &TestEnv, keys: &str) {
    env.configure(&format!("[ios.phone]\nudid = \"{UDID}\"\n{keys}\n"));
}
