//! Does what the device asks for, until it says that it is done.
//!
//! In a backup as in a restore it is the device that asks: for files of the folder, for room, to take in files, to move, copy and remove.
//!
//! A file is in the folder when all of it has come; until then the one before is there. What the device asks for that no backup needs is refused to it; what
//! is made to lead elsewhere ends the session.

use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use futures_util::future::{Either, select};
use plist::{Date, Dictionary, Value};

use super::frames::{Answer, BLOCK, Message, Wire, code};
use super::notices::{Notice, Notices};
use super::overlay::{Listed, Overlay, Stowed};
use super::place::{Place, Unfit};
use super::progress::Progress;
use super::refusal::{Circumstances, Ended, Refused, device};
use super::staging::{self, Receiving, Staged};
use crate::output::printable;
use crate::store::Ahead;

/// How long a block may be, in bytes. Devices send 32 KiB.
const MOST_BLOCK: u32 = 64 << 20;

/// How many files are named that could not be read, there or here.
const MOST_NAMED: usize = 1000;

/// How long a device that has a passcode may think before its owner is asked to look at it.
const PROMPT_AFTER: Duration = Duration::from_secs(2);

/// A session, and what it has to do with.
pub(super) struct Serve<'s> {
    pub(super) wire: &'s mut Wire,
    pub(super) folder: &'s mut Overlay,
    pub(super) notices: &'s mut Option<Notices>,
    pub(super) progress: Progress,
    /// Told of each content as it has come.
    pub(super) arrived: &'s mut dyn FnMut(&Arc<Staged>) -> Result<()>,
    /// Told what the owner of the device has to do.
    pub(super) say: &'s dyn Fn(Plea),
    /// Whether the device is likely to ask for its passcode, and says nothing until it has it.
    pub(super) may_prompt: bool,
    pub(super) circumstances: Circumstances,
}

/// What the owner of a device is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plea {
    /// The device asks for its passcode.
    Passcode,
    /// The device is silent, and perhaps asks for its passcode.
    Look,
}

impl Serve<'_> {
    /// Serves the device until it ends the session itself.
    ///
    /// # Errors
    ///
    /// When the connection is gone, the device wants what it must not have, or the store takes nothing more.
    pub(super) async fn run(&mut self) -> Result<Ended> {
        loop {
            let message = self.next().await?;
            self.progress.hear(&message);
            let answer = match message.name.as_str() {
                "DLMessageDownloadFiles" => self.send_files(&message).await?,
                "DLMessageUploadFiles" => self.receive_files().await?,
                "DLMessageGetFreeDiskSpace" => self.free_space(),
                "DLMessagePurgeDiskSpace" => {
                    self.circumstances.wanted = message.number(1).or(self.circumstances.wanted);
                    refuse(Refused::new(device::OTHER, "Operation not supported"))
                }
                "DLContentsOfDirectory" => self.list(&message)?,
                "DLMessageCreateDirectory" => self.make_folder(&message)?,
                "DLMessageMoveFiles" | "DLMessageMoveItems" => self.rename(&message)?,
                "DLMessageRemoveFiles" | "DLMessageRemoveItems" => self.remove(&message)?,
                "DLMessageCopyItem" => self.copy(&message)?,
                "DLMessageProcessMessage" => return Ok(ended(&message)),
                "DLMessageDisconnect" => bail!("the device broke off without saying why"),
                other => {
                    tracing::debug!("the device asks for {}, which is not known here", printable(other.as_ref()));
                    refuse(Refused::new(device::OTHER, "Operation not supported"))
                }
            };
            if answer.code != 0 {
                tracing::debug!("{} is answered with {}: {:?}", message.name, answer.code, answer.text);
            }
            self.wire.answer(answer).await?;
        }
    }

    /// The next message; meanwhile whatever the device tells elsewhere.
    async fn next(&mut self) -> Result<Message> {
        let mut message = pin!(self.wire.message());
        loop {
            let notice = async {
                match self.notices {
                    Some(notices) => notices.next().await,
                    None => std::future::pending().await,
                }
            };
            let may_prompt = self.may_prompt;
            let patience = async move {
                if may_prompt {
                    tokio::time::sleep(PROMPT_AFTER).await;
                } else {
                    std::future::pending().await
                }
            };
            match select(message.as_mut(), select(pin!(notice), pin!(patience))).await {
                Either::Left((message, _)) => {
                    // It went on: it has what it wanted.
                    self.may_prompt = false;
                    return message;
                }
                Either::Right((Either::Left((Notice::Prompt, _)), _)) => {
                    self.may_prompt = false;
                    (self.say)(Plea::Passcode);
                }
                Either::Right((Either::Left((Notice::PromptGone, _)), _)) => {}
                Either::Right((Either::Left((Notice::Cancelled, _)), _)) => bail!("it was cancelled on the device"),
                Either::Right((Either::Right(_), _)) => {
                    self.may_prompt = false;
                    (self.say)(Plea::Look);
                }
            }
        }
    }

    /// The place that the device means. The inner error is for the device, the outer one ends the session.
    fn place(&self, path: &str) -> Result<Result<Place, Refused>> {
        match Place::parse(self.folder.called(), path) {
            Ok(place) => Ok(Ok(place)),
            Err(Unfit::Unknown) => {
                tracing::debug!("the device names {}, which no backup has", printable(path.as_ref()));
                Ok(Err(Refused::unknown()))
            }
            Err(unfit @ Unfit::Attack(_)) => {
                let shown: String = printable(path.as_ref()).chars().take(200).collect();
                Err(anyhow!("the device asks for \"{shown}\", which {unfit}"))
            }
        }
    }

    fn free_space(&mut self) -> Answer {
        match self.folder.staging().free() {
            Ok(free) => {
                self.circumstances.free = Some(free);
                Answer { value: Some(free.into()), ..Answer::default() }
            }
            Err(error) => refuse(Refused::of_io(&error)),
        }
    }

    fn list(&self, message: &Message) -> Result<Answer> {
        let path = message.text(1).unwrap_or_default();
        let mut listing = Dictionary::new();
        if let Ok(place) = self.place(path)? {
            for (name, listed) in self.folder.list(&place) {
                let (kind, size, modified) = match listed {
                    Listed::Folder => ("DLFileTypeDirectory", 0, 0),
                    Listed::File(size, modified) => ("DLFileTypeRegular", size, modified),
                };
                let modified =
                    std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(modified / 1_000_000_000).unwrap_or(0));
                let entry = [
                    ("DLFileType", Value::from(kind)),
                    ("DLFileSize", size.into()),
                    ("DLFileModificationDate", Date::from(modified).into()),
                ];
                listing.insert(name, Value::Dictionary(Dictionary::from_iter(entry)));
            }
        }
        Ok(Answer { value: Some(Value::Dictionary(listing)), ..Answer::default() })
    }

    fn make_folder(&mut self, message: &Message) -> Result<Answer> {
        let place = self.place(message.text(1).unwrap_or_default())?;
        Ok(answer(place.and_then(|place| self.folder.make_folder(&place))))
    }

    fn rename(&mut self, message: &Message) -> Result<Answer> {
        let Some(moves) = message.dictionary(1) else { return Ok(refuse(Refused::unknown())) };
        for (from, to) in moves {
            let (from, to) = (self.place(from)?, self.place(to.as_string().unwrap_or_default())?);
            let moved = from.and_then(|from| self.folder.rename(&from, &to?));
            if moved.is_err() {
                return Ok(answer(moved));
            }
        }
        Ok(Answer::default())
    }

    fn remove(&mut self, message: &Message) -> Result<Answer> {
        let places: Vec<_> = message.texts(1).map(|path| self.place(path)).collect::<Result<_>>()?;
        let mut result = Ok(());
        for place in places {
            // The others are removed all the same.
            let removed = place.and_then(|place| self.folder.remove(&place));
            result = result.and(removed);
        }
        Ok(answer(result))
    }

    fn copy(&mut self, message: &Message) -> Result<Answer> {
        let from = self.place(message.text(1).unwrap_or_default())?;
        let to = self.place(message.text(2).unwrap_or_default())?;
        // A device may want a copy of its backup beside it before it takes it back: the point is one, and stays whatever becomes of the session.
        if from == Ok(Place::Top) && to == Err(Refused::unknown()) && self.folder.is_of_point() {
            return Ok(Answer::default());
        }
        Ok(answer(from.and_then(|from| self.folder.copy(&from, &to?))))
    }

    /// Sends the files that the device asks for. One that cannot be sent is told in its place, and the others follow.
    async fn send_files(&mut self, message: &Message) -> Result<Answer> {
        let mut failed = Dictionary::new();
        let places = message.texts(1).map(|path| Ok((path, self.place(path)?))).collect::<Result<Vec<_>>>()?;
        let mut ahead = self.folder.ahead(places.iter().filter_map(|(_, place)| place.as_ref().ok()));
        for (path, place) in places {
            let is_body = matches!(place, Ok(Place::Body(..)));
            self.wire.send_name(path).await?;
            if let Err(Refused { code, text }) = self.send_file(place, ahead.as_mut()).await? {
                if is_body && self.circumstances.unsent.len() < MOST_NAMED {
                    self.circumstances.unsent.push((path.to_owned(), text.clone()));
                }
                tracing::debug!("{} is not sent: {text}", printable(path.as_ref()));
                self.wire.send_block(code::ERROR_LOCAL, text.as_bytes()).await?;
                let error = [("DLFileErrorString", Value::from(text)), ("DLFileErrorCode", code.into())];
                failed.insert(path.to_owned(), Value::Dictionary(Dictionary::from_iter(error)));
            }
        }
        self.wire.send_end().await?;
        if failed.is_empty() {
            return Ok(Answer::default());
        }
        let (code, text, value) = (device::SOME, Some("Multi status".to_owned()), Some(Value::Dictionary(failed)));
        Ok(Answer { code, text, value })
    }

    /// Sends the blocks of a file. The inner error is for the device.
    async fn send_file(
        &mut self,
        place: Result<Place, Refused>,
        ahead: Option<&mut Ahead>,
    ) -> Result<Result<(), Refused>> {
        let mut reading = match place.and_then(|place| self.folder.open(&place, ahead)) {
            Ok(reading) => reading,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut block = vec![0; BLOCK];
        loop {
            let length = match fill(&mut reading, &mut block) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => return Ok(Err(Refused::of_io(&error))),
            };
            self.wire.send_block(code::DATA, &block[..length]).await?;
            self.progress.bytes(length as u64);
        }
        self.progress.file();
        self.wire.send_block(code::SUCCESS, &[]).await?;
        Ok(Ok(()))
    }

    /// Takes in the files that the device sends. When the disk is full, the rest comes all the same, and is let go.
    async fn receive_files(&mut self) -> Result<Answer> {
        let mut result = Ok(());
        // The name on the device comes first; what matters is the one in the folder.
        while let Some(source) = self.wire.name().await? {
            let path = self.wire.name().await?.context("the device sends a file without a name")?;
            let place = self.place(&path)?;
            let received = self.receive_file(&source, &path, place, result.is_ok()).await?;
            result = result.and(received);
        }
        Ok(answer(result))
    }

    /// Takes in one file. The inner error is for the device.
    async fn receive_file(
        &mut self,
        source: &str,
        path: &str,
        place: Result<Place, Refused>,
        is_wanted: bool,
    ) -> Result<Result<(), Refused>> {
        let begun = place.and_then(|place| {
            let receiving = if is_wanted { Some(self.folder.staging().receive()) } else { None };
            receiving.transpose().map(|receiving| (place, receiving)).map_err(|error| self.on_io(&error))
        });
        let (place, mut receiving, mut result) = match begun {
            Ok((place, receiving)) => (Some(place), receiving, Ok(())),
            Err(refused) => (None, None, Err(refused)),
        };
        let unread = loop {
            let length = self.wire.number().await?;
            if length == 0 {
                break Some("it ended in the middle".to_owned());
            }
            ensure!(length <= MOST_BLOCK, "the device sends a block of {length} bytes; {MOST_BLOCK} are allowed");
            match self.wire.byte().await? {
                code::DATA => {
                    let written = self.receive_block(length - 1, &mut receiving).await?;
                    if written.is_err() {
                        receiving = None;
                        result = result.and(written);
                    }
                }
                code::SUCCESS => {
                    self.wire.remark(length - 1).await?;
                    break None;
                }
                code::ERROR_REMOTE | code::ERROR_LOCAL => break Some(self.wire.remark(length - 1).await?),
                other => bail!("the device sends a block of the kind {other:#04x}, which is not known here"),
            }
        };
        self.progress.file();
        if let Some(why) = unread {
            tracing::debug!(
                "{} could not be read on the device: {}",
                printable(source.as_ref()),
                printable(why.as_ref())
            );
            if self.circumstances.unread.len() < MOST_NAMED {
                self.circumstances.unread.push((if source.is_empty() { path } else { source }.to_owned(), why));
            }
            return Ok(result);
        }
        if let (Some(place), Some(receiving)) = (place, receiving) {
            let staged = match receiving.finish() {
                Ok(staged) => staged,
                Err(error) => return Ok(result.and(Err(self.on_io(&error)))),
            };
            if let Place::Body(..) = place {
                (self.arrived)(&staged)?;
            }
            result = result.and(self.folder.put(&place, Stowed::new(staged)));
        }
        Ok(result)
    }

    async fn receive_block(&mut self, length: u32, receiving: &mut Option<Receiving>) -> Result<Result<(), Refused>> {
        let (mut left, mut result) = (length as usize, Ok(()));
        while left > 0 {
            let some = self.wire.some(left).await?;
            left -= some.len();
            self.progress.bytes(some.len() as u64);
            if let Some(receiving) = receiving.as_mut().filter(|_| result.is_ok()) {
                result = receiving.write(some);
            }
        }
        Ok(result.map_err(|error| self.on_io(&error)))
    }

    /// What the device is told of an error here, which we remember for its owner.
    fn on_io(&mut self, error: &std::io::Error) -> Refused {
        let directory = self.folder.staging().directory();
        if staging::is_full(error) {
            self.circumstances.full.get_or_insert_with(|| directory.to_path_buf());
        } else {
            let error = Error::msg(error.to_string()).context(format!("write to {}", directory.display()));
            self.circumstances.broken.get_or_insert(error);
        }
        Refused::of_io(error)
    }
}

/// Fills the buffer as far as there is something.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn answer(result: Result<(), Refused>) -> Answer {
    result.map_or_else(refuse, |()| Answer::default())
}

fn refuse(Refused { code, text }: Refused) -> Answer {
    Answer { code, text: Some(text), value: None }
}

/// How the device ended the session.
fn ended(message: &Message) -> Ended {
    let response = message.dictionary(1);
    let code = response.and_then(|response| response.get("ErrorCode"));
    let code = code.and_then(|code| code.as_signed_integer().or_else(|| code.as_unsigned_integer().map(|_| i64::MAX)));
    let description = response.and_then(|response| response.get("ErrorDescription")).and_then(Value::as_string);
    Ended { code: code.unwrap_or(0), description: description.unwrap_or_default().to_owned() }
}
