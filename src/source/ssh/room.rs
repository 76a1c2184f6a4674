//! How much memory a listing may take: a machine that lists without end must not use up that of this one.

use std::fs;

use anyhow::{Error, Result, anyhow};
use rustix::process::{Resource, getrlimit};

use crate::error::Annotate;

/// What part of the memory it may be. Vectors grow by doubling, and the order of the entries comes on top.
const PART: u64 = 4;

/// What is taken for free when the kernel does not tell, in bytes.
const UNKNOWN: u64 = 4 << 30;

/// The memory that is left for a listing.
#[derive(Debug)]
pub(super) struct Room {
    left: u64,
}

impl Room {
    /// A part of what is free now, and of what this process may have.
    pub(super) fn new() -> Self {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let limits = [Resource::As, Resource::Data].map(|resource| getrlimit(resource).current);
        let free = limits.into_iter().flatten().fold(available(&text).unwrap_or(UNKNOWN), u64::min);
        Self { left: free / PART }
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    ///
    /// When there are not so many.
    pub(super) fn take(&mut self, bytes: usize) -> Result<()> {
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(exceeded).hint(
            "If it really has so many files, make several sources of them, or run holdall where there is more memory.",
        )?;
        Ok(())
    }
}

fn exceeded() -> Error {
    anyhow!("the machine lists more than a quarter of the free memory here can hold")
}

/// `MemAvailable` in bytes (proc_meminfo(5)).
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_understood() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   21610496 kB\n"), Some(21_610_496 << 10));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn room_ends() {
        let mut room = Room { left: 10 };
        room.take(10).unwrap();
        assert!(room.take(1).is_err());
    }
}
