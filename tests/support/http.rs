//! An HTTP server for tests that records what it is asked, and misbehaves as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with this status and these header lines.
    Status(u16, Vec<String>),
    /// Closes the connection without a word.
    Close,
    /// Never answers.
    Silence,
    /// Answers with this status, and with more than anybody wants to have.
    Endless(u16),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn query_value(&self, key: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(given, _)| *given == key)
            .map(|(_, value)| value)
    }
}

/// A server on a port of its own.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Request>>,
}

impl Server {
    /// A server that gives these answers in turn, and the last one from then on.
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(&listener, &answers, &stopped));
        Self { address, stop, thread }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends the server and gives everything it was asked, in order.
    pub fn requests(self) -> Vec<Request> {
        self.stop.store(true, Ordering::SeqCst);
        // Connections are served in turn, so those made before this one were recorded when it is.
        drop(TcpStream::connect(self.address).unwrap());
        self.thread.join().unwrap()
    }
}

fn serve(listener: &TcpListener, answers: &[Answer], stop: &AtomicBool) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut silent = Vec::new();
    loop {
        let mut stream = listener.accept().unwrap().0;
        let Some(request) = read_request(&stream) else {
            if stop.load(Ordering::SeqCst) {
                return requests;
            }
            continue;
        };
        let answer = answers.get(requests.len()).or(answers.last());
        requests.push(request);
        match answer {
            Some(Answer::Status(status, headers)) => {
                let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                let answer =
                    format!("HTTP/1.1 {status} Text\r\n{headers}Content-Length: 2\r\nConnection: close\r\n\r\nOK");
                // A client that gave up meanwhile is part of some tests.
                let _ = stream.write_all(answer.as_bytes());
            }
            Some(Answer::Endless(status)) => {
                let begin = format!("HTTP/1.1 {status} Text\r\nContent-Length: 1000000000000\r\n\r\n");
                let mut sent = stream.write_all(begin.as_bytes());
                while sent.is_ok() {
                    sent = stream.write_all(&[b'x'; 65536]);
                }
            }
            Some(Answer::Silence) => silent.push(stream),
            Some(Answer::Close) | None => drop(stream),
        }
    }
}

/// `None` when the connection ends before a whole request came.
fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut request = Request { method, path, query, headers, body: String::new() };
    let length: usize = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}
