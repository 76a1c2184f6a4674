//! A TLS proxy before an Incus server: it notes what is asked, and for chosen requests it answers itself, hangs, or cuts the connection.
//!
//! It has the certificate of the server, so that a client that has pinned that takes the proxy for the server. To the server it
//! is the client whose certificate it was given, whoever asks. A connection carries one request, so that everything after the
//! head goes through as it comes: bodies of any kind, and the websockets of a migration.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::DerefMut;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, ServerConfig, ServerConnection, SideData,
    SignatureScheme, StreamOwned,
};

use super::incusd::Incusd;

/// How long a client has to take an answer that is not the server's.
const TAKE_WITHIN: Duration = Duration::from_secs(5);

/// What is done to a request.
#[derive(Debug, Clone)]
enum Act {
    Answer { status: u16, body: String },
    Hang,
    Cut,
    CutAnswer { after: usize },
}

#[derive(Debug)]
struct Rule {
    id: usize,
    method: String,
    path: String,
    act: Act,
    left: usize,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<String>,
    rules: Vec<Rule>,
    made: usize,
    /// How often the rules were cleared: what hangs ends when this changes.
    cleared: usize,
    hanging: usize,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// A running proxy.
#[derive(Debug)]
pub struct IncusProxy {
    port: u16,
    shared: Shared,
}

/// A rule that was just made; it holds for any number of requests.
#[derive(Debug)]
pub struct Made {
    shared: Shared,
    id: usize,
}

impl Made {
    /// Makes the rule hold for so many requests only.
    pub fn times(self, count: usize) {
        let mut state = self.shared.0.lock().unwrap();
        state.rules.iter_mut().filter(|rule| rule.id == self.id).for_each(|rule| rule.left = count);
    }
}

/// What the threads need of both sides of TLS.
#[derive(Debug, Clone)]
struct Sides {
    as_server: Arc<ServerConfig>,
    as_client: Arc<ClientConfig>,
    server: u16,
}

impl IncusProxy {
    /// Starts before a server; it hands requests on with the certificate and key in these PEM files.
    pub fn start(server: &Incusd, client_cert: &Path, client_key: &Path) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = server.dir();
        let (chain, key) = (certificates(&own.join("server.crt")), key(&own.join("server.key")));
        let pinned = Arc::new(Pinned { own: chain[0].clone(), provider: Arc::clone(&provider) });
        let as_server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let as_client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(pinned)
            .with_client_auth_cert(certificates(client_cert), self::key(client_key))
            .unwrap();
        let sides = Sides { as_server: as_server.into(), as_client: as_client.into(), server: server.port() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, sides, shared) = (client.unwrap(), sides.clone(), Arc::clone(&of_thread));
                // A connection that breaks is an everyday thing; who notices is the client.
                thread::spawn(move || serve(client, &sides, &shared));
            }
        });
        Self { port, shared }
    }

    /// Where it is, as in a configuration.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// What was asked so far, whoever answered: `GET /1.0/instances?project=default`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().requests.clone()
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        self.shared.0.lock().unwrap().requests.clear();
    }

    /// Answers in the server's place with this status and this JSON.
    ///
    /// Of the path, here and below, the beginning is enough, and `*` stands for anything: `/1.0/operations/*/wait`. The newest rule
    /// that fits decides.
    pub fn answer(&self, method: &str, path: &str, status: u16, body: &str) -> Made {
        self.rule(method, path, Act::Answer { status, body: body.to_owned() })
    }

    /// Never answers, until the rules are cleared; the server does not hear of the request.
    pub fn hang(&self, method: &str, path: &str) -> Made {
        self.rule(method, path, Act::Hang)
    }

    /// Closes the connection without an answer; the server does not hear of the request.
    pub fn cut(&self, method: &str, path: &str) -> Made {
        self.rule(method, path, Act::Cut)
    }

    /// Closes the connection after so many bytes of the server's answer, head included: with 0 the server has done what it was
    /// asked, and nobody knows.
    pub fn cut_answer(&self, method: &str, path: &str, after: usize) -> Made {
        self.rule(method, path, Act::CutAnswer { after })
    }

    fn rule(&self, method: &str, path: &str, act: Act) -> Made {
        let mut state = self.shared.0.lock().unwrap();
        state.made = state.made.saturating_add(1);
        let id = state.made;
        state.rules.push(Rule { id, method: method.to_owned(), path: path.to_owned(), act, left: usize::MAX });
        Made { shared: Arc::clone(&self.shared), id }
    }

    /// Removes all rules; connections that hang are closed.
    pub fn clear(&self) {
        let mut state = self.shared.0.lock().unwrap();
        state.rules.clear();
        state.cleared = state.cleared.saturating_add(1);
        self.shared.1.notify_all();
    }

    /// Waits until a request hangs.
    #[track_caller]
    pub fn wait_until_hanging(&self) {
        let (state, changed) = &*self.shared;
        let waited =
            changed.wait_timeout_while(state.lock().unwrap(), Duration::from_secs(60), |state| state.hanging == 0);
        assert!(!waited.unwrap().1.timed_out(), "no request hangs");
    }
}

impl Drop for IncusProxy {
    fn drop(&mut self) {
        self.clear();
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).unwrap().collect::<Result<_, _>>().unwrap()
}

fn key(file: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file).unwrap()
}

/// Serves one connection, which has one request; `None` when it broke.
fn serve(socket: TcpStream, sides: &Sides, shared: &Shared) -> Option<()> {
    let mut client = StreamOwned::new(ServerConnection::new(Arc::clone(&sides.as_server)).ok()?, socket);
    let head = read_head(&mut client)?;
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let limit = match decide(method, path, shared) {
        None => usize::MAX,
        Some(Act::CutAnswer { after }) => after,
        Some(Act::Cut) => return Some(()),
        Some(Act::Hang) => {
            hang(shared);
            return Some(());
        }
        Some(Act::Answer { status, body }) => return answer(client, status, &body),
    };
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, sides.server)).ok()?;
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let connection = ClientConnection::new(Arc::clone(&sides.as_client), name).ok()?;
    let mut server = StreamOwned::new(connection, socket);
    server.write_all(one_request(&head).as_bytes()).ok()?;
    pump(client, server, limit)
}

/// The head of a request, with the empty line at its end.
fn read_head(client: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// The same head, with the wish that the connection ends after the answer; one that is to become a websocket stays as it is.
fn one_request(head: &str) -> String {
    let lines = || head.trim_end().split("\r\n");
    let is = |line: &str, name: &str| line.split(':').next().is_some_and(|own| own.eq_ignore_ascii_case(name));
    if lines().any(|line| is(line, "upgrade")) {
        return head.to_owned();
    }
    let kept: Vec<&str> = lines().filter(|line| !is(line, "connection")).chain(["Connection: close", "", ""]).collect();
    kept.join("\r\n")
}

/// Notes the request, and says what is done to it.
fn decide(method: &str, path: &str, shared: &Shared) -> Option<Act> {
    let mut state = shared.0.lock().unwrap();
    state.requests.push(format!("{method} {path}"));
    let fits = |rule: &&mut Rule| rule.left > 0 && rule.method == method && begins(path, &rule.path);
    let rule = state.rules.iter_mut().rev().find(fits)?;
    rule.left = rule.left.saturating_sub(1);
    Some(rule.act.clone())
}

/// Whether a path begins as a pattern says.
fn begins(path: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|part| path.strip_prefix(part)) else { return false };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

fn hang(shared: &Shared) {
    let (state, changed) = &**shared;
    let mut state = state.lock().unwrap();
    let begun = state.cleared;
    state.hanging = state.hanging.saturating_add(1);
    changed.notify_all();
    let mut state = changed.wait_while(state, |state| state.cleared == begun).unwrap();
    state.hanging = state.hanging.saturating_sub(1);
}

fn answer(mut client: StreamOwned<ServerConnection, TcpStream>, status: u16, body: &str) -> Option<()> {
    let mut text =
        format!("HTTP/1.1 {status} Said by the proxy\r\nContent-Type: application/json\r\nConnection: close\r\n");
    write!(text, "Content-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    client.write_all(text.as_bytes()).ok()?;
    client.conn.send_close_notify();
    client.flush().ok()?;
    // A socket that is closed with something unread in it takes the answer with it.
    client.sock.shutdown(Shutdown::Write).ok()?;
    client.sock.set_read_timeout(Some(TAKE_WITHIN)).ok()?;
    std::io::copy(&mut client.sock, &mut std::io::sink()).ok()?;
    Some(())
}

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
fn pump(
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

/// Takes one certificate for the server's, whatever it says of names and dates.
#[derive(Debug)]
struct Pinned {
    own: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_own = *shown == self.own;
        is_own.then(ServerCertVerified::assertion).ok_or_else(|| rustls::Error::General("another server".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
