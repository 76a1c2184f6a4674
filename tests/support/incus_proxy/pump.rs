//! Hands the bytes of two TLS connections on, in both directions at the same time: one thread that waits for both sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::DerefMut;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData, StreamOwned};

/// One side of a connection that is handed on.
struct Side<C> {
    tls: C,
    socket: TcpStream,
    has_ended: bool,
}

impl<C, S> Side<C>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    fn new(stream: StreamOwned<C, TcpStream>) -> Option<Self> {
        stream.sock.set_nonblocking(true).ok()?;
        Some(Self { tls: stream.conn, socket: stream.sock, has_ended: false })
    }

    /// Takes in what has come; what was ciphered before is there as well.
    fn receive(&mut self) -> Option<Vec<u8>> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => self.has_ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        self.tls.process_new_packets().ok()?;
        let mut plain = Vec::new();
        match self.tls.reader().read_to_end(&mut plain) {
            Ok(_) => self.has_ended = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.has_ended = true,
        }
        Some(plain)
    }

    fn send(&mut self, plain: &[u8]) -> Option<()> {
        self.tls.writer().write_all(plain).ok()
    }

    /// Sends what can be sent without waiting.
    fn flush(&mut self) -> Option<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
        }
        Some(())
    }
}

/// Hands on what comes from both sides until one of them ends, or the server has sent as much as `limit`.
pub(super) fn pump(
    client: StreamOwned<ServerConnection, TcpStream>,
    server: StreamOwned<ClientConnection, TcpStream>,
    mut limit: usize,
) -> Option<()> {
    let (mut client, mut server) = (Side::new(client)?, Side::new(server)?);
    client.tls.set_buffer_limit(None);
    server.tls.set_buffer_limit(None);
    loop {
        // Nothing more is taken from one side than the other one has got rid of.
        if !server.tls.wants_write() {
            let plain = client.receive()?;
            server.send(&plain)?;
        }
        if !client.tls.wants_write() {
            let plain = server.receive()?;
            let length = plain.len().min(limit);
            client.send(&plain[..length])?;
            if plain.len() > length {
                client.flush()?;
                return Some(());
            }
            limit = limit.saturating_sub(length);
        }
        server.flush()?;
        if server.has_ended || client.has_ended {
            client.socket.set_nonblocking(false).ok()?;
            client.tls.send_close_notify();
            return client.flush();
        }
        client.flush()?;
        let wants = |own: bool, other: bool| {
            let (write, read) = (if own { PollFlags::OUT } else { PollFlags::empty() }, PollFlags::IN);
            if other { write } else { write | read }
        };
        let (to_client, to_server) = (client.tls.wants_write(), server.tls.wants_write());
        let mut waits = [
            PollFd::new(&client.socket, wants(to_client, to_server)),
            PollFd::new(&server.socket, wants(to_server, to_client)),
        ];
        poll(&mut waits, None).ok()?;
    }
}
