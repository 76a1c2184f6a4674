//! Property lists on a connection, as lockdownd and most services exchange them: a length of four bytes, the highest first, and a list as XML or binary.
//!
//! Source: libimobiledevice, src/property_list_service.c. The lengths are bounded here: the other side may be anybody.

use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Context, Result};
use plist::{Dictionary, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::bounds;
use super::refused::broken;

/// The longest answer that is taken, in bytes: a list of apps with what the store says of them has a few million.
const LONGEST: u32 = 64 << 20;

/// How much room is made at once, in bytes.
const STEP: usize = 256 << 10;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a dictionary.
///
/// # Errors
///
/// When the connection is broken, or nobody takes it.
pub(super) async fn send(socket: &mut (impl AsyncWrite + Unpin), message: Dictionary) -> Result<()> {
    let mut text = Vec::new();
    Value::Dictionary(message).to_writer_xml(&mut text).context("write a property list")?;
    let length = u32::try_from(text.len()).context("measure a property list")?;
    // In one piece: two small writes wait for each other's acknowledgement.
    let mut frame = length.to_be_bytes().to_vec();
    frame.append(&mut text);
    let sent = async {
        socket.write_all(&frame).await?;
        socket.flush().await
    };
    in_time(sent).await
}

/// Receives a dictionary.
///
/// # Errors
///
/// When the connection is broken, nothing comes, or what comes is none.
pub(super) async fn receive(socket: &mut (impl AsyncRead + Unpin)) -> Result<Dictionary> {
    parse(&in_time(frame(socket)).await?)
}

/// Waits for a dictionary for as long as it takes: of a service that has nothing to say for hours.
///
/// # Errors
///
/// When the connection is broken, or what comes is none.
pub(super) async fn listen(socket: &mut (impl AsyncRead + Unpin)) -> Result<Dictionary> {
    parse(&frame(socket).await.map_err(broken)?)
}

/// What comes next. Room is made only as bytes come.
async fn frame(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = socket.read_u32().await?;
    if length > LONGEST {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("an answer of {length} bytes")));
    }
    let mut bytes = Vec::new();
    while bytes.len() < length as usize {
        let have = bytes.len();
        bytes.resize((length as usize).min(have + STEP), 0);
        socket.read_exact(&mut bytes[have..]).await?;
    }
    Ok(bytes)
}

/// Reads a dictionary, XML or binary, within bounds.
///
/// # Errors
///
/// When it is none.
pub(super) fn parse(text: &[u8]) -> Result<Dictionary> {
    let list = bounds::parse(text).context("what came is no property list")?;
    list.into_dictionary().context("what came is a property list, but no dictionary")
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> Result<T> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(broken),
        Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "no answer within a minute").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(work: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn what_is_sent_is_received() {
        let mut message = Dictionary::new();
        message.insert("Request".to_owned(), "QueryType".into());
        let mut wire = Vec::new();
        run(send(&mut wire, message.clone())).unwrap();
        assert_eq!(wire.len(), 4 + u32::from_be_bytes(*wire.first_chunk().unwrap()) as usize);
        assert_eq!(run(receive(&mut wire.as_slice())).unwrap(), message);
    }

    #[test]
    fn lengths_that_nobody_means_and_what_is_no_list_are_errors() {
        for bytes in [&b"\xff\xff\xff\xffxxxx"[..], b"\0\0\0\x04", b"\0\0\0\x04abcd", b"\0\0", b"", b"\0\0\0\0"] {
            assert!(run(receive(&mut &*bytes)).is_err(), "{bytes:?}");
        }
        let array = br#"<plist version="1.0"><array/></plist>"#;
        let mut frame = (array.len() as u32).to_be_bytes().to_vec();
        frame.extend(array);
        assert!(run(receive(&mut frame.as_slice())).unwrap_err().to_string().contains("no dictionary"));
    }
}
