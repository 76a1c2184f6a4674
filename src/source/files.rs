//! Local files and directories.
