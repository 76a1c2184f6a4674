//! Shows rustic_core's progress through our [`Monitor`].

use std::sync::{Arc, Mutex, PoisonError};

use rustic_core::{Progress, ProgressBars, ProgressType, RusticProgress};

use crate::monitor::{Monitor, Task, Unit};

/// Gives rustic_core a bar for whatever it does.
#[derive(Debug, Clone)]
pub(super) struct Bars {
    monitor: Arc<dyn Monitor>,
    /// The task of the save under way: rustic_core's byte counter advances it instead of a bar of its own.
    save: Arc<Mutex<Option<Arc<dyn Task>>>>,
}

impl Bars {
    pub(super) fn new(monitor: Arc<dyn Monitor>) -> Self {
        Self { monitor, save: Arc::default() }
    }

    /// Runs `work` with byte counts going to `task`.
    pub(super) fn count_into<T>(&self, task: &Arc<dyn Task>, work: impl FnOnce() -> T) -> T {
        self.set(Some(task.clone()));
        let result = work();
        self.set(None);
        result
    }

    fn set(&self, task: Option<Arc<dyn Task>>) {
        *self.save.lock().unwrap_or_else(PoisonError::into_inner) = task;
    }
}

impl ProgressBars for Bars {
    fn progress(&self, progress_type: ProgressType, prefix: &str) -> Progress {
        let save = self.save.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (progress_type, save) {
            (ProgressType::Bytes, Some(task)) => Progress::new(Bar { task, own: false }),
            (_, Some(_)) => Progress::hidden(),
            (_, None) if prefix.is_empty() => Progress::hidden(),
            (progress_type, None) => {
                let unit = match progress_type {
                    ProgressType::Spinner => Unit::None,
                    ProgressType::Counter => Unit::Count,
                    ProgressType::Bytes => Unit::Bytes,
                };
                let task = self.monitor.start("store", prefix.trim_end_matches('.'), unit);
                Progress::new(Bar { task, own: true })
            }
        }
    }
}

#[derive(Debug)]
struct Bar {
    task: Arc<dyn Task>,
    /// Whether the task ends with this bar; a save's task is finished by the save.
    own: bool,
}

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, len: u64) {
        if self.own {
            self.task.expect(len);
        }
    }

    fn set_title(&self, _title: &str) {}

    fn inc(&self, inc: u64) {
        self.task.advance(inc);
    }

    fn finish(&self) {
        if self.own {
            self.task.finish();
        }
    }
}
