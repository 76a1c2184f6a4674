//! A network that fails at a chosen byte: a TCP proxy that a test stands between holdall and a server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// What happens when enough has been sent to the server.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// All connections are cut, and this many new ones as well.
    Cut { refusals: u32 },
    /// Nothing more goes through until the test says so.
    Hold,
}

#[derive(Debug)]
struct State {
    /// How many bytes may still go to the server; `None`: any number.
    left: Option<usize>,
    then: Then,
    is_cut: bool,
    is_held: bool,
    /// New connections that are still to be cut.
    refusals: u32,
    open: Vec<TcpStream>,
}

/// A running proxy. What it does wrong it does from a chosen byte on, not from a moment.
#[derive(Debug)]
pub struct Proxy {
    /// The port on 127.0.0.1.
    pub port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// Starts between a port of its own and `server`, a port of 127.0.0.1; everything goes through.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state =
            State { left: None, then: Then::Hold, is_cut: false, is_held: false, refusals: 0, open: Vec::new() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                accept(client.unwrap(), server, &of_thread);
            }
        });
        Self { port, shared }
    }

    /// After this many further bytes to the server all connections are cut, and as many new ones as `refusals` says.
    pub fn cut_after(&self, bytes: usize, refusals: u32) {
        let mut state = self.shared.0.lock().unwrap();
        state.left = Some(bytes);
        state.then = Then::Cut { refusals };
    }

    /// After this many further bytes to the server nothing goes through, until [`Proxy::release`].
    pub fn hold_after(&self, bytes: usize) {
        let mut state = self.shared.0.lock().unwrap();
        state.left = Some(bytes);
        state.then = Then::Hold;
    }

    /// Waits until so much was sent that the proxy holds it.
    pub fn wait_until_held(&self) {
        let (state, changed) = &*self.shared;
        drop(changed.wait_while(state.lock().unwrap(), |state| !state.is_held).unwrap());
    }

    /// Lets everything through from now on.
    pub fn release(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap();
        (state.left, state.is_held, state.is_cut, state.refusals) = (None, false, false, 0);
        changed.notify_all();
    }

    /// Whether the point was reached at which connections are cut.
    pub fn has_cut(&self) -> bool {
        self.shared.0.lock().unwrap().is_cut
    }
}

fn accept(client: TcpStream, server: u16, shared: &Arc<(Mutex<State>, Condvar)>) {
    {
        let mut state = shared.0.lock().unwrap();
        if state.refusals > 0 {
            state.refusals = state.refusals.saturating_sub(1);
            drop(client.shutdown(Shutdown::Both));
            return;
        }
    }
    // A server that was stopped: the client sees its connection closed.
    let Ok(upstream) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { return };
    let (from_client, from_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    shared.0.lock().unwrap().open.extend([client.try_clone().unwrap(), upstream.try_clone().unwrap()]);
    let of_thread = Arc::clone(shared);
    thread::spawn(move || forward(from_client, upstream, |length| pass(length, &of_thread)));
    thread::spawn(move || forward(from_server, client, |_| true));
}

fn forward(mut from: TcpStream, mut to: TcpStream, pass: impl Fn(usize) -> bool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !pass(length) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

/// Whether so many bytes may go to the server; waits while they are held.
fn pass(length: usize, shared: &(Mutex<State>, Condvar)) -> bool {
    let (state, changed) = shared;
    let mut state = state.lock().unwrap();
    match &mut state.left {
        None => return true,
        Some(left) if *left >= length => {
            *left -= length;
            return true;
        }
        Some(_) => {}
    }
    match state.then {
        Then::Cut { refusals } => {
            if !state.is_cut {
                (state.is_cut, state.refusals, state.left) = (true, refusals, None);
                for stream in state.open.drain(..) {
                    drop(stream.shutdown(Shutdown::Both));
                }
            }
            false
        }
        Then::Hold => {
            state.is_held = true;
            changed.notify_all();
            drop(changed.wait_while(state, |state| state.is_held).unwrap());
            true
        }
    }
}
