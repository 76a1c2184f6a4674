//! DeviceLink as BackupAgent2 speaks it: each message to the host, and what the host answers.
//!
//! The layout of the messages is that of libimobiledevice's `tools/idevicebackup2.c` and of pymobiledevice3's `services/device_link.py`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};

use plist::{Dictionary, Value};

use super::agent::Shared;
use super::cipher::Body;
use super::content::{Content, Sha1};
use super::faults::Wrong;
use super::keybag::Key;
use super::wire::{Wire, length};

/// Codes of blocks.
const SUCCESS: u8 = 0x00;
const ERROR_LOCAL: u8 = 0x06;
const ERROR_REMOTE: u8 = 0x0b;
const DATA: u8 = 0x0c;
/// The most bytes of a file in one block.
const BLOCK: usize = 32_767;
/// The longest name that is taken from a host.
const NAME: usize = 1 << 16;

/// What a host answers: `DLMessageStatusResponse`.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// 0: done. Negative: not done.
    pub code: i64,
    /// Why not.
    pub text: String,
    /// What was asked for.
    pub value: Value,
}

/// One file on its way to the host.
pub struct Upload {
    /// What it is called on the phone.
    pub device: String,
    /// Where the host is to store it.
    pub host: String,
    /// What is in it.
    pub content: Content,
    /// The key of its body.
    pub key: Option<Key>,
    /// What the test wants to be wrong with it.
    pub wrong: Option<Wrong>,
}

/// What a directory of the host holds: by name, whether it is a directory.
pub type Listing = BTreeMap<String, bool>;

/// The conversation about one request.
pub struct Link<'a> {
    /// The connection.
    pub wire: Wire<'a>,
    shared: &'a Shared,
    /// How far the whole is, in percent.
    pub progress: f64,
}

impl<'a> Link<'a> {
    /// A conversation on this connection.
    pub fn new(wire: Wire<'a>, shared: &'a Shared) -> Self {
        Self { wire, shared, progress: 0.0 }
    }

    /// Sends a message and takes the answer.
    ///
    /// # Errors
    /// The connection's; an answer that is none.
    pub fn ask(&mut self, name: &str, rest: impl IntoIterator<Item = Value>) -> io::Result<Status> {
        self.say(name, rest)?;
        self.status(name)
    }

    fn say(&mut self, name: &str, rest: impl IntoIterator<Item = Value>) -> io::Result<()> {
        self.shared.note(|seen| *seen.messages.entry(name.to_owned()).or_default() += 1);
        let mut message = vec![Value::String(name.to_owned())];
        message.extend(rest);
        self.wire.send(&Value::Array(message))
    }

    fn status(&mut self, of: &str) -> io::Result<Status> {
        let answer = self.wire.receive()?;
        let status =
            answer.as_array().and_then(|answer| status(answer)).ok_or_else(|| invalid(format!("{answer:?}")))?;
        if status.code != 0 {
            self.shared.note(|seen| seen.refusals.push((of.to_owned(), status.code, status.text.clone())));
        }
        Ok(status)
    }

    /// Stores files at the host; `total` bytes are announced. Says the SHA-1 of each content.
    ///
    /// # Errors
    /// The connection's.
    pub fn upload(&mut self, total: u64, files: &[Upload]) -> io::Result<(Status, Vec<Sha1>)> {
        let (name, progress) = ("DLMessageUploadFiles", self.progress);
        self.say(name, [Value::Array(Vec::new()), Value::Real(progress), Value::Integer(total.into())])?;
        let mut digests = Vec::with_capacity(files.len());
        for file in files {
            self.name(&file.device)?;
            self.name(&file.host)?;
            digests.push(self.body(file)?);
        }
        self.wire.write(&length(0))?;
        Ok((self.status(name)?, digests))
    }

    /// Begins an upload of files without contents, as many as `hosts` names.
    ///
    /// # Errors
    /// The connection's.
    pub fn upload_empty(&mut self, hosts: impl Iterator<Item = String>) -> io::Result<Status> {
        let (name, progress) = ("DLMessageUploadFiles", self.progress);
        self.say(name, [Value::Array(Vec::new()), Value::Real(progress), Value::Integer(0.into())])?;
        for host in hosts {
            self.name("/f")?;
            self.name(&host)?;
            self.block(SUCCESS, &[])?;
        }
        self.wire.write(&length(0))?;
        self.status(name)
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        self.wire.write(&length(name.len()))?;
        self.wire.write(name.as_bytes())
    }

    fn block(&mut self, code: u8, bytes: &[u8]) -> io::Result<()> {
        self.wire.write(&length(bytes.len() + 1))?;
        self.wire.write(&[code])?;
        self.wire.write(bytes)
    }

    fn body(&mut self, file: &Upload) -> io::Result<Sha1> {
        let mut body = Body::new(file.content.reader(), file.key.as_ref());
        let mut block = vec![0; if file.wrong == Some(Wrong::OneBlock) { 64 << 20 } else { BLOCK }];
        let (mut sent, mut blocks) = (0, 0);
        loop {
            let mut count = fill(&mut body, &mut block)?;
            match file.wrong {
                Some(Wrong::Unreadable | Wrong::LeftOut) if count < block.len() || blocks > 0 => {
                    self.block(DATA, &block[..count / 2])?;
                    self.block(ERROR_REMOTE, b"Input/output error")?;
                    return Ok(body.sha1());
                }
                Some(Wrong::Short(most)) => {
                    count = count.min(usize::try_from(most.saturating_sub(sent)).unwrap_or(count));
                }
                Some(Wrong::EmptyBlock) if blocks == 1 => self.wire.write(&length(0))?,
                Some(Wrong::Announce(announced)) if blocks == 1 || count < block.len() => {
                    self.wire.write(&announced.to_be_bytes())?;
                    self.wire.write(&[DATA])?;
                    self.wire.write(&block[..count])?;
                    self.wire.flush()?;
                    return Err(io::Error::new(ErrorKind::ConnectionAborted, "the test wanted a block without an end"));
                }
                _ => {}
            }
            if count == 0 {
                break;
            }
            self.block(DATA, &block[..count])?;
            sent += count as u64;
            blocks += 1;
        }
        self.shared.note(|seen| seen.body_bytes += sent);
        if let Some(Wrong::Code(code)) = file.wrong {
            self.block(code, b"")?;
        } else {
            self.block(SUCCESS, &[])?;
        }
        Ok(body.sha1())
    }

    /// Asks for files. `sink` gets number and bytes of each piece; the size of each is the answer, or why the host has not sent it.
    ///
    /// # Errors
    /// The connection's, the sink's; a host that sends what was not asked for.
    pub fn download(
        &mut self,
        paths: &[String],
        sink: &mut dyn FnMut(usize, &[u8]) -> io::Result<()>,
    ) -> io::Result<Vec<Result<u64, String>>> {
        let name = "DLMessageDownloadFiles";
        let asked = paths.iter().cloned().map(Value::String).collect();
        let progress = Value::Real(self.progress);
        self.say(name, [Value::Array(asked), Value::Dictionary(Dictionary::new()), progress])?;
        let mut results = vec![Err("the host did not answer for it".to_owned()); paths.len()];
        let mut next = 0;
        loop {
            let length = self.wire.read_number()?;
            if length == 0 {
                break;
            }
            if length > NAME {
                return Err(invalid(format!("the host announced a name of {length} bytes")));
            }
            let path = self.wire.read_bytes(length)?;
            let at = (next..paths.len()).chain(0..next).find(|at| paths[*at].as_bytes() == path);
            let at = at.ok_or_else(|| invalid(format!("the host sent {}", String::from_utf8_lossy(&path))))?;
            next = at + 1;
            results[at] = self.receive_file(at, sink)?;
        }
        let status = self.status(name)?;
        let (failed, told) = (results.iter().any(Result::is_err), status.code == -13);
        self.shared.note(|seen| {
            seen.downloads.extend(paths.iter().cloned());
            seen.untold += usize::from(failed != told);
        });
        Ok(results)
    }

    fn receive_file(
        &mut self,
        at: usize,
        sink: &mut dyn FnMut(usize, &[u8]) -> io::Result<()>,
    ) -> io::Result<Result<u64, String>> {
        let mut size = 0;
        loop {
            let length = self.wire.read_number()?;
            let mut code = [0];
            self.wire.read(&mut code)?;
            let bytes = self.wire.read_bytes(length.checked_sub(1).ok_or_else(|| invalid("a block of no bytes"))?)?;
            match code[0] {
                DATA => {
                    size += bytes.len() as u64;
                    self.shared.note(|seen| seen.longest_block = seen.longest_block.max(bytes.len()));
                    sink(at, &bytes)?;
                }
                SUCCESS => return Ok(Ok(size)),
                ERROR_LOCAL => return Ok(Err(String::from_utf8_lossy(&bytes).into_owned())),
                other => return Err(invalid(format!("the host sent code {other:#04x}"))),
            }
        }
    }

    /// Asks for one file that fits into memory. `None`: the host does not have it.
    ///
    /// # Errors
    /// As [`download`](Self::download).
    pub fn fetch(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        let results = self.download(&[path.to_owned()], &mut |_, piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(results[0].is_ok().then_some(content))
    }

    /// What is in a directory of the host.
    ///
    /// # Errors
    /// The connection's.
    pub fn contents(&mut self, path: &str) -> io::Result<(Status, Listing)> {
        let status = self.ask("DLContentsOfDirectory", [Value::String(path.to_owned())])?;
        let is_directory = |entry: &Value| {
            let kind = entry.as_dictionary().and_then(|entry| entry.get("DLFileType"));
            kind.and_then(Value::as_string) == Some("DLFileTypeDirectory")
        };
        let entries = status.value.as_dictionary().into_iter().flatten();
        let listing = entries.map(|(name, entry)| (name.clone(), is_directory(entry))).collect();
        Ok((status, listing))
    }

    /// How many bytes the host can take. `None`: it does not know.
    ///
    /// # Errors
    /// The connection's.
    pub fn free_space(&mut self, below: &str) -> io::Result<Option<u64>> {
        let status = self.ask("DLMessageGetFreeDiskSpace", [Value::String(below.to_owned())])?;
        Ok(status.value.as_unsigned_integer().filter(|_| status.code == 0))
    }

    /// Moves what is at the first path of each pair to the second one.
    ///
    /// # Errors
    /// The connection's.
    pub fn move_items(&mut self, pairs: impl IntoIterator<Item = (String, String)>) -> io::Result<Status> {
        let pairs = pairs.into_iter().map(|(from, to)| (from, Value::String(to))).collect();
        let progress = Value::Real(self.progress);
        self.ask("DLMessageMoveItems", [Value::Dictionary(pairs), Value::Dictionary(Dictionary::new()), progress])
    }

    /// Removes files, and directories with what is in them.
    ///
    /// # Errors
    /// The connection's.
    pub fn remove_items(&mut self, paths: impl IntoIterator<Item = String>) -> io::Result<Status> {
        let paths = paths.into_iter().map(Value::String).collect();
        let progress = Value::Real(self.progress);
        self.ask("DLMessageRemoveItems", [Value::Array(paths), Value::Dictionary(Dictionary::new()), progress])
    }

    /// Copies one item.
    ///
    /// # Errors
    /// The connection's.
    pub fn copy_item(&mut self, from: &str, to: &str) -> io::Result<Status> {
        let paths = [from, to].map(|path| Value::String(path.to_owned()));
        self.ask("DLMessageCopyItem", paths.into_iter().chain([Value::Dictionary(Dictionary::new())]))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// The connection's.
    pub fn create_directory(&mut self, path: &str) -> io::Result<Status> {
        let options = Value::Dictionary(Dictionary::new());
        self.ask("DLMessageCreateDirectory", [Value::String(path.to_owned()), options])
    }
}

/// Takes a status apart. Hosts send negative codes as they are, or as unsigned numbers of 64 bits.
fn status(answer: &[Value]) -> Option<Status> {
    if answer.first()?.as_string()? != "DLMessageStatusResponse" {
        return None;
    }
    let code = answer.get(1)?;
    let code = code.as_signed_integer().or_else(|| Some(code.as_unsigned_integer()?.cast_signed()))?;
    let text = answer.get(2)?.as_string()?.to_owned();
    Some(Status { code, text, value: answer.get(3).cloned().unwrap_or(Value::Boolean(false)) })
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.into())
}

/// Reads until the buffer is full or there is no more.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..])? {
            0 => break,
            read => count += read,
        }
    }
    Ok(count)
}
