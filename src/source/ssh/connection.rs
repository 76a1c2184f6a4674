//! A connection to a machine on which somebody is logged in: runs scripts there, and moves what they read and write.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rand::RngExt;
use ssh2::{Channel, Session, Sftp};
use thiserror::Error;

use super::link::{self, Link, wait};
use super::shell::{BOOTSTRAP, Noise, Shell, packed};
use super::{auth, host_key};
use crate::config::SshLogin;
use crate::error::Annotate;
use crate::quantity::show_duration;

/// How much is moved at once, in bytes: as much as libssh2 gives.
const PIECE: usize = 32 << 10;

/// How often a silent machine is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long a connection may lie idle and still be used: a server, or a router on the way, may have given it up since.
const FRESH: Duration = Duration::from_secs(5);

/// What is kept of what a script writes to standard error, in bytes.
pub(super) const COMPLAINTS: usize = 1 << 20;

/// A connection on which somebody is logged in. One script runs at a time.
pub(super) struct Connection {
    session: Session,
    socket: OwnedFd,
    host: String,
    idle_timeout: Duration,
    /// When it was used last.
    used: Instant,
}

/// The machine is there, and runs no commands for this user.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct RunsNothing(String);

/// How a script ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit status; 128 and more when a signal ended it, -1 when the server tells nothing.
    pub(super) status: i32,
    /// The beginning of what it wrote to standard error, at most 1 MiB.
    pub(super) complaints: Vec<u8>,
}

impl Ended {
    /// The last lines of the complaints, in one line for a message.
    pub(super) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.complaints);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join("; ");
        crate::output::printable(std::ffi::OsStr::new(&last))
    }
}

impl Connection {
    /// Connects, checks who answers, and logs in.
    ///
    /// # Errors
    ///
    /// One for which [`link::is_unreachable`] holds when the machine does not answer.
    pub(super) fn open(login: &SshLogin) -> Result<Self> {
        let Link { session, socket } = link::connect(login)?;
        auth::log_in(&session, &login.user, &login.host, login)?;
        if let Ok(key) = host_key::shown(&session) {
            tracing::debug!("logged in on {} as {}; its key is {}", login.host, login.user, key.fingerprint);
        }
        session.set_timeout(u32::try_from(login.idle_timeout.as_millis()).unwrap_or(u32::MAX).max(1));
        session.set_keepalive(true, u32::try_from(KEEPALIVE.as_secs()).unwrap_or(15));
        Ok(Self { session, socket, host: login.host.clone(), idle_timeout: login.idle_timeout, used: Instant::now() })
    }

    /// Whether it can be taken for one that still is.
    pub(super) fn is_fresh(&self) -> bool {
        self.used.elapsed() < FRESH
    }

    /// Opens SFTP on the connection.
    pub(super) fn sftp(&mut self) -> Result<Sftp> {
        self.session.sftp().map_err(|error| anyhow!("open SFTP on {}: {}", self.host, error.message()))
    }

    fn failed(&self, error: &ssh2::Error) -> anyhow::Error {
        anyhow!("the connection to {} failed: {}", self.host, error.message())
    }

    /// Starts `sh` on the machine, which then waits for a script.
    fn start(&mut self) -> Result<Channel> {
        let mut channel = self.session.channel_session().map_err(|error| self.failed(&error))?;
        channel.exec(BOOTSTRAP).map_err(|error| match error.code() {
            // LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED
            ssh2::ErrorCode::Session(-22) => {
                RunsNothing(format!("{} runs no commands for this user: {}", self.host, error.message())).into()
            }
            _ => self.failed(&error),
        })?;
        Ok(channel)
    }

    /// Cuts the line: whatever runs there is told by its end of it.
    fn cut(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

impl Shell for Connection {
    fn run(
        &mut self,
        script: &[u8],
        input: &mut dyn Read,
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Ended> {
        let channel = self.start()?;
        let mark = format!("holdall-{:032x}", rand::rng().random::<u128>());
        self.session.set_blocking(false);
        let run = Run {
            connection: self,
            channel,
            noise: Noise::new(&mark),
            side_noise: Noise::new(&mark),
            complaints: Vec::new(),
            waiting: packed(script, &mark),
            sent: 0,
            state: Sending::More,
            last: Instant::now(),
        };
        let ended = run.carry(input, output);
        match &ended {
            Ok(_) => self.session.set_blocking(true),
            Err(_) => self.cut(),
        }
        self.used = Instant::now();
        ended
    }
}

/// What is still to be sent.
#[derive(PartialEq, Eq)]
enum Sending {
    /// The input may give more.
    More,
    /// The input is at its end, and the script is to be told.
    End,
    /// The script knows.
    Done,
}

/// A script that is running.
struct Run<'c> {
    connection: &'c Connection,
    channel: Channel,
    noise: Noise,
    side_noise: Noise,
    complaints: Vec<u8>,
    /// What is to be sent next, and how much of it was.
    waiting: Vec<u8>,
    sent: usize,
    state: Sending,
    /// When something was moved last.
    last: Instant,
}

impl Run<'_> {
    fn carry(mut self, input: &mut dyn Read, output: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Ended> {
        let mut piece = vec![0; PIECE];
        loop {
            let mut moved = self.send(input)?;
            loop {
                let count = self.receive(0, &mut piece)?;
                if count == 0 {
                    break;
                }
                moved = true;
                let bytes = self.noise.skip(&piece[..count])?;
                if !bytes.is_empty() {
                    output(bytes)?;
                }
                if self.state != Sending::Done {
                    break;
                }
            }
            let count = self.receive(1, &mut piece)?;
            if count > 0 {
                moved = true;
                let bytes = self.side_noise.skip(&piece[..count])?;
                let room = COMPLAINTS.saturating_sub(self.complaints.len()).min(bytes.len());
                self.complaints.extend_from_slice(&bytes[..room]);
            }
            if moved {
                self.last = Instant::now();
            } else if self.channel.eof() {
                break;
            } else {
                self.idle()?;
            }
        }
        self.end()
    }

    /// Sends what can be sent now.
    fn send(&mut self, input: &mut dyn Read) -> Result<bool> {
        if self.sent == self.waiting.len() && self.state == Sending::More {
            self.waiting.resize(PIECE, 0);
            let count = input.read(&mut self.waiting).context("read what is to be sent")?;
            self.waiting.truncate(count);
            self.sent = 0;
            if count == 0 {
                self.state = Sending::End;
            }
        }
        if self.sent < self.waiting.len() {
            return match self.channel.write(&self.waiting[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    Ok(count > 0)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                // It has ended without reading everything; how, is seen when its output has ended.
                Err(_) if self.channel.eof() => {
                    self.give_up_sending();
                    Ok(true)
                }
                Err(error) => Err(self.broke(&error)),
            };
        }
        if self.state == Sending::End {
            match self.channel.send_eof() {
                Ok(()) => self.state = Sending::Done,
                Err(error) if is_again(&error) => return Ok(false),
                Err(_) if self.channel.eof() => self.give_up_sending(),
                Err(error) => return Err(self.connection.failed(&error)),
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn give_up_sending(&mut self) {
        self.waiting.clear();
        self.sent = 0;
        self.state = Sending::Done;
    }

    /// Takes what has come on one of the outputs; 0 when there is nothing now.
    fn receive(&mut self, stream: i32, piece: &mut [u8]) -> Result<usize> {
        match self.channel.stream(stream).read(piece) {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(self.broke(&error)),
        }
    }

    /// Waits until something can be moved; gives up after `idle-timeout`.
    fn idle(&self) -> Result<()> {
        let (limit, passed) = (self.connection.idle_timeout, self.last.elapsed());
        if passed >= limit {
            return Err(anyhow!("{} said nothing for {}", self.connection.host, show_duration(limit)))
                .hint("If its disk or a command there is slow, set a longer `idle-timeout`.");
        }
        let left = (limit - passed).min(KEEPALIVE);
        wait(&self.connection.session, &self.connection.socket, left).context("wait for the connection")?;
        match self.connection.session.keepalive_send() {
            Err(error) if !is_again(&error) => Err(self.connection.failed(&error)),
            _ => Ok(()),
        }
    }

    fn broke(&self, error: &io::Error) -> anyhow::Error {
        anyhow!("the connection to {} broke off: {error}", self.connection.host)
    }

    /// The output has ended: how did the script?
    fn end(mut self) -> Result<Ended> {
        self.connection.session.set_blocking(true);
        self.channel.close().map_err(|error| self.connection.failed(&error))?;
        self.channel.wait_close().map_err(|error| self.connection.failed(&error))?;
        let signal = self.channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
        let status = match signal {
            Some(signal) => {
                tracing::debug!("a script on {} was ended by SIG{signal}", self.connection.host);
                128 + number(&signal)
            }
            None => self.channel.exit_status().unwrap_or(-1),
        };
        if !self.noise.is_over() {
            let said = String::from_utf8_lossy(self.noise.held()).trim().chars().take(300).collect::<String>();
            let said = crate::output::printable(std::ffi::OsStr::new(&said));
            let side = String::from_utf8_lossy(self.side_noise.held()).trim().chars().take(300).collect::<String>();
            let side = crate::output::printable(std::ffi::OsStr::new(&side));
            let host = &self.connection.host;
            let said = [said, side].into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join("; ");
            let said = if said.is_empty() { "it says nothing".to_owned() } else { said };
            let error = format!("{host} did not run a command for this user (status {status}): {said}");
            return Err(RunsNothing(error).into());
        }
        Ok(Ended { status, complaints: self.complaints })
    }
}

/// The number of a signal that a server names (RFC 4254, 6.10).
fn number(signal: &str) -> i32 {
    match signal {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ABRT" => 6,
        "KILL" => 9,
        "PIPE" => 13,
        "ALRM" => 14,
        "TERM" => 15,
        _ => 0,
    }
}

/// Whether libssh2 only says that it would have to wait (LIBSSH2_ERROR_EAGAIN).
fn is_again(error: &ssh2::Error) -> bool {
    error.code() == ssh2::ErrorCode::Session(-37)
}
