//! One connection to the phone, with or without TLS, that faults can cut and stall.

use std::io::{self, BufRead, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ServerConnection;

use super::device::{Device, Way};
use super::pairing::Pairing;
use super::tls;

/// How often somebody who is held up looks whether it goes on.
const LOOK: Duration = Duration::from_millis(5);

/// As much as comes at a time when it comes in pieces.
const PIECE: usize = 7;

/// The other end of a client.
#[derive(Debug)]
pub enum Socket {
    /// By way of a muxer's socket.
    Unix(UnixStream),
    /// By way of a muxer's port, or of the network.
    Tcp(TcpStream),
}

impl Socket {
    /// The same connection once more.
    ///
    /// # Errors
    ///
    /// When there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
        })
    }

    /// Ends both directions, also for a thread that waits in it.
    pub fn shut_down(&self) {
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).read(buffer),
            Socket::Tcp(socket) => (&*socket).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).write(buffer),
            Socket::Tcp(socket) => (&*socket).write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the phone knows of a connection while it lasts.
#[derive(Debug)]
pub struct Line {
    socket: Socket,
    pub(super) way: Way,
    service: String,
    sent: AtomicU64,
}

impl Line {
    /// Ends it.
    pub fn cut(&self) {
        self.socket.shut_down();
    }
}

/// A connection that a service reads and writes. Each write is sent at once: whoever writes many small pieces gathers them before.
#[derive(Debug)]
pub struct Wire {
    line: Arc<Line>,
    number: u64,
    device: Arc<Device>,
    tls: Option<Box<ServerConnection>>,
}

impl Wire {
    pub(super) fn new(device: &Arc<Device>, socket: Socket, way: Way, service: &str) -> Self {
        if let Socket::Tcp(socket) = &socket {
            let _ = socket.set_nodelay(true);
        }
        let line = Arc::new(Line { socket, way, service: service.to_owned(), sent: AtomicU64::new(0) });
        let number = device.add_line(&line);
        Self { line, number, device: Arc::clone(device), tls: None }
    }

    /// By which way the client has come.
    pub fn way(&self) -> Way {
        self.line.way
    }

    /// Goes on with TLS.
    ///
    /// # Errors
    ///
    /// When the client is not the host of this pairing, or the connection breaks.
    pub fn start_tls(&mut self, pairing: &Pairing) -> io::Result<()> {
        let mut tls = Box::new(tls::connection(pairing)?);
        tls.set_buffer_limit(None);
        self.tls = Some(tls);
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            if !self.pull()? {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the client left in the handshake"));
            }
        }
        Ok(())
    }

    /// Goes on without TLS: says so, and waits until the client has said so.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub fn stop_tls(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        tls.send_close_notify();
        self.push()?;
        // Some clients go on without a word.
        while self.tls.is_some() && self.next_byte()?.is_some_and(|byte| (20..=24).contains(&byte)) {
            self.pull()?;
            let Some(tls) = &mut self.tls else { break };
            let at_end = matches!(tls.reader().fill_buf(), Ok([]));
            if at_end {
                self.tls = None;
            }
        }
        self.tls = None;
        Ok(())
    }

    /// Whether something can be read within a time.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub fn ready(&mut self, wait: Duration) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            match tls.reader().fill_buf() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return Ok(true),
            }
        }
        let wait = Timespec::try_from(wait).map_err(Error::other)?;
        let ready = poll(&mut [PollFd::new(&self.line.socket, PollFlags::IN)], Some(&wait))? > 0;
        self.hold()?;
        Ok(ready)
    }

    /// Ends the connection for both sides.
    pub fn cut(&self) {
        self.line.cut();
    }

    /// The byte that comes next, which stays there; `None` at the end.
    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let (count, _) =
            rustix::net::recv(&self.line.socket, &mut byte[..], rustix::net::RecvFlags::PEEK).map_err(Error::from)?;
        Ok((count > 0).then_some(byte[0]))
    }

    /// Takes in one record of TLS, never a byte more, and answers what TLS itself has to answer; false at the end.
    fn pull(&mut self) -> io::Result<bool> {
        let mut record = vec![0; 5];
        let mut socket = &self.line.socket;
        if !super::frame::fill(&mut socket, &mut record)? {
            return Ok(false);
        }
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        socket.read_exact(&mut record[5..])?;
        self.hold()?;
        let Some(tls) = &mut self.tls else { return Ok(false) };
        let mut rest = &record[..];
        let mut outcome = Ok(());
        while !rest.is_empty() && outcome.is_ok() {
            tls.read_tls(&mut rest)?;
            outcome = tls.process_new_packets().map(drop);
        }
        // Noted before the client hears of it.
        if let Err(error) = &outcome {
            self.device.note(|seen| seen.refused_tls.push(error.to_string()));
        }
        self.push()?;
        outcome.map(|()| true).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    }

    /// Sends what TLS has to send.
    fn push(&mut self) -> io::Result<()> {
        self.hold()?;
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut socket = &self.line.socket;
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        Ok(())
    }

    /// Waits while nothing goes through the air.
    fn hold(&self) -> io::Result<()> {
        if self.line.way == Way::Wifi {
            while self.device.get(|state| state.faults.air_is_dead_until.is_some_and(|until| Instant::now() < until)) {
                self.going_on()?;
                thread::sleep(LOOK);
            }
        }
        self.going_on()
    }

    fn going_on(&self) -> io::Result<()> {
        if self.device.is_stopped() { Err(Error::new(ErrorKind::BrokenPipe, "the phone is gone")) } else { Ok(()) }
    }

    /// How many of so many bytes may be sent before a fault comes; cuts and stalls when it is there.
    fn allowance(&self, wanted: usize) -> io::Result<usize> {
        let sent = self.line.sent.load(Ordering::Relaxed);
        let left = |fault: Option<&(String, u64)>| {
            fault.filter(|(service, _)| *service == self.line.service).map(|(_, limit)| limit.saturating_sub(sent))
        };
        loop {
            let (cut, stall) = self
                .device
                .get(|state| (left(state.faults.cut_after.as_ref()), left(state.faults.stall_after.as_ref())));
            if cut == Some(0) {
                self.cut();
                return Err(Error::new(ErrorKind::BrokenPipe, "cut on demand"));
            }
            if stall != Some(0) {
                let most = cut.unwrap_or(u64::MAX).min(stall.unwrap_or(u64::MAX));
                return Ok(usize::try_from(most).unwrap_or(usize::MAX).min(wanted));
            }
            self.going_on()?;
            thread::sleep(LOOK);
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hold()?;
        loop {
            let Some(tls) = &mut self.tls else {
                let count = (&self.line.socket).read(buffer)?;
                self.hold()?;
                return Ok(count);
            };
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !self.pull()? {
                return Ok(0);
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.hold()?;
        let wanted =
            if self.device.get(|state| state.manner.in_pieces) { buffer.len().min(PIECE) } else { buffer.len() };
        let most = self.allowance(wanted)?;
        let count = match &mut self.tls {
            None => (&self.line.socket).write(&buffer[..most])?,
            Some(tls) => {
                let count = tls.writer().write(&buffer[..most])?;
                self.push()?;
                count
            }
        };
        self.line.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut &self.line.socket);
        }
        self.device.remove_line(self.number);
    }
}
