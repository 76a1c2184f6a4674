//! JSON.

/// p
pub fn progress_json(_: &str, _: u64, _: Option<u64>, _: u64, _: std::time::Duration) -> serde_json::Value { serde_json::Value::Null }
