//! A host that stores backups in a plain folder, and does what a phone tells it, for tests that need no other program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end the test")]

use std::fs::{self, File};
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};

use plist::{Dictionary, Value};

/// The longest block that it takes.
const LONGEST: usize = 64 << 20;

/// One connection to the service of a phone.
pub struct Host {
    stream: UnixStream,
    folder: PathBuf,
    free: u64,
}

/// Why something was not done: what is told to the phone.
struct Refused(i64, String);

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let code = if error.kind() == ErrorKind::NotFound { -6 } else { -1 };
        Self(code, error.to_string())
    }
}

impl Host {
    /// Agrees on versions. What comes goes below `folder`, where `free` bytes are said to be free.
    pub fn new(stream: UnixStream, folder: &Path, free: u64) -> io::Result<Self> {
        let mut host = Self { stream, folder: folder.to_owned(), free };
        let version = host.receive()?;
        assert_eq!(version[0].as_string(), Some("DLMessageVersionExchange"));
        host.send(vec!["DLMessageVersionExchange".into(), "DLVersionsOk".into(), version[1].clone()])?;
        assert_eq!(host.receive()?, ["DLMessageDeviceReady".into()]);
        let versions = Value::Array(vec![Value::Real(2.0), Value::Real(2.1)]);
        let hello = host.request("Hello", [("SupportedProtocolVersions", versions)])?.ok_or(ErrorKind::InvalidData)?;
        assert_eq!(hello["ProtocolVersion"].as_real(), Some(2.1));
        Ok(host)
    }

    /// Makes a request, and does what the phone says until it answers. `None`: it goes away instead.
    pub fn request<'a>(
        &mut self,
        name: &str,
        rest: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> io::Result<Option<Dictionary>> {
        let mut request: Dictionary = rest.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        request.insert("MessageName".to_owned(), name.into());
        self.send(vec!["DLMessageProcessMessage".into(), Value::Dictionary(request)])?;
        loop {
            let message = self.receive()?;
            let invalid = || io::Error::new(ErrorKind::InvalidData, format!("{message:?}"));
            let name = message.first().and_then(Value::as_string).ok_or_else(invalid)?;
            let path = |at: usize| message.get(at).and_then(Value::as_string).ok_or_else(invalid);
            let done = match name {
                "DLMessageProcessMessage" => return Ok(message[1].as_dictionary().cloned()),
                "DLMessageDisconnect" => return Ok(None),
                "DLMessageUploadFiles" => self.receive_files()?.map(|()| Value::Dictionary(Dictionary::new())),
                "DLMessageDownloadFiles" => {
                    self.send_files(message.get(1).and_then(Value::as_array).ok_or_else(invalid)?)?;
                    continue;
                }
                "DLMessageGetFreeDiskSpace" => Ok(self.free.into()),
                "DLContentsOfDirectory" => self.list(path(1)?),
                "DLMessageCreateDirectory" => self.act(path(1)?, |path| fs::create_dir_all(path)),
                "DLMessageMoveItems" => {
                    let pairs = message[1].as_dictionary().ok_or_else(invalid)?;
                    let mut pairs = pairs.iter().map(|(from, to)| (from, to.as_string().unwrap_or_default()));
                    pairs.try_for_each(|(from, to)| Ok(fs::rename(self.at(from)?, self.at(to)?)?)).map(|()| empty())
                }
                "DLMessageCopyItem" => self.copy(path(1)?, path(2)?),
                "DLMessageRemoveItems" => {
                    let paths = message[1].as_array().ok_or_else(invalid)?;
                    let mut paths = paths.iter().filter_map(Value::as_string);
                    paths.try_for_each(|path| self.act(path, remove).map(drop)).map(|()| empty())
                }
                _ => Err(Refused(-1, "Operation not supported".to_owned())),
            };
            let (code, text, value) = match done {
                Ok(value) => (0, "___EmptyParameterString___".to_owned(), value),
                Err(Refused(code, text)) => (code, text, empty()),
            };
            self.status(code, &text, value)?;
        }
    }

    /// Takes its leave.
    pub fn disconnect(&mut self) -> io::Result<()> {
        self.send(vec!["DLMessageDisconnect".into(), "___EmptyParameterString___".into()])
    }

    fn at(&self, path: &str) -> Result<PathBuf, Refused> {
        let is_plain =
            !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        is_plain.then(|| self.folder.join(path)).ok_or_else(|| Refused(-1, format!("{path:.100} leads out")))
    }

    fn act(&self, path: &str, act: impl Fn(&Path) -> io::Result<()>) -> Result<Value, Refused> {
        act(&self.at(path)?)?;
        Ok(empty())
    }

    fn copy(&self, from: &str, to: &str) -> Result<Value, Refused> {
        fs::copy(self.at(from)?, self.at(to)?)?;
        Ok(empty())
    }

    fn list(&self, path: &str) -> Result<Value, Refused> {
        let mut listing = Dictionary::new();
        for entry in fs::read_dir(self.at(path)?)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let kind = if metadata.is_dir() { "DLFileTypeDirectory" } else { "DLFileTypeRegular" };
            let mut about = Dictionary::new();
            about.insert("DLFileType".to_owned(), kind.into());
            about.insert("DLFileSize".to_owned(), metadata.len().into());
            about.insert("DLFileModificationDate".to_owned(), Value::Date(metadata.modified()?.into()));
            listing.insert(entry.file_name().to_string_lossy().into_owned(), Value::Dictionary(about));
        }
        Ok(Value::Dictionary(listing))
    }

    fn receive_files(&mut self) -> io::Result<Result<(), Refused>> {
        let mut outcome = Ok(());
        loop {
            let device = self.number()?;
            if device == 0 {
                return Ok(outcome);
            }
            self.bytes(device)?;
            let length = self.number()?;
            let name = String::from_utf8_lossy(&self.bytes(length)?).into_owned();
            let mut file = match self.at(&name).and_then(|path| Ok(File::create(path)?)) {
                Ok(file) => Some(file),
                Err(refused) => {
                    outcome = Err(refused);
                    None
                }
            };
            loop {
                let length = self.number()?.checked_sub(1).ok_or(ErrorKind::InvalidData)?;
                let code = self.bytes(1)?[0];
                let bytes = self.bytes(length)?;
                match (code, &mut file) {
                    (0x0c, Some(file)) => file.write_all(&bytes)?,
                    (0x0c, None) => {}
                    _ => break,
                }
            }
        }
    }

    fn send_files(&mut self, paths: &[Value]) -> io::Result<()> {
        let mut errors = Dictionary::new();
        for path in paths.iter().filter_map(Value::as_string) {
            let mut out = block(path.as_bytes());
            match self.at(path).and_then(|path| Ok(fs::read(path)?)) {
                Ok(content) => {
                    for piece in content.chunks(32_768) {
                        out.extend(block(&[&[0x0c], piece].concat()));
                    }
                    out.extend(block(&[0]));
                }
                Err(Refused(code, text)) => {
                    out.extend(block(&[&[0x06], text.as_bytes()].concat()));
                    let mut error = Dictionary::new();
                    error.insert("DLFileErrorString".to_owned(), text.into());
                    error.insert("DLFileErrorCode".to_owned(), code.into());
                    errors.insert(path.to_owned(), Value::Dictionary(error));
                }
            }
            self.stream.write_all(&out)?;
        }
        self.stream.write_all(&[0; 4])?;
        if errors.is_empty() {
            self.status(0, "___EmptyParameterString___", empty())
        } else {
            self.status(-13, "Multi status", Value::Dictionary(errors))
        }
    }

    fn status(&mut self, code: i64, text: &str, value: Value) -> io::Result<()> {
        self.send(vec!["DLMessageStatusResponse".into(), code.into(), text.into(), value])
    }

    fn send(&mut self, message: Vec<Value>) -> io::Result<()> {
        let mut bytes = Vec::new();
        Value::Array(message).to_writer_binary(&mut bytes).map_err(io::Error::other)?;
        self.stream.write_all(&block(&bytes))
    }

    fn receive(&mut self) -> io::Result<Vec<Value>> {
        let length = self.number()?;
        let message = Value::from_reader(Cursor::new(self.bytes(length)?)).map_err(io::Error::other)?;
        Ok(message.into_array().ok_or(ErrorKind::InvalidData)?)
    }

    fn number(&mut self) -> io::Result<usize> {
        let mut number = [0; 4];
        self.stream.read_exact(&mut number)?;
        Ok(u32::from_be_bytes(number) as usize)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn empty() -> Value {
    Value::Dictionary(Dictionary::new())
}

fn block(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("these are small");
    [&length.to_be_bytes(), bytes].concat()
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    // Nothing is lost when there was nothing.
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
