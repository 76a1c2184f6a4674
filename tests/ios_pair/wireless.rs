//! Phones in the network: at an address, in the list of a muxer, or found by multicast DNS.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mdns_sd::{ServiceDaemon, ServiceInfo};

use super::support::env::TestEnv;
use super::support::iphone::{Phone, Settings};
use super::{UDID, configure, env_of, paired, trusting};

const SERVICE: &str = "_apple-mobdev2._tcp.local.";

/// A phone with Wi-Fi sync that is paired, unplugged, and has no muxer any more.
fn far(settings: Settings) -> (Phone, TestEnv, SocketAddr) {
    let (phone, env) = paired(Settings { wifi: true, ..settings });
    phone.unplug();
    phone.muxer().stop();
    let address = phone.lockdown().unwrap();
    (phone, env, address)
}

/// Announces something as a phone does: by its network card, which says nothing.
fn announce(address: SocketAddr, instance: &str) -> ServiceDaemon {
    let daemon = ServiceDaemon::new().unwrap();
    let host = format!("phone-{}.local.", address.port());
    let nothing: &[(&str, &str)] = &[];
    let info = ServiceInfo::new(SERVICE, instance, &host, address.ip(), address.port(), nothing).unwrap();
    daemon.register(info).unwrap();
    daemon
}

#[test]
fn phone_at_an_address_needs_no_muxer_and_its_heart_is_answered() {
    let settings = Settings { heartbeat: Duration::from_millis(30), ..Settings::default() };
    let (phone, env, address) = far(settings);
    configure(&env, &format!("connect = \"network\"\naddress = \"{address}\""));
    env.run(["check", "ios.phone"]).code(0).stdout_has(", Wi-Fi, paired, ");
    assert!(phone.seen().services.iter().any(|service| service == "com.apple.mobile.heartbeat"));
    assert_eq!(phone.seen().dropped, 0);
    assert!(phone.seen().troubles.is_empty(), "{:?}", phone.seen().troubles);
}

#[test]
fn phone_that_does_not_answer_at_its_address_is_away() {
    let (phone, env, address) = far(Settings::default());
    configure(&env, &format!("address = \"{address}\""));
    phone.set_wifi(false);
    let why =
        format!("not on USB (usbmuxd does not run), and nothing answers at {}, port {}", address.ip(), address.port());
    env.run(["check", "ios.phone"]).code(0).stdout_has(&format!("ok      ios.phone: away: {why}\n"));
    configure(&env, &format!("connect = \"network\"\naddress = \"{address}\""));
    env.run(["backup"]).code(0);
    configure(&env, "connect = \"network\"\naddress = \"no-such-host.invalid\"");
    env.run(["check", "ios.phone"]).code(0).stdout_has("away: nothing answers at no-such-host.invalid, port 62078\n");
}

#[test]
fn air_that_is_dead_for_a_while_is_outlived_or_told_as_away() {
    let (phone, env, address) = far(Settings::default());
    configure(&env, &format!("connect = \"network\"\naddress = \"{address}\""));
    phone.lose_wifi_for(Duration::from_secs(3));
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
}

#[test]
fn phone_is_found_among_others_by_multicast_dns() {
    // What is announced is heard by all tests at the same time: no other phone is called so.
    let udid = "00008110-0000000000000A01";
    let (phone, env, address) = far(Settings { udid: udid.to_owned(), ..Settings::default() });
    let (other, _there, elsewhere) =
        far(Settings { udid: "00008110-000A1B2C3D4E5F61".to_owned(), ..Settings::default() });
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let _announced = [
        announce(nobody, "00:00:00:00:00:01@fe80::1"),
        announce(elsewhere, "00:00:00:00:00:02@fe80::2"),
        announce(address, "00:00:00:00:00:03@fe80::3"),
    ];
    env.configure(&format!("[ios.phone]\nudid = \"{udid}\"\nconnect = \"network\"\n"));
    env.run(["check", "ios.phone"]).code(0).stdout_has(", Wi-Fi, paired, ");
    // The other one was asked who it is, and nothing else.
    let asked: Vec<_> = other
        .seen()
        .lockdown
        .iter()
        .skip_while(|it| it.get("Request").unwrap().as_string() != Some("StopSession"))
        .cloned()
        .collect();
    assert!(asked.iter().all(|it| it.get("Request").unwrap().as_string() != Some("StartSession")), "{asked:?}");
    drop(phone);
}

#[test]
fn nobody_in_the_network_is_away_after_some_seconds() {
    let (_phone, env, _) = far(Settings::default());
    configure(&env, "connect = \"network\"");
    let begun = Instant::now();
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: away: nothing answers in the network\n");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn pairing_switches_wifi_sync_on_and_tries_it() {
    let phone = trusting(Settings::default());
    let env = env_of(&phone);
    phone.list_as_network_device();
    thread::scope(|scope| {
        let pairing = scope.spawn(|| env.run(["pair", "--wifi", "--json"]));
        let told = pairing.join().unwrap().code(0).stderr_has("It answers over Wi-Fi: backups need no cable.\n").json();
        assert_eq!(told["wifi"], serde_json::json!({"enabled": true, "answers": true, "why": null}));
    });
    assert!(phone.get(|state| state.is_set("com.apple.mobile.wireless_lockdown", "EnableWifiConnections")));
}

#[test]
fn phone_that_does_not_answer_over_wifi_is_paired_all_the_same() {
    let phone = trusting(Settings::default());
    let env = env_of(&phone);
    env.run(["pair", "--address", "127.0.0.1:1"])
        .code(0)
        .stderr_has("Wi-Fi sync is on, but it does not answer over Wi-Fi now: nothing answers at 127.0.0.1, port 1.")
        .stderr_has("Wrote [ios.annas-iphone] to ");
    assert!(
        std::fs::read_to_string(env.config_file())
            .unwrap()
            .ends_with(&format!("udid = \"{UDID}\"\naddress = \"127.0.0.1:1\"\n"))
    );
}
