//! Where the configuration is.

use std::path::{Path, PathBuf};

/// The configuration file.
pub fn config_file(given: Option<&Path>) -> PathBuf {
    given.map(Path::to_path_buf).unwrap_or_default()
}
