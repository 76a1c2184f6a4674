//! Ways to the ports of a device: through a muxer, or directly over the network.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::muxer::Muxer;

/// Where lockdownd listens on every device. Source: libimobiledevice, src/lockdown.c.
pub(super) const LOCKDOWN_PORT: u16 = 62078;

/// How long a connection over the network may take. A device that sleeps takes some seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a device, whatever it goes through.
pub(super) type Socket = Box<dyn Stream>;

/// What a connection can do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + fmt::Debug> Stream for S {}

/// Whether an error says that the other side is gone; its kind differs with the way there, the system, and the moment.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof, WriteZero};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | NotConnected | BrokenPipe | WriteZero)
}

/// A way to one device.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// Through a muxer, by its number for the device.
    Muxer {
        /// The muxer.
        muxer: Muxer,
        /// Its number for the device.
        device: u32,
        /// Whether the muxer itself reaches it over the network.
        is_wireless: bool,
    },
    /// Directly; where its lockdownd is.
    Network(SocketAddr),
}

impl Way {
    /// Whether it leads over the network.
    pub(super) fn is_wireless(&self) -> bool {
        matches!(self, Self::Network(_) | Self::Muxer { is_wireless: true, .. })
    }

    /// A connection to lockdownd.
    ///
    /// # Errors
    ///
    /// When there is none, or nothing answers there.
    pub(super) async fn to_lockdown(&self) -> Result<Socket> {
        match self {
            Self::Muxer { muxer, device, .. } => muxer.connect(*device, LOCKDOWN_PORT).await,
            Self::Network(address) => dial(*address).await,
        }
        .with_context(|| format!("connect to the device {self}"))
    }

    /// A connection to the port of a service.
    ///
    /// # Errors
    ///
    /// As for [`Way::to_lockdown`].
    pub(super) async fn to_service(&self, port: u16) -> Result<Socket> {
        match self {
            Self::Muxer { muxer, device, .. } => muxer.connect(*device, port).await,
            Self::Network(address) => {
                let mut address = *address;
                address.set_port(port);
                dial(address).await
            }
        }
        .with_context(|| format!("connect to a service of the device {self}"))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Muxer { is_wireless: false, .. } => f.write_str("over USB"),
            Self::Muxer { muxer, .. } => write!(f, "over the network, by the muxer {}", muxer.place()),
            Self::Network(address) => write!(f, "over the network, at {address}"),
        }
    }
}

async fn dial(address: SocketAddr) -> Result<Socket> {
    let stream = match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(io::Error::new(ErrorKind::TimedOut, "no answer").into()),
    };
    // A message is two small writes in all the libraries of this field; without this each would wait for an acknowledgement.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}
