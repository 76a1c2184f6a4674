//! Commands in a container, and what they print.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::ContainerArchiveInfoOptionsBuilder;
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc::{self, Receiver};

use super::{Engine, if_there};

/// How many pieces of output wait.
const WAITING: usize = 16;

/// What is kept of what a command says on standard error, in bytes: the end of it.
const COMPLAINTS: usize = 16 << 10;

/// How long after its output has ended a command may take to end itself.
const ENDING: Duration = Duration::from_secs(10);

/// A command in a container, under way. Read to its end, it gives what the command prints; its end is an error unless the command has ended with 0.
pub(crate) struct Exec {
    engine: Engine,
    id: String,
    program: String,
    output: Receiver<io::Result<LogOutput>>,
    piece: Bytes,
    complaints: Vec<u8>,
    is_over: bool,
}

impl Engine {
    /// Whether there is something at a path in a container.
    pub(crate) fn has_path(&self, container: &str, path: &str) -> Result<bool> {
        let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
        let asked = self.wait(self.docker().get_container_archive_info(container, Some(options)));
        Ok(if_there(asked)?.is_some())
    }

    /// Runs a command in a container that runs. `program` is what it is called when it fails.
    pub(crate) fn exec(&self, container: &str, command: &[String], user: Option<&str>, program: &str) -> Result<Exec> {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            user: user.map(str::to_owned),
            ..CreateExecOptions::default()
        };
        let id = self.wait(self.docker().create_exec(container, options))?.id;
        let started = self.wait(self.docker().start_exec(&id, None::<StartExecOptions>))?;
        let StartExecResults::Attached { output: mut stream, .. } = started else {
            return Err(anyhow!("the engine gives no output"));
        };
        let (sender, output) = mpsc::channel(WAITING);
        self.0.runtime.spawn(async move {
            while let Some(piece) = stream.next().await {
                // Whoever reads has gone: the command finds its output closed.
                if sender.send(piece.map_err(io::Error::other)).await.is_err() {
                    return;
                }
            }
        });
        let program = program.to_owned();
        let (piece, complaints, is_over) = Default::default();
        Ok(Exec { engine: self.clone(), id, program, output, piece, complaints, is_over })
    }
}

impl Exec {
    /// How the command has ended; an error unless it is 0.
    fn ended(&self) -> Result<()> {
        let begun = Instant::now();
        let docker = self.engine.docker();
        let status = loop {
            let looked = self.engine.wait(docker.inspect_exec(&self.id)).context("ask how it ended")?;
            match (looked.running, looked.exit_code) {
                (Some(false), Some(status)) => break status,
                _ if begun.elapsed() > ENDING => {
                    return Err(anyhow!("its output broke off while {} was still running", self.program));
                }
                _ => thread::sleep(Duration::from_millis(20)),
            }
        };
        if status == 0 {
            return Ok(());
        }
        let complaints = String::from_utf8_lossy(&self.complaints);
        let last: Vec<&str> = complaints.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = last[last.len().saturating_sub(3)..].join("; ");
        let colon = if last.is_empty() { "" } else { ": " };
        Err(anyhow!("{} ended with {status}{colon}{}", self.program, crate::output::printable(last.as_ref())))
    }

    fn take(&mut self, output: LogOutput) -> Result<(), Error> {
        match output {
            LogOutput::StdOut { message } => self.piece = message,
            LogOutput::StdErr { message } => {
                self.complaints.extend_from_slice(&message);
                let too_many = self.complaints.len().saturating_sub(COMPLAINTS);
                self.complaints.drain(..too_many);
            }
            // Only a terminal has no frames around what it prints: it is what is left of one that was cut.
            LogOutput::Console { .. } | LogOutput::StdIn { .. } => {
                return Err(anyhow!("the output of {} was cut", self.program));
            }
        }
        Ok(())
    }
}

impl Read for Exec {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_over && !buffer.is_empty() {
            match self.output.blocking_recv() {
                Some(output) => self.take(output?).map_err(io::Error::other)?,
                None => {
                    self.ended().map_err(|error| io::Error::other(crate::error::chain(&error)))?;
                    self.is_over = true;
                }
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
