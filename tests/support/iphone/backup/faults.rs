//! What goes wrong when a test wants it to: the connection, the frames, the files, what is asked of the host.

use std::time::Duration;

/// Where in a session something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Instead of the n-th message after the request, counted from 1.
    Message(usize),
    /// When this many bytes were sent since the request.
    Byte(u64),
}

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It ends.
    Cut,
    /// Nothing is sent for this long; then it goes on.
    Stall(Duration),
    /// A message says its length, and then only half of it comes before the connection ends.
    ShortFrame,
    /// A message of this length is announced, and nothing follows for a minute.
    Announce(u32),
    /// A message of the right form, that is no property list.
    Rubbish,
    /// A property list that is no message.
    NoMessage,
    /// A message that no host knows.
    Unknown,
}

/// How one file is sent wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The phone cannot read it in the middle: code 0x0b and a text. The backup ends with 104.
    Unreadable,
    /// As `Unreadable`, but the phone leaves the file out and reports success.
    LeftOut,
    /// Only so many bytes of its body are sent, and its end says that all is well.
    Short(u64),
    /// A block announces this length, and the connection ends after some of it.
    Announce(u32),
    /// A block of length zero stands in its middle.
    EmptyBlock,
    /// It ends with this code, which means nothing.
    Code(u8),
    /// It comes as one block, as long as it is.
    OneBlock,
}

/// Something that a phone would never ask, or would not ask like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To store a few bytes at this path.
    Upload(String),
    /// To send what is at this path.
    Download(String),
    /// To move from the first to the second path.
    Move(String, String),
    /// To copy from the first to the second path.
    Copy(String, String),
    /// To remove this.
    Remove(String),
    /// To make this directory.
    CreateDirectory(String),
    /// What is in this directory.
    Contents(String),
}

/// What the host said to an [`Ask`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The code of the status: 0 when it claims to have done it.
    pub code: i64,
    /// What it sent of a download, or the names of a directory.
    pub sent: Option<Vec<u8>>,
}

/// What is wrong with the manifest that is sent at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadManifest {
    /// No `Manifest.db` is sent at all.
    Missing,
    /// Only its first half is sent.
    Truncated,
    /// It is something else than a database.
    NotSqlite,
    /// It has no bytes.
    Empty,
    /// It is a database without the table `Files`.
    NoTable,
    /// A file that was never sent is in it.
    NamesMore,
    /// The paths in it lead out of their domains, up and absolutely.
    Hostile,
    /// The records of its files are no property lists.
    BadRecords,
}

/// Messages without end: names are cheap for who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// So many empty files in one upload.
    Uploads(u64),
    /// So many directories, one message each.
    Directories(u64),
    /// So many removals of what is not there, a thousand to a message.
    Removals(u64),
}

/// What a test wants to go wrong in the sessions to come. By default, nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The connection.
    pub connection: Option<(At, Trouble)>,
    /// One file: domain, path, and what is wrong.
    pub file: Option<(String, String, Wrong)>,
    /// Asked after the uploads, one after the other.
    pub asks: Vec<Ask>,
    /// Asked before the manifest is sent.
    pub flood: Option<Flood>,
    /// The manifest at the end.
    pub manifest: Option<BadManifest>,
    /// The phone says success and leaves `Status.plist` at "uploading".
    pub unfinished: bool,
    /// The phone's clock is wrong by this many seconds.
    pub clock: i64,
    /// The phone ends every request with this code and text, before it sends anything.
    pub refuse: Option<(u64, String)>,
    /// The phone ends a backup with this code and text when everything was sent, without "finished".
    pub refuse_late: Option<(u64, String)>,
    /// The phone says `DLMessageDisconnect` in the place of its last answer.
    pub leaves: bool,
    /// How often the faults above are seen; then all is well. 0: always.
    pub times: usize,
}
