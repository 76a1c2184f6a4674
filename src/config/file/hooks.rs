//! `[hooks]` and `[KIND.NAME.hooks]`, as they are written.

use serde::Deserialize;
use toml::{Spanned, Value};

/// `[hooks]`, or `[KIND.NAME.hooks]`. A command is a list of words, and several are a list of such lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::config) struct HooksTable {
    pub before: Option<Spanned<Value>>,
    pub after: Option<Spanned<Value>>,
    pub on_failure: Option<Spanned<Value>>,
    pub timeout: Option<Spanned<String>>,
}
