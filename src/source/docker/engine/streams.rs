//! Between the streams of the runtime and readers and writers on other threads.
//!
//! A few pieces wait in between, so that memory is bounded and neither side waits for single pieces.

use std::future::Future;
use std::io::{self, BufWriter, Read, Write};
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::errors::Error as EngineError;
use bytes::{Buf, Bytes};
use futures_util::stream::poll_fn;
use futures_util::{Stream, StreamExt, pin_mut};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

/// How many pieces wait.
const WAITING: usize = 16;

/// How long an engine may be silent in the middle of a stream.
const IDLE: Duration = Duration::from_secs(300);

/// How large the pieces are that are sent, in bytes.
const PIECE: usize = 256 << 10;

/// What an engine sends, to be read on any thread. It ends only where the engine has said that it does; dropped before, it breaks off.
pub(super) fn incoming(
    runtime: &Runtime,
    stream: impl Stream<Item = Result<Bytes, EngineError>> + Send + 'static,
) -> Incoming {
    let (sender, pieces) = mpsc::channel(WAITING);
    runtime.spawn(async move {
        pin_mut!(stream);
        loop {
            let piece = match timeout(IDLE, stream.next()).await {
                Ok(Some(piece)) => piece.map_err(|error| read_error(&error)),
                Ok(None) => {
                    let _ = sender.send(Ok(Bytes::new())).await;
                    return;
                }
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the engine has been silent for 5 minutes")),
            };
            let is_over = piece.is_err();
            // An empty piece is the end.
            if !matches!(&piece, Ok(piece) if piece.is_empty()) && sender.send(piece).await.is_err() || is_over {
                return;
            }
        }
    });
    Incoming { pieces, piece: Bytes::new(), is_over: false }
}

/// What went wrong in the middle of a stream. That something is not there is for whoever reads a reason of its own.
fn read_error(error: &EngineError) -> io::Error {
    let kind = match error {
        EngineError::DockerResponseServerError { status_code: 404, .. } => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    let text = match error {
        EngineError::DockerResponseServerError { status_code: 403, message } => {
            format!("{} (a socket proxy? doc/sources/docker.md lists what it has to allow)", message.trim())
        }
        EngineError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => other.to_string(),
    };
    io::Error::new(kind, format!("the engine broke off: {text}"))
}

/// See [`incoming`].
pub(super) struct Incoming {
    pieces: Receiver<io::Result<Bytes>>,
    piece: Bytes,
    is_over: bool,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.is_over && !buffer.is_empty() {
            self.piece = match self.pieces.blocking_recv() {
                Some(piece) => piece?,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the engine's stream was given up")),
            };
            self.is_over = self.piece.is_empty();
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// What is sent.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Sends an engine what `write` writes, on this thread, and waits for what it says. When both fail, what the engine says is the reason.
pub(super) fn outgoing<F>(
    runtime: &Runtime,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
    send: impl FnOnce(Pieces) -> F,
) -> Result<()>
where
    F: Future<Output = Result<(), EngineError>> + Send + 'static,
{
    let (sender, mut pieces) = mpsc::channel(WAITING);
    let sending = runtime.spawn(send(Box::pin(poll_fn(move |context| pieces.poll_recv(context)))));
    let mut outgoing = BufWriter::with_capacity(PIECE, Outgoing { sender: sender.clone(), is_refused: false });
    let written = write(&mut outgoing).and_then(|()| Ok(outgoing.flush()?));
    // What waits in the buffer is not wanted when it failed.
    let (Outgoing { is_refused, .. }, _) = outgoing.into_parts();
    if let Err(error) = &written {
        // Without it the engine would take what it has for all.
        let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
    }
    drop(sender);
    let sent = runtime.block_on(sending).context("wait for the engine")?;
    match (written, sent) {
        (Err(error), _) if !is_refused => Err(error),
        (_, Err(error)) => Err(error.into()),
        (written, Ok(())) => written,
    }
}

struct Outgoing {
    sender: Sender<io::Result<Bytes>>,
    is_refused: bool,
}

impl Write for Outgoing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.sender.blocking_send(Ok(Bytes::copy_from_slice(buffer))).is_err() {
            self.is_refused = true;
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the engine takes no more"));
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
