//! All that it takes to open a session with one device, and connections to its services, as often as need be.

use std::sync::Arc;
use std::time::Duration;

use super::way::Socket;
use anyhow::{Context, Result};

use super::lockdown::{Lockdown, Port};
use super::record::Record;
use super::tls::{Impostor, Tls};
use super::watched::{Patience, Watched};
use super::way::Way;
use crate::error::hinted;

/// Services that say nothing for as long as nothing happens.
const QUIET: [&str; 2] = [super::heartbeat::SERVICE, "com.apple.mobile.notification_proxy"];

/// How long a service may be silent that has no reason to be, unlike the one for backups.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// More than any backup takes.
const FOREVER: Duration = Duration::from_secs(400 * 86_400);

/// A way to a device, and the keys for it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) way: Way,
    pub(super) record: Arc<Record>,
    pub(super) tls: Tls,
    /// How long the service for backups may be silent while something is expected of it.
    pub(super) patience: Patience,
}

impl Link {
    /// Opens a session with lockdownd.
    ///
    /// # Errors
    ///
    /// When nothing answers, it is somebody else, or the device does not let us in.
    pub(super) async fn session(&self) -> Result<Lockdown> {
        let mut lockdown = Lockdown::new(self.way.to_lockdown().await?);
        lockdown.start_session(&self.record, &self.tls).await?;
        Ok(lockdown)
    }

    /// Starts a service in a session, and connects to it.
    ///
    /// # Errors
    ///
    /// As for [`Link::session`].
    pub(super) async fn service(
        &self,
        lockdown: &mut Lockdown,
        name: &str,
        escrow_bag: Option<&[u8]>,
    ) -> Result<Socket> {
        let port =
            lockdown.start_service(name, escrow_bag).await.with_context(|| format!("start the service {name}"))?;
        self.connect(port, name).await.with_context(|| format!("connect to the service {name}"))
    }

    async fn connect(&self, port: Port, name: &str) -> Result<Socket> {
        // In the network nobody but TLS says that the one at that port is the device.
        if !port.is_encrypted && self.way.is_wireless() && name != super::heartbeat::SERVICE {
            let hint = "Connect the device with a cable, and set `connect = \"usb\"`.";
            return Err(hinted(Impostor, hint).context("the device wants to speak over the network without encryption"));
        }
        let socket = self.way.to_service(port.number).await?;
        let limit = match name {
            super::session::SERVICE => self.patience.limit,
            _ if QUIET.contains(&name) => FOREVER,
            _ => ANSWERS_WITHIN.min(self.patience.limit),
        };
        let watched: Socket = Box::new(Watched::new(socket, Patience { name: self.patience.name.clone(), limit }));
        if port.is_encrypted { self.tls.wrap(watched).await } else { Ok(watched) }
    }
}
