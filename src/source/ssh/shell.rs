//! Words and scripts for the shell of another machine.

use std::io::Read;

use anyhow::Result;

use super::connection::{Connection, Ended};

/// A word that a POSIX shell takes as it is, whatever bytes it has (but NUL).
pub(super) fn quote(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        if byte == b'\'' { quoted.extend_from_slice(br"'\''") } else { quoted.push(byte) }
    }
    quoted.push(b'\'');
    quoted
}

/// Somewhere that scripts can be run: a machine, or in tests this one.
pub(super) trait Shell {
    /// See [`Connection::run`].
    ///
    /// # Errors
    ///
    /// As there; that the script fails is none.
    fn run(
        &mut self,
        script: &[u8],
        input: &mut dyn Read,
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Ended>;
}

impl Shell for Connection {
    fn run(
        &mut self,
        script: &[u8],
        input: &mut dyn Read,
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Ended> {
        Self::run(self, script, input, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_word_is_one_word_whatever_it_has() {
        assert_eq!(quote(b"a b"), b"'a b'");
        assert_eq!(quote(b"it's\n$(x)"), b"'it'\\''s\n$(x)'");
        assert_eq!(quote(b""), b"''");
    }
}
