//! Backups of a virtual iPhone by the binary as users run it, compared with what is on the phone and with what `idevicebackup2` makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

mod folder;
#[path = "../support/mod.rs"]
mod support;
mod whole;

use std::process::Command;

use serde_json::Value;
use support::env::TestEnv;
use support::iphone::{Phone, Settings, Trust};
use support::outcome::Outcome;

/// A phone that this machine is paired with, and an environment with a store whose configuration names it.
struct Rig {
    phone: Phone,
    env: TestEnv,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        Self::with(settings, "")
    }

    /// With further keys in the table of the phone.
    fn with(settings: Settings, keys: &str) -> Self {
        let phone = Phone::start(settings);
        phone.set(|state| state.trust = Trust::Accepted);
        let env = TestEnv::with_store_and(&format!("[ios.phone]\nudid = \"{}\"\n{keys}", phone.udid()));
        let env = env.variable("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd());
        let paired = env.command("idevicepair").arg("pair").output().unwrap();
        assert!(paired.status.success(), "{paired:?}");
        Self { phone, env }
    }

    fn backup(&self, arguments: &[&str]) -> Outcome {
        self.env.run([&["backup", "--json", "ios.phone"], arguments].concat())
    }

    /// A backup that has to be whole.
    fn saved(&self, arguments: &[&str]) -> Value {
        let outcome = self.backup(arguments).code(0);
        item(&outcome)
    }
}

/// What a run says of the phone.
fn item(outcome: &Outcome) -> Value {
    let lines = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.into_iter().find(|line| line["type"] == "item").unwrap_or_else(|| panic!("no item: {outcome:?}"))
}

/// Runs a program of libimobiledevice that has to succeed.
fn told(env: &TestEnv, program: &str, arguments: &[&str]) -> String {
    let output = command(env, program, arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

fn command(env: &TestEnv, program: &str, arguments: &[&str]) -> Command {
    let mut command = env.command("timeout");
    command.args(["60", program]).args(arguments);
    command
}
