//! Property lists with their length before them: four bytes, big-endian. lockdownd and nearly all services speak so.

use std::io::{self, Error, ErrorKind, Read, Write};

use plist::Value;

/// No client says more than this in one message.
const LONGEST: u32 = 64 << 20;

/// The next message; `None` at the end of the connection.
///
/// # Errors
///
/// When the connection breaks, or what comes is no property list.
pub fn read_plist(stream: &mut impl Read) -> io::Result<Option<Value>> {
    let mut length = [0; 4];
    if !fill(stream, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Value::from_reader(io::Cursor::new(body)).map(Some).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

/// Fills a buffer; false when the connection ended before its first byte.
///
/// # Errors
///
/// When the connection breaks, or ends in the middle.
pub fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let first = loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Ok(false);
            }
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(false);
    }
    stream.read_exact(&mut buffer[first..])?;
    Ok(true)
}

/// Writes a message as XML.
///
/// # Errors
///
/// When the connection breaks.
pub fn write_xml(stream: &mut impl Write, value: &Value) -> io::Result<()> {
    let mut body = Vec::new();
    value.to_writer_xml(&mut body).map_err(Error::other)?;
    write_frame(stream, &body)
}

/// Writes a message as a binary property list.
///
/// # Errors
///
/// When the connection breaks.
pub fn write_binary(stream: &mut impl Write, value: &Value) -> io::Result<()> {
    let mut body = Vec::new();
    value.to_writer_binary(&mut body).map_err(Error::other)?;
    write_frame(stream, &body)
}

/// Writes bytes with their length before them, in one piece.
fn write_frame(stream: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(Error::other)?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame)?;
    stream.flush()
}
