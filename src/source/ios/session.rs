//! What surrounds a session with a device's backup service: nobody else syncs meanwhile, and the device's programs know.
//!
//! The order is that of other hosts (libimobiledevice: `tools/idevicebackup2.c`): notifications, the lock of the media library, the backup service, which is given
//! the escrow bag so that it reads what is protected; the session with lockdownd is closed before the service is asked for anything.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::afc::{Afc, Handle, Mode};
use super::frames::Wire;
use super::notices::Notices;
use super::phone::{Escrow, Phone};
use crate::error::Annotate;

/// What backups are made and given back with.
pub(super) const SERVICE: &str = "com.apple.mobilebackup2";

const LOCK_FILE: &str = "/com.apple.itunes.lock_sync";
/// How often, and after what time, the lock is tried again.
const TRIES: u32 = 50;
const RETRY: Duration = Duration::from_millis(200);

/// The lock of the media library.
#[derive(Debug)]
pub(super) struct SyncLock {
    afc: Afc,
    file: Handle,
}

impl SyncLock {
    /// Takes the lock, and tells the device's programs.
    ///
    /// # Errors
    ///
    /// When another program holds it for longer than ten seconds.
    pub(super) async fn take(mut afc: Afc, notices: &mut Option<Notices>) -> Result<Self> {
        post(notices, "com.apple.itunes-mobdev.syncWillStart").await;
        let doing = "keep other programs from syncing with the device";
        let file = afc.open(LOCK_FILE, Mode::ReadWrite).await.context(doing)?;
        let file = file.with_context(|| format!("there is no {LOCK_FILE}")).context(doing)?;
        post(notices, "com.apple.itunes-mobdev.syncLockRequest").await;
        for _ in 0..TRIES {
            if afc.lock(file).await.context(doing)? {
                post(notices, "com.apple.itunes-mobdev.syncDidStart").await;
                return Ok(Self { afc, file });
            }
            tokio::time::sleep(RETRY).await;
        }
        post(notices, "com.apple.itunes-mobdev.syncDidFinish").await;
        Err(anyhow!("another program is syncing with the device"))
            .hint("Wait until it is done, or end it, and try again.")
    }

    /// The files of the device, while the lock is held.
    pub(super) fn files(&mut self) -> &mut Afc {
        &mut self.afc
    }

    /// Lets go. A device that is gone has let go by itself.
    pub(super) async fn release(mut self, notices: &mut Option<Notices>) {
        let unlocked = self.afc.unlock(self.file).await;
        if let Err(error) = unlocked.and(self.afc.close(self.file).await) {
            tracing::debug!("the lock is not let go of in the usual way: {error:#}");
        }
        post(notices, "com.apple.itunes-mobdev.syncDidFinish").await;
    }
}

async fn post(notices: &mut Option<Notices>, name: &str) {
    if let Some(notices) = notices
        && let Err(error) = notices.post(name).await
    {
        tracing::debug!("the device is not told {name}: {error:#}");
    }
}

/// Listens to what the device tells. It can be backed up without that, and then shows only itself that it wants its passcode.
pub(super) async fn listen(phone: &mut Phone) -> Option<Notices> {
    match Notices::listen(phone).await {
        Ok(notices) => Some(notices),
        Err(error) => {
            tracing::warn!("the device does not tell when it wants its passcode: {error:#}");
            None
        }
    }
}

/// Connects to the backup service.
///
/// # Errors
///
/// When the device does not start it: it is locked, for instance.
pub(super) async fn service(phone: &mut Phone) -> Result<Wire> {
    let service = phone.service(SERVICE, Escrow::With).await?;
    phone.close_lockdown().await;
    let mut wire = Wire::new(service);
    wire.greet().await.context("begin with the backup service")?;
    Ok(wire)
}

/// Whether the device is of a kind and a version that asks for its passcode at each backup, and has one: since iOS 15.7.1 and 16.1.
pub(super) async fn may_prompt(phone: &mut Phone) -> bool {
    let version = phone.value(None, Some("ProductVersion")).await.ok().flatten();
    let version = version.as_ref().and_then(plist::Value::as_string).unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0_u32));
    let version = [numbers.next(), numbers.next(), numbers.next()].map(Option::unwrap_or_default);
    let asks = version >= [16, 1, 0] || ([15, 7, 1]..[16, 0, 0]).contains(&version);
    let has_passcode = phone.value(None, Some("PasswordProtected")).await.ok().flatten();
    asks && has_passcode.and_then(|value| value.as_boolean()) != Some(false)
}
