//! What goes wrong with a phone, before a backup begins.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::support::env::TestEnv;
use super::support::iphone::{Phone, Settings};
use super::{UDID, configure, env_of, paired, trusting};

const AGAIN: &str = "hint: Run `holdall pair` with the device on USB.";

fn record(env: &TestEnv) -> std::path::PathBuf {
    env.path(format!("config/holdall/ios/{UDID}.plist"))
}

#[test]
fn phone_that_was_reset_has_to_be_paired_again() {
    let (phone, env) = paired(Settings::default());
    phone.reset();
    env.run(["check", "ios.phone"])
        .code(1)
        .stdout_has("FAILED  ios.phone: open a session with ")
        .stdout_has("the device does not know this computer (any more)")
        .stdout_has(AGAIN);
    env.run(["backup"]).code(1).stderr_has("the device does not know this computer (any more)");
    phone.set(|state| state.trust = super::Trust::Accepted);
    env.run(["pair", "--usb"]).code(0).stderr_has("Paired: ");
    env.run(["check", "ios.phone"]).code(0);
}

#[test]
fn phone_that_refuses_our_keys_has_to_be_paired_again() {
    let (phone, env) = paired(Settings::default());
    phone.set(|state| {
        for pairing in state.pairings.values_mut() {
            (pairing.host, pairing.root) = (pairing.device.clone(), pairing.device.clone());
        }
    });
    env.run(["check", "ios.phone"])
        .code(1)
        .stdout_has("the device refuses the keys of the pairing record: ")
        .stdout_has(AGAIN);
    env.run(["pair", "--usb"]).code(0).stderr_has("Paired: ");
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
}

#[test]
fn record_of_another_computer_or_of_another_phone_opens_nothing() {
    let (phone, env) = paired(Settings::default());
    let other = trusting(Settings { udid: "00008110-000A1B2C3D4E5F61".to_owned(), ..Settings::default() });
    let there = env_of(&other);
    there.run(["pair", "--usb"]).code(0);
    fs::copy(there.path("config/holdall/ios/00008110-000A1B2C3D4E5F61.plist"), record(&env)).unwrap();
    fs::remove_file(phone.muxer().records().join(format!("{UDID}.plist"))).unwrap();
    env.run(["check", "ios.phone"])
        .code(1)
        .stdout_has("the device does not know this computer (any more)")
        .stdout_has(AGAIN);
}

#[test]
fn record_of_ours_that_is_stale_gives_way_to_a_newer_one_of_the_muxer() {
    let (phone, env) = paired(Settings::default());
    phone.reset();
    phone.set(|state| state.trust = super::Trust::Accepted);
    assert!(env.command("idevicepair").arg("pair").output().unwrap().status.success());
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
}

#[test]
fn record_that_is_missing_broken_or_open_to_others_is_told() {
    let (phone, env) = paired(Settings::default());
    let mode = |mode| fs::set_permissions(record(&env), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    env.run(["check", "ios.phone"])
        .code(1)
        .stdout_has("others than its owner can read or write it (mode 0644)")
        .stdout_has(&format!("chmod 600 {}", record(&env).display()));
    mode(0o600);
    for content in [&b"<plist version=\"1.0\"><dict/></plist>"[..], b"\xff\xfe", b""] {
        fs::write(record(&env), content).unwrap();
        env.run(["check", "ios.phone"])
            .code(1)
            .stdout_has(&format!("FAILED  ios.phone: read the pairing record {}: ", record(&env).display()))
            .stdout_has("hint: If it is beyond repair, remove it and run `holdall pair` with the device on USB.");
    }
    fs::remove_file(record(&env)).unwrap();
    env.run(["check", "ios.phone"]).code(0);
    fs::remove_file(phone.muxer().records().join(format!("{UDID}.plist"))).unwrap();
    env.run(["check", "ios.phone"]).code(1).stdout_has(&format!("{UDID} is not paired with this computer"));
}

#[test]
fn phone_that_was_not_unlocked_since_it_started_is_away() {
    let (phone, env) = paired(Settings::default());
    phone.set(|state| state.before_first_unlock = true);
    env.run(["check", "ios.phone"]).code(0).stdout_has(&format!("away: {UDID} is locked; unlock it"));
    let told = env.run(["backup", "--json"]).code(0).stdout;
    assert!(told.contains(r#""outcome":"away""#), "{told}");
}

#[test]
fn phone_that_refuses_connections_is_an_error_that_says_what_to_do() {
    let (phone, env) = paired(Settings::default());
    phone.set(|state| state.faults.refuses_connections = true);
    env.run(["check", "ios.phone"])
        .code(1)
        .stdout_has("connect to the device over USB: nothing answers there on the device")
        .stdout_has("hint: Unlock the device, plug it in again, and try again.");
}

/// The questions by which a phone is shown to its owner: one that leaves them open is paired all the same.
const INTRODUCTION: usize = 4;

#[test]
fn connection_that_ends_at_any_request_is_told_and_pairing_goes_on_the_next_time() {
    let mut ends = 0;
    for request in 1.. {
        let phone = trusting(Settings::default());
        let env = env_of(&phone);
        phone.set(|state| state.faults.lockdown_closes_at = Some(request));
        let said = env.run(["pair", "--usb", "--name", "phone"]);
        if phone.get(|state| state.faults.lockdown_closes_at.is_some()) {
            said.code(0);
            break;
        }
        if request <= INTRODUCTION {
            said.code(0);
            continue;
        }
        ends += 1;
        said.code(1)
            .stderr_has("the connection to the device broke off")
            .stderr_has("hint: Was it unplugged, or out of reach?");
        assert!(!fs::read_to_string(env.config_file()).unwrap().contains("ios"), "{request}");
        env.run(["pair", "--usb", "--name", "phone"]).code(0);
        env.run(["check", "ios.phone"]).code(0);
    }
    assert!(ends >= 5, "{ends}");
}

#[test]
fn frames_that_are_too_long_too_short_or_no_lists_are_told() {
    let frame = |text: &[u8]| [&(text.len() as u32).to_be_bytes()[..], text].concat();
    for (bytes, said) in [
        (b"\xff\xff\xff\xff".to_vec(), "an answer of 4294967295 bytes"),
        (frame(b""), "what came is no property list"),
        (frame(b"rubbish"), "what came is no property list"),
        (frame(b"<plist version=\"1.0\"><array/></plist>"), "no dictionary"),
    ] {
        let (phone, env) = paired(Settings::default());
        phone.set(|state| state.faults.lockdown_answers = Some((2, bytes)));
        env.run(["check", "ios.phone"]).code(1).stdout_has(said);
    }
}

#[test]
fn answers_that_mean_no_are_told_in_words() {
    let answer = |code: &str| {
        let text = format!("<plist version=\"1.0\"><dict><key>Error</key><string>{code}</string></dict></plist>");
        [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
    };
    for (code, said) in [
        ("InvalidHostID", "the device does not know this computer (any more)"),
        ("FMiPRestricted", "the device is locked by Find My"),
        ("Odd\u{1b}[2J", "the device answers: "),
    ] {
        let (phone, env) = paired(Settings::default());
        phone.set(|state| state.faults.lockdown_answers = Some((2, answer(code))));
        let outcome = env.run(["check", "ios.phone"]);
        if code == "InvalidHostID" {
            // The muxer has the same record, and with that it works.
            outcome.code(0);
        } else {
            outcome.code(1).stdout_has(said).stdout_lacks("\u{1b}");
        }
    }
}

#[test]
fn phone_that_is_unplugged_and_plugged_in_is_there_again() {
    let (phone, env) = paired(Settings::default());
    configure(&env, "connect = \"usb\"");
    phone.unplug();
    env.run(["check", "ios.phone"]).code(0).stdout_has("away: not on USB\n");
    phone.plug_in();
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
}

#[test]
fn wicked_names_cannot_write_to_the_terminal_or_the_configuration() {
    let name = "\u{1b}[2J]\n[store]\nrepository = \"/tmp/x\"";
    let phone: Phone = trusting(Settings { name: name.to_owned(), ..Settings::default() });
    let env = env_of(&phone);
    env.run(["pair", "--usb"]).code(0).stderr_lacks("\u{1b}").stderr_has("\\u{1b}[2J");
    assert!(!fs::read_to_string(env.config_file()).unwrap().contains("/tmp/x"));
    env.run(["check"]).code(0).stdout_lacks("\u{1b}");
    env.run(["discover", "ios"]).code(0).stdout_lacks("\u{1b}");
}
