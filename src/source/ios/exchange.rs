//! Small services of a device: each side sends property lists, with their length before them (32 bits, big-endian).
//!
//! Notifications, the list of apps and the icons are asked for so (libimobiledevice: `src/property_list_service.c`). Why not by the clients of the crate: they take
//! any length, and read in a way that cannot wait and speak at the same time.

use anyhow::{Context, Result, anyhow, ensure};
use idevice::Idevice;
use plist::{Dictionary, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::bounds;

/// How long what a service says may be, in bytes: a list of apps with what the store says of them has a few million.
const MOST: u32 = 64 << 20;

/// How much room is made at once, in bytes.
const STEP: usize = 256 << 10;

/// The bare connection to a service.
pub(super) fn socket(service: Idevice) -> Result<idevice::IdeviceSocket> {
    service.get_socket().context("a service has no connection")
}

/// Sends a property list.
///
/// # Errors
///
/// When the connection is gone.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), request: Dictionary) -> Result<()> {
    let mut bytes = vec![0; 4];
    Value::Dictionary(request).to_writer_xml(&mut bytes).context("write a request")?;
    let length = u32::try_from(bytes.len() - 4).context("write a request of more than 4 GiB")?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    to.write_all(&bytes).await?;
    to.flush().await?;
    Ok(())
}

/// Waits for a property list, which must be a dictionary.
///
/// # Errors
///
/// When the connection is gone, or something else comes.
pub(super) async fn receive(from: &mut (impl AsyncRead + Unpin)) -> Result<Dictionary> {
    let length = from.read_u32().await?;
    ensure!(length <= MOST, "a service sends {length} bytes; {MOST} are allowed");
    let mut bytes = Vec::new();
    while bytes.len() < length as usize {
        let have = bytes.len();
        bytes.resize((length as usize).min(have + STEP), 0);
        from.read_exact(&mut bytes[have..]).await?;
    }
    bounds::parse(&bytes)?.into_dictionary().ok_or_else(|| anyhow!("a service does not answer with a dictionary"))
}
