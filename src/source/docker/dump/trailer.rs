//! What a shell in a container says behind the output of a command: that it was all, and how it ended.

use std::io::{self, Read};

/// How many digits a status may have.
const STATUS: usize = 3;

/// What stands behind the output; nobody could have put it into it.
pub(super) fn make() -> String {
    format!("\nholdall {}: the command ended with ", uuid::Uuid::new_v4().simple())
}

/// The command, run by a shell that writes the trailer behind its output, with the status in three digits.
pub(super) fn command(command: &[String], trailer: &str) -> Vec<String> {
    let script = "trailer=$1; shift; \"$@\" </dev/null; status=$?; printf '%s%03d' \"$trailer\" $status; exit $status";
    let words = ["sh", "-c", script, "sh", trailer].map(str::to_owned);
    words.into_iter().chain(command.iter().cloned()).collect()
}

/// The output of such a command without its trailer. Its end is an error unless the trailer says that it has ended with 0.
pub(super) struct Trailed<R> {
    output: R,
    trailer: String,
    program: String,
    /// What was read and not given yet. Its end may be the trailer.
    waiting: Vec<u8>,
    given: usize,
    is_over: bool,
}

impl<R: Read> Trailed<R> {
    pub(super) fn new(output: R, trailer: String, program: String) -> Self {
        Self { output, trailer, program, waiting: Vec::new(), given: 0, is_over: false }
    }

    fn length(&self) -> usize {
        self.trailer.len() + STATUS
    }

    /// Reads on until there is something that is not the trailer, or nothing comes any more.
    fn fill(&mut self) -> io::Result<()> {
        self.waiting.drain(..self.given);
        self.given = 0;
        let mut buffer = vec![0; 64 << 10];
        while self.waiting.len() <= self.length() {
            let count = self.output.read(&mut buffer)?;
            if count == 0 {
                return self.end();
            }
            self.waiting.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let Self { program, .. } = self;
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("the output of {program} was cut"));
        let at = self.waiting.len().checked_sub(self.trailer.len() + STATUS).ok_or_else(cut)?;
        let status = self.waiting[at..].strip_prefix(self.trailer.as_bytes()).ok_or_else(cut)?;
        if status != b"000" {
            let status = String::from_utf8_lossy(status);
            let status = status.trim_start_matches('0');
            return Err(io::Error::other(format!("{program} ended with {status}")));
        }
        self.waiting.truncate(at);
        self.is_over = true;
        Ok(())
    }
}

impl<R: Read> Read for Trailed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held_back = if self.is_over { 0 } else { self.length() };
        if self.waiting.len() - self.given <= held_back && !self.is_over && !buffer.is_empty() {
            self.fill()?;
        }
        let held_back = if self.is_over { 0 } else { self.length() };
        let ready = &self.waiting[self.given..self.waiting.len() - held_back];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Gives a few bytes at a time.
    struct Slowly<'b>(&'b [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn run(argv: &[&str]) -> (Vec<u8>, String) {
        let trailer = make();
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        let argv = command(&argv, &trailer);
        (Command::new(&argv[0]).args(&argv[1..]).output().unwrap().stdout, trailer)
    }

    fn read(output: &[u8], pace: usize, trailer: &str) -> Result<Vec<u8>, String> {
        let mut got = Vec::new();
        let mut trailed = Trailed::new(Slowly(output, pace), trailer.to_owned(), "pg_dumpall".to_owned());
        trailed.read_to_end(&mut got).map(|_| got).map_err(|error| error.to_string())
    }

    #[test]
    fn output_is_given_as_it_is_and_without_its_trailer() {
        for text in ["", "x", "it's \"$HOME\" \n\n", &"long ".repeat(20_000)] {
            let (output, trailer) = run(&["printf", "%s", text]);
            for pace in [1, 7, 1 << 20] {
                assert_eq!(read(&output, pace, &trailer).unwrap(), text.as_bytes());
            }
        }
    }

    #[test]
    fn output_that_is_cut_anywhere_is_not_whole() {
        let (output, trailer) = run(&["printf", "rows"]);
        for length in 0..output.len() {
            assert_eq!(read(&output[..length], 5, &trailer).unwrap_err(), "the output of pg_dumpall was cut");
        }
    }

    #[test]
    fn command_that_fails_is_told_with_its_status() {
        let (output, trailer) = run(&["sh", "-c", "printf rows; exit 7"]);
        assert_eq!(read(&output, 100, &trailer).unwrap_err(), "pg_dumpall ended with 7");
        let (output, trailer) = run(&["there-is-no-such-program"]);
        assert_eq!(read(&output, 100, &trailer).unwrap_err(), "pg_dumpall ended with 127");
    }
}
