//! Backups without a cable and without a muxer, and several phones in one run.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::rig::{Rig, told};
use super::support::env::TestEnv;
use super::support::iphone::backup::{Content, Passcode};
use super::support::iphone::{Muxer, Phone, Settings, Trust};

/// A paired phone that is in the network only, with no muxer left.
fn far(settings: Settings) -> Rig {
    let rig = Rig::new(Settings { wifi: true, ..settings });
    rig.env.run(["pair"]).code(0);
    rig.phone.unplug();
    rig.phone.muxer().stop();
    let (udid, address) = (rig.phone.udid().to_owned(), rig.phone.lockdown().unwrap());
    rig.env.configure(&format!("[ios.phone]\nudid = \"{udid}\"\naddress = \"{address}\"\n"));
    rig
}

#[test]
fn without_cable_and_muxer_it_is_backed_up_for_longer_than_the_phone_waits_for_a_heartbeat() {
    let rig = far(Settings {
        heartbeat: Duration::from_millis(500),
        patience: Duration::from_secs(3),
        ..Settings::default()
    });
    let passcode = Passcode { entered_after: Some(Duration::from_secs(6)), gives_up_after: Duration::from_secs(60) };
    rig.phone.backup.set(|settings| settings.passcode = Some(passcode));
    let item = rig.saved(&[]);
    rig.assert_holds_the_phone(&item);
    assert_eq!(rig.phone.seen().dropped, 0);
    rig.phone.backup.set(|settings| settings.passcode = None);
    rig.phone.backup.forget();
    rig.phone.backup.files().change("HomeDomain", "Library/SMS/sms.db", Content::seeded(99, 70_000));
    let item = rig.saved(&[]);
    rig.assert_holds_the_phone(&item);
    assert_eq!(rig.phone.backup.seen().full, Some(false));
}

#[test]
fn wifi_that_is_gone_for_half_a_minute_is_waited_for() {
    let rig = far(Settings { patience: Duration::from_secs(120), ..Settings::default() });
    rig.phone.backup.files().add("CameraRollDomain", "Media/film.mov", Content::seeded(7, 40_000_000));
    let begun = Instant::now();
    let backup = thread::scope(|scope| {
        let running = scope.spawn(|| rig.saved(&[]));
        while rig.phone.backup.seen().sent.is_empty() && !running.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        rig.phone.lose_wifi_for(Duration::from_secs(30));
        running.join().unwrap()
    });
    assert!(begun.elapsed() > Duration::from_secs(30), "it was over before the Wi-Fi went");
    rig.assert_holds_the_phone(&backup);
}

#[test]
fn two_phones_are_backed_up_in_one_run_each_into_a_point_of_its_own() {
    let muxer = Arc::new(Muxer::start());
    let udids = ["00008110-000A1B2C3D4E5F60", "00008103-001122334455001E"];
    let phones: HashMap<&str, Phone> = udids
        .into_iter()
        .map(|udid| (udid, Phone::start_at(&muxer, Settings { udid: udid.to_owned(), ..Settings::default() })))
        .collect();
    let tables = format!("[ios.one]\nudid = \"{}\"\n[ios.two]\nudid = \"{}\"\n", udids[0], udids[1]);
    let env = TestEnv::with_store_and(&tables).variable("USBMUXD_SOCKET_ADDRESS", muxer.address());
    for (number, udid) in udids.into_iter().enumerate() {
        let phone = &phones[udid];
        phone.set(|state| state.trust = Trust::Accepted);
        phone.backup.files().add("HomeDomain", "Library/mine.txt", udid.as_bytes().to_vec());
        told(&env, "idevicepair", &["-u", udid, "pair"]);
        // One of them is not there the first time.
        if number == 1 {
            phone.unplug();
        }
    }
    let outcomes = |outcome: super::support::outcome::Outcome| -> Vec<(String, String)> {
        let items = outcome.json_lines().into_iter().filter(|line| line["type"] == "item");
        items.map(|item| (item["item"].to_string(), item["outcome"].to_string())).collect()
    };
    let pair = |one: &str, two: &str| {
        [("\"ios.one\"", one), ("\"ios.two\"", two)].map(|(a, b)| (a.to_owned(), format!("\"{b}\"")))
    };
    assert_eq!(outcomes(env.run(["backup", "--json"]).code(0)), pair("saved", "away"));
    phones[udids[1]].plug_in();
    assert_eq!(outcomes(env.run(["backup", "--json"]).code(0)), pair("saved", "saved"));
    for (name, udid) in ["ios.one", "ios.two"].into_iter().zip(udids) {
        env.run(["dump", &format!("{name}:HomeDomain/Library/mine.txt")]).code(0).stdout_has(udid);
    }
}
