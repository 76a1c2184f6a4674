//! Secrets: read from a file, a command or a systemd credential; never shown.

/// Where a secret is to be had; it is read when it is needed.
#[derive(Debug, Clone)]
pub struct Secret;
