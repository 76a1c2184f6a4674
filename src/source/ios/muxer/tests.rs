//! The muxer's words, and muxers that are none.

use std::thread;

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

/// What a muxer that answers every question with these bytes is asked, and what comes of it.
fn asked<T>(answers: &[&[u8]], question: impl AsyncFnOnce(Muxer) -> Result<T>) -> Result<T> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muxer");
    let listener = UnixListener::bind(&path).unwrap();
    let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let server = thread::spawn(move || {
        for answer in answers {
            let (mut peer, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            peer.read_exact(&mut length).unwrap();
            let mut rest = vec![0; u32::from_le_bytes(length) as usize - 4];
            peer.read_exact(&mut rest).unwrap();
            peer.write_all(&answer).unwrap();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(question(Muxer { address: Address::Unix(path) }));
    server.join().unwrap();
    outcome
}

fn answer(body: &str) -> Vec<u8> {
    let text = format!(r#"<plist version="1.0"><dict>{body}</dict></plist>"#);
    let numbers = [text.len() as u32 + 16, 1, 8, 1];
    numbers.iter().flat_map(|number| number.to_le_bytes()).chain(text.bytes()).collect()
}

#[test]
fn devices_are_listed_and_what_makes_no_sense_is_passed_over() {
    let device = |id: &str, udid: &str, rest: &str| {
        format!(
            "<dict><key>DeviceID</key>{id}<key>Properties</key><dict><key>SerialNumber</key>{udid}{rest}</dict></dict>"
        )
    };
    let usb = "<key>ConnectionType</key><string>USB</string>";
    let network = "<key>ConnectionType</key><string>Network</string><key>NetworkAddress</key><data>EAIAAMCoAQcAAAAAAAAAAA==</data>";
    let list = [
        device("<integer>1</integer>", "<string>A</string>", usb),
        device("<integer>2</integer>", "<string>A</string>", network),
        device("<integer>-3</integer>", "<string>B</string>", usb),
        device("<integer>4</integer>", "<integer>4</integer>", usb),
    ];
    let answer = answer(&format!("<key>DeviceList</key><array>{}<string/></array>", list.concat()));
    let devices = asked(&[&answer], async |muxer| muxer.devices().await).unwrap();
    let address = Some(IpAddr::from([192, 168, 1, 7]));
    let listed = |id, line| Listed { id, udid: "A".to_owned(), line };
    assert_eq!(devices, [listed(1, Line::Usb), listed(2, Line::Network(address))]);
}

#[test]
fn rubbish_is_told_as_such_and_takes_no_memory() {
    let too_long = [&0xffff_ffff_u32.to_le_bytes()[..], &[0; 12]].concat();
    let short = 3_u32.to_le_bytes();
    for rubbish in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
        &too_long,
        &short,
        &answer("<key>a</key><true/>"),
        &answer("")[..20],
    ] {
        let answers = [rubbish, rubbish];
        let tries = if rubbish.len() == 20 { 2 } else { 1 };
        let error = asked(&answers[..tries], async |muxer| muxer.devices().await).unwrap_err();
        assert!(format!("{error:#}").contains("is no usbmuxd, or a broken one"), "{error:#}");
        assert!(crate::error::hints(&error)[0].contains("systemctl restart usbmuxd"));
    }
}

#[test]
fn a_muxer_that_is_started_anew_is_asked_again() {
    let list = answer("<key>DeviceList</key><array/>");
    assert_eq!(asked(&[b"", &list], async |muxer| muxer.devices().await).unwrap(), []);
}

#[test]
fn results_of_connect_and_of_records_are_told_apart() {
    let result = |number: &str| {
        answer(&format!("<key>MessageType</key><string>Result</string><key>Number</key><integer>{number}</integer>"))
    };
    let connect = async |muxer: Muxer| muxer.connect(1, 62078).await;
    assert!(asked(&[&result("0")], connect).is_ok());
    assert!(asked(&[&result("2")], connect).unwrap_err().is::<Gone>());
    let refused = asked(&[&result("3")], connect).unwrap_err();
    assert_eq!(crate::error::cause(&refused).map(io::Error::kind), Some(ErrorKind::ConnectionRefused));
    assert_eq!(asked(&[&result("2")], async |muxer| muxer.record("A").await).unwrap(), None);
    assert!(!asked(&[&result("2")], async |muxer| muxer.remove_record("A").await).unwrap());
    assert!(asked(&[&result("1")], async |muxer| muxer.keep_record(1, "A", b"x").await).is_err());
}

#[test]
fn a_muxer_that_is_not_there_is_absent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let nowhere = Muxer { address: Address::Unix("/nowhere/usbmuxd".into()) };
    let error = runtime.block_on(nowhere.devices()).unwrap_err();
    assert!(error.is::<Absent>());
    assert_eq!(error.to_string(), "no usbmuxd answers at /nowhere/usbmuxd");
}

#[test]
fn addresses_of_both_systems_are_understood() {
    let v4 = Some(IpAddr::from([192, 168, 1, 7]));
    assert_eq!(address_of(&[16, 2, 0, 0, 192, 168, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0]), v4);
    assert_eq!(address_of(&[2, 0, 0xf2, 0x7e, 192, 168, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0]), v4);
    let mut v6 = vec![28, 30, 0, 0, 0, 0, 0, 0];
    v6.extend(Ipv6Addr::LOCALHOST.octets());
    v6.extend([0; 4]);
    assert_eq!(address_of(&v6), Some(Ipv6Addr::LOCALHOST.into()));
    for wrong in [&[][..], &[16], &[16, 2, 0, 0, 192], &[28, 30, 0, 0, 0, 0, 0, 0, 1], &[9; 28]] {
        assert_eq!(address_of(wrong), None);
    }
}
