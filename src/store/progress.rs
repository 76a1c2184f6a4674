//! Shows rustic_core's progress through our [`Monitor`].

use std::sync::Arc;

use rustic_core::{Progress, ProgressBars, ProgressType, RusticProgress};

use crate::monitor::{Monitor, Task, Unit};

/// Gives rustic_core a bar for whatever it does.
#[derive(Debug, Clone)]
pub(super) struct Bars {
    monitor: Arc<dyn Monitor>,
}

impl Bars {
    pub(super) fn new(monitor: Arc<dyn Monitor>) -> Self {
        Self { monitor }
    }
}

impl ProgressBars for Bars {
    fn progress(&self, progress_type: ProgressType, prefix: &str) -> Progress {
        if prefix.is_empty() {
            return Progress::hidden();
        }
        let unit = match progress_type {
            ProgressType::Spinner => Unit::None,
            ProgressType::Counter => Unit::Count,
            ProgressType::Bytes => Unit::Bytes,
        };
        let task = self.monitor.start("store", prefix.trim_end_matches('.'), unit);
        Progress::new(Bar { task })
    }
}

#[derive(Debug)]
struct Bar {
    task: Arc<dyn Task>,
}

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, len: u64) {
        self.task.expect(len);
    }

    fn set_title(&self, _title: &str) {}

    fn inc(&self, inc: u64) {
        self.task.advance(inc);
    }

    fn finish(&self) {
        self.task.finish();
    }
}
