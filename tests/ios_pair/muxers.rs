//! Muxers: where they are, and what they do instead of answering.

use std::fs;

use super::support::env::TestEnv;
use super::support::iphone::{MuxerFault, Phone, Settings};
use super::{UDID, configure, env_of, paired, trusting};

#[test]
fn address_of_the_muxer_is_taken_in_every_form() {
    let (phone, env) = paired(Settings::default());
    let v4 = phone.muxer().listen_at("127.0.0.1:0");
    let v6 = phone.muxer().listen_at("[::1]:0");
    let path = phone.muxer().socket().display().to_string();
    let name = format!("localhost:{}", v4.port());
    let mut env = env;
    for address in [format!("UNIX:{path}"), path, v4.to_string(), v6.to_string(), name] {
        env = env.variable("USBMUXD_SOCKET_ADDRESS", &address);
        env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
    }
    env = env.variable("USBMUXD_SOCKET_ADDRESS", "::1:27015");
    env.run(["pair"])
        .code(2)
        .stderr_has("USBMUXD_SOCKET_ADDRESS is \"::1:27015\", which is no address of usbmuxd")
        .stderr_has("hint: Write UNIX:/path/of/the/socket, HOST:PORT or [ADDRESS]:PORT.");
}

#[test]
fn no_muxer_and_no_phone_are_told_when_pairing_and_are_away_when_backing_up() {
    let (phone, env) = paired(Settings::default());
    phone.unplug();
    env.run(["pair"])
        .code(1)
        .stderr_has("no device connected: nothing is plugged in")
        .stderr_has("hint: Plug it in with a cable, and unlock it.");
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: away: not on USB\n");
    env.run(["backup"]).code(0).stderr_lacks("error");
    phone.muxer().stop();
    env.run(["pair"])
        .code(1)
        .stderr_has("no device connected: no usbmuxd answers at ")
        .stderr_has("`systemctl start usbmuxd`");
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: away: not on USB (usbmuxd does not run)\n");
    let told = env.run(["backup", "--json"]).code(0).stdout;
    assert!(told.contains(r#""outcome":"away""#), "{told}");
}

#[test]
fn muxer_that_was_started_anew_is_asked_again() {
    let (phone, env) = paired(Settings::default());
    phone.muxer().restart();
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
}

#[test]
fn rubbish_of_a_muxer_is_an_error_and_not_a_phone_that_is_away() {
    let (phone, env) = paired(Settings::default());
    for fault in [
        MuxerFault::Closes,
        MuxerFault::Answers(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        MuxerFault::Length(u32::MAX),
        MuxerFault::Length(0),
        MuxerFault::NoPropertyList,
        MuxerFault::WrongTag,
    ] {
        phone.muxer().set_fault(Some(fault.clone()));
        let said = env.run(["check", "ios.phone"]).code(1);
        assert!(said.stdout.contains("is no usbmuxd, or a broken one: "), "{fault:?}: {}", said.stdout);
        said.stdout_has("FAILED  ios.phone: what answers at ")
            .stdout_has("hint: `systemctl restart usbmuxd` starts it anew");
        env.run(["pair"]).code(1).stderr_has("is no usbmuxd, or a broken one");
    }
}

#[test]
fn muxer_that_says_nothing_is_not_waited_for_without_end() {
    let (phone, env) = paired(Settings::default());
    phone.muxer().set_fault(Some(MuxerFault::Silent));
    env.run(["check", "ios.phone"]).code(1).stdout_has("or a broken one: no answer within 10 seconds");
}

#[test]
fn muxer_that_leaves_out_the_dash_shows_the_same_phone() {
    let phone = trusting(Settings::default());
    phone.muxer().drop_dashes();
    let env = env_of(&phone);
    env.run(["pair", "--usb"]).code(0).stderr_has(UDID);
    assert!(fs::read_to_string(env.config_file()).unwrap().contains(&format!("udid = \"{UDID}\"")));
    env.run(["check", "ios.annas-iphone"]).code(0).stdout_has("ok      ios.annas-iphone: ready");
}

#[test]
fn phone_in_two_lists_is_taken_over_usb_unless_the_configuration_says_otherwise() {
    let (phone, env) = paired(Settings { wifi: true, ..Settings::default() });
    phone.list_as_network_device();
    let connection = |env: &TestEnv, keys: &str, expected: &str| {
        configure(env, keys);
        env.run(["check", "ios.phone"]).code(0).stdout_has(expected);
    };
    connection(&env, "", ", USB, paired");
    connection(&env, "connect = \"network\"", ", Wi-Fi, paired");
    phone.unplug();
    connection(&env, "", ", Wi-Fi, paired");
    connection(&env, "connect = \"usb\"", "away: not on USB\n");
}

#[test]
fn another_phone_at_the_muxer_is_not_taken_for_this_one() {
    let (phone, env) = paired(Settings::default());
    let other = Settings { udid: "00008110-000A1B2C3D4E5F61".to_owned(), ..Settings::default() };
    let _other = Phone::start_at(phone.muxer(), other);
    phone.unplug();
    env.run(["check", "ios.phone"]).code(0).stdout_has("away: not on USB\n");
}
