//! The least that a client has to say, byte by byte, for what real clients cannot be made to do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use plist::{Dictionary, Value};

use super::support::iphone::{Phone, read_plist, write_xml};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn dictionary<const N: usize>(values: [(&str, Value); N]) -> Dictionary {
    values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Connects to the muxer.
pub fn muxer(phone: &Phone) -> UnixStream {
    let socket = UnixStream::connect(phone.muxer().socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Asks a muxer, without waiting for an answer.
pub fn ask(socket: &mut impl Write, tag: u32, request: Dictionary) {
    let mut body = Vec::new();
    Value::Dictionary(request).to_writer_xml(&mut body).unwrap();
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes: Vec<u8> = [length, 1, 8, tag].into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(body);
    socket.write_all(&bytes).unwrap();
}

/// The next packet of a muxer: its tag, and what it says.
pub fn packet(socket: &mut impl Read) -> (u32, Dictionary) {
    let mut head = [0; 16];
    socket.read_exact(&mut head).unwrap();
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    assert_eq!((word(4), word(8)), (1, 8));
    let mut body = vec![0; word(0) as usize - 16];
    socket.read_exact(&mut body).unwrap();
    (word(12), Value::from_reader(std::io::Cursor::new(body)).unwrap().into_dictionary().unwrap())
}

/// Asks a muxer.
pub fn answer(socket: &mut (impl Read + Write), request: Dictionary) -> Dictionary {
    ask(socket, 7, request);
    let (tag, answer) = packet(socket);
    assert_eq!(tag, 7);
    answer
}

/// The numbers of the devices that a muxer lists.
pub fn devices(phone: &Phone) -> Vec<u64> {
    let list = answer(&mut muxer(phone), dictionary([("MessageType", "ListDevices".into())]));
    let list = list.get("DeviceList").unwrap().as_array().unwrap();
    let ids = list.iter().map(|device| device.as_dictionary().unwrap().get("DeviceID").unwrap());
    ids.map(|id| id.as_unsigned_integer().unwrap()).collect()
}

/// Asks a muxer for a port of a device; the number of the result, and the connection.
pub fn connect(phone: &Phone, device: u64, port: u16) -> (u64, UnixStream) {
    let mut socket = muxer(phone);
    let kind = ("MessageType", "Connect".into());
    let request = [kind, ("DeviceID", device.into()), ("PortNumber", port.swap_bytes().into())];
    let result = answer(&mut socket, dictionary(request));
    (result.get("Number").unwrap().as_unsigned_integer().unwrap(), socket)
}

/// A connection to lockdownd by the muxer.
pub fn lockdown(phone: &Phone) -> UnixStream {
    let (result, socket) = connect(phone, devices(phone)[0], 62078);
    assert_eq!(result, 0);
    socket
}

/// A connection to lockdownd by the network.
pub fn network(phone: &Phone) -> TcpStream {
    let socket = TcpStream::connect(phone.lockdown().unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Asks lockdownd; `None` when it closes instead.
pub fn request(socket: &mut (impl Read + Write), name: &str, mut values: Dictionary) -> Option<Dictionary> {
    values.insert("Request".to_owned(), name.into());
    // It may have closed already.
    let _ = write_xml(socket, &Value::Dictionary(values));
    read_plist(socket).unwrap().map(|answer| answer.into_dictionary().unwrap())
}

/// Asks lockdownd what it is.
pub fn type_of(socket: &mut (impl Read + Write)) -> Option<String> {
    let answer = request(socket, "QueryType", Dictionary::new())?;
    Some(answer.get("Type").unwrap().as_string().unwrap().to_owned())
}

/// Asks lockdownd for what it refuses.
pub fn error(socket: &mut (impl Read + Write), name: &str, values: Dictionary) -> String {
    let answer = request(socket, name, values).unwrap();
    answer.get("Error").unwrap().as_string().unwrap().to_owned()
}
