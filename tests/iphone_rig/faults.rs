//! What goes wrong on demand goes wrong as it says.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plist::Dictionary;

use super::raw::{
    answer, ask, connect, devices, dictionary, error, lockdown, muxer, network, packet, request, type_of,
};
use super::support::iphone::{Muxer, MuxerFault, Phone, Settings};
use super::{refused, run, told, trusting};

const LOCKDOWN: &str = "com.apple.mobile.lockdown";

fn list() -> Dictionary {
    dictionary([("MessageType", "ListDevices".into())])
}

#[test]
fn a_muxer_that_is_absent_restarted_or_talks_rubbish_is_so() {
    let phone = Phone::start(Settings::default());
    let before = devices(&phone);
    let mut open = lockdown(&phone);
    assert_eq!(type_of(&mut open).as_deref(), Some(LOCKDOWN));
    phone.muxer().stop();
    assert_eq!(open.read(&mut [0]).unwrap(), 0);
    assert!(refused(&phone, "idevice_id", &["-l"]).contains("Unable to retrieve device list"));
    let gone = UnixStream::connect(phone.muxer().socket()).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    phone.muxer().restart();
    assert_ne!(devices(&phone), before);
    assert_eq!(type_of(&mut lockdown(&phone)).as_deref(), Some(LOCKDOWN));

    for length in [0, 3, u32::MAX] {
        phone.muxer().set_fault(Some(MuxerFault::Length(length)));
        let mut socket = muxer(&phone);
        ask(&mut socket, 1, list());
        let mut head = [0; 16];
        socket.read_exact(&mut head).unwrap();
        assert_eq!(head[..4], length.to_le_bytes());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(socket.read(&mut head).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    phone.muxer().set_fault(Some(MuxerFault::Answers(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())));
    let mut socket = muxer(&phone);
    ask(&mut socket, 1, list());
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    assert_eq!(text, "HTTP/1.1 400 Bad Request\r\n\r\n");
    phone.muxer().set_fault(Some(MuxerFault::WrongTag));
    let mut socket = muxer(&phone);
    ask(&mut socket, 1, list());
    assert_eq!(packet(&mut socket).0, 1001);
    phone.muxer().set_fault(Some(MuxerFault::Closes));
    let mut socket = muxer(&phone);
    ask(&mut socket, 1, list());
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    phone.muxer().set_fault(Some(MuxerFault::NoPropertyList));
    refused(&phone, "idevice_id", &["-l"]);
    phone.muxer().set_fault(None);
    told(&phone, "idevice_id", &["-l"]);
}

#[test]
fn a_muxer_listens_at_ports_of_both_protocols_too() {
    let phone = Phone::start(Settings::default());
    for address in [phone.muxer().listen_at("127.0.0.1:0"), phone.muxer().listen_at("[::1]:0")] {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        let listed = answer(&mut socket, list());
        assert_eq!(listed.get("DeviceList").unwrap().as_array().unwrap().len(), 1);
    }
}

#[test]
fn who_listens_hears_of_what_is_there_comes_goes_and_is_paired() {
    let phone = trusting(Settings::default());
    let mut socket = muxer(&phone);
    let result = answer(&mut socket, dictionary([("MessageType", "Listen".into())]));
    assert_eq!(result.get("Number").unwrap().as_unsigned_integer(), Some(0));
    let mut next = || {
        let (tag, message) = packet(&mut socket);
        assert_eq!(tag, 0);
        let id = message.get("DeviceID").unwrap().as_unsigned_integer().unwrap();
        (message.get("MessageType").unwrap().as_string().unwrap().to_owned(), id)
    };
    let id = devices(&phone)[0];
    assert_eq!(next(), ("Attached".to_owned(), id));
    let listeners = answer(&mut muxer(&phone), dictionary([("MessageType", "ListListeners".into())]));
    assert_eq!(listeners.get("ListenerList").unwrap().as_array().unwrap().len(), 1);
    told(&phone, "idevicepair", &["pair"]);
    assert_eq!(next(), ("Paired".to_owned(), id));
    phone.unplug();
    assert_eq!(next(), ("Detached".to_owned(), id));
    phone.plug_in();
    assert_eq!(next(), ("Attached".to_owned(), id + 1));
}

#[test]
fn a_device_refuses_ports_that_nobody_has_and_all_of_them_on_demand() {
    let phone = Phone::start(Settings::default());
    let device = devices(&phone)[0];
    assert_eq!(connect(&phone, device, 62078).0, 0);
    assert_eq!(connect(&phone, device, 50000).0, 3);
    assert_eq!(connect(&phone, device + 1, 62078).0, 2);
    phone.set(|state| state.faults.refuses_connections = true);
    assert_eq!(connect(&phone, device, 62078).0, 3);
}

#[test]
fn a_service_port_takes_one_connection() {
    let phone = Phone::start(Settings::default());
    let service = dictionary([("Service", "com.apple.mobile.insecure_notification_proxy".into())]);
    let answer = request(&mut lockdown(&phone), "StartService", service).unwrap();
    assert_eq!(answer.get("EnableServiceSSL"), None);
    let port = u16::try_from(answer.get("Port").unwrap().as_unsigned_integer().unwrap()).unwrap();
    assert_eq!(connect(&phone, devices(&phone)[0], port).0, 0);
    assert_eq!(connect(&phone, devices(&phone)[0], port).0, 3);
}

#[test]
fn without_a_session_lockdownd_tells_little_and_starts_nothing() {
    let phone = Phone::start(Settings::default());
    let mut socket = lockdown(&phone);
    assert_eq!(error(&mut socket, "GetValue", dictionary([("Key", "SerialNumber".into())])), "GetProhibited");
    let set = dictionary([("Key", "DeviceName".into()), ("Value", "x".into())]);
    assert_eq!(error(&mut socket, "SetValue", set), "SessionInactive");
    let service = |name: &str| dictionary([("Service", name.into())]);
    assert_eq!(error(&mut socket, "StartService", service("com.apple.afc")), "SessionInactive");
    assert_eq!(error(&mut socket, "StartService", service("com.example")), "InvalidService");
    let host = dictionary([("HostID", "somebody".into()), ("SystemBUID", "somewhere".into())]);
    assert_eq!(error(&mut socket, "StartSession", host), "InvalidHostID");
    assert_eq!(error(&mut socket, "StopSession", Dictionary::new()), "SessionInactive");
    assert_eq!(error(&mut socket, "Pair", dictionary([("PairRecord", Dictionary::new().into())])), "InvalidPairRecord");
    assert_eq!(error(&mut socket, "Dance", Dictionary::new()), "InvalidRequest");
    assert_eq!(type_of(&mut socket).as_deref(), Some(LOCKDOWN));
}

#[test]
fn lockdownd_closes_or_answers_rubbish_at_the_request_that_was_named() {
    let phone = Phone::start(Settings::default());
    phone.set(|state| state.faults.lockdown_closes_at = Some(3));
    let mut socket = lockdown(&phone);
    assert_eq!(type_of(&mut socket).as_deref(), Some(LOCKDOWN));
    assert_eq!(type_of(&mut socket).as_deref(), Some(LOCKDOWN));
    assert_eq!(type_of(&mut socket), None);
    assert_eq!(type_of(&mut lockdown(&phone)).as_deref(), Some(LOCKDOWN));

    for rubbish in [&[0, 0, 0, 0][..], &[0, 0, 0, 3, b'<', b'p', b'l'], &[0xff, 0xff, 0xff, 0xff, b'<']] {
        phone.set(|state| state.faults.lockdown_answers = Some((2, rubbish.to_vec())));
        let mut socket = lockdown(&phone);
        assert_eq!(type_of(&mut socket).as_deref(), Some(LOCKDOWN));
        super::support::iphone::write_xml(&mut socket, &dictionary([("Request", "QueryType".into())]).into()).unwrap();
        let mut got = vec![0; rubbish.len()];
        socket.read_exact(&mut got).unwrap();
        assert_eq!(got, rubbish);
    }
}

#[test]
fn a_connection_is_cut_or_stalls_after_as_many_bytes_as_were_named() {
    let phone = Phone::start(Settings::default());
    phone.set(|state| state.faults.cut_after = Some((LOCKDOWN.to_owned(), 100)));
    let mut socket = lockdown(&phone);
    let query = dictionary([("Request", "QueryType".into())]);
    super::support::iphone::write_xml(&mut socket, &query.clone().into()).unwrap();
    let mut got = Vec::new();
    let _ = socket.read_to_end(&mut got);
    assert_eq!(got.len(), 100);

    phone.set(|state| {
        state.faults.cut_after = None;
        state.faults.stall_after = Some((LOCKDOWN.to_owned(), 10));
    });
    let mut socket = lockdown(&phone);
    super::support::iphone::write_xml(&mut socket, &query.into()).unwrap();
    socket.read_exact(&mut [0; 10]).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(socket.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    phone.set(|state| state.faults.stall_after = None);
    socket.set_read_timeout(None).unwrap();
    socket.read_exact(&mut [0; 90]).unwrap();
    phone.unplug();
    let _ = socket.read_to_end(&mut Vec::new());
    assert_eq!(devices(&phone), Vec::<u64>::new());
}

#[test]
fn over_the_network_nobody_pairs_and_who_is_silent_is_dropped() {
    let patience = Duration::from_millis(1500);
    let phone = trusting(Settings { wifi: true, patience, ..Settings::default() });
    let mut socket = network(&phone);
    assert_eq!(type_of(&mut socket).as_deref(), Some(LOCKDOWN));
    let record = dictionary([("PairRecord", Dictionary::new().into())]);
    assert_eq!(error(&mut socket, "Pair", record), "PairingProhibitedOverThisConnection");
    let begun = Instant::now();
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    assert!(begun.elapsed() > patience / 2, "{:?}", begun.elapsed());
    assert_eq!(phone.seen().dropped, 1);
    // By a cable nobody has to answer anything.
    let mut cable = lockdown(&phone);
    std::thread::sleep(patience + patience / 4);
    assert_eq!(type_of(&mut cable).as_deref(), Some(LOCKDOWN));
    phone.set_wifi(false);
    assert_eq!(phone.lockdown(), None);
}

#[test]
fn what_is_sent_while_the_air_is_dead_comes_later() {
    let phone = Phone::start(Settings { wifi: true, ..Settings::default() });
    let mut socket = network(&phone);
    assert_eq!(type_of(&mut socket).as_deref(), Some(LOCKDOWN));
    phone.lose_wifi_for(Duration::from_millis(400));
    let begun = Instant::now();
    assert_eq!(type_of(&mut socket).as_deref(), Some(LOCKDOWN));
    assert!(begun.elapsed() > Duration::from_millis(350), "{:?}", begun.elapsed());
}

#[test]
fn an_impostor_fools_who_verifies_nothing() {
    let muxer = Arc::new(Muxer::start());
    let phone = Phone::start_at(&muxer, Settings::default());
    phone.set(|state| state.trust = super::Trust::Accepted);
    told(&phone, "idevicepair", &["pair"]);
    let host = phone.get(|state| state.pairings.keys().next().unwrap().clone());
    phone.unplug();

    let impostor = phone.start_impostor(&muxer, None);
    assert_eq!(told(&impostor, "ideviceinfo", &["-k", "SerialNumber"]), "F4GX000000\n");
    let folder = tempfile::tempdir().unwrap();
    run(&impostor, "idevicebackup2", &["backup", folder.path().to_str().unwrap()]);
    let bag = phone.get(|state| state.pairings[&host].escrow_bag.to_vec());
    assert_eq!(impostor.seen().escrow_bags, [bag]);
    drop(impostor);

    // With the phone's certificate, but another key, it does not come that far.
    let impostor = phone.start_impostor(&muxer, Some(&host));
    refused(&impostor, "ideviceinfo", &["-k", "SerialNumber"]);
}

#[test]
fn another_host_is_not_known() {
    let phone = trusting(Settings::default());
    told(&phone, "idevicepair", &["pair"]);
    let pairing = phone.get(|state| state.pairings.values().next().unwrap().clone());
    let own = dictionary([("HostID", pairing.host_id.into()), ("SystemBUID", "elsewhere".into())]);
    assert_eq!(error(&mut lockdown(&phone), "StartSession", own), "InvalidHostID");
    // The client is not the host that its record names.
    let other = trusting(Settings::default());
    told(&other, "idevicepair", &["pair"]);
    let file = format!("{}.plist", phone.udid());
    std::fs::copy(other.muxer().records().join(&file), phone.muxer().records().join(&file)).unwrap();
    let stolen = other.get(|state| state.pairings.keys().next().unwrap().clone());
    phone.set(|state| {
        let mut known = state.pairings.values().next().unwrap().clone();
        known.host_id.clone_from(&stolen);
        state.pairings.insert(stolen, known);
    });
    // It notices too late to fail, but it is told nothing.
    assert_eq!(run(&phone, "ideviceinfo", &["-k", "SerialNumber"]).1, "");
    let refusals = phone.seen().refused_tls;
    assert!(refusals.iter().any(|why| why.contains("UnknownIssuer")), "{refusals:?}");
}
