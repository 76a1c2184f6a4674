//! Secrets stand-in until merge.
use std::ops::Deref;
use std::path::PathBuf;
/// A secret.
#[derive(Debug, Clone)]
pub enum Secret {
    /// f
    File(PathBuf),
}
/// R
pub struct Revealed(String);
impl Deref for Revealed {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl Secret {
    /// r
    pub fn read(&self) -> anyhow::Result<Revealed> {
        let Self::File(p) = self;
        Ok(Revealed(std::fs::read_to_string(p)?.trim().to_owned()))
    }
}
impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::File(p) = self;
        p.display().fmt(f)
    }
}
