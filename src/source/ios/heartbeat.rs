//! The heartbeat: over the network a device closes all connections unless somebody answers its question, every few seconds, on a connection of its own.
//!
//! It asks *Marco*, and we say *Polo*. A heart that stops for a moment, because the network was away, is started again for as long as it is needed.

use std::pin::pin;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::select;
use plist::{Dictionary, Value};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::way::Socket;
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
pub(super) struct Heartbeat {
    _alive: oneshot::Sender<()>,
}

impl Heartbeat {
    /// Starts it, and goes on without the caller, on a thread of its own: whoever talks with the device may have to wait for a disk meanwhile.
    ///
    /// # Errors
    ///
    /// When the device does not start the service, or the machine no thread.
    pub(super) async fn start(link: &Link) -> Result<Self> {
        let (alive, dead) = oneshot::channel();
        let (begun, first) = oneshot::channel();
        let (link, runtime) = (link.clone(), super::runtime()?);
        let live = move || {
            runtime.block_on(select(pin!(go_on(link, begun)), dead));
        };
        thread::Builder::new().name("ios-heartbeat".to_owned()).spawn(live).context("start a thread")?;
        first.await.context("the heartbeat broke off")??;
        Ok(Self { _alive: alive })
    }
}

/// Beats for as long as it is asked for; `begun` hears how it began.
async fn go_on(link: Link, begun: oneshot::Sender<Result<()>>) {
    let mut next = match connect(&link).await {
        Ok(socket) => Ok(socket),
        Err(error) => {
            drop(begun.send(Err(error)));
            return;
        }
    };
    drop(begun.send(Ok(())));
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
