//! What the device tells while a backup is under way: that it wants its passcode, or that somebody cancelled.
//!
//! The service (`com.apple.mobile.notification_proxy`) is listened to by a task of its own, since the device is silent elsewhere while it waits for its owner. A
//! backup goes on without it.

use super::way::Socket;
use anyhow::{Context, Result};
use plist::{Dictionary, Value};
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::phone::{Escrow, Phone};
use super::wire;

const SERVICE: &str = "com.apple.mobile.notification_proxy";

/// What other programs that make backups listen for (libimobiledevice: `tools/idevicebackup2.c`).
const OBSERVED: [&str; 4] =
    ["com.apple.itunes-client.syncCancelRequest", "com.apple.itunes-client.backup.domain_changed", PROMPT, PROMPT_GONE];
const PROMPT: &str = "com.apple.LocalAuthentication.ui.presented";
const PROMPT_GONE: &str = "com.apple.LocalAuthentication.ui.dismissed";

/// Something that the device told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// It asks for the passcode.
    Prompt,
    /// It asks no longer.
    PromptGone,
    /// Somebody cancelled on the device.
    Cancelled,
}

/// A connection to the service.
#[derive(Debug)]
pub(super) struct Notices {
    to: WriteHalf<Socket>,
    heard: Receiver<Notice>,
    task: JoinHandle<()>,
}

impl Notices {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// When the service does not start.
    pub(super) async fn listen(phone: &mut Phone) -> Result<Self> {
        let service = phone.service(SERVICE, Escrow::Without).await?;
        let (from, mut to) = split(service);
        for name in OBSERVED {
            wire::send(&mut to, command("ObserveNotification", name)).await.context("listen to the device")?;
        }
        let (sender, heard) = channel(16);
        let task = tokio::spawn(async move {
            if let Err(error) = relay(from, sender).await {
                tracing::debug!("the device tells nothing more: {error:#}");
            }
        });
        Ok(Self { to, heard, task })
    }

    /// Tells the device's programs something.
    pub(super) async fn post(&mut self, name: &str) -> Result<()> {
        wire::send(&mut self.to, command("PostNotification", name))
            .await
            .with_context(|| format!("tell the device {name}"))
    }

    /// Waits for the next notice; for ever, when there will be none.
    pub(super) async fn next(&mut self) -> Notice {
        match self.heard.recv().await {
            Some(notice) => notice,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn command(command: &str, name: &str) -> Dictionary {
    Dictionary::from_iter([("Command", Value::from(command)), ("Name", Value::from(name))])
}

async fn relay(mut from: ReadHalf<Socket>, to: tokio::sync::mpsc::Sender<Notice>) -> Result<()> {
    loop {
        let heard = wire::listen(&mut from).await?;
        let name = heard.get("Name").and_then(Value::as_string).unwrap_or_default();
        let notice = match name {
            PROMPT => Notice::Prompt,
            PROMPT_GONE => Notice::PromptGone,
            "com.apple.itunes-client.syncCancelRequest" => Notice::Cancelled,
            _ => continue,
        };
        to.send(notice).await?;
    }
}
