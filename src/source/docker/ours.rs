//! What holdall leaves in an engine while it works, and how it is told from what is the user's.

use super::engine::{Container, Image, Volume};

/// The label of all that is holdall's own.
pub(crate) const LABEL: &str = "holdall.internal";

/// The label that says for which source something of holdall's own is.
pub(crate) const SOURCE: &str = "holdall.source";

/// The label that says on which machine it was made.
pub(crate) const MACHINE: &str = "holdall.machine";

/// The name of this machine: what another one has made is not this one's to remove.
pub(crate) fn this_machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The image without a file in it that helper containers are made of.
pub(crate) const EMPTY_IMAGE: &str = "holdall/empty:latest";

impl Volume {
    /// Whether holdall made it for itself.
    pub(crate) fn is_ours(&self) -> bool {
        self.labels.contains_key(LABEL)
    }
}

impl Container {
    /// Whether holdall made it for itself.
    pub(crate) fn is_ours(&self) -> bool {
        self.labels.contains_key(LABEL)
    }
}

impl Image {
    /// Whether holdall made it for itself.
    pub(crate) fn is_ours(&self) -> bool {
        // Podman puts a registry before it.
        let registry = self.name.strip_suffix(EMPTY_IMAGE);
        registry.is_some_and(|registry| ["", "localhost/", "docker.io/"].contains(&registry))
    }
}
