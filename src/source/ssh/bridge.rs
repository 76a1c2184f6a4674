//! A connection through another machine: what goes in at one end of a pair of sockets comes out there.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use ssh2::{BlockDirections, Channel};

use super::link::Link;

/// How much is moved at once, in bytes.
const PIECE: usize = 64 << 10;

/// Opens a connection from the machine at the other end of `link` to `host`. It lasts as long as the stream that is given back.
pub(super) fn open(link: Link, host: &str, port: u16) -> Result<UnixStream, ssh2::Error> {
    let channel = link.session.channel_direct_tcpip(host, port, None)?;
    let pair = UnixStream::pair().and_then(|(near, far)| far.set_nonblocking(true).map(|()| (near, far)));
    let (near, far) = pair.map_err(|_| ssh2::Error::unknown())?;
    thread::Builder::new()
        .name("ssh-jump".to_owned())
        .spawn(move || {
            link.session.set_blocking(false);
            // However it ends, the stream ends with it, and whoever reads there is told.
            if let Err(error) = carry(&link, channel, &far) {
                tracing::debug!("the connection on the way ended: {error}");
            }
        })
        .map_err(|_| ssh2::Error::unknown())?;
    Ok(near)
}

/// What was taken from one side and not yet given to the other.
struct Held {
    bytes: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Held {
    fn new() -> Self {
        Self { bytes: vec![0; PIECE].into(), begin: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Takes more, if there is nothing; `Some(false)` at the end, `None` when there is nothing now.
    fn fill(&mut self, from: &mut impl Read) -> io::Result<Option<bool>> {
        match from.read(&mut self.bytes) {
            Ok(0) => Ok(Some(false)),
            Ok(count) => {
                (self.begin, self.end) = (0, count);
                Ok(Some(true))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives what it can; whether something went.
    fn give(&mut self, to: &mut impl Write) -> io::Result<bool> {
        match to.write(&self.bytes[self.begin..self.end]) {
            Ok(count) => {
                self.begin += count;
                Ok(count > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn carry(link: &Link, mut channel: Channel, mut stream: &UnixStream) -> io::Result<()> {
    let (mut out, mut back) = (Held::new(), Held::new());
    loop {
        let mut moved = false;
        if out.is_empty() {
            match out.fill(&mut stream)? {
                Some(false) => return Ok(()),
                Some(true) => moved = true,
                None => {}
            }
        }
        if !out.is_empty() {
            moved |= out.give(&mut channel)?;
        }
        if back.is_empty() {
            match back.fill(&mut channel)? {
                Some(false) if channel.eof() => return Ok(()),
                Some(true) => moved = true,
                Some(false) | None => {}
            }
        }
        if !back.is_empty() {
            moved |= back.give(&mut stream)?;
        }
        if !moved {
            let is_over = wait(link, stream, !back.is_empty(), !out.is_empty())?;
            if is_over {
                return Ok(());
            }
        }
    }
}

/// Waits until something can be moved; whether nobody is at the near end any more.
fn wait(link: &Link, stream: &UnixStream, has_back: bool, has_out: bool) -> io::Result<bool> {
    let mut near = PollFlags::empty();
    near.set(PollFlags::OUT, has_back);
    near.set(PollFlags::IN, !has_out);
    let mut far = PollFlags::empty();
    // What comes is left there while there is no room for it; but it may be the leave to send on.
    far.set(PollFlags::IN, !has_back || has_out);
    let directions = link.session.block_directions();
    far.set(PollFlags::OUT, matches!(directions, BlockDirections::Outbound | BlockDirections::Both));
    let mut both = [PollFd::new(stream, near), PollFd::new(&link.socket, far)];
    match poll(&mut both, None) {
        Ok(_) => Ok(both[0].revents().contains(PollFlags::HUP)),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
