//! JSON as Go's `encoding/json` fills a struct with it: names of keys are compared without their case, of several the last one wins, and `null`
//! changes nothing.

use anyhow::{Result, anyhow};
use serde_json::{Map, Value};

use crate::output::printable;

/// A place in the document.
#[derive(Debug, Clone)]
pub(super) struct Node<'v> {
    path: String,
    value: &'v Value,
}

const NOTHING: &Value = &Value::Null;

impl<'v> Node<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self { path: String::new(), value }
    }

    /// Where it is: `projects[0].name`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The object below this name; an empty one when there is none.
    pub(super) fn field(&self, name: &str) -> Result<Self> {
        let value = self.get(name)?;
        let field = Self { path: self.below(name), value };
        field.object().map(|_| field.clone())
    }

    /// The text below this name; empty when there is none.
    pub(super) fn text(&self, name: &str) -> Result<String> {
        Self { path: self.below(name), value: self.get(name)? }.as_text()
    }

    pub(super) fn as_text(&self) -> Result<String> {
        match self.value {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            _ => Err(anyhow!("{} is not a text", self.path)),
        }
    }

    /// The truth below this name; false when there is none.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name)? {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            _ => Err(anyhow!("{} is neither true nor false", self.below(name))),
        }
    }

    /// The list below this name; empty when there is none.
    pub(super) fn list(&self, name: &str) -> Result<Vec<Self>> {
        let path = self.below(name);
        match self.get(name)? {
            Value::Null => Ok(Vec::new()),
            Value::Array(values) => {
                Ok(values.iter().enumerate().map(|(at, value)| Self { path: format!("{path}[{at}]"), value }).collect())
            }
            _ => Err(anyhow!("{path} is not a list")),
        }
    }

    /// The entries of a map whose keys are not names of ours, and are compared as they are.
    pub(super) fn entries(&self) -> Result<Vec<(&'v str, Self)>> {
        let entries = self.object()?.into_iter().flatten();
        Ok(entries.map(|(key, value)| (key.as_str(), Self { path: self.below(key), value })).collect())
    }

    /// Keys that are none of these.
    pub(super) fn others(&self, known: &[&str]) -> Vec<String> {
        let object = self.value.as_object().into_iter().flatten();
        let unknown = object.filter(|(key, _)| !known.iter().any(|known| known.eq_ignore_ascii_case(key)));
        unknown.map(|(key, _)| self.below(key)).collect()
    }

    fn object(&self) -> Result<Option<&'v Map<String, Value>>> {
        match self.value {
            Value::Null => Ok(None),
            Value::Object(object) => Ok(Some(object)),
            _ if self.path.is_empty() => Err(anyhow!("it is not an object")),
            _ => Err(anyhow!("{} is not an object", self.path)),
        }
    }

    fn get(&self, name: &str) -> Result<&'v Value> {
        let meant = |(key, value): &(&String, &Value)| key.eq_ignore_ascii_case(name) && !value.is_null();
        let found = self.object()?.into_iter().flatten().rfind(meant);
        Ok(found.map_or(NOTHING, |(_, value)| value))
    }

    fn below(&self, name: &str) -> String {
        let name = printable(name.as_ref());
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }
}
