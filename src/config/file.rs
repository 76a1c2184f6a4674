//! The configuration as it is written.
