//! The heartbeat: over the network a device closes all connections unless somebody answers its question, every few seconds, on a connection of its own.
//!
//! It asks *Marco*, and we say *Polo*. A heart that stops for a moment, because the network was away, is started again for as long as it is needed.

use std::time::Duration;

use super::way::Socket;
use anyhow::{Context, Result, bail};
use plist::{Dictionary, Value};
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::wire;

/// The service. Source: libimobiledevice, include/libimobiledevice/heartbeat.h.
pub(super) const SERVICE: &str = "com.apple.mobile.heartbeat";

/// How long to wait for the first question, and how much longer than the device announces for the others.
const GRACE: Duration = Duration::from_secs(20);

/// The longest pause between two questions that is believed.
const LONGEST: Duration = Duration::from_secs(600);

/// How long until the next attempt after the heart has stopped.
const PAUSE: Duration = Duration::from_secs(2);

/// A heart that beats until it is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat(JoinHandle<()>);

impl Heartbeat {
    /// Starts it, and goes on without the caller.
    ///
    /// # Errors
    ///
    /// When the device does not start the service.
    pub(super) async fn start(link: &Link) -> Result<Self> {
        let first = connect(link).await?;
        let link = link.clone();
        Ok(Self(tokio::spawn(async move {
            let mut next = Ok(first);
            loop {
                let ended = match next {
                    Ok(socket) => beat(socket).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = ended {
                    tracing::debug!("the heartbeat stopped: {error:#}");
                }
                sleep(PAUSE).await;
                next = connect(&link).await;
            }
        })))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(link: &Link) -> Result<Socket> {
    let mut lockdown = link.session().await?;
    let socket = link.service(&mut lockdown, SERVICE, None).await?;
    lockdown.stop_session().await;
    Ok(socket)
}

/// Answers until the connection ends.
async fn beat(mut socket: Socket) -> Result<()> {
    let mut patience = GRACE;
    loop {
        let question = timeout(patience, question(&mut socket)).await.context("the device asks no more")??;
        if question.get("Command").and_then(Value::as_string) == Some("SleepyTime") {
            bail!("the device goes to sleep");
        }
        let interval = question.get("Interval").and_then(Value::as_unsigned_integer).unwrap_or(10);
        patience = Duration::from_secs(interval).min(LONGEST) + GRACE;
        let mut answer = Dictionary::new();
        answer.insert("Command".to_owned(), "Polo".into());
        wire::send(&mut socket, answer).await?;
    }
}

/// Waits for a question for as long as it takes, and then for the whole of it.
async fn question(socket: &mut Socket) -> Result<Dictionary> {
    let first = [socket.read_u8().await?];
    let mut rest = first.as_slice().chain(socket);
    wire::receive(&mut rest).await
}
