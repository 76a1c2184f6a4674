//! The files of a device that its media services share: as much of the protocol as a backup needs.
//!
//! A packet is a header of 40 bytes, little-endian (magic, whole length, length without the payload, number, operation), arguments, and a payload
//! (libimobiledevice: `src/afc.h`).

use super::way::Socket;
use anyhow::{Context, Result, anyhow, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MAGIC: u64 = u64::from_le_bytes(*b"CFA6LPAA");
const HEADER: u64 = 40;

/// How much of a file is read at a time, in bytes.
const PIECE: u64 = 64 << 10;

/// How long an answer may be, in bytes.
const MOST: u64 = HEADER + PIECE + 64;

/// What can be asked for, and answered.
mod operation {
    pub(super) const STATUS: u64 = 0x01;
    pub(super) const MAKE_FOLDER: u64 = 0x09;
    pub(super) const OPEN: u64 = 0x0d;
    pub(super) const OPENED: u64 = 0x0e;
    pub(super) const READ: u64 = 0x0f;
    pub(super) const WRITE: u64 = 0x10;
    pub(super) const CLOSE: u64 = 0x14;
    pub(super) const LOCK: u64 = 0x1b;
}

/// What the device says when it is no error, when there is no such file, and when somebody else has the lock (`afc_error_t`).
mod status {
    pub(super) const SUCCESS: u64 = 0;
    pub(super) const MISSING: u64 = 8;
    pub(super) const WOULD_BLOCK: u64 = 19;
}

/// How a file is opened (`afc_file_mode_t`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// For reading.
    Read = 1,
    /// For reading and writing; it is made when it is not there.
    ReadWrite = 2,
    /// For writing, from its beginning.
    Write = 3,
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handle(u64);

/// A connection to the service.
#[derive(Debug)]
pub(super) struct Afc {
    socket: Socket,
    packets: u64,
}

/// What the device answered.
struct Answer {
    operation: u64,
    /// Arguments and payload.
    bytes: Vec<u8>,
}

impl Afc {
    /// Takes a connection over.
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, packets: 0 }
    }

    /// Opens a file; `None` when there is none.
    pub(super) async fn open(&mut self, path: &str, mode: Mode) -> Result<Option<Handle>> {
        let answer = self.ask(operation::OPEN, &[&(mode as u64).to_le_bytes(), path.as_bytes(), &[0]], &[]).await?;
        match answer.status() {
            Some(status::MISSING) => Ok(None),
            Some(status) => Err(anyhow!("the device does not open {path}: error {status}")),
            None => {
                ensure!(answer.operation == operation::OPENED, "the device answers with {}", answer.operation);
                answer.word().map(|handle| Some(Handle(handle))).context("the device opens a file without a number")
            }
        }
    }

    /// Reads a file of at most `most` bytes; `None` when there is none, or a longer one.
    pub(super) async fn whole(&mut self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(path, Mode::Read).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while bytes.len() <= most {
            let arguments = [&file.0.to_le_bytes()[..], &PIECE.to_le_bytes()];
            let answer = self.ask(operation::READ, &arguments, &[]).await?;
            if let Some(status) = answer.status() {
                ensure!(status == status::SUCCESS, "the device does not read {path}: error {status}");
                break;
            }
            if answer.bytes.is_empty() {
                break;
            }
            bytes.extend(answer.bytes);
        }
        self.close(file).await?;
        Ok((bytes.len() <= most).then_some(bytes))
    }

    /// Makes a file of these bytes.
    pub(super) async fn write(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let file = self.open(path, Mode::Write).await?.with_context(|| format!("there is no {path}"))?;
        for piece in bytes.chunks(PIECE as usize) {
            self.done(operation::WRITE, &[&file.0.to_le_bytes()], piece).await?;
        }
        self.close(file).await
    }

    /// Makes a folder; one that is there is as good.
    pub(super) async fn make_folder(&mut self, path: &str) -> Result<()> {
        self.done(operation::MAKE_FOLDER, &[path.as_bytes(), &[0]], &[]).await
    }

    /// Takes the lock of a file for us alone; `false` when somebody else has it.
    pub(super) async fn lock(&mut self, file: Handle) -> Result<bool> {
        const EXCLUSIVE: u64 = 2 | 4;
        let answer = self.ask(operation::LOCK, &[&file.0.to_le_bytes(), &EXCLUSIVE.to_le_bytes()], &[]).await?;
        match answer.status() {
            Some(status::SUCCESS) => Ok(true),
            Some(status::WOULD_BLOCK) => Ok(false),
            other => Err(anyhow!("the device does not lock a file: error {other:?}")),
        }
    }

    /// Lets go of the lock of a file.
    pub(super) async fn unlock(&mut self, file: Handle) -> Result<()> {
        const UNLOCK: u64 = 8 | 4;
        self.done(operation::LOCK, &[&file.0.to_le_bytes(), &UNLOCK.to_le_bytes()], &[]).await
    }

    /// Closes a file.
    pub(super) async fn close(&mut self, file: Handle) -> Result<()> {
        self.done(operation::CLOSE, &[&file.0.to_le_bytes()], &[]).await
    }

    async fn done(&mut self, operation: u64, arguments: &[&[u8]], payload: &[u8]) -> Result<()> {
        match self.ask(operation, arguments, payload).await?.status() {
            Some(status::SUCCESS) => Ok(()),
            other => Err(anyhow!("the device refuses a change of its files: error {other:?}")),
        }
    }

    async fn ask(&mut self, operation: u64, arguments: &[&[u8]], payload: &[u8]) -> Result<Answer> {
        let arguments = arguments.concat();
        let head = HEADER + arguments.len() as u64;
        let words = [MAGIC, head + payload.len() as u64, head, self.packets, operation];
        let mut packet: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        packet.extend([&arguments, payload].concat());
        self.packets += 1;
        self.socket.write_all(&packet).await?;
        self.socket.flush().await?;
        let mut words = [0; 5];
        for word in &mut words {
            *word = self.socket.read_u64_le().await?;
        }
        let [magic, whole, _, _, operation] = words;
        ensure!(magic == MAGIC, "the device's files do not answer as they should");
        ensure!((HEADER..=MOST).contains(&whole), "the device's files answer with {whole} bytes; {MOST} are allowed");
        let mut bytes = vec![0; usize::try_from(whole - HEADER)?];
        self.socket.read_exact(&mut bytes).await?;
        Ok(Answer { operation, bytes })
    }
}

impl Answer {
    fn word(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes.get(..8)?.try_into().ok()?))
    }

    /// The number of a status; `None` when it is another answer.
    fn status(&self) -> Option<u64> {
        if self.operation == operation::STATUS { Some(self.word().unwrap_or(1)) } else { None }
    }
}
