//! How far a session is, from what the device says of it.
//!
//! The device says what part of the whole is behind it, in percent, and how large a batch of files is (libimobiledevice: `tools/idevicebackup2.c`,
//! `mb2_set_overall_progress_from_message`). From both follows how many bytes there will be; the number gets better as it goes.

use std::sync::Arc;

use super::frames::Message;
use crate::monitor::{Monitor, Task, Unit};

/// The progress of one session.
#[derive(Debug)]
pub(super) struct Progress {
    task: Arc<dyn Task>,
    done: u64,
    files: u64,
    expected: u64,
}

impl Progress {
    /// Begins to tell.
    pub(super) fn new(monitor: &dyn Monitor, item: &str, action: &str) -> Self {
        Self { task: monitor.start(item, action, Unit::Bytes), done: 0, files: 0, expected: 0 }
    }

    /// What a message says of it.
    pub(super) fn hear(&mut self, message: &Message) {
        let (percent, batch) = match message.name.as_str() {
            "DLMessageUploadFiles" => (message.value(2), message.number(3)),
            _ => (message.value(3), None),
        };
        let percent = percent.and_then(plist::Value::as_real).filter(|percent| (0.0..=100.0).contains(percent));
        let whole =
            percent.filter(|percent| *percent >= 1.0).map(|percent| (self.done as f64 * 100.0 / percent) as u64);
        let expected = whole.unwrap_or(self.expected).max(self.done.saturating_add(batch.unwrap_or(0)));
        if expected > 0 && expected != self.expected {
            self.expected = expected;
            self.task.expect(expected);
        }
    }

    /// So many more bytes went by.
    pub(super) fn bytes(&mut self, amount: u64) {
        self.done += amount;
        self.task.advance(amount);
    }

    /// One more file is through.
    pub(super) fn file(&mut self) {
        self.files += 1;
        self.task.advance_files(1);
    }

    /// How many files are through.
    pub(super) fn files(&self) -> u64 {
        self.files
    }

    /// How many bytes went by.
    pub(super) fn done(&self) -> u64 {
        self.done
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.finish();
    }
}
