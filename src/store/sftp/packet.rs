//! The packets of SFTP version 3 (draft-ietf-secsh-filexfer-02) that a repository needs, as bytes and back.
//!
//! What comes in is a stranger's: every length is checked before it is believed.

use std::io::{self, Read};

/// No answer of a server is longer; data comes in pieces of [`super::connection::PIECE`].
const LONGEST: u32 = 1 << 20;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 1 << 31;

/// What is asked of the server.
#[derive(Debug)]
pub(super) enum Request<'r> {
    OpenToRead(&'r str),
    /// Makes a file that is not there yet.
    OpenNew(&'r str),
    Close(&'r [u8]),
    Read {
        handle: &'r [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'r [u8],
        offset: u64,
        data: &'r [u8],
    },
    Size(&'r str),
    SizeOfOpen(&'r [u8]),
    OpenDirectory(&'r str),
    ReadDirectory(&'r [u8]),
    Remove(&'r str),
    MakeDirectory(&'r str),
    Rename {
        from: &'r str,
        to: &'r str,
    },
    /// Renames over what is there, in one step.
    Replace {
        from: &'r str,
        to: &'r str,
    },
    /// Puts what was written on the disk.
    Sync(&'r [u8]),
}

/// What the server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status {
        code: u32,
        message: String,
    },
    Handle(Vec<u8>),
    Data(Vec<u8>),
    /// Files and directories with their sizes.
    Names(Vec<(Vec<u8>, u64)>),
    Size(u64),
}

/// The greeting.
pub(super) fn hello() -> Vec<u8> {
    Writer::new(INIT).number(3).finish()
}

/// Reads the server's greeting; gives the names of its extensions.
pub(super) fn read_hello(from: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let body = read_body(from)?;
    let mut reader = Reader(&body);
    if reader.byte()? != VERSION || reader.number()? < 3 {
        return Err(malformed());
    }
    let mut extensions = Vec::new();
    while !reader.0.is_empty() {
        extensions.push(reader.bytes()?.to_vec());
        reader.bytes()?;
    }
    Ok(extensions)
}

impl Request<'_> {
    /// As bytes, under a number that the reply will carry.
    pub(super) fn encode(&self, id: u32) -> Vec<u8> {
        let packet = |kind: u8| Writer::new(kind).number(id);
        let writer = match self {
            Self::OpenToRead(path) => packet(3).bytes(path.as_bytes()).number(1).number(0),
            // Write, create, and fail if it is there.
            Self::OpenNew(path) => packet(3).bytes(path.as_bytes()).number(2 | 8 | 32).number(0),
            Self::Close(handle) => packet(4).bytes(handle),
            Self::Read { handle, offset, length } => packet(5).bytes(handle).long(*offset).number(*length),
            Self::Write { handle, offset, data } => packet(6).bytes(handle).long(*offset).bytes(data),
            Self::SizeOfOpen(handle) => packet(8).bytes(handle),
            Self::OpenDirectory(path) => packet(11).bytes(path.as_bytes()),
            Self::ReadDirectory(handle) => packet(12).bytes(handle),
            Self::Remove(path) => packet(13).bytes(path.as_bytes()),
            Self::MakeDirectory(path) => packet(14).bytes(path.as_bytes()).number(0),
            Self::Size(path) => packet(17).bytes(path.as_bytes()),
            Self::Rename { from, to } => packet(18).bytes(from.as_bytes()).bytes(to.as_bytes()),
            Self::Replace { from, to } => {
                packet(200).bytes(b"posix-rename@openssh.com").bytes(from.as_bytes()).bytes(to.as_bytes())
            }
            Self::Sync(handle) => packet(200).bytes(b"fsync@openssh.com").bytes(handle),
        };
        writer.finish()
    }
}

impl Reply {
    /// Reads one reply, with the number of its request.
    pub(super) fn read(from: &mut impl Read) -> io::Result<(u32, Self)> {
        let body = read_body(from)?;
        let mut reader = Reader(&body);
        let kind = reader.byte()?;
        let id = reader.number()?;
        let reply = match kind {
            STATUS => {
                let code = reader.number()?;
                // Old servers leave the message out.
                let message = if reader.0.is_empty() { &[] } else { reader.bytes()? };
                Self::Status { code, message: String::from_utf8_lossy(message).into_owned() }
            }
            HANDLE => Self::Handle(reader.bytes()?.to_vec()),
            DATA => Self::Data(reader.bytes()?.to_vec()),
            NAME => {
                let mut names = Vec::new();
                for _ in 0..reader.number()? {
                    let name = reader.bytes()?.to_vec();
                    reader.bytes()?;
                    names.push((name, reader.size()?));
                }
                Self::Names(names)
            }
            ATTRS => Self::Size(reader.size()?),
            _ => return Err(malformed()),
        };
        Ok((id, reply))
    }
}

fn read_body(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(malformed());
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server answers with something that is not SFTP version 3")
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn long(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let mut with_length = self.number(bytes.len() as u32);
        with_length.0.extend(bytes);
        with_length
    }

    fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> io::Result<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> io::Result<u32> {
        self.0.split_first_chunk().map_or_else(
            || Err(malformed()),
            |(number, rest)| {
                self.0 = rest;
                Ok(u32::from_be_bytes(*number))
            },
        )
    }

    fn bytes(&mut self) -> io::Result<&'b [u8]> {
        let length = self.number()? as usize;
        self.take(length)
    }

    /// The size in a file's attributes; 0 if it is not told.
    fn size(&mut self) -> io::Result<u64> {
        let flags = self.number()?;
        let mut size = 0;
        if flags & HAS_SIZE != 0 {
            size = u64::from(self.number()?) << 32 | u64::from(self.number()?);
        }
        let numbers = [(HAS_OWNER, 2), (HAS_MODE, 1), (HAS_TIMES, 2)];
        let numbers: usize = numbers.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, count)| count).sum();
        self.take(4 * numbers)?;
        if flags & HAS_MORE != 0 {
            for _ in 0..self.number()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(body: &[u8]) -> io::Result<(u32, Reply)> {
        let mut packet = (body.len() as u32).to_be_bytes().to_vec();
        packet.extend(body);
        Reply::read(&mut packet.as_slice())
    }

    #[test]
    fn request_is_length_kind_number_and_what_it_is_about() {
        assert_eq!(Request::Remove("/x").encode(7), [0, 0, 0, 11, 13, 0, 0, 0, 7, 0, 0, 0, 2, b'/', b'x']);
    }

    #[test]
    fn attributes_are_passed_over_up_to_the_next_name() {
        let mut body = vec![NAME, 0, 0, 0, 9, 0, 0, 0, 2];
        // With everything there can be.
        body.extend([0, 0, 0, 1, b'a', 0, 0, 0, 0, 0x80, 0, 0, 15]);
        body.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        body.extend([0; 20]);
        body.extend([0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v']);
        // With nothing.
        body.extend([0, 0, 0, 1, b'b', 0, 0, 0, 0, 0, 0, 0, 0]);
        let names = vec![(b"a".to_vec(), (1 << 32) + 2), (b"b".to_vec(), 0)];
        assert_eq!(reply(&body).unwrap(), (9, Reply::Names(names)));
    }

    #[test]
    fn status_may_lack_its_message() {
        let status = Reply::Status { code: 2, message: String::new() };
        assert_eq!(reply(&[STATUS, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap(), (1, status));
    }

    #[test]
    fn reply_that_claims_more_than_it_holds_is_malformed() {
        for body in [
            &[][..],
            &[STATUS],
            &[DATA, 0, 0, 0, 1, 0, 0, 1, 0, b'x'],
            &[77, 0, 0, 0, 1],
            &[NAME, 0, 0, 0, 1, 255, 255, 255, 255],
        ] {
            assert_eq!(reply(body).unwrap_err().kind(), io::ErrorKind::InvalidData, "{body:?}");
        }
        // A shell's greeting in place of a packet.
        assert_eq!(Reply::read(&mut &b"Welcome!"[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
