//! com.apple.afc: the files that programs see, which is a folder in memory.
//!
//! A packet is a head of five little-endian words of 64 bits (a magic, the length of all, the length of head and first part, a number that the answer
//! repeats, what is asked for), a first part and a second one (`src/afc.h` of libimobiledevice).

mod folder;

use std::collections::HashMap;
use std::io::{self, Read, Write};

pub use folder::Folder;
use folder::{Node, plain};

use super::super::frame::fill;
use super::{Service, Session};

const MAGIC: &[u8; 8] = b"CFA6LPAA";
const HEAD: usize = 40;

/// No client writes more at a time.
const LONGEST: u64 = 64 << 20;

/// What the answer to a request is when it is no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Status {
    Success = 0,
    ReadError = 4,
    InvalidArgument = 7,
    NotFound = 8,
    IsDirectory = 9,
    NotSupported = 15,
    Exists = 16,
    WouldBlock = 19,
    NotEmpty = 33,
}

/// The answer to a request.
enum Answer {
    Status(Status),
    /// The kind, the first part, the second one.
    Data(u64, Vec<u8>, Vec<u8>),
}

/// The service.
pub struct Afc;

impl Service for Afc {
    fn serve(&self, mut session: Session) -> io::Result<()> {
        let owner = session.device.media.new_owner();
        let outcome = Client { session: &mut session, owner, files: HashMap::new(), next: 1 }.serve();
        session.device.media.let_go(owner, None);
        outcome
    }
}

struct File {
    path: String,
    at: usize,
    appends: bool,
}

struct Client<'a> {
    session: &'a mut Session,
    owner: u64,
    files: HashMap<u64, File>,
    next: u64,
}

impl Client<'_> {
    fn serve(&mut self) -> io::Result<()> {
        let mut head = [0; HEAD];
        while fill(&mut self.session.wire, &mut head)? {
            let whole = number(&head, 8).unwrap_or(0);
            let first = number(&head, 16).unwrap_or(0);
            if head[..8] != MAGIC[..] || first < HEAD as u64 || whole < first || whole > LONGEST {
                return Err(io::Error::other("a packet of AFC is none"));
            }
            let mut body = vec![0; usize::try_from(whole).map_err(io::Error::other)? - HEAD];
            self.session.wire.read_exact(&mut body)?;
            let second = body.split_off(usize::try_from(first).map_err(io::Error::other)? - HEAD);
            let operation = number(&head, 32).unwrap_or(0);
            let answer = self.handle(operation, &body, &second).unwrap_or_else(Answer::Status);
            self.answer(&head[24..32], answer)?;
        }
        Ok(())
    }

    fn answer(&mut self, packet: &[u8], answer: Answer) -> io::Result<()> {
        let (kind, first, second) = match answer {
            Answer::Status(status) => (1, (status as u64).to_le_bytes().to_vec(), Vec::new()),
            Answer::Data(kind, first, second) => (kind, first, second),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(((HEAD + first.len() + second.len()) as u64).to_le_bytes());
        bytes.extend(((HEAD + first.len()) as u64).to_le_bytes());
        bytes.extend(packet);
        bytes.extend(u64::to_le_bytes(kind));
        bytes.extend(first);
        bytes.extend(second);
        self.session.wire.write_all(&bytes)
    }

    fn handle(&mut self, operation: u64, body: &[u8], second: &[u8]) -> Result<Answer, Status> {
        let device = std::sync::Arc::clone(&self.session.device);
        let media = &device.media;
        let done = Ok(Answer::Status(Status::Success));
        match operation {
            0x03 => {
                let names = [".".to_owned(), "..".to_owned()].into_iter().chain(media.list(&text(body)?)?);
                Ok(data(names))
            }
            0x08 => media.remove(&text(body)?, false).and(done),
            0x22 => media.remove(&text(body)?, true).and(done),
            0x09 => media.make_directory(&text(body)?).and(done),
            0x0a => Ok(data(info(&media.node(&text(body)?)?))),
            0x0b => {
                let facts = [("Model", "iPhone14,5"), ("FSTotalBytes", "127989493760"), ("FSFreeBytes", "64012345344")];
                let facts = facts.into_iter().chain([("FSBlockSize", "4096")]);
                Ok(data(facts.flat_map(|(key, value)| [key.to_owned(), value.to_owned()])))
            }
            0x0d => self.open(media, word(body, 0)?, &plain(&text(body.get(8..).unwrap_or_default())?)),
            0x0f => {
                let file = self.file(body)?;
                let most = usize::try_from(word(body, 8)?).unwrap_or(usize::MAX);
                let from = file.at;
                let bytes = media.change(&file.path, |bytes| {
                    let rest = bytes.get(from..).unwrap_or_default();
                    rest[..rest.len().min(most)].to_vec()
                })?;
                file.at += bytes.len();
                Ok(Answer::Data(2, Vec::new(), bytes))
            }
            0x10 => {
                let file = self.file(body)?;
                let (from, appends) = (file.at, file.appends);
                file.at = media.change(&file.path, |bytes| {
                    let from = if appends { bytes.len() } else { from };
                    let end = from + second.len();
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[from..end].copy_from_slice(second);
                    end
                })?;
                done
            }
            0x11 => {
                let (whence, offset) = (word(body, 8)?, word(body, 16)?.cast_signed());
                let file = self.file(body)?;
                let length = media.change(&file.path, |bytes| bytes.len())?;
                let base = match whence {
                    0 => 0,
                    1 => file.at,
                    2 => length,
                    _ => return Err(Status::InvalidArgument),
                };
                let at = i64::try_from(base).ok().and_then(|base| base.checked_add(offset));
                file.at = at.and_then(|at| usize::try_from(at).ok()).ok_or(Status::InvalidArgument)?;
                done
            }
            0x12 => Ok(Answer::Data(0x13, (self.file(body)?.at as u64).to_le_bytes().to_vec(), Vec::new())),
            0x14 => {
                let path = self.file(body)?.path.clone();
                self.files.remove(&word(body, 0)?);
                media.let_go(self.owner, Some(&path));
                done
            }
            0x15 => {
                let size = word(body, 8)?;
                if size > LONGEST {
                    return Err(Status::InvalidArgument);
                }
                let path = self.file(body)?.path.clone();
                media.change(&path, |bytes| bytes.resize(usize::try_from(size).unwrap_or(0), 0)).and(done)
            }
            0x18 => {
                let mut names = body.split(|byte| *byte == 0).map(text);
                let (Some(from), Some(to)) = (names.next(), names.next()) else { return Err(Status::InvalidArgument) };
                media.rename(&from?, &to?).and(done)
            }
            0x1b => {
                let path = self.file(body)?.path.clone();
                match word(body, 8)? {
                    5 => media.take_lock(self.owner, &path, false).and(done),
                    6 => media.take_lock(self.owner, &path, true).and(done),
                    12 => {
                        media.let_go(self.owner, Some(&path));
                        done
                    }
                    _ => Err(Status::InvalidArgument),
                }
            }
            // Times are not kept.
            0x1e => done,
            _ => Err(Status::NotSupported),
        }
    }

    fn open(&mut self, media: &Folder, mode: u64, path: &str) -> Result<Answer, Status> {
        match (mode, media.node(path)) {
            (_, Ok(Node::Directory)) => return Err(Status::IsDirectory),
            (1, Err(status)) => return Err(status),
            (1 | 2 | 5 | 6, Ok(_)) => {}
            (2..=6, _) => {
                media.create(path)?;
                media.change(path, Vec::clear)?;
            }
            _ => return Err(Status::InvalidArgument),
        }
        let number = self.next;
        self.next += 1;
        self.files.insert(number, File { path: path.to_owned(), at: 0, appends: matches!(mode, 5 | 6) });
        Ok(Answer::Data(0x0e, number.to_le_bytes().to_vec(), Vec::new()))
    }

    fn file(&mut self, body: &[u8]) -> Result<&mut File, Status> {
        self.files.get_mut(&word(body, 0)?).ok_or(Status::InvalidArgument)
    }
}

/// What is said of a file or directory.
fn info(node: &Node) -> Vec<String> {
    let (size, kind) = match node {
        Node::Directory => (96, "S_IFDIR"),
        Node::File(bytes) => (bytes.len(), "S_IFREG"),
    };
    let pairs = [
        ("st_size", size.to_string()),
        ("st_blocks", size.div_ceil(512).to_string()),
        ("st_nlink", "1".to_owned()),
        ("st_ifmt", kind.to_owned()),
        ("st_mtime", "1700000000000000000".to_owned()),
        ("st_birthtime", "1690000000000000000".to_owned()),
    ];
    pairs.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect()
}

/// Texts with a zero behind each.
fn data(texts: impl IntoIterator<Item = String>) -> Answer {
    let bytes = texts.into_iter().flat_map(|text| text.into_bytes().into_iter().chain([0]));
    Answer::Data(2, Vec::new(), bytes.collect())
}

/// The text up to the first zero.
fn text(bytes: &[u8]) -> Result<String, Status> {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(bytes.to_vec()).map_err(|_| Status::InvalidArgument)
}

fn word(bytes: &[u8], at: usize) -> Result<u64, Status> {
    number(bytes, at).ok_or(Status::InvalidArgument)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
