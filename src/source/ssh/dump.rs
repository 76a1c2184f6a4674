//! Commands on a machine: those around a backup, and those whose output is a file of it.

use std::io::{self, Read};

use anyhow::{Context, Error, Result, anyhow};

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
    succeeded(argv, ended.status, &ended.complaint())
}

fn script(argv: &[String]) -> Vec<u8> {
    let words: Vec<Vec<u8>> = argv.iter().map(|word| word.clone().into_bytes()).collect();
    // What it is given as standard input is the rest of what the script is read from: nothing.
    [&command(&words), b" </dev/null\n".as_slice()].concat()
}

fn succeeded(argv: &[String], status: i32, complaint: &str) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    let program = argv.first().map_or("", String::as_str);
    let complaint = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
    Err(anyhow!("{program} ended with {status}{complaint}"))
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
        let ended = transfer.finish().0.and_then(|ended| succeeded(&self.argv, ended.status, &ended.complaint()));
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
