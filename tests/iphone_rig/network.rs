//! The phone in the network says where it is.

use std::time::{Duration, Instant};

use mdns_sd::{ServiceDaemon, ServiceEvent};

use super::raw::type_of;
use super::support::iphone::{Phone, Settings};

#[test]
fn a_phone_that_announces_itself_is_found_and_is_gone_when_it_ends() {
    // What is announced is heard by all tests at the same time: no other phone is called so.
    let udid = "00008110-0000000000000A02".to_owned();
    let phone = Phone::start(Settings { udid, wifi: true, ..Settings::default() });
    let address = phone.lockdown().unwrap();
    let announced = phone.announce();
    let daemon = ServiceDaemon::new().unwrap();
    let events = daemon.browse("_apple-mobdev2._tcp.local.").unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut found = None;
    let next = || events.recv_timeout(end - Instant::now()).unwrap();
    // Other tests may announce others.
    while found.is_none() {
        if let ServiceEvent::ServiceResolved(service) = next()
            && service.addresses.iter().any(|ip| ip.to_ip_addr() == address.ip())
        {
            assert!(service.get_fullname().starts_with("a6:cf:99:"), "{}", service.get_fullname());
            found = Some(service.get_fullname().to_owned());
        }
    }
    assert_eq!(type_of(&mut super::raw::network(&phone)).as_deref(), Some("com.apple.mobile.lockdown"));
    drop(announced);
    while !matches!(next(), ServiceEvent::ServiceRemoved(_, name) if Some(&name) == found.as_ref()) {}
}
