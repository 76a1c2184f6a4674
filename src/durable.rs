//! What must outlive a loss of power.

use std::fs::File;
use std::io::{
    self,
    ErrorKind::{InvalidInput, NotFound, Unsupported},
};
use std::path::Path;

/// Sees to it that the names in a directory outlive a loss of power. Some file systems, network shares above all, do not know how to
/// and have one of these answers; restic does without it then.
///
/// # Errors
///
/// When the directory cannot be opened, or its file system tried and failed.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = File::open(directory)?;
    match directory.sync_all() {
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported | NotFound) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_does_not_sync_directories_will_do() {
        File::open("/proc").unwrap().sync_all().unwrap_err();
        sync_directory(Path::new("/proc")).unwrap();
        sync_directory(Path::new("/nowhere")).unwrap_err();
    }
}
