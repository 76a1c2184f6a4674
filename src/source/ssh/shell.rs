//! Words and scripts for the shell of another machine.

/// A word that a POSIX shell takes as it is, whatever bytes it has (but NUL).
pub(super) fn quote(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        if byte == b'\'' { quoted.extend_from_slice(br"'\''") } else { quoted.push(byte) }
    }
    quoted.push(b'\'');
    quoted
}
