//! The thread that reads the stream and hands out what is in it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::Member;
use super::blocks::Blocks;
use super::body::Body;
use super::header::Head;
use super::sparse::Map;
use crate::source::content::{self, Budget, Piece, SMALL};

/// What the thread tells.
#[derive(Debug)]
pub(super) enum Message {
    Member(Box<Member>),
    /// The archive is whole, and at its end.
    End,
    Broken(io::Error),
}

/// Why nothing more is read.
enum Stop {
    Broken(io::Error),
    /// Nobody is there who would take it.
    Unwanted,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Reads a stream to its end, or until nobody wants it.
pub(super) fn read(stream: Box<dyn Read + Send>, messages: &SyncSender<Message>, budget: &Arc<Budget>) {
    let mut blocks = Blocks::new(stream, budget);
    let last = match read_members(&mut blocks, messages, budget) {
        Ok(()) => Message::End,
        Err(Stop::Broken(error)) => Message::Broken(error),
        Err(Stop::Unwanted) => return,
    };
    // Whoever would hear it may be gone.
    let _ = messages.send(last);
}

fn read_members(blocks: &mut Blocks, messages: &SyncSender<Message>, budget: &Arc<Budget>) -> Result<(), Stop> {
    while let Some(head) = Head::read(blocks)? {
        let Head { path, kind, rdev, stat, target, xattrs, complaint, map } = head;
        let size = map.as_ref().map_or(0, |map| map.real);
        let mut member = Member { path, kind, size, rdev, stat, target, xattrs, complaint, content: None };
        let mut pieces = None;
        match map {
            None => {}
            Some(map) if size <= SMALL => {
                let share = budget.take(size).ok_or(Stop::Unwanted)?;
                member.content = Some(content::in_memory(collect(blocks, map)?, share));
            }
            Some(map) => {
                let (sender, content) = content::in_pieces();
                member.content = Some(content);
                pieces = Some((sender, map));
            }
        }
        messages.send(Message::Member(Box::new(member))).map_err(|_| Stop::Unwanted)?;
        if let Some((sender, map)) = pieces {
            hand_on(blocks, map, &sender)?;
        }
    }
    Ok(blocks.drain()?)
}

/// Reads a content into memory.
fn collect(blocks: &mut Blocks, map: Map) -> io::Result<Vec<u8>> {
    if map.is_full() {
        return blocks.padded(map.real);
    }
    let mut bytes = Vec::new();
    let mut body = Body::new(map);
    while let Some(piece) = body.piece(blocks)? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Hands a content on as it comes. Of one that nobody wants the rest is passed over.
fn hand_on(blocks: &mut Blocks, map: Map, sender: &SyncSender<Piece>) -> io::Result<()> {
    let mut body = Body::new(map);
    loop {
        let (piece, is_last) = match body.piece(blocks) {
            Ok(Some(piece)) => (Piece::Bytes(piece), false),
            Ok(None) => (Piece::End, true),
            Err(error) => {
                let _ = sender.send(Piece::Broken(io::Error::new(error.kind(), error.to_string())));
                return Err(error);
            }
        };
        if sender.send(piece).is_err() {
            return body.skip(blocks);
        }
        if is_last {
            return Ok(());
        }
    }
}
