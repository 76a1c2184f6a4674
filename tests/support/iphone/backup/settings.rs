//! How the phone is set, as far as backups care.

use std::time::Duration;

use super::keybag::Rounds;

/// The passcode, which iOS 16.1 and later want at each backup.
#[derive(Clone, Copy, Debug)]
pub struct Passcode {
    /// Somebody enters it so long after it was asked for; `None`: nobody does, but for [`Agent::enter_passcode`](super::Agent::enter_passcode).
    pub entered_after: Option<Duration>,
    /// The phone gives up waiting: three minutes on a real one.
    pub gives_up_after: Duration,
}

/// How the phone is set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The passcode. `None`: the phone has none.
    pub passcode: Option<Passcode>,
    /// Whether "Find My" is on, which forbids restoring.
    pub find_my: bool,
    /// How hard the password of new keybags is stretched.
    pub rounds: Rounds,
    /// The most files of one upload.
    pub batch_files: usize,
    /// An upload is not made longer than so many bytes by a further file.
    pub batch_bytes: u64,
    /// Whether the phone has the host copy the backup first when a restore does not forbid it (`RestoreDontCopyBackup`).
    pub copies_before_restore: bool,
    /// Whether empty files of encrypted backups have a key and a body of padding, as pyiosbackup takes for granted. iphone_backup_decrypt also knows
    /// files without a key, which it says are empty.
    pub keys_of_empty: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            passcode: None,
            find_my: false,
            rounds: Rounds::default(),
            batch_files: 100,
            batch_bytes: 16 << 20,
            copies_before_restore: false,
            keys_of_empty: true,
        }
    }
}
