//! What the phone backs up and restores: com.apple.mobilebackup2.

use std::io;

use super::{Service, Session};

/// What a phone has to back up when it starts.
#[derive(Debug, Clone, Default)]
pub struct Settings {}

/// What changes about backups while it runs.
#[derive(Debug, Default)]
pub struct State {}

/// The service, and what it has of its own.
#[derive(Debug)]
pub struct Backup {}

impl Backup {
    pub(super) fn new(_: &super::Settings) -> Self {
        Self {}
    }
}

impl Service for Backup {
    fn serve(&self, _: Session) -> io::Result<()> {
        Ok(())
    }
}
