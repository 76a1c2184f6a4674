//! DeviceLink on the wire: the messages and files that a device's backup service and its host give each other.
//!
//! A message is a length (32 bits, big-endian) and a property list, always an array that begins with its name. Files go in between, as names and blocks
//! (libimobiledevice: `src/device_link_service.c`, `tools/idevicebackup2.c`). Nothing that comes is believed: a length is compared with what may be before
//! anything is made room for, and room is made only as bytes come.

use std::io;

use super::way::Socket;
use anyhow::{Context, Result, anyhow, ensure};
use plist::{Dictionary, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bounds;

/// How much is read at a time, in bytes: eight blocks of the size that devices send.
const BUFFER: usize = 256 << 10;

/// How long a message may be, in bytes. The longest are lists of files: this is half a million of them.
const MOST_MESSAGE: u32 = 64 << 20;

/// How long a name may be on the wire, in bytes; what it may be beyond that is not for here.
const MOST_NAME: u32 = 4096;

/// How much of a file goes into one block, in bytes. Larger ones got the service on devices killed (pymobiledevice3, issue 1857).
pub(super) const BLOCK: usize = 32 << 10;

/// What stands in a message where there is nothing.
const NOTHING: &str = "___EmptyParameterString___";

/// A block has content, a file is over, or it went wrong there or here (libimobiledevice: `tools/idevicebackup2.c`, `CODE_*`).
pub(super) mod code {
    /// The file was whole.
    pub(in super::super) const SUCCESS: u8 = 0x00;
    /// Whoever sends could not read the file.
    pub(in super::super) const ERROR_LOCAL: u8 = 0x06;
    /// The device could not read the file.
    pub(in super::super) const ERROR_REMOTE: u8 = 0x0b;
    /// Content.
    pub(in super::super) const DATA: u8 = 0x0c;
}

/// A message: its name, and what comes with it.
#[derive(Debug)]
pub(super) struct Message {
    /// `DLMessageUploadFiles`.
    pub(super) name: String,
    values: Vec<Value>,
}

impl Message {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let Value::Array(values) = bounds::parse(bytes).context("read a message of the device")? else {
            return Err(anyhow!("a message of the device is no array"));
        };
        let name = values.first().and_then(Value::as_string).context("a message of the device has no name")?.to_owned();
        Ok(Self { name, values })
    }

    /// What stands at a place, the name being at 0.
    pub(super) fn value(&self, at: usize) -> Option<&Value> {
        self.values.get(at)
    }

    /// The text at a place.
    pub(super) fn text(&self, at: usize) -> Option<&str> {
        self.value(at)?.as_string()
    }

    /// The number at a place, if it is one that is not negative.
    pub(super) fn number(&self, at: usize) -> Option<u64> {
        let value = self.value(at)?;
        value.as_unsigned_integer().or_else(|| value.as_real().filter(|real| *real >= 0.0).map(|real| real as u64))
    }

    /// The texts of the list at a place; what is no text in it is left out.
    pub(super) fn texts(&self, at: usize) -> impl Iterator<Item = &str> {
        let list = self.value(at).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_string)
    }

    /// The dictionary at a place.
    pub(super) fn dictionary(&self, at: usize) -> Option<&Dictionary> {
        self.value(at)?.as_dictionary()
    }
}

/// What a host answers to a message.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// 0, or an error of [`super::refusal::device`].
    pub(super) code: i64,
    /// What went wrong.
    pub(super) text: Option<String>,
    /// What was asked for; `None`: an empty dictionary.
    pub(super) value: Option<Value>,
}

/// A connection to the backup service.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
    /// Where in the buffer is what has come and was not taken yet.
    begin: usize,
    end: usize,
    /// What is sent next, so that it goes in one piece.
    out: Vec<u8>,
}

impl Wire {
    /// Takes a connection over.
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, buffer: vec![0; BUFFER], begin: 0, end: 0, out: Vec::with_capacity(BLOCK + 16) }
    }

    /// Waits for more. Only when there is nothing left.
    async fn fill(&mut self) -> io::Result<()> {
        self.begin = 0;
        self.end = 0;
        self.end = self.socket.read(&mut self.buffer).await?;
        if self.end == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the device closed the connection"));
        }
        Ok(())
    }

    /// Some bytes, at least one and not more than `most`.
    pub(super) async fn some(&mut self, most: usize) -> io::Result<&[u8]> {
        if self.begin == self.end {
            self.fill().await?;
        }
        let length = most.min(self.end - self.begin);
        self.begin += length;
        Ok(&self.buffer[self.begin - length..self.begin])
    }

    async fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.min(BUFFER));
        while bytes.len() < length {
            let some = self.some(length - bytes.len()).await?;
            bytes.extend_from_slice(some);
        }
        Ok(bytes)
    }

    /// Reads a number.
    pub(super) async fn number(&mut self) -> io::Result<u32> {
        let mut number = [0; 4];
        for byte in &mut number {
            *byte = self.byte().await?;
        }
        Ok(u32::from_be_bytes(number))
    }

    /// Reads a byte.
    pub(super) async fn byte(&mut self) -> io::Result<u8> {
        let some = self.some(1).await?;
        Ok(some.first().copied().unwrap_or_default())
    }

    /// Reads a name with its length before it; `None` when the length is 0, with which a list of files ends.
    pub(super) async fn name(&mut self) -> Result<Option<String>> {
        let length = self.number().await?;
        ensure!(length <= MOST_NAME, "the device names a file with {length} bytes; {MOST_NAME} are allowed");
        if length == 0 {
            return Ok(None);
        }
        let bytes = self.bytes(length as usize).await?;
        String::from_utf8(bytes).map(Some).map_err(|_| anyhow!("the device names a file with bytes that are no text"))
    }

    /// Reads so many bytes, and keeps the first ones as text: what the device says of a file that it cannot read.
    pub(super) async fn remark(&mut self, length: u32) -> io::Result<String> {
        const KEPT: usize = 300;
        let (mut kept, mut left) = (Vec::new(), length as usize);
        while left > 0 {
            let some = self.some(left).await?;
            left -= some.len();
            kept.extend_from_slice(&some[..some.len().min(KEPT - kept.len())]);
        }
        Ok(String::from_utf8_lossy(&kept).into_owned())
    }

    /// Waits for a message.
    pub(super) async fn message(&mut self) -> Result<Message> {
        let length = self.number().await?;
        ensure!(length <= MOST_MESSAGE, "the device sends a message of {length} bytes; {MOST_MESSAGE} are allowed");
        let bytes = self.bytes(length as usize).await?;
        let message = Message::parse(&bytes)?;
        tracing::debug!("the device says {}", message.name);
        Ok(message)
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, values: Vec<Value>) -> Result<()> {
        self.out.clear();
        self.out.extend_from_slice(&[0; 4]);
        Value::Array(values).to_writer_binary(&mut self.out).context("write a message")?;
        let length = u32::try_from(self.out.len() - 4).context("write a message of more than 4 GiB")?;
        self.out[..4].copy_from_slice(&length.to_be_bytes());
        self.flush().await.context("send a message")
    }

    /// Sends a request of the backup protocol.
    pub(super) async fn request(&mut self, name: &str, mut options: Dictionary) -> Result<()> {
        options.insert("MessageName".to_owned(), Value::from(name));
        self.send(vec!["DLMessageProcessMessage".into(), Value::Dictionary(options)]).await
    }

    /// Answers a message.
    pub(super) async fn answer(&mut self, answer: Answer) -> Result<()> {
        let text = answer.text.unwrap_or_else(|| NOTHING.to_owned());
        let value = answer.value.unwrap_or_else(|| Value::Dictionary(Dictionary::new()));
        self.send(vec!["DLMessageStatusResponse".into(), answer.code.into(), text.into(), value]).await
    }

    /// Says that the session is over. Who is gone need not hear it.
    pub(super) async fn goodbye(&mut self) {
        let disconnect = vec!["DLMessageDisconnect".into(), NOTHING.into()];
        if let Err(error) = self.send(disconnect).await {
            tracing::debug!("the device does not hear that the session is over: {error:#}");
        }
    }

    /// Sends the name of a file whose blocks follow.
    pub(super) async fn send_name(&mut self, name: &str) -> Result<()> {
        self.out.clear();
        self.out.extend_from_slice(&u32::try_from(name.len()).context("send a name")?.to_be_bytes());
        self.out.extend_from_slice(name.as_bytes());
        self.flush().await.context("send the name of a file")
    }

    /// Sends a block of at most [`BLOCK`] bytes.
    pub(super) async fn send_block(&mut self, code: u8, bytes: &[u8]) -> Result<()> {
        self.out.clear();
        self.out.extend_from_slice(&u32::try_from(bytes.len() + 1).context("send a block")?.to_be_bytes());
        self.out.push(code);
        self.out.extend_from_slice(bytes);
        self.flush().await.context("send a part of a file")
    }

    /// Says that no more files follow.
    pub(super) async fn send_end(&mut self) -> Result<()> {
        self.out.clear();
        self.out.extend_from_slice(&[0; 4]);
        self.flush().await.context("send the end of a list of files")
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.out).await?;
        self.socket.flush().await
    }

    /// Agrees on the versions of both protocols: DeviceLink's is what the device says, the backup's one that we know.
    ///
    /// # Errors
    ///
    /// When what answers is no backup service, or one of a time that is not known.
    pub(super) async fn greet(&mut self) -> Result<()> {
        let message = self.message().await?;
        ensure!(message.name == "DLMessageVersionExchange", "the backup service began with {}", message.name);
        let major = message.number(1).context("the backup service does not say its version")?;
        self.send(vec!["DLMessageVersionExchange".into(), "DLVersionsOk".into(), major.into()]).await?;
        let message = self.message().await?;
        ensure!(message.name == "DLMessageDeviceReady", "the backup service answered {}", message.name);
        let versions = Value::Array(vec![Value::Real(2.0), Value::Real(2.1)]);
        self.request("Hello", Dictionary::from_iter([("SupportedProtocolVersions", versions)])).await?;
        let message = self.message().await?;
        let response = message.dictionary(1).filter(|_| message.name == "DLMessageProcessMessage");
        let response = response.with_context(|| format!("the backup service answered {}", message.name))?;
        let code = response.get("ErrorCode").and_then(Value::as_signed_integer).unwrap_or(0);
        ensure!(code == 0, "the backup service refuses all protocol versions that are known here (error {code})");
        Ok(())
    }
}
