//! Commands on a machine: those around a backup, and those whose output is a file of it.

use std::io::{self, Read};

use anyhow::{Context, Error, Result, anyhow};

use super::connection::{COMPLAINTS, Ended};
use super::host::Host;
use super::shell::{Shell, command};
use super::transfer::{Output, Transfer};
use crate::config::SshDump;

/// What is kept of what a command prints, in bytes.
const LIMIT: usize = 64 << 10;

/// Runs a command to its end; what it prints is of no interest.
///
/// # Errors
///
/// When it ends with anything but 0.
pub(super) fn run(shell: &mut dyn Shell, argv: &[String]) -> Result<()> {
    let (ended, _) = shell.capture(&script(argv), LIMIT)?;
    succeeded(argv, ended)
}

/// What is said last on standard error, before the status of the command. A server that forgets to tell a status looks as if it were 0.
const TRAILER: &[u8] = b"\nholdall: the command ended with ";

fn script(argv: &[String]) -> Vec<u8> {
    let words: Vec<Vec<u8>> = argv.iter().map(|word| word.clone().into_bytes()).collect();
    // What it is given as standard input is the rest of what the script is read from: nothing.
    let run = [&command(&words), b" </dev/null\nstatus=$?\n".as_slice()].concat();
    let tell = b"printf '\\nholdall: the command ended with %s\\n' $status >&2\nexit $status\n";
    [run, tell.to_vec()].concat()
}

fn succeeded(argv: &[String], mut ended: Ended) -> Result<()> {
    let program = argv.first().map_or("", String::as_str);
    let trailer = ended.complaints.windows(TRAILER.len()).rposition(|window| window == TRAILER);
    if let Some(at) = trailer {
        let said = ended.complaints.split_off(at);
        let told = std::str::from_utf8(&said[TRAILER.len()..]).ok().and_then(|status| status.trim().parse().ok());
        ended.status = told.unwrap_or(-1);
    } else if ended.status == 0 && ended.complaints.len() < COMPLAINTS {
        return Err(anyhow!("the machine does not tell how {program} ended"));
    }
    match (ended.status, ended.complaint()) {
        (0, _) => Ok(()),
        (status, complaint) if complaint.is_empty() => Err(anyhow!("{program} ended with {status}")),
        (status, complaint) => Err(anyhow!("{program} ended with {status}: {complaint}")),
    }
}

/// What is told when a dump fails.
type Failed = Box<dyn Fn(Error) + Send>;

/// The output of a command, which runs over a connection of its own. Its end comes only after the command has ended with 0.
pub(super) fn open(host: &Host, dump: &SshDump, failed: Failed) -> Result<Box<dyn Read + Send>> {
    let doing = format!("dump {}", dump.file.display());
    let begin = || Transfer::start(host.connect()?, script(&dump.command), Box::new(io::empty()));
    match begin() {
        Ok((transfer, output)) => {
            Ok(Box::new(Dump { argv: dump.command.clone(), doing, output, transfer: Some(transfer), failed }))
        }
        Err(error) => {
            failed(anyhow!("{error:#}").context(doing.clone()));
            Err(error.context(doing))
        }
    }
}

struct Dump {
    argv: Vec<String>,
    doing: String,
    output: Output,
    transfer: Option<Transfer>,
    failed: Failed,
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.output.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let Some(transfer) = self.transfer.take() else { return Ok(0) };
        let ended = transfer.finish().0.and_then(|ended| succeeded(&self.argv, ended));
        match ended.with_context(|| self.doing.clone()) {
            Ok(()) => Ok(0),
            Err(error) => {
                let text = format!("{error:#}");
                (self.failed)(error);
                Err(io::Error::other(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ssh::shell::tests::Local;

    fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
        words.map(str::to_owned).to_vec()
    }

    #[test]
    fn command_is_run_as_it_is_and_its_end_is_told() {
        run(&mut Local, &words(["test", "it's $HOME; *", "=", "it's $HOME; *"])).unwrap();
        let error = run(&mut Local, &words(["sh", "-c", "echo much >&2; printf woe >&2; exit 7"])).unwrap_err();
        assert_eq!(error.to_string(), "sh ended with 7: much; woe");
        let error = run(&mut Local, &words(["sh", "-c", "kill -9 $$"])).unwrap_err();
        assert_eq!(error.to_string(), "sh ended with 137: Killed");
    }

    #[test]
    fn end_that_nobody_tells_is_none() {
        let ended = |status, complaints: &[u8]| Ended { status, complaints: complaints.to_vec() };
        let argv = words(["pg_dumpall"]);
        assert!(
            succeeded(&argv, ended(0, b"")).unwrap_err().to_string().contains("does not tell how pg_dumpall ended")
        );
        assert!(succeeded(&argv, ended(0, b"x\nholdall: the command ended with 0\n")).is_ok());
        assert!(succeeded(&argv, ended(0, b"\nholdall: the command ended with 1\n")).is_err());
        assert!(succeeded(&argv, ended(0, b"\nholdall: the command ended with ")).is_err());
        assert!(succeeded(&argv, ended(255, b"")).is_err());
    }
}
