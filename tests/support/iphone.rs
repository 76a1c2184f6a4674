//! A virtual iPhone.

pub mod backup;
