//! Points: the moments an item can be brought back to, wherever they are kept.

use anyhow::Result;
use chrono::{DateTime, Utc};

/// What is appended to an item's id for its safety points: what a restore in place was about to overwrite.
///
/// They are points of an item of their own, so that the newest point of the item itself is always one of its backups.
pub const SAFETY_SUFFIX: &str = "/before-restore";

/// A moment an item can be brought back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The item, `files.host`.
    pub item: String,
    /// Where it is kept.
    pub place: Place,
    /// What names the point: in the store the snapshot id in full, as hexadecimal digits; on a server the name of the snapshot.
    pub id: String,
    /// When it was made.
    pub time: DateTime<Utc>,
    /// Whether everything of the source is in it.
    pub complete: bool,
    /// Number of files, when known.
    pub files: Option<u64>,
    /// Sum of the files' sizes in bytes, when known.
    pub bytes: Option<u64>,
    /// Whether pruning must leave it alone, whatever the policy: it is the last one common to two servers.
    pub pinned: bool,
}

impl Point {
    /// The id as people read it: of a snapshot in the store the first eight digits.
    pub fn short_id(&self) -> &str {
        let short = self.id.get(..8).filter(|_| self.place == Place::Store);
        short.unwrap_or(&self.id)
    }
}

/// Where a point is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Place {
    /// In the store.
    #[default]
    Store,
    /// On the Incus server that is backed up.
    Source,
    /// On the Incus server with the replicas.
    Target,
}

impl Place {
    /// `store`, `source` or `target`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

/// A place where points are kept.
pub trait Timeline {
    /// All points that holdall made here, oldest first.
    fn points(&self) -> Result<Vec<Point>>;

    /// Removes these points and nothing else; their space is freed later.
    fn remove(&self, points: &[Point]) -> Result<()>;
}
