//! A socket proxy before an engine: it lets through what a list allows, and answers 403 to all else; it can cut connections at a chosen byte.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is let through: a method, and a path in which `{…}` stands for anything without a slash.
pub type Rule = (String, String);

/// A running proxy.
#[derive(Debug)]
pub struct EngineProxy {
    /// Its socket.
    pub socket: PathBuf,
    refused: Arc<Mutex<Vec<String>>>,
}

impl EngineProxy {
    /// Starts before the engine at a socket; lets through what the rules allow.
    pub fn allowing(engine: &Path, socket: &Path, rules: Vec<Rule>) -> Self {
        Self::start(engine, socket, Some(rules), |_| None)
    }

    /// Starts before the engine at a socket; lets everything through, but cuts the answer to a request of which `cut` says so after so many bytes.
    pub fn cutting(engine: &Path, socket: &Path, cut: impl Fn(&str) -> Option<u64> + Send + Sync + 'static) -> Self {
        Self::start(engine, socket, None, cut)
    }

    fn start(
        engine: &Path,
        socket: &Path,
        rules: Option<Vec<Rule>>,
        cut: impl Fn(&str) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let (engine, of_thread, cut) = (engine.to_path_buf(), Arc::clone(&refused), Arc::new(cut));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, engine, refused) = (client.unwrap(), engine.clone(), Arc::clone(&of_thread));
                let (rules, cut) = (rules.clone(), Arc::clone(&cut));
                thread::spawn(move || serve(client, &engine, rules.as_deref(), &refused, &*cut));
            }
        });
        Self { socket: socket.to_path_buf(), refused }
    }

    /// What was refused, as method and path.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }
}

/// Hands one connection on, which has one request.
fn serve(
    mut client: UnixStream,
    engine: &Path,
    rules: Option<&[Rule]>,
    refused: &Mutex<Vec<String>>,
    cut: &dyn Fn(&str) -> Option<u64>,
) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n") && client.read(&mut byte).is_ok_and(|count| count > 0) {
        head.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&head).into_owned();
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if path.is_empty() {
        return;
    }
    let path = without_version(path.split('?').next().unwrap());
    if rules.is_some_and(|rules| !rules.iter().any(|(allowed, pattern)| allowed == method && matches(pattern, path))) {
        refused.lock().unwrap().push(format!("{method} {path}"));
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nForbidden");
        return;
    }
    let mut server = UnixStream::connect(engine).unwrap();
    server.write_all(&head).unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let limit = cut(&format!("{method} {path}")).unwrap_or(u64::MAX);
    let _ = std::io::copy(&mut server.take(limit), &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

/// The path without `/v1.41` before it.
fn without_version(path: &str) -> &str {
    let rest = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    rest.unwrap_or(path)
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    // Names of images have slashes.
    if let Some(at) = pattern.iter().position(|part| *part == "{name…}") {
        let tail = pattern.len() - at - 1;
        return path.len() > at + tail && pattern[..at] == path[..at] && pattern[at + 1..] == path[path.len() - tail..];
    }
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(own, other)| own.starts_with('{') || own == other)
}
