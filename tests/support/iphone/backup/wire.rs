//! The bytes between phone and host: property lists behind their length, raw blocks, and the faults of a connection.

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::time::Duration;

use plist::Value;

use super::agent::Shared;
use super::faults::{At, Trouble};

/// The connection of a service: TLS, or a plain socket.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// The longest message that is taken from a host.
const LONGEST: usize = 256 << 20;
/// What is gathered before it is sent.
const GATHER: usize = 128 << 10;

/// One connection, on which what is written waits until an answer is awaited.
pub struct Wire<'a> {
    stream: &'a mut dyn Stream,
    shared: &'a Shared,
    waiting: Vec<u8>,
    /// What is to happen, where; counted from the request on.
    fault: Option<(At, Trouble)>,
    messages: usize,
    sent: u64,
}

impl<'a> Wire<'a> {
    /// A connection on which nothing goes wrong yet.
    pub fn new(stream: &'a mut dyn Stream, shared: &'a Shared) -> Self {
        Self { stream, shared, waiting: Vec::new(), fault: None, messages: 0, sent: 0 }
    }

    /// From here on messages and bytes are counted, for this fault.
    pub fn expect(&mut self, fault: Option<(At, Trouble)>) {
        (self.fault, self.messages, self.sent) = (fault, 0, 0);
    }

    /// Bytes that were sent since the request.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection's, and the fault's.
    pub fn send(&mut self, message: &Value) -> io::Result<()> {
        self.messages += 1;
        if let Some((At::Message(at), trouble)) = self.fault
            && at == self.messages
        {
            self.fault = None;
            self.trouble(trouble, message)?;
        }
        let bytes = binary(message);
        self.write(&length(bytes.len()))?;
        self.write(&bytes)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection's, and the fault's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes;
        if let Some((At::Byte(at), trouble)) = self.fault
            && self.sent + bytes.len() as u64 > at
        {
            let until = usize::try_from(at.saturating_sub(self.sent)).unwrap_or(usize::MAX);
            let (before, after) = bytes.split_at(until.min(bytes.len()));
            self.fault = None;
            self.put(before)?;
            bytes = after;
            self.trouble(trouble, &Value::String(String::new()))?;
        }
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sent += bytes.len() as u64;
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= GATHER { self.flush() } else { Ok(()) }
    }

    /// Sends what has been waiting.
    ///
    /// # Errors
    /// The connection's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.waiting)?;
        self.waiting.clear();
        self.stream.flush()
    }

    /// Receives so many bytes.
    ///
    /// # Errors
    /// The connection's.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.flush()?;
        self.stream.read_exact(bytes)
    }

    /// Receives a number of four bytes.
    ///
    /// # Errors
    /// The connection's.
    pub fn read_number(&mut self) -> io::Result<usize> {
        let mut number = [0; 4];
        self.read(&mut number)?;
        Ok(u32::from_be_bytes(number) as usize)
    }

    /// Receives so many bytes, which must not be more than anybody would send.
    ///
    /// # Errors
    /// The connection's; a length beyond all measure.
    pub fn read_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("the host announced {length} bytes")));
        }
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// Receives a message.
    ///
    /// # Errors
    /// The connection's; what is no property list.
    pub fn receive(&mut self) -> io::Result<Value> {
        let length = self.read_number()?;
        let bytes = self.read_bytes(length)?;
        Value::from_reader(Cursor::new(bytes)).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    fn trouble(&mut self, trouble: Trouble, message: &Value) -> io::Result<()> {
        let gone = || io::Error::new(ErrorKind::ConnectionAborted, "the test wanted the connection to end here");
        match trouble {
            Trouble::Cut => {
                self.flush()?;
                Err(gone())
            }
            Trouble::Stall(time) => {
                self.flush()?;
                self.shared.sleep(time);
                Ok(())
            }
            Trouble::ShortFrame => {
                let bytes = binary(message);
                self.put(&length(bytes.len()))?;
                self.put(&bytes[..bytes.len() / 2])?;
                self.flush()?;
                Err(gone())
            }
            Trouble::Announce(announced) => {
                self.put(&announced.to_be_bytes())?;
                self.flush()?;
                self.shared.sleep(Duration::from_secs(60));
                Err(gone())
            }
            Trouble::Rubbish => self.frame(&[0xa5; 100]),
            Trouble::NoMessage => self.frame(&binary(&Value::String("no message".to_owned()))),
            Trouble::Unknown => {
                let unknown = ["DLMessageOfTheFuture", "something"].map(|text| Value::String(text.to_owned()));
                self.frame(&binary(&Value::Array(unknown.into())))?;
                let answer = self.receive()?;
                self.shared.note(|seen| seen.unknown = Some(answer));
                Ok(())
            }
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(&length(bytes.len()))?;
        self.put(bytes)?;
        self.flush()
    }
}

/// A property list as it goes over the wire.
pub fn binary(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.to_writer_binary(&mut bytes).expect("it is written to memory");
    bytes
}

/// A length as it goes over the wire.
pub fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("no message is so long").to_be_bytes()
}
