//! A connection that notices when the other side has gone quiet.
//!
//! Nothing in the protocols says how long a device may think, and a network that is gone says nothing at all. So whoever waits for bytes, or for room to write,
//! gets an error after a time without any; each byte begins the time anew.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::way::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::quantity::show_duration;

/// How long somebody may be quiet before the connection counts as dead, and who that is.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// The name of the other side, for the error.
    pub(super) name: String,
    /// How long without a byte.
    pub(super) limit: Duration,
}

/// A connection under watch.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Socket,
    patience: Patience,
    reading: Clock,
    writing: Clock,
}

impl Watched {
    /// Watches this connection.
    pub(super) fn new(inner: Socket, patience: Patience) -> Self {
        Self { inner, patience, reading: Clock::default(), writing: Clock::default() }
    }
}

/// Since when one waits in one direction.
#[derive(Debug, Default)]
struct Clock {
    since: Option<Instant>,
    /// Never later than `since` and the limit together; set anew only when it has run out, which is cheaper than with each byte.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// Passes on what came of an attempt, or says that it took too long.
    fn check<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
        patience: &Patience,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.since = None;
            return outcome;
        }
        let until = *self.since.get_or_insert_with(Instant::now) + patience.limit;
        loop {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(patience.limit)));
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= until {
                let Patience { name, limit } = patience;
                let text = format!("nothing came from {name} for {}", show_duration(*limit));
                return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, text)));
            }
            alarm.as_mut().reset(until);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_read(cx, into);
        this.reading.check(outcome, cx, &this.patience)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(cx, from);
        this.writing.check(outcome, cx, &this.patience)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_flush(cx);
        this.writing.check(outcome, cx, &this.patience)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, from);
        this.writing.check(outcome, cx, &this.patience)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn watched(limit: Duration) -> (Watched, tokio::io::DuplexStream) {
        let (near, far) = duplex(64);
        (Watched::new(Box::new(near), Patience { name: "Anna's iPhone".to_owned(), limit }), far)
    }

    fn run<F: Future>(work: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn silence_is_an_error_that_says_who_and_how_long() {
        run(async {
            let (mut watched, _far) = watched(Duration::from_millis(50));
            let error = watched.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(
                error.to_string(),
                format!("nothing came from Anna's iPhone for {}", show_duration(Duration::from_millis(50)))
            );
        });
    }

    #[test]
    fn every_byte_begins_the_time_anew_and_time_without_waiting_does_not_count() {
        run(async {
            let (mut watched, mut far) = watched(Duration::from_millis(400));
            let slow = tokio::spawn(async move {
                for _ in 0..4 {
                    sleep(Duration::from_millis(150)).await;
                    far.write_u8(7).await.unwrap();
                }
                far
            });
            for _ in 0..4 {
                assert_eq!(watched.read_u8().await.unwrap(), 7);
            }
            let mut far = slow.await.unwrap();
            sleep(Duration::from_millis(500)).await;
            let late = tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                far.write_u8(8).await.unwrap();
            });
            assert_eq!(watched.read_u8().await.unwrap(), 8);
            late.await.unwrap();
        });
    }

    #[test]
    fn a_side_that_takes_nothing_is_noticed_too() {
        run(async {
            let (mut watched, _far) = watched(Duration::from_millis(50));
            let error = watched.write_all(&[0; 1000]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        });
    }
}
