//! Somebody in the network who says that it is the phone.

use std::net::SocketAddr;

use super::support::env::TestEnv;
use super::support::iphone::{Phone, Settings};
use super::{configure, paired};

/// A phone that was paired, and one that says that it is the same: it knows the pairing, as whoever has listened does, and the certificate, but has not the key.
fn two() -> (Phone, Phone, TestEnv, SocketAddr) {
    let (phone, env) = paired(Settings { wifi: true, ..Settings::default() });
    let impostor = Phone::start(Settings { wifi: true, ..Settings::default() });
    let pairings = phone.get(|state| state.pairings.clone());
    impostor.set(|state| {
        let own = state.identity.clone();
        state.pairings = pairings;
        for pairing in state.pairings.values_mut() {
            pairing.identity = own.clone();
        }
    });
    let address = impostor.lockdown().unwrap();
    (phone, impostor, env, address)
}

#[test]
fn certificate_without_its_key_is_refused_and_nothing_is_sent() {
    let (_phone, impostor, env, address) = two();
    configure(&env, &format!("connect = \"network\"\naddress = \"{address}\""));
    for command in ["check", "backup"] {
        let said = env.run([command, "ios.phone"]).code(1);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(
            text.contains(
                "what answers is not the device that was paired: it cannot show that it has the device's key"
            ),
            "{text}"
        );
        assert!(text.contains("hint: Nothing was sent to it."), "{text}");
    }
    assert_eq!(impostor.seen().escrow_bags, Vec::<Vec<u8>>::new());
    assert_eq!(impostor.seen().services, Vec::<String>::new());
}

#[test]
fn certificate_of_its_own_is_refused_too() {
    let (_phone, impostor, env, address) = two();
    // One that was made for the impostor's key by the same hand is what a pairing with it gives.
    let (other, there) = paired(Settings::default());
    let made = other.get(|state| state.pairings.values().next().unwrap().clone());
    impostor.set(|state| {
        for pairing in state.pairings.values_mut() {
            (pairing.device, pairing.identity) = (made.device.clone(), made.identity.clone());
        }
    });
    configure(&env, &format!("connect = \"network\"\naddress = \"{address}\""));
    env.run(["check", "ios.phone"]).code(1).stdout_has("what answers is not the device that was paired");
    assert!(impostor.seen().services.is_empty());
    drop(there);
}

#[test]
fn other_certificate_for_the_key_of_the_phone_is_accepted() {
    let (phone, env) = paired(Settings::default());
    // What the phone shows may be made anew, as long as the key is its own.
    let again = rcgen_like(&phone);
    phone.set(|state| {
        for pairing in state.pairings.values_mut() {
            pairing.device = again.clone();
        }
    });
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
}

/// Another certificate for the key of this phone: pairs a second time, from another machine.
fn rcgen_like(phone: &Phone) -> rustls::pki_types::CertificateDer<'static> {
    let before: Vec<String> = phone.get(|state| state.pairings.keys().cloned().collect());
    let there = TestEnv::new().variable("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd());
    let kept =
        std::fs::read_dir(phone.muxer().records()).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let content: Vec<Vec<u8>> = kept.iter().map(|path| std::fs::read(path).unwrap()).collect();
    kept.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    there.run(["pair", "--usb"]).code(0);
    kept.iter().zip(content).for_each(|(path, content)| std::fs::write(path, content).unwrap());
    phone.get(|state| state.pairings.iter().find(|(id, _)| !before.contains(id)).unwrap().1.device.clone())
}

#[test]
fn session_without_encryption_is_refused() {
    let (phone, impostor, env, address) = two();
    drop(phone);
    let text = "<plist version=\"1.0\"><dict><key>EnableSessionSSL</key><false/><key>SessionID</key><string>1</string></dict></plist>";
    let frame = [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    impostor.set(|state| state.faults.lockdown_answers = Some((2, frame)));
    configure(&env, &format!("connect = \"network\"\naddress = \"{address}\""));
    env.run(["check", "ios.phone"]).code(1).stdout_has("It offers no encrypted session, which every device does.");
    assert_eq!(impostor.seen().lockdown.len(), 2);
}

#[test]
fn impostor_in_the_network_does_not_hide_the_phone_on_usb() {
    let (_phone, impostor, env, address) = two();
    configure(&env, &format!("address = \"{address}\""));
    env.run(["check", "ios.phone"]).code(0).stdout_has(", USB, paired, ");
    assert!(impostor.seen().lockdown.is_empty());
}
