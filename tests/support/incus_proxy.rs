//! A TLS proxy before an Incus server: it notes what is asked, and for chosen requests it answers itself, hangs, or cuts the connection.
//!
//! It has the certificate of the server, so that a client that has pinned that takes the proxy for the server. To the server it
//! is the client whose certificate it was given, whoever asks. A connection carries one request, so that everything after the
//! head goes through as it comes: bodies of any kind, and the websockets of a migration.

mod pinned;
mod pump;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use self::pinned::Pinned;
use self::pump::pump;
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
