//! Words and scripts for the shell of another machine.
//!
//! The login shell may be any, and what it reads at its start may print. So it is given one command that all shells understand, without a quote,
//! a backslash or a `!` inside its quotes: it starts `sh`, which reads the script itself from standard input, by its length. The script begins by
//! saying a random word on both outputs; what comes before that is of no interest.

use std::io::Read;

use anyhow::Result;

use super::connection::Ended;

/// What is given to the login shell. `dd` reads not one byte more than the script has, so that what comes behind it is the script's input.
pub(super) const BOOTSTRAP: &str = r#"sh -c 'read -r n && eval "$(dd bs=1 count="$n" 2>/dev/null)"'"#;

/// What every script begins with, behind the random word: messages in English and bytes as bytes, and programs that only root has in its path.
const PREAMBLE: &str = "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH\n";

/// Something that runs scripts: a machine at the other end of a connection.
pub(super) trait Shell {
    /// Runs a script with `sh`. `input` is its standard input, which is closed at its end; `output` takes what it writes, in pieces, and
    /// ends it with an error.
    ///
    /// # Errors
    ///
    /// When the connection fails, is silent for longer than `idle-timeout`, or `input` or `output` fail. That the script fails is no error.
    fn run(
        &mut self,
        script: &[u8],
        input: &mut dyn Read,
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Ended>;

    /// Runs a script that reads nothing, and gives what it wrote, at most `limit` bytes.
    fn capture(&mut self, script: &[u8], limit: usize) -> Result<(Ended, Vec<u8>)> {
        let mut written = Vec::new();
        let ended = self.run(script, &mut std::io::empty(), &mut |bytes| {
            let room = limit.saturating_sub(written.len()).min(bytes.len());
            written.extend_from_slice(&bytes[..room]);
            Ok(())
        })?;
        Ok((ended, written))
    }
}

/// A script with its length before it, as [`BOOTSTRAP`] reads it. It says `mark` in a line of its own on both outputs first.
pub(super) fn packed(script: &[u8], mark: &str) -> Vec<u8> {
    let hello = format!("printf '\\n%s\\n' {mark}; printf '\\n%s\\n' {mark} >&2\n{PREAMBLE}");
    let length = hello.len() + script.len();
    [format!("{length}\n").as_bytes(), hello.as_bytes(), script].concat()
}

/// A word that a POSIX shell takes as it is, whatever bytes it has (but NUL).
pub(super) fn quote(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,=".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in word {
        if byte == b'\'' { quoted.extend_from_slice(br"'\''") } else { quoted.push(byte) }
    }
    quoted.push(b'\'');
    quoted
}

/// A command for a POSIX shell that runs exactly this program with these arguments.
pub(super) fn command(argv: &[Vec<u8>]) -> Vec<u8> {
    let words: Vec<Vec<u8>> = argv.iter().map(|word| quote(word)).collect();
    words.join(&b' ')
}

/// Skips what a login shell printed before the script began.
pub(super) struct Noise {
    mark: Vec<u8>,
    held: Vec<u8>,
    is_over: bool,
}

/// How much may be printed before a script begins, in bytes.
const MOST_NOISE: usize = 1 << 20;

impl Noise {
    pub(super) fn new(mark: &str) -> Self {
        Self { mark: format!("\n{mark}\n").into_bytes(), held: Vec::new(), is_over: false }
    }

    /// Whether the script has begun.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What was printed instead, for a message.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// What of these bytes is the script's; `Err` when there is far too much else.
    pub(super) fn skip<'b>(&'b mut self, bytes: &'b [u8]) -> Result<&'b [u8]> {
        if self.is_over {
            return Ok(bytes);
        }
        let from = self.held.len().saturating_sub(self.mark.len());
        self.held.extend_from_slice(bytes);
        let found = self.held[from..].windows(self.mark.len()).position(|window| window == self.mark);
        match found {
            Some(at) => {
                self.is_over = true;
                Ok(&self.held[from + at + self.mark.len()..])
            }
            None if self.held.len() > MOST_NOISE => anyhow::bail!("its login shell prints without end"),
            None => Ok(&[]),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::thread;

    use super::*;

    /// This machine, as one at the other end of a connection.
    pub(in super::super) struct Local;

    impl Shell for Local {
        fn run(
            &mut self,
            script: &[u8],
            input: &mut dyn Read,
            output: &mut dyn FnMut(&[u8]) -> Result<()>,
        ) -> Result<Ended> {
            let mut all = packed(script, "mark");
            input.read_to_end(&mut all)?;
            let mut child = Command::new("sh");
            child.args(["-c", BOOTSTRAP]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = child.spawn()?;
            let mut stdin = child.stdin.take().unwrap();
            let writer = thread::spawn(move || {
                // A script need not read all that it is given.
                let _ = stdin.write_all(&all);
            });
            let done = child.wait_with_output()?;
            writer.join().unwrap();
            let (mut noise, mut complaints) = (Noise::new("mark"), Noise::new("mark"));
            output(noise.skip(&done.stdout)?)?;
            let complaints = complaints.skip(&done.stderr)?.to_vec();
            Ok(Ended { status: done.status.code().unwrap_or(-1), complaints })
        }
    }

    fn run(script: &str, input: &[u8]) -> (i32, String, String) {
        let mut written = Vec::new();
        let mut take = |bytes: &[u8]| {
            written.extend_from_slice(bytes);
            Ok(())
        };
        let ended = Local.run(script.as_bytes(), &mut &input[..], &mut take).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ended.status, text(&written), text(&ended.complaints))
    }

    #[test]
    fn script_runs_with_what_follows_it_as_its_input() {
        assert_eq!(run("cat; echo done >&2; exit 3", b"in\nput"), (3, "in\nput".into(), "done\n".into()));
    }

    #[test]
    fn words_arrive_as_they_are() {
        for word in ["", "plain", "it's", "a b\n$HOME `id` \\ \" ! *", "-n", "'", "~"] {
            let script = [b"printf '<%s>' ".as_slice(), &command(&[word.as_bytes().to_vec()])].concat();
            let script = String::from_utf8(script).unwrap();
            assert_eq!(run(&script, b"").1, format!("<{word}>"));
        }
    }

    #[test]
    fn noise_is_skipped_wherever_it_is_cut() {
        let text = b"Welcome!\nmar\n\nmark\nmark\n\nthe \nmark\n rest";
        for cut in 0..text.len() {
            let mut noise = Noise::new("mark");
            let mut seen = noise.skip(&text[..cut]).unwrap().to_vec();
            seen.extend_from_slice(noise.skip(&text[cut..]).unwrap());
            assert_eq!(String::from_utf8_lossy(&seen), "mark\n\nthe \nmark\n rest", "{cut}");
        }
        assert!(Noise::new("mark").skip(&vec![b'x'; MOST_NOISE + 1]).is_err());
    }
}
