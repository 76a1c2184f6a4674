//! Where the configuration is.

use std::path::{Path, PathBuf};

/// The configuration file.
pub fn config_file(given: Option<&Path>) -> PathBuf {
    given.map(Path::to_path_buf).unwrap_or_default()
}
/// c
pub fn cache_dir() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("holdall"))
}
